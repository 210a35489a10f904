package sigstore_test

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/test/testenv"
)

// corpora is the directory of test data of others.
func corpora(tb testing.TB) string {
	tb.Helper()
	dir := cmp.Or(os.Getenv("PODSEAL_CORPORA"), filepath.Join("..", "..", "..", "shared", "corpora"))
	_, err := os.Stat(dir)
	testenv.Require(tb, err == nil, "the corpora are not here; name their directory with PODSEAL_CORPORA")
	return dir
}

func readFile(tb testing.TB, elements ...string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(elements...)) // #nosec G304 -- a file of a corpus
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// readOr reads a line that a case has in a file, or gives what cases without it
// have.
func readOr(tb testing.TB, otherwise string, elements ...string) []byte {
	tb.Helper()
	if _, err := os.Stat(filepath.Join(elements...)); errors.Is(err, os.ErrNotExist) {
		return []byte(otherwise)
	}
	return bytes.TrimSpace(readFile(tb, elements...))
}

// refusals are the cases of the conformance suite that must be refused, each with
// why: refused for something else, a case would show nothing. Cases that are not
// here must be accepted. pkg/cli runs all of them through the suite's own command
// line.
var refusals = map[string]sigstore.Reason{
	"bundle-empty-certificate-chain":                       sigstore.ReasonMalformed,
	"bundle-from-wrong-instance":                           sigstore.ReasonCertificate,
	"bundle-invalid-base64-signature":                      sigstore.ReasonMalformed,
	"bundle-malformed-json":                                sigstore.ReasonMalformed,
	"bundle-negative-log-index":                            sigstore.ReasonMalformed,
	"bundle-unknown-version":                               sigstore.ReasonUnsupported,
	"bundle-with-root-cert":                                sigstore.ReasonMalformed,
	"checkpoint-bad-keyhint":                               sigstore.ReasonLog,
	"checkpoint-wrong-roothash":                            sigstore.ReasonLog,
	"dsse-invalid-sig":                                     sigstore.ReasonSignature,
	"dsse-mismatch-envelope":                               sigstore.ReasonLog,
	"dsse-mismatch-sig":                                    sigstore.ReasonLog,
	"inclusion-proof-corrupted-hash":                       sigstore.ReasonLog,
	"incorrect-public-key":                                 sigstore.ReasonLog,
	"integrated-time-in-future":                            sigstore.ReasonLog,
	"intoto-expired-certificate":                           sigstore.ReasonCertificate,
	"intoto-log-entry-mismatch":                            sigstore.ReasonLog,
	"intoto-missing-inclusion-proof":                       sigstore.ReasonLog,
	"intoto-set-outside-signing-cert-validity":             sigstore.ReasonLog,
	"intoto-tsa-timestamp-outside-cert-validity":           sigstore.ReasonCertificate,
	"invalid-checkpoint-signature":                         sigstore.ReasonLog,
	"invalid-ct-key":                                       sigstore.ReasonSCT,
	"invalid-inclusion-proof":                              sigstore.ReasonLog,
	"managed-key-no-key":                                   sigstore.ReasonSigner,
	"managed-key-wrong-key":                                "", // its key is on no curve
	"message-digest-mismatch":                              sigstore.ReasonContent,
	"rekor2-checkpoint-missing-log-signature":              sigstore.ReasonLog,
	"rekor2-checkpoint-missing-origin":                     sigstore.ReasonLog,
	"rekor2-checkpoint-missing-root-hash":                  sigstore.ReasonLog,
	"rekor2-checkpoint-missing-size":                       sigstore.ReasonLog,
	"rekor2-checkpoint-no-matching-signature":              sigstore.ReasonLog,
	"rekor2-dsse-invalid-sig":                              sigstore.ReasonSignature,
	"rekor2-dsse-mismatch-envelope":                        sigstore.ReasonLog,
	"rekor2-dsse-mismatch-sig":                             sigstore.ReasonLog,
	"rekor2-no-inclusion-proof":                            sigstore.ReasonLog,
	"rekor2-no-timestamp":                                  sigstore.ReasonTime,
	"rekor2-timestamp-outside-trust-root-tsa-validity":     sigstore.ReasonTime,
	"rekor2-timestamp-outside-tsa-cert-validity":           sigstore.ReasonTime,
	"rekor2-timestamp-payload-mismatch":                    sigstore.ReasonTime,
	"rekor2-timestamp-untrusted-tsa-with-embedded-cert":    sigstore.ReasonTime,
	"rekor2-timestamp-untrusted-tsa-without-embedded-cert": sigstore.ReasonTime,
	"rekor2-timestamp-with-incorrect-time":                 sigstore.ReasonMalformed, // line breaks in base64
	"set-invalid-signature":                                sigstore.ReasonLog,
	"signature-mismatch":                                   sigstore.ReasonSignature,
	"trust-root-tlog-missing-validity-start":               "", // the root can't be read
	"wrong-hashedrekord-artifact":                          sigstore.ReasonLog,
	"wrong-hashedrekord-cert-and-sig":                      sigstore.ReasonLog,
	"wrong-hashedrekord-entry":                             sigstore.ReasonLog,
	"wrong-material":                                       sigstore.ReasonSignature,
}

func TestConformanceCasesAreRefusedForWhatIsWrongWithThem(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(corpora(t), "sigstore-conformance", "bundle-verify")
	cases, err := filepath.Glob(filepath.Join(dir, "*", "bundle.sigstore.json"))
	if err != nil || len(cases) != 70 {
		t.Fatalf("%d cases, not 70: %v", len(cases), err)
	}
	for _, path := range cases {
		path := filepath.Dir(path)
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			err := conformanceCase(t, path)
			want, fails := refusals[strings.TrimSuffix(filepath.Base(path), "_fail")]
			if fails != strings.HasSuffix(path, "_fail") {
				t.Fatalf("the table and the suite differ: %v", err)
			}
			if (err != nil) != fails || reasonOf(err) != want {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}

func conformanceCase(t *testing.T, path string) error {
	root := sigstore.PublicGood()
	if _, err := os.Stat(filepath.Join(path, "trusted_root.json")); err == nil {
		if root, err = sigstore.ParseRoot(readFile(t, path, "trusted_root.json")); err != nil {
			return err
		}
	}
	authority, err := sigstore.NewKeyless(sigstore.KeylessConfig{Identities: []sigstore.Identity{{
		Subject: sigstore.Exact(string(readOr(t, "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main", path, "identity"))),
		Issuer:  sigstore.Exact(string(readOr(t, "https://token.actions.githubusercontent.com", path, "issuer"))),
	}}})
	if key := readOr(t, "", path, "key.pub"); len(key) > 0 {
		authority, err = sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{key}, RequireLog: true})
	}
	if err != nil {
		return err
	}
	artifact := readFile(t, filepath.Dir(path), "a.txt")
	if _, err := os.Stat(filepath.Join(path, "artifact")); err == nil {
		artifact = readFile(t, path, "artifact")
	}
	return authority.VerifyBlob(root, readFile(t, path, "bundle.sigstore.json"), sigstore.Blob{Content: artifact}, time.Now())
}

// reasonOf is why something was refused, empty if it was not or not by a judge.
func reasonOf(err error) sigstore.Reason {
	if r, ok := errors.AsType[*sigstore.Refusal](err); ok {
		return r.Reason
	}
	return ""
}
