package sigstoretest_test

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"

	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

func TestFulcioWritesWhoSigns(t *testing.T) {
	t.Parallel()
	s := sigstoretest.New()
	const issuer = "https://issuer.example.org"
	for name, test := range map[string]struct {
		id   sigstoretest.Identity
		want certificate.Summary
	}{
		"an e-mail address": {
			id:   sigstoretest.Identity{Subject: sigstoretest.Email("dev@example.org"), Issuer: issuer},
			want: certificate.Summary{SubjectAlternativeName: "dev@example.org", Extensions: certificate.Extensions{Issuer: issuer}},
		},
		"a SPIFFE ID": {
			id:   sigstoretest.Identity{Subject: sigstoretest.URI("spiffe://example.org/ci"), Issuer: issuer},
			want: certificate.Summary{SubjectAlternativeName: "spiffe://example.org/ci", Extensions: certificate.Extensions{Issuer: issuer}},
		},
		"a user's name": {
			id:   sigstoretest.Identity{Subject: sigstoretest.Username("dev!example.org"), Issuer: issuer},
			want: certificate.Summary{SubjectAlternativeName: "dev!example.org", Extensions: certificate.Extensions{Issuer: issuer}},
		},
		"only the older extension": {
			id:   sigstoretest.Identity{Subject: sigstoretest.Email("dev@example.org"), Issuer: issuer, IssuerV2: sigstoretest.Omit},
			want: certificate.Summary{SubjectAlternativeName: "dev@example.org", Extensions: certificate.Extensions{Issuer: issuer}},
		},
		"a workflow": {
			id: sigstoretest.GitHub("org/app", "release.yml", "refs/tags/v1"),
			want: certificate.Summary{
				SubjectAlternativeName: "https://github.com/org/app/.github/workflows/release.yml@refs/tags/v1",
				Extensions: certificate.Extensions{
					Issuer:                              sigstoretest.GitHubIssuer,
					GithubWorkflowTrigger:               "push",
					GithubWorkflowSHA:                   "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00",
					GithubWorkflowName:                  "Release",
					GithubWorkflowRepository:            "org/app",
					GithubWorkflowRef:                   "refs/tags/v1",
					BuildSignerURI:                      "https://github.com/org/app/.github/workflows/release.yml@refs/tags/v1",
					BuildSignerDigest:                   "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00",
					RunnerEnvironment:                   "github-hosted",
					SourceRepositoryURI:                 "https://github.com/org/app",
					SourceRepositoryDigest:              "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00",
					SourceRepositoryRef:                 "refs/tags/v1",
					SourceRepositoryIdentifier:          "1234",
					SourceRepositoryOwnerURI:            "https://github.com/org",
					SourceRepositoryOwnerIdentifier:     "56",
					BuildConfigURI:                      "https://github.com/org/app/.github/workflows/release.yml@refs/tags/v1",
					BuildConfigDigest:                   "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00",
					BuildTrigger:                        "push",
					RunInvocationURI:                    "https://github.com/org/app/actions/runs/789/attempts/1",
					SourceRepositoryVisibilityAtSigning: "public",
				},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leaf, err := x509.ParseCertificate(s.Keyless(test.id).Certificate(sigstoretest.Time))
			if err != nil {
				t.Fatal(err)
			}
			got, err := certificate.SummarizeCertificate(leaf)
			if err != nil {
				t.Fatal(err)
			}
			got.CertificateIssuer = ""
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
			if !leaf.NotBefore.Equal(sigstoretest.Time) || leaf.NotAfter.Sub(leaf.NotBefore) != 10*time.Minute {
				t.Errorf("valid from %v to %v", leaf.NotBefore, leaf.NotAfter)
			}
		})
	}
}

// Rows 8 and 9: certificates say what they should not.
func TestACertificateSaysAnything(t *testing.T) {
	t.Parallel()
	ca := sigstoretest.NewCA(sigstoretest.CAOptions{})
	der := ca.Signer(sigstoretest.Identity{
		Subject: sigstoretest.DNS("example.org"), More: []sigstoretest.SAN{sigstoretest.Email("dev@example.org")},
		IssuerV1: "https://one.example.org", IssuerV2: "https://two.example.org",
		Claims: map[sigstoretest.Claim]string{sigstoretest.SourceRepositoryURI: "https://github.com/org/app\n"},
	}).Certificate(sigstoretest.Time)
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	extensions := map[string]string{}
	for _, e := range leaf.Extensions {
		extensions[e.Id.String()] = string(e.Value)
	}
	text := func(s string) string {
		b, err := asn1.MarshalWithParams(s, "utf8")
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	for oid, want := range map[string]string{
		"1.3.6.1.4.1.57264.1.1":  "https://one.example.org",
		"1.3.6.1.4.1.57264.1.8":  text("https://two.example.org"),
		"1.3.6.1.4.1.57264.1.12": text("https://github.com/org/app\n"),
	} {
		if got := extensions[oid]; got != want {
			t.Errorf("extension %s is %q, want %q", oid, got, want)
		}
	}
	if len(leaf.DNSNames) != 1 || len(leaf.EmailAddresses) != 1 {
		t.Errorf("names %q and %q", leaf.DNSNames, leaf.EmailAddresses)
	}
	// A line break in a name is nothing that Go's parser would take.
	der = ca.Signer(sigstoretest.Identity{Subject: sigstoretest.URI("https://example.org/\n")}).Certificate(sigstoretest.Time)
	if _, err := x509.ParseCertificate(der); err == nil {
		t.Error("a URI with a line break was parsed")
	}
}

func TestAChainOfAThousand(t *testing.T) {
	t.Parallel()
	ca := sigstoretest.NewCA(sigstoretest.CAOptions{Intermediates: 1000})
	rest, n := ca.ChainPEM(), 0
	for block, more := pem.Decode(rest); block != nil; block, more = pem.Decode(more) {
		n++
	}
	if n != 1001 {
		t.Errorf("%d certificates", n)
	}
}
