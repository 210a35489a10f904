package sigstore

import (
	"cmp"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
)

// SubjectType is the type of a certificate's subject alternative name.
type SubjectType string

// The types.
const (
	URI       SubjectType = "uri"
	Email     SubjectType = "email"
	DNS       SubjectType = "dns"
	IP        SubjectType = "ip"
	OtherName SubjectType = "othername" // Fulcio's, for names that are none of the others
)

// Identity is a signer.
type Identity struct {
	// Issuer is who vouched for the subject: the OpenID Connect issuer that Fulcio
	// asked.
	Issuer Pattern
	// Subject is the subject alternative name.
	Subject Pattern
	// SubjectType is the type of that name; empty is any. Even then no name of one
	// type passes for one of another: see subjectOf.
	SubjectType SubjectType
	// Claims must all be in the certificate, with exactly these values.
	Claims map[Claim]string
}

// Claim is something else that Fulcio writes into a certificate, from the token
// of the job that signed.
type Claim string

// The claims, with the numbers of their extensions below Fulcio's
// (1.3.6.1.4.1.57264.1).
const (
	SourceRepository  Claim = "source-repository"  // 12: its URI
	SourceRef         Claim = "source-ref"         // 14
	SourceDigest      Claim = "source-digest"      // 13
	BuildSigner       Claim = "build-signer"       // 9: URI of the build instructions that signed
	BuildTrigger      Claim = "build-trigger"      // 20
	RunnerEnvironment Claim = "runner-environment" // 11
)

// Claims are all of them, sorted.
func Claims() []Claim {
	return []Claim{BuildSigner, BuildTrigger, RunnerEnvironment, SourceDigest, SourceRef, SourceRepository}
}

func (id *Identity) check() error {
	if id.Subject.IsZero() {
		return errors.New("no subject: everybody that the issuer knows could sign")
	}
	switch id.SubjectType {
	case "", URI, Email, DNS, IP, OtherName:
	default:
		return fmt.Errorf("subject type %q is unknown", id.SubjectType)
	}
	for claim, value := range id.Claims {
		if !slices.Contains(Claims(), claim) {
			return fmt.Errorf("claim %q is unknown", claim)
		}
		if value == "" {
			return fmt.Errorf("claim %q has no value", claim)
		}
	}
	return nil
}

func cloneIdentities(ids []Identity) []Identity {
	ids = slices.Clone(ids)
	for i := range ids {
		ids[i].Claims = maps.Clone(ids[i].Claims)
	}
	return ids
}

// name is one subject alternative name.
type name struct {
	kind  SubjectType
	value string
}

// signerFacts is what a certificate says of its owner.
type signerFacts struct {
	issuer  string
	subject name
	claims  map[Claim]string
}

// factsOf reads a certificate of Fulcio's, which has one name exactly.
func factsOf(c *x509.Certificate) (*signerFacts, error) {
	names, err := namesOf(c)
	if err != nil {
		return nil, err
	}
	if len(names) != 1 {
		return nil, fmt.Errorf("the certificate has %d subject alternative names, not one", len(names))
	}
	issuer, err := issuerOf(c)
	if err != nil {
		return nil, err
	}
	if issuer == "" {
		return nil, errors.New("the certificate does not say who the issuer of its owner's identity is")
	}
	claims, err := claimsOf(c)
	if err != nil {
		return nil, err
	}
	return &signerFacts{issuer: issuer, subject: names[0], claims: claims}, nil
}

// allow is whether an identity of the authority is the signer's.
func (a *Authority) allow(f *signerFacts) bool {
	return a.anyone || slices.ContainsFunc(a.identities, func(id Identity) bool { return id.match(f) })
}

func (id *Identity) match(f *signerFacts) bool {
	if !id.Issuer.IsZero() && !id.Issuer.Match(f.issuer) {
		return false
	}
	if !id.Subject.Match(f.subject.value) || id.SubjectType != "" && id.SubjectType != f.subject.kind {
		return false
	}
	for claim, value := range id.Claims {
		if f.claims[claim] != value {
			return false
		}
	}
	return true
}

// Tags of GeneralName, RFC 5280 4.2.1.6.
var subjectTypes = map[int]SubjectType{0: OtherName, 1: Email, 2: DNS, 6: URI, 7: IP}

// namesOf returns the subject alternative names as they are written:
// x509.Certificate has URIs normalised, and no other names.
func namesOf(c *x509.Certificate) ([]name, error) {
	i := slices.IndexFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(cryptoutils.SANOID) })
	if i < 0 {
		return nil, nil
	}
	var all []asn1.RawValue
	rest, err := asn1.Unmarshal(c.Extensions[i].Value, &all)
	if err != nil {
		return nil, fmt.Errorf("the subject alternative name: %w", err)
	}
	if len(rest) > 0 {
		return nil, errors.New("something follows the subject alternative name")
	}
	if len(all) > maxNames {
		return nil, fmt.Errorf("%w: more than %d subject alternative names", errLimit, maxNames)
	}
	var names []name
	for _, raw := range all {
		n, err := nameOf(raw)
		if err != nil {
			return nil, fmt.Errorf("the subject alternative name: %w", err)
		}
		names = append(names, n)
	}
	return names, nil
}

