package sigstoretest

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"
)

// TSA is a timestamp authority: RFC 3161. It is safe for concurrent use.
type TSA struct {
	// URI and Valid are what a trusted root says of it.
	URI   string
	Valid Period

	ca   *CA
	leaf certified
}

// TSAOptions say what kind of timestamp authority it is.
type TSAOptions struct {
	// URI is https://tsa.example.org by default.
	URI string
	// Leaf is the validity of the certificate that signs; Always by default.
	Leaf Period
	// Key is the kind of the leaf's key, not Ed25519.
	Key Algorithm
	// Template changes the leaf before it is signed, for example its key usage.
	Template func(*x509.Certificate)
}

// NewTSA makes a timestamp authority with a root and a leaf.
func NewTSA(o TSAOptions) *TSA {
	t := &TSA{
		URI: cmp.Or(o.URI, "https://tsa.example.org"), Valid: Always,
		ca: NewCA(CAOptions{Name: "sigstoretest timestamps", Intermediates: -1}),
	}
	valid := cmp.Or(o.Leaf, Always)
	usage := must(asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}}))
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "sigstoretest timestamp"},
		NotBefore: valid.Start, NotAfter: valid.End, KeyUsage: x509.KeyUsageDigitalSignature,
		// RFC 3161, 2.3: critical, which ExtKeyUsage would not be.
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	}
	if o.Template != nil {
		o.Template(template)
	}
	key := newKey(o.Key)
	t.leaf = certified{key, must(x509.ParseCertificate(create(template, t.ca.chain[0], key.Public())))}
	return t
}

// Chain is the authority's chain in DER, the leaf first.
func (t *TSA) Chain() [][]byte { return append([][]byte{t.leaf.certificate.Raw}, t.ca.Chain()...) }

// Timestamp is the authority's word that it saw these bytes at that time.
func (t *TSA) Timestamp(over []byte, at time.Time) []byte {
	return t.Issue(Token{Over: over, Time: at, Certificates: t.Chain()[:1]})
}

// Token is what a timestamp says.
type Token struct {
	// Over is what was stamped; a timestamp of a signature is over the signature's
	// bytes.
	Over []byte
	Time time.Time
	// Hash is that of the imprint; SHA-256 by default.
	Hash crypto.Hash
	// Certificates are those in the token, in DER: normally the leaf.
	Certificates [][]byte
	// Status is that of the response; 0 is granted.
	Status int
}

// The structures of RFC 3161, 2.4.2, and RFC 5652, 5.

type timeStampResp struct {
	Status struct{ Status int }
	Token  asn1.RawValue `asn1:"optional"`
}

type tstInfo struct {
	Version   int
	Policy    asn1.ObjectIdentifier
	Imprint   messageImprint
	Serial    *big.Int
	Generated time.Time `asn1:"generalized"`
}

type messageImprint struct {
	Algorithm pkix.AlgorithmIdentifier
	Message   []byte
}

type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue // [0] EXPLICIT
}

type signedData struct {
	Version      int
	Digests      []pkix.AlgorithmIdentifier `asn1:"set"`
	Content      encapsulated
	Certificates asn1.RawValue `asn1:"optional"`
	Signers      []signerInfo  `asn1:"set"`
}

type encapsulated struct {
	Type    asn1.ObjectIdentifier
	Content []byte `asn1:"explicit,tag:0"`
}

type signerInfo struct {
	Version   int
	Signer    issuerAndSerial
	Digest    pkix.AlgorithmIdentifier
	Signed    asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Signature []byte
}

type issuerAndSerial struct {
	Issuer asn1.RawValue
	Serial *big.Int
}

type attribute struct {
	Type   asn1.ObjectIdentifier
	Values []asn1.RawValue `asn1:"set"`
}

var (
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningTime   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	oidCertificateV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
)

