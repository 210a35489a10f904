package rekor_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/rekor/pkg/types"
	_ "github.com/sigstore/rekor/pkg/types/dsse/v0.0.1"
	_ "github.com/sigstore/rekor/pkg/types/hashedrekord/v0.0.1"
	_ "github.com/sigstore/rekor/pkg/types/intoto/v0.0.2"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/rekor"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// What a log is asked for is what a log makes of what cosign gives it, byte by byte:
// Rekor's own code says so.
func TestWhatIsAskedForIsWhatRekorMakes(t *testing.T) {
	t.Parallel()
	s := sigstoretest.New()
	for name, signer := range map[string]*sigstoretest.Signer{
		"keyless": s.Keyless(dev()), "P-256": sigstoretest.NewKey(sigstoretest.ECDSAP256), "P-384": sigstoretest.NewKey(sigstoretest.ECDSAP384),
		"P-521": sigstoretest.NewKey(sigstoretest.ECDSAP521), "RSA": sigstoretest.NewKey(sigstoretest.RSA2048), "Ed25519": sigstoretest.NewKey(sigstoretest.Ed25519),
	} {
		for _, format := range []evidence.Format{evidence.SimpleSigning, evidence.Envelope} {
			if name == "Ed25519" && format == evidence.SimpleSigning {
				continue // which Rekor takes of no digest
			}
			t.Run(name+"/"+string(format), func(t *testing.T) {
				t.Parallel()
				made := sigstoretest.Sign(sigstoretest.Signature{Signer: signer, Digest: app, Format: format, Predicate: `{"<&>":"\u2028\u00e9"}`})
				verifier, keys := []byte(made.Annotations["dev.sigstore.cosign/certificate"]), []crypto.PublicKey(nil)
				if len(verifier) == 0 {
					verifier, keys = signer.PublicPEM(), []crypto.PublicKey{signer.Public()}
				}
				var want []string
				if format == evidence.SimpleSigning {
					signature, err := base64.StdEncoding.DecodeString(made.Annotations["dev.cosignproject.cosign/signature"])
					if err != nil {
						t.Fatal(err)
					}
					want = append(want, rekorMakes(t, "hashedrekord", "0.0.1", types.ArtifactProperties{
						ArtifactHash: image.Of(made.Content).String(), SignatureBytes: signature, PublicKeyBytes: [][]byte{verifier}, PKIFormat: "x509",
					}))
				} else {
					properties := types.ArtifactProperties{ArtifactBytes: made.Content, PublicKeyBytes: [][]byte{verifier}}
					want = append(want, rekorMakes(t, "dsse", "0.0.1", properties), rekorMakes(t, "intoto", "0.0.2", properties))
				}
				got, err := rekor.Wanted(item(t, made), keys...)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("-Rekor +asked for:\n%s", diff)
				}
			})
		}
	}
}