// maxNames bounds the names of a certificate of a private PKI.
const maxNames = 32

// nameOf reads a name and checks that it looks like one of its type. So a string
// that somebody allowed means one thing: a CA that lets people choose an e-mail
// address, or a user name, can't be made to write one that reads as the URI of a
// workflow, nor the other way round.
func nameOf(raw asn1.RawValue) (name, error) {
	n := name{kind: subjectTypes[raw.Tag], value: string(raw.Bytes)}
	if raw.Class != asn1.ClassContextSpecific || n.kind == "" {
		return name{}, fmt.Errorf("one of a kind that is not supported (tag %d)", raw.Tag)
	}
	// Only other names are made of parts. x509 does not see a name that falsely says
	// so, and no constraint of a CA holds for it.
	if raw.IsCompound != (n.kind == OtherName) {
		return name{}, fmt.Errorf("one that is not in the form of its type, %s", n.kind)
	}
	switch n.kind {
	case OtherName:
		var other cryptoutils.OtherName
		rest, err := asn1.UnmarshalWithParams(raw.FullBytes, &other, "tag:0")
		if err != nil {
			return name{}, err
		}
		if len(rest) > 0 || !other.ID.Equal(cryptoutils.OIDOtherName) {
			return name{}, errors.New("an other name that is not Fulcio's")
		}
		n.value = other.Value
	case IP:
		address, ok := netip.AddrFromSlice(raw.Bytes)
		if !ok {
			return name{}, errors.New("an IP address of no known length")
		}
		n.value = address.String()
	}
	if err := checkText(n.value); err != nil {
		return name{}, err
	}
	isURI, isEmail := strings.Contains(n.value, "://"), strings.Contains(n.value, "@")
	ok := !isURI && !isEmail
	switch n.kind {
	case URI:
		ok = isURI
	case Email:
		ok = isEmail && !isURI
	}
	if !ok {
		return name{}, fmt.Errorf("%q does not look like its type, %s", n.value, n.kind)
	}
	return n, nil
}

// issuerV1 is the number of the first of two extensions for the issuer, which
// newer certificates have as well.
var issuerV1 = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}

// issuerOf returns what the certificate's two extensions for it say, which must be
// the same where both are there. None is no error.
func issuerOf(c *x509.Certificate) (string, error) {
	first, err := extension(c, issuerV1)
	if err != nil {
		return "", err
	}
	second, err := extension(c, certificate.OIDIssuerV2)
	if err != nil {
		return "", err
	}
	if first != "" && second != "" && first != second {
		return "", fmt.Errorf("the certificate has two issuers: %q and %q", first, second)
	}
	return cmp.Or(first, second), nil
}

var claimExtensions = map[Claim]asn1.ObjectIdentifier{
	SourceRepository:  certificate.OIDSourceRepositoryURI,
	SourceRef:         certificate.OIDSourceRepositoryRef,
	SourceDigest:      certificate.OIDSourceRepositoryDigest,
	BuildSigner:       certificate.OIDBuildSignerURI,
	BuildTrigger:      certificate.OIDBuildTrigger,
	RunnerEnvironment: certificate.OIDRunnerEnvironment,
}

func claimsOf(c *x509.Certificate) (map[Claim]string, error) {
	found := map[Claim]string{}
	for _, claim := range Claims() {
		value, err := extension(c, claimExtensions[claim])
		if err != nil {
			return nil, err
		}
		if value != "" {
			found[claim] = value
		}
	}
	return found, nil
}

// extension returns the value of one of Fulcio's extensions: DER, but for the
// first version of the issuer, which is the bare text. Of two extensions with the
// same number x509 makes an error.
func extension(c *x509.Certificate, id asn1.ObjectIdentifier) (string, error) {
	i := slices.IndexFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(id) })
	if i < 0 {
		return "", nil
	}
	value := string(c.Extensions[i].Value)
	if !id.Equal(issuerV1) {
		if err := certificate.ParseDERString(c.Extensions[i].Value, &value); err != nil {
			return "", fmt.Errorf("the certificate's extension %s: %w", id, err)
		}
	}
	if err := checkText(value); err != nil {
		return "", fmt.Errorf("the certificate's extension %s: %w", id, err)
	}
	return value, nil
}

// isCA is whether a certificate may sign others, and so must not sign images.
func isCA(c *x509.Certificate) bool { return c.IsCA || c.KeyUsage&x509.KeyUsageCertSign != 0 }