// Issue signs a timestamp that says just that: a TimeStampResp.
func (t *TSA) Issue(k Token) []byte {
	k.Hash = cmp.Or(k.Hash, crypto.SHA256)
	at := k.Time.UTC().Truncate(time.Second)
	info := must(asn1.Marshal(tstInfo{
		Version: 1, Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}, Serial: serial(), Generated: at,
		Imprint: messageImprint{hashIdentifier(k.Hash), digest(k.Hash, k.Over)},
	}))
	hash := hashFor(t.leaf.key.Public())
	signed := t.attributes(info, at, hash)
	data := signedData{
		Version: 3,
		Digests: []pkix.AlgorithmIdentifier{hashIdentifier(hash)},
		Content: encapsulated{oidTSTInfo, info},
		Signers: []signerInfo{{
			Version: 1,
			Signer:  issuerAndSerial{asn1.RawValue{FullBytes: t.leaf.certificate.RawIssuer}, t.leaf.certificate.SerialNumber},
			Digest:  hashIdentifier(hash),
			Signed:  retag(signed), Algorithm: signatureIdentifier(t.leaf.key.Public(), hash),
			// RFC 5652, 5.4: over the set as such, not as [0].
			Signature: sign(t.leaf.key, signed, hash),
		}},
	}
	var certificates []byte
	for _, c := range k.Certificates {
		certificates = append(certificates, c...)
	}
	if len(certificates) > 0 {
		data.Certificates = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: certificates}
	}
	response := timeStampResp{Token: asn1.RawValue{FullBytes: must(asn1.Marshal(contentInfo{oidSignedData, wrap(data)}))}}
	response.Status.Status = k.Status
	return must(asn1.Marshal(response))
}

// attributes are those that are signed, as a set.
func (t *TSA) attributes(info []byte, at time.Time, hash crypto.Hash) []byte {
	// RFC 5035: ESSCertIDv2 with SHA-256, its default.
	certificate := struct{ Certs []struct{ Hash []byte } }{[]struct{ Hash []byte }{{digest(crypto.SHA256, t.leaf.certificate.Raw)}}}
	return must(asn1.MarshalWithParams([]attribute{
		{oidContentType, []asn1.RawValue{raw(oidTSTInfo)}},
		{oidSigningTime, []asn1.RawValue{raw(at)}},
		{oidMessageDigest, []asn1.RawValue{raw(digest(hash, info))}},
		{oidCertificateV2, []asn1.RawValue{raw(certificate)}},
	}, "set"))
}

func raw(v any) asn1.RawValue { return asn1.RawValue{FullBytes: must(asn1.Marshal(v))} }

// wrap is [0] EXPLICIT, which package asn1 does not do for a RawValue.
func wrap(v any) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: must(asn1.Marshal(v))}
}

// retag makes a set [0] IMPLICIT.
func retag(set []byte) asn1.RawValue {
	return asn1.RawValue{FullBytes: append([]byte{0xa0}, set[1:]...)}
}

func hashIdentifier(h crypto.Hash) pkix.AlgorithmIdentifier {
	arcs := map[crypto.Hash]int{crypto.SHA256: 1, crypto.SHA384: 2, crypto.SHA512: 3}
	arc, ok := arcs[h]
	if !ok {
		if h != crypto.SHA1 {
			panic(fmt.Sprintf("no timestamps with %v", h))
		}
		return pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}}
	}
	return pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, arc}}
}

func signatureIdentifier(public crypto.PublicKey, h crypto.Hash) pkix.AlgorithmIdentifier {
	switch public.(type) {
	case *ecdsa.PublicKey:
		arcs := map[crypto.Hash]int{crypto.SHA256: 2, crypto.SHA384: 3, crypto.SHA512: 4}
		return pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, arcs[h]}}
	case *rsa.PublicKey:
		return pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, Parameters: asn1.NullRawValue}
	}
	panic(fmt.Sprintf("no timestamps with a %T", public))
}

// witness has a signature stamped.
func (t *TSA) witness(s *signing) {
	k := Token{Over: s.parts.Signature, Time: s.Time, Certificates: t.Chain()[:1]}
	if s.Token != nil {
		s.Token(&k)
	}
	s.parts.Timestamps = append(s.parts.Timestamps, t.Issue(k))
}
