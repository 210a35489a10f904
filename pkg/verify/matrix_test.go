package verify_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/verify"
)

// Every way in which an image is signed today, through a real registry: the verdict
// and the exact selectors.
func TestEveryKindOfSignature(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	const workflow = "https://github.com/org/app/.github/workflows/release.yml@refs/tags/v1"
	github := w.Keyless(sigstoretest.GitHub("org/app", "release.yml", "refs/tags/v1"))
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	pki := sigstoretest.NewCA(sigstoretest.CAOptions{Name: "pki"})
	employee := pki.Signer(sigstoretest.Identity{Subject: sigstoretest.Email("dev@example.org")})
	commit := "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"

	signers := []struct {
		name      string
		signer    *sigstoretest.Signer
		authority func(requireLog bool) (*sigstore.Authority, error)
		selectors []string
	}{
		{"keyless", github, func(requireLog bool) (*sigstore.Authority, error) {
			return sigstore.NewKeyless(sigstore.KeylessConfig{IgnoreLog: !requireLog,
				Identities: []sigstore.Identity{{Issuer: sigstore.Exact(sigstoretest.GitHubIssuer), Subject: sigstore.Exact(workflow)}}})
		}, []string{
			"image-signer-identity:p/a:" + sigstoretest.GitHubIssuer + "#" + workflow,
			"image-signer-claim:p/a:source-repository=https://github.com/org/app",
			"image-signer-claim:p/a:source-ref=refs/tags/v1",
			"image-signer-claim:p/a:source-digest=" + commit,
			"image-signer-claim:p/a:build-signer=" + workflow,
			"image-signer-claim:p/a:build-trigger=push",
			"image-signer-claim:p/a:runner-environment=github-hosted",
		}},
		{"key", key, func(requireLog bool) (*sigstore.Authority, error) {
			return sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{key.PublicPEM()}, RequireLog: requireLog})
		}, nil},
		{"PKI", employee, func(requireLog bool) (*sigstore.Authority, error) {
			return sigstore.NewPKI(sigstore.PKIConfig{PEM: pki.ChainPEM(), RequireLog: requireLog,
				Identities: []sigstore.Identity{{Subject: sigstore.Exact("dev@example.org")}}})
		}, []string{"image-signer-identity:p/a:#dev@example.org"}},
	}
	witnesses := []struct {
		name      string
		witnesses []sigstoretest.Witness
		version   int // of the log that it is in
		timed     bool
	}{
		{"Rekor v1", []sigstoretest.Witness{w.Rekor1}, 1, true},
		{"Rekor v2 and TSA", []sigstoretest.Witness{w.Rekor2, w.TSA}, 2, true},
		{"TSA only", []sigstoretest.Witness{w.TSA}, 0, true},
		{"none", nil, 0, false},
	}
	places := []struct {
		name   string
		format evidence.Format
		place  sigstoretest.Place
	}{
		{".sig", evidence.SimpleSigning, sigstoretest.SigTag},
		{"bundle by the referrers API", evidence.Bundle, sigstoretest.Referrers},
		{"bundle by the fallback tag", evidence.Bundle, sigstoretest.FallbackTag},
	}
	for i, s := range signers {
		for j, at := range places {
			for k, seen := range witnesses {
				for _, index := range []bool{false, true} {
					for _, requireLog := range []bool{false, true} {
						t.Run(fmt.Sprintf("%s/%s/%s/index=%t/log=%t", s.name, at.name, seen.name, index, requireLog), func(t *testing.T) {
							t.Parallel()
							path := fmt.Sprintf("m/%d-%d-%d-%t-%t", i, j, k, index, requireLog)
							pushed := w.registry.PushImage(path, sigstoretest.Image{Content: path, Tag: "1"})
							if index {
								pushed = w.registry.PushIndex(path, sigstoretest.Index{Tag: "1", Children: []sigstoretest.Child{{Pushed: pushed}}})
							}
							w.registry.Attach(pushed.Ref, at.place, sigstoretest.Sign(sigstoretest.Signature{
								Signer: s.signer, Digest: pushed.Ref.Digest, Format: at.format, Witnesses: seen.witnesses,
							}))
							// A client of its own: one client asks a registry only so often.
							v := verifier(t, w.requires(t, authority(t)(s.authority(requireLog))), w.asks(t, registry.Limits{}, w.registry), verify.RecordStatuses{})

							// Cosign's own image has no place for the entry of a Rekor v2.
							logged := seen.version == 1 || seen.version == 2 && at.format == evidence.Bundle
							switch {
							case requireLog && !logged:
								wantRefusal(t, v, running(pushed), verify.NotVerified, `image policy "p" does not hold`, `authority "a"`, "not in the log")
							case s.name == "keyless" && !seen.timed:
								// The certificate was valid for ten minutes, long ago.
								wantRefusal(t, v, running(pushed), verify.NotVerified, `image policy "p" does not hold`, `authority "a"`)
							default:
								wantSelectors(t, v, running(pushed), append([]string{
									"image-policy:p", "image-signer:p/a", "image-signer-key:p/a:sha256:" + fingerprint(t, s.signer),
								}, s.selectors...)...)
							}
						})
					}
				}
			}
		}
	}
}

// fingerprint is the SHA-256 of the signer's public key, as SubjectPublicKeyInfo.
func fingerprint(t testing.TB, s *sigstoretest.Signer) string {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(s.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:])
}
