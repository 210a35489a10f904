package sigstoretest

import (
	"cmp"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"maps"
	"slices"
	"strings"
)

// Identity is what a certificate says of the one who signs. It is not checked at
// all: names may hold line breaks, bytes that are no text, anything.
type Identity struct {
	// Subject is the subject alternative name, and More are others after it.
	Subject SAN
	More    []SAN
	// Issuer is the OpenID Connect issuer, which Fulcio writes into two extensions.
	// IssuerV1 and IssuerV2 are in its place in the one extension; Omit leaves that
	// one out. Where all three are empty there is neither.
	Issuer             string
	IssuerV1, IssuerV2 string
	// Claims are Fulcio's other extensions.
	Claims map[Claim]string
	// Key is the kind of the signer's key. KeyOf is a signer whose key it is instead.
	Key   Algorithm
	KeyOf *Signer
	// Valid is the certificate's validity in place of what the CA gives.
	Valid Period
	// SCTs changes the serialised signed certificate timestamps before they are
	// embedded; nil, the result, embeds none.
	SCTs func([][]byte) [][]byte
	// Template changes the certificate before it is signed (and, where there is a
	// certificate transparency log, before that sees it).
	Template func(*x509.Certificate)
}

// Omit, as an issuer, leaves the extension out.
const Omit = "\x00omit"

// SAN is one subject alternative name.
type SAN struct {
	name asn1.RawValue
}

// Email is a name of type rfc822Name: a person.
func Email(address string) SAN { return san(1, address) }

// DNS is a name of type dNSName. Fulcio issues none.
func DNS(name string) SAN { return san(2, name) }

// URI is a name of type uniformResourceIdentifier: a workflow, a SPIFFE ID, an
// account of a service.
func URI(uri string) SAN { return san(6, uri) }

// Username is a name of type otherName with Fulcio's type-id, which Fulcio gives
// to users that have no e-mail address: user!domain.
func Username(name string) SAN {
	value := must(asn1.Marshal(struct {
		Type  asn1.ObjectIdentifier
		Value string `asn1:"utf8,explicit,tag:0"`
	}{fulcioOID(7), name}))
	// The sequence's own tag gives way to [0].
	var sequence asn1.RawValue
	must(asn1.Unmarshal(value, &sequence))
	return SAN{asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: sequence.Bytes}}
}

func san(tag int, value string) SAN {
	return SAN{asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(value)}}
}

// Claim is the number of an extension below 1.3.6.1.4.1.57264.1, as Fulcio's
// docs/oid-info.md lists them.
type Claim int

// Fulcio's extensions. Those before BuildSignerURI are the older ones for GitHub,
// whose values are bytes; the values of the others are UTF8Strings.
const (
	GitHubWorkflowTrigger      Claim = 2
	GitHubWorkflowSHA          Claim = 3
	GitHubWorkflowName         Claim = 4
	GitHubWorkflowRepository   Claim = 5
	GitHubWorkflowRef          Claim = 6
	BuildSignerURI             Claim = 9
	BuildSignerDigest          Claim = 10
	RunnerEnvironment          Claim = 11
	SourceRepositoryURI        Claim = 12
	SourceRepositoryDigest     Claim = 13
	SourceRepositoryRef        Claim = 14
	SourceRepositoryIdentifier Claim = 15
	SourceRepositoryOwnerURI   Claim = 16
	SourceRepositoryOwnerID    Claim = 17
	BuildConfigURI             Claim = 18
	BuildConfigDigest          Claim = 19
	BuildTrigger               Claim = 20
	RunInvocationURI           Claim = 21
	SourceRepositoryVisibility Claim = 22
)

// GitHubIssuer is the issuer of GitHub's workflows.
const GitHubIssuer = "https://token.actions.githubusercontent.com"

// GitHub is the identity of a workflow of GitHub Actions with every claim that
// Fulcio takes over: GitHub("org/app", "release.yml", "refs/tags/v1").
func GitHub(repository, workflow, ref string) Identity {
	home := "https://github.com/" + repository
	uri := home + "/.github/workflows/" + workflow + "@" + ref
	commit := strings.Repeat("c0ffee00", 5)
	owner, _, _ := strings.Cut(repository, "/")
	return Identity{
		Subject: URI(uri),
		Issuer:  GitHubIssuer,
		Claims: map[Claim]string{
			GitHubWorkflowTrigger: "push", GitHubWorkflowSHA: commit, GitHubWorkflowName: "Release",
			GitHubWorkflowRepository: repository, GitHubWorkflowRef: ref,
			BuildSignerURI: uri, BuildSignerDigest: commit, RunnerEnvironment: "github-hosted",
			SourceRepositoryURI: home, SourceRepositoryDigest: commit, SourceRepositoryRef: ref, SourceRepositoryIdentifier: "1234",
			SourceRepositoryOwnerURI: "https://github.com/" + owner, SourceRepositoryOwnerID: "56",
			BuildConfigURI: uri, BuildConfigDigest: commit, BuildTrigger: "push",
			RunInvocationURI: home + "/actions/runs/789/attempts/1", SourceRepositoryVisibility: "public",
		},
	}
}

// extensions are the identity's, in the order of their numbers, the subject
// alternative names last.
func (id Identity) extensions(emptySubject bool) []pkix.Extension {
	var out []pkix.Extension
	if v1 := cmp.Or(id.IssuerV1, id.Issuer); v1 != Omit && v1 != "" {
		out = append(out, pkix.Extension{Id: fulcioOID(1), Value: []byte(v1)})
	}
	v2 := cmp.Or(id.IssuerV2, id.Issuer)
	claims := maps.Clone(id.Claims)
	if v2 != Omit && v2 != "" {
		if claims == nil {
			claims = make(map[Claim]string)
		}
		claims[issuerV2] = v2
	}
	for _, c := range slices.Sorted(maps.Keys(claims)) {
		value := []byte(claims[c])
		if c >= issuerV2 {
			value = must(asn1.Marshal(asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: value}))
		}
		out = append(out, pkix.Extension{Id: fulcioOID(int(c)), Value: value})
	}
	var names []asn1.RawValue
	for _, s := range append([]SAN{id.Subject}, id.More...) {
		if s.name.Class != 0 {
			names = append(names, s.name)
		}
	}
	if len(names) > 0 {
		// RFC 5280, 4.2.1.6: critical where the subject is empty, as Fulcio's are.
		out = append(out, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: emptySubject, Value: must(asn1.Marshal(names))})
	}
	return out
}

const issuerV2 Claim = 8

func fulcioOID(number int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, number}
}