// rekorMakes is the entry that Rekor makes of what it is given.
func rekorMakes(t *testing.T, kind, version string, p types.ArtifactProperties) string {
	t.Helper()
	proposed, err := types.NewProposedEntry(t.Context(), kind, version, p)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := types.UnmarshalEntry(proposed)
	if err != nil {
		t.Fatal(err)
	}
	body, err := types.CanonicalizeEntry(t.Context(), entry)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// An item with a certificate and keys may be in the log with any of them.
func TestEveryKeyIsAskedFor(t *testing.T) {
	t.Parallel()
	s := sigstoretest.New()
	signer := s.Keyless(dev())
	found := item(t, sigstoretest.Sign(sigstoretest.Signature{Signer: signer, Digest: app, Format: evidence.Envelope}))
	other := sigstoretest.NewKey(sigstoretest.ECDSAP256).Public()
	for want, keys := range map[int][]crypto.PublicKey{2: nil, 4: {other, other}, 6: {other, signer.Public()}} {
		got, err := rekor.Wanted(found, keys...)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != want {
			t.Errorf("%d keys: %d entries, want %d", len(keys), len(got), want)
		}
	}
}

// leafHash is RFC 6962's, of a leaf.
func leafHash(body string) string {
	sum := sha256.Sum256([]byte("\x00" + body))
	return hex.EncodeToString(sum[:])
}

func FuzzAnswer(f *testing.F) {
	s := sigstoretest.New()
	made := sigstoretest.Sign(sigstoretest.Signature{Signer: s.Keyless(dev()), Digest: app, Witnesses: witnesses{s.Rekor1}, Break: sigstoretest.LogOnly})
	// The item's keys differ from run to run, and so would the corpus: it is about form.
	found := item(f, made)
	bodies, err := rekor.Wanted(found)
	if err != nil {
		f.Fatal(err)
	}
	filled := func(answer []byte) []byte {
		answer = bytes.ReplaceAll(answer, []byte("$BODY"), []byte(base64.StdEncoding.EncodeToString([]byte(bodies[0]))))
		return bytes.ReplaceAll(answer, []byte("$UUID"), []byte(leafHash(bodies[0])))
	}
	const head, tail = `[{"24296fb24b8ad77a$UUID":{"body":"$BODY","integratedTime":1748779200,`,
		`"logIndex":4163436,"logID":"c0d23d6ad406973f9559f3ba2d1ca01f84147d8ffc5b8445c224f98b9591801d","verification":{"signedEntryTimestamp":"MEUCIQ=="}}}]`
	if _, err := rekor.Taken(filled([]byte(head+tail)), found); err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		head + tail, "[]", "null", "", " ", "[{}]", "[[]]", head + tail + head, head + `"body":"",` + tail,
		head + `"attestation":{"data":"e30="},` + tail, head + `"Body":"e30=",` + tail,
		strings.Replace(head, "24296fb24b8ad77a", "", 1) + tail,
		strings.Replace(head, "24296fb24b8ad77a", "24296FB24B8AD77A", 1) + tail,
		strings.Replace(head, "1748779200", "-1", 1) + tail,
		strings.Replace(head, "1748779200", "1e9", 1) + tail,
		strings.Replace(head, "$BODY", "e30=", 1) + tail,
		head + strings.Replace(tail, "MEUCIQ==", "", 1),
		"[" + strings.Repeat(strings.Trim(head+tail, "[]")+",", 8) + strings.Trim(head+tail, "[]") + "]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		body, err := rekor.Taken(filled(answer), found)
		if err == nil && string(body) != bodies[0] {
			t.Errorf("taken was %q", body)
		}
	})
}

func FuzzWanted(f *testing.F) {
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256).Public()
	certificate := string(sigstoretest.NewCA(sigstoretest.CAOptions{}).RootPEM())
	for _, seed := range []string{
		`{"critical":{}}`, `{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"keyid":"","sig":"MEUCIQ=="}]}`,
		`{"payloadType":"<&>\u2028","payload":"_-8=","signatures":[{"keyid":"\ud83d\ude00","sig":"\\"}]}`,
		`{"payloadType":"a","signatures":[]}`, `{"payloadType":"a","signatures":[{},{}]}`, `{"payloadType":null}`, "{", "[]", "",
	} {
		f.Add([]byte(seed), "MEUCIQ==", certificate)
		f.Add([]byte(seed), "", "")
	}
	f.Add([]byte("{}"), "MEUCIQ==", certificate+certificate)
	f.Add([]byte("{}"), "%", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----")
	f.Fuzz(func(t *testing.T, content []byte, signature, certificate string) {
		for _, format := range []evidence.Format{evidence.SimpleSigning, evidence.Envelope} {
			found := evidence.Item{Format: format, Content: content, Annotations: map[string]string{
				"dev.cosignproject.cosign/signature": signature, "dev.sigstore.cosign/certificate": certificate,
			}}
			got, err := rekor.Wanted(found, key)
			if err != nil {
				continue
			}
			if len(got) == 0 || len(got) > 10 {
				t.Errorf("%d entries are asked for", len(got))
			}
			for _, body := range got {
				if canonical(t, body) != body {
					t.Errorf("%q is not in the form that a log hashes", body)
				}
			}
		}
	})
}
