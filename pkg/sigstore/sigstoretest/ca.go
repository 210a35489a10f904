package sigstoretest

import (
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Time is when everything is signed unless a test says otherwise. It is in the
// past of every clock that this can run with.
var Time = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

// Period is a time of validity, both ends included.
type Period struct {
	Start, End time.Time
}

// Always is the validity of what is not said to be valid at another time.
var Always = Period{time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC)}

// CA is a certificate authority with a root, any number of intermediates, and
// leaves for signers: Fulcio, or somebody's own PKI. It is safe for concurrent use.
type CA struct {
	// URI and Valid are what a trusted root says of it.
	URI   string
	Valid Period

	chain    []certified // the root first, who issues leaves last
	lifetime time.Duration
	period   Period
	logs     []*CTLog
}

// CAOptions say what kind of CA it is. The zero value is a PKI of one
// intermediate whose leaves are as old as the CA.
type CAOptions struct {
	// Name is the common name of root and intermediates; "sigstoretest" by default.
	Name string
	// Root and Intermediate are the validity of those certificates; Always by
	// default.
	Root, Intermediate Period
	// Intermediates is how many there are between root and leaf: 1 by default,
	// none when it is negative.
	Intermediates int
	// Lifetime is how long a leaf is valid from the time of signing; 0 is the root's
	// validity.
	Lifetime time.Duration
	// Logs are the certificate transparency logs that each leaf is shown to.
	Logs []*CTLog
	// Key is the kind of the CA's own keys.
	Key Algorithm
	// Template changes each of root (0) and intermediates (1 is the root's child)
	// before it is signed.
	Template func(depth int, certificate *x509.Certificate)
}

// certified is a key with its certificate.
type certified struct {
	key         crypto.Signer
	certificate *x509.Certificate
}

// NewCA makes a certificate authority.
func NewCA(o CAOptions) *CA {
	name := cmp.Or(o.Name, "sigstoretest")
	ca := &CA{
		URI: "https://fulcio.example.org", Valid: cmp.Or(o.Root, Always),
		lifetime: o.Lifetime, period: cmp.Or(o.Root, Always), logs: slices.Clone(o.Logs),
	}
	for depth := range 1 + max(0, cmp.Or(o.Intermediates, 1)) {
		template := authorityTemplate(name, depth, o)
		key := newKey(o.Key)
		parent := certified{key, template} // the root signs itself
		if depth > 0 {
			parent = ca.chain[depth-1]
		}
		ca.chain = append(ca.chain, certified{key, must(x509.ParseCertificate(create(template, parent, key.Public())))})
	}
	return ca
}

func authorityTemplate(name string, depth int, o CAOptions) *x509.Certificate {
	valid := cmp.Or(o.Root, Always)
	subject := pkix.Name{Organization: []string{"podseal test"}, CommonName: name}
	if depth > 0 {
		valid = cmp.Or(o.Intermediate, Always)
		subject.CommonName += " intermediate " + strconv.Itoa(depth)
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: subject,
		NotBefore: valid.Start, NotAfter: valid.End,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true, IsCA: true,
	}
	if depth > 0 {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	}
	if o.Template != nil {
		o.Template(depth, template)
	}
	return template
}

// Root is the CA's root certificate.
func (ca *CA) Root() *x509.Certificate { return ca.chain[0].certificate }

// Chain is the chain above a leaf in DER, who signed the leaf first, the root last.
func (ca *CA) Chain() [][]byte {
	out := make([][]byte, 0, len(ca.chain))
	for _, c := range slices.Backward(ca.chain) {
		out = append(out, c.certificate.Raw)
	}
	return out
}

// RootPEM is the root as a file of PEM.
func (ca *CA) RootPEM() []byte { return certificatesPEM(ca.Root().Raw) }

// ChainPEM is Chain as a file of PEM.
func (ca *CA) ChainPEM() []byte { return certificatesPEM(ca.Chain()...) }

// Renew makes another certificate, in DER, for who issues the leaves: the same name and
// key, valid until then. The CA goes on with the one that it has.
func (ca *CA) Renew(until time.Time) []byte {
	n := len(ca.chain)
	issuer := ca.chain[n-1]
	template := *issuer.certificate
	template.SerialNumber, template.NotAfter = serial(), until
	return create(&template, ca.chain[max(0, n-2)], issuer.key.Public())
}

// Signer is somebody whom the CA certifies at the time of each signature. The key
// is the same each time.
func (ca *CA) Signer(id Identity) *Signer {
	key := sync.OnceValue(func() crypto.Signer { return newKey(id.Key) })
	if id.KeyOf != nil {
		key = id.KeyOf.key
	}
	return &Signer{key: key, ca: ca, identity: id}
}

// Issue makes the leaf certificate that the CA gives at that time, in DER.
func (ca *CA) Issue(id Identity, public crypto.PublicKey, at time.Time) []byte {
	valid := ca.period
	if ca.lifetime > 0 {
		valid = Period{at, at.Add(ca.lifetime)}
	}
	valid = cmp.Or(id.Valid, valid)
	template := &x509.Certificate{
		SerialNumber: serial(), NotBefore: valid.Start, NotAfter: valid.End,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	if ca.lifetime == 0 {
		template.Subject = pkix.Name{CommonName: "signer"} // no CA but Fulcio leaves it empty
	}
	template.ExtraExtensions = id.extensions(ca.lifetime > 0)
	if id.Template != nil {
		id.Template(template)
	}
	issuer := ca.chain[len(ca.chain)-1]
	precertificate := create(template, issuer, public)
	var scts [][]byte
	for _, l := range ca.logs {
		scts = append(scts, l.sct(tbs(precertificate), issuer.certificate, at))
	}
	if id.SCTs != nil {
		scts = id.SCTs(scts)
	}
	if len(scts) == 0 {
		return precertificate
	}
	template.ExtraExtensions = append(template.ExtraExtensions, sctExtension(scts))
	return create(template, issuer, public)
}

func create(template *x509.Certificate, issuer certified, public crypto.PublicKey) []byte {
	return must(x509.CreateCertificate(rand.Reader, template, issuer.certificate, public, issuer.key))
}

// tbs is the part of a certificate that is signed. The certificate is not parsed
// further, because it may hold what Go's parser refuses.
func tbs(certificate []byte) []byte {
	var outer struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	must(asn1.Unmarshal(certificate, &outer))
	return outer.TBS.FullBytes
}

func serial() *big.Int {
	return new(big.Int).Add(must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))), big.NewInt(1))
}

// Signer is one who signs: with a key alone, or with a key that a CA certifies.
type Signer struct {
	key      func() crypto.Signer
	ca       *CA // nil for a key alone
	identity Identity
}

// NewKey makes a signer with a key and no certificate.
func NewKey(a Algorithm) *Signer {
	return &Signer{key: sync.OnceValue(func() crypto.Signer { return newKey(a) })}
}

// Public is the signer's public key.
func (s *Signer) Public() crypto.PublicKey { return s.key().Public() }

// PublicPEM is the signer's public key as a file of PEM.
func (s *Signer) PublicPEM() []byte { return publicPEM(s.Public()) }

// Certificate is what the CA gives the signer at that time, in DER; nil for a key
// alone. Each call is another certificate.
func (s *Signer) Certificate(at time.Time) []byte {
	if s.ca == nil {
		return nil
	}
	return s.ca.Issue(s.identity, s.Public(), at)
}

// Sign signs these bytes with the hash that is usual for the key.
func (s *Signer) Sign(message []byte) []byte { return sign(s.key(), message, hashFor(s.Public())) }
