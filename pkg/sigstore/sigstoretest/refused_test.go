package sigstoretest_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// Each breakage is refused by sigstore-go for the reason that the test names; the
// same signature whole is accepted. What sigstore-go does not refuse, because it is
// a verifier's policy, is not here.
func TestSigstoreGoRefusesWhatIsBroken(t *testing.T) {
	t.Parallel()
	s, stranger := sigstoretest.New(), sigstoretest.New()
	signer := s.Keyless(sigstoretest.GitHub("org/app", "release.yml", "refs/tags/v1"))
	evil := image.Of([]byte("evil"))
	base := sigstoretest.Signature{Signer: signer, Digest: app, Format: evidence.Bundle, Witnesses: witnesses{s.Rekor1, s.TSA}}
	second := base
	second.Witnesses = witnesses{s.Rekor2, s.TSA}
	other := sigstoretest.Sign(base).Parts
	other2 := sigstoretest.Sign(second).Parts

	for name, test := range map[string]struct {
		change func(*sigstoretest.Signature)
		parts  func(*sigstoretest.Parts)
		root   func(*sigstoretest.Root)
		rekor2 bool
		want   string
	}{
		"another image": {
			change: func(x *sigstoretest.Signature) { x.Digest = evil },
			want:   "does not match any digest in statement",
		},
		"a digest under another algorithm": {
			change: func(x *sigstoretest.Signature) { x.Subject = `[{"digest":{"sha512":"` + app.Hex() + `"}}]` },
			want:   "do not match digests in statement|does not match digests in statement",
		},
		"a null subject": {
			change: func(x *sigstoretest.Signature) { x.Subject = `[null]` },
			want:   "statement",
		},
		"another payload": {
			parts: func(p *sigstoretest.Parts) {
				p.Payload = bytes.Replace(p.Payload, []byte(app.Hex()), []byte(evil.Hex()), 1)
			},
			want: "payload hash",
		},
		"another signature": {
			parts: func(p *sigstoretest.Parts) { p.Signature = other.Signature },
			want:  "signature does not match",
		},
		"another signature, and entry and timestamp with it": {
			parts: func(p *sigstoretest.Parts) {
				p.Signature, p.Entries, p.Timestamps = other.Signature, other.Entries, other.Timestamps
			},
			want: "certificate does not match",
		},
		"another certificate of the same identity": {
			parts: func(p *sigstoretest.Parts) { p.Certificate = other.Certificate },
			want:  "certificate does not match",
		},
		"a log entry of another signature": {
			parts: func(p *sigstoretest.Parts) { p.Entries = other.Entries },
			want:  "signature does not match",
		},
		"a log entry of another signature, v2": {
			rekor2: true,
			parts:  func(p *sigstoretest.Parts) { p.Entries = other2.Entries },
			want:   "verifying inclusion",
		},
		"a log entry with another digest": {
			change: func(x *sigstoretest.Signature) {
				x.Entry = func(e *sigstoretest.Entry) { e.Payload = []byte("{}") }
			},
			want: "payload hash",
		},
		"a log entry with another certificate": {
			change: func(x *sigstoretest.Signature) {
				x.Entry = func(e *sigstoretest.Entry) { e.Certificate = other.Certificate }
			},
			want: "certificate does not match",
		},
		"a log entry with another key, v2": {
			rekor2: true,
			change: func(x *sigstoretest.Signature) {
				x.Entry = func(e *sigstoretest.Entry) { e.Certificate, e.Public = nil, sigstoretest.NewKey(0).Public() }
			},
			want: "verifying inclusion",
		},
		"a dsse entry of Rekor v2": {
			rekor2: true,
			change: func(x *sigstoretest.Signature) { x.Entry = func(e *sigstoretest.Entry) { e.Kind = "dsse" } },
			want:   "not a recognizable",
		},
		"a promise of another log": {
			parts: func(p *sigstoretest.Parts) { p.Entries[0].SignedEntryTimestamp = stranger.Rekor1.Promise(p.Entries[0]) },
			want:  "not enough verified log entries",
		},
		"a promise for another time": {
			parts: func(p *sigstoretest.Parts) { p.Entries[0].IntegratedTime++ },
			want:  "not enough verified log entries",
		},
		"an inclusion proof with one hash changed": {
			parts: func(p *sigstoretest.Parts) { p.Entries[0].Proof.Hashes[0] = make([]byte, 32) },
			want:  "does not match|calculated root",
		},
		"a checkpoint of another log": {
			parts: func(p *sigstoretest.Parts) {
				proof := p.Entries[0].Proof
				proof.Checkpoint = stranger.Rekor1.Checkpoint(proof.TreeSize, proof.RootHash)
			},
			want: "signature on checkpoint",
		},
		"a checkpoint of another log, v2": {
			rekor2: true,
			parts: func(p *sigstoretest.Parts) {
				proof := p.Entries[0].Proof
				proof.Checkpoint = stranger.Rekor2.Checkpoint(proof.TreeSize, proof.RootHash)
			},
			want: "checkpoint",
		},
		"a checkpoint of a smaller tree, v2": {
			rekor2: true,
			parts: func(p *sigstoretest.Parts) {
				p.Entries[0].Proof.Checkpoint = s.Rekor2.Checkpoint(1, p.Entries[0].Proof.RootHash)
			},
			want: "verifying inclusion",
		},
		"a log that is not in the root": {
			root: func(r *sigstoretest.Root) { r.Logs = stranger.Root().Logs },
			want: "not enough verified log entries",
		},
		"a log whose key was not valid yet": {
			root: func(r *sigstoretest.Root) { r.Logs[0].Valid.Start = sigstoretest.Time.Add(time.Second) },
			want: "not enough verified log entries",
		},
		"a log in the root without the start of its validity": {
			root: func(r *sigstoretest.Root) { r.Logs[0].Valid.Start = time.Time{} },
			want: "validity period start",
		},
		"an entry twice": {
			parts: func(p *sigstoretest.Parts) { p.Entries = append(p.Entries, p.Entries[0]) },
			want:  "duplicate",
		},
		"33 entries": {
			change: func(x *sigstoretest.Signature) { x.Witnesses = slices.Repeat(x.Witnesses, 33) },
			want:   "too many tlog entries",
		},
		"a time in the log after the certificate's": {
			change: func(x *sigstoretest.Signature) {
				x.Entry = func(e *sigstoretest.Entry) { e.Time = e.Time.Add(time.Hour) }
			},
			want: "outside certificate validity",
		},
		"a time in the log long in the future": {
			change: func(x *sigstoretest.Signature) {
				x.Entry = func(e *sigstoretest.Entry) { e.Time = e.Time.AddDate(100, 0, 0) }
			},
			want: "not enough verified log entries", // beyond the log's validity
		},
		"a certificate that had expired": {
			change: func(x *sigstoretest.Signature) { x.Certified = x.Time.Add(-time.Hour) },
			want:   "outside certificate validity",
		},
		"a timestamp of another signature": {
			parts: func(p *sigstoretest.Parts) { p.Timestamps = other.Timestamps },
			want:  "hashed messages don't match",
		},
		"a timestamp of another authority": {
			parts: func(p *sigstoretest.Parts) {
				p.Timestamps = [][]byte{stranger.TSA.Timestamp(p.Signature, sigstoretest.Time)}
			},
			want: "threshold not met",
		},
		"a timestamp that was refused": {
			change: func(x *sigstoretest.Signature) { x.Token = func(k *sigstoretest.Token) { k.Status = 2 } },
			want:   "threshold not met",
		},
		"a timestamp with SHA-1": {
			change: func(x *sigstoretest.Signature) { x.Token = func(k *sigstoretest.Token) { k.Hash = crypto.SHA1 } },
			want:   "weak hash",
		},
		"a timestamp with another certificate in it": {
			change: func(x *sigstoretest.Signature) {
				x.Token = func(k *sigstoretest.Token) { k.Certificates = stranger.TSA.Chain() }
			},
			want: "threshold not met",
		},
		"a certificate of another Fulcio": {
			change: func(x *sigstoretest.Signature) {
				x.Signer = stranger.Keyless(sigstoretest.GitHub("org/app", "release.yml", "refs/tags/v1"))
			},
			want: "leaf certificate verification failed",
		},
		"a Fulcio that was not valid any more": {
			root: func(r *sigstoretest.Root) { r.Fulcios[0].Valid.End = sigstoretest.Time.Add(-time.Second) },
			want: "outside certificate validity|leaf certificate verification failed",
		},
		"no SCT": {
			change: withIdentity(s, func(id *sigstoretest.Identity) { id.SCTs = func([][]byte) [][]byte { return nil } }),
			want:   "SCT",
		},
		"the SCT of another certificate": {
			change: withIdentity(s, func(id *sigstoretest.Identity) {
				id.SCTs = func(scts [][]byte) [][]byte {
					scts[0][len(scts[0])-1] ^= 1
					return scts
				}
			}),
			want: "SCT",
		},
		"the SCT of a log that is not in the root": {
			root: func(r *sigstoretest.Root) { r.CTLogs = stranger.Root().CTLogs },
			want: "SCT",
		},
		"a certificate for servers": {
			change: withIdentity(s, func(id *sigstoretest.Identity) {
				id.Template = func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
			}),
			want: "leaf certificate verification failed|outside certificate validity",
		},
		"two signatures in the envelope": {
			parts: func(p *sigstoretest.Parts) { p.MoreSignatures = [][]byte{p.Signature} },
			want:  "exactly one signature",
		},
		"a chain in a bundle of version 0.3": {
			parts: func(p *sigstoretest.Parts) { p.ChainInBundle = true },
			want:  "cannot be X.509 certificate chain",
		},
		"a negative log index": {
			parts: func(p *sigstoretest.Parts) { p.Entries[0].LogIndex = -1 },
			want:  "nil value",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			signature := base
			if test.rekor2 {
				signature = second
			}
			if test.change != nil {
				test.change(&signature)
			}
			signature.Break = test.parts
			v := verifier{root: s.Root(), options: []verify.VerifierOption{
				verify.WithTransparencyLog(1), verify.WithSignedTimestamps(1), verify.WithSignedCertificateTimestamps(1),
			}}
			if test.root != nil {
				test.root(&v.root)
			}
			err := v.verify(t, sigstoretest.Sign(signature), app)
			if err == nil {
				t.Fatal("it was accepted")
			}
			if !slices.ContainsFunc(strings.Split(test.want, "|"), func(want string) bool { return strings.Contains(err.Error(), want) }) {
				t.Errorf("refused with %q, want %q", err, test.want)
			}
		})
	}
}

func withIdentity(s *sigstoretest.Sigstore, change func(*sigstoretest.Identity)) func(*sigstoretest.Signature) {
	return func(x *sigstoretest.Signature) {
		id := sigstoretest.GitHub("org/app", "release.yml", "refs/tags/v1")
		change(&id)
		x.Signer = s.Keyless(id)
	}
}

// A chain is judged at the time of signing: an intermediate that had expired
// before makes it worthless, one that expired since does not.
func TestAnIntermediateExpires(t *testing.T) {
	t.Parallel()
	s := sigstoretest.New()
	for name, test := range map[string]struct {
		end  time.Time
		fine bool
	}{
		"before": {end: sigstoretest.Time.Add(-time.Hour)},
		"since":  {end: sigstoretest.Time.Add(time.Hour), fine: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := sigstoretest.NewCA(sigstoretest.CAOptions{
				Lifetime: 10 * time.Minute, Logs: []*sigstoretest.CTLog{s.CT},
				Intermediate: sigstoretest.Period{Start: sigstoretest.Always.Start, End: test.end},
			})
			a := sigstoretest.Sign(sigstoretest.Signature{
				Signer: ca.Signer(sigstoretest.Identity{Subject: sigstoretest.Email("dev@example.org"), Issuer: "https://example.org"}),
				Digest: app, Format: evidence.Bundle, Witnesses: witnesses{s.TSA},
			})
			v := verifier{root: sigstoretest.Trust(ca, s.CT, s.TSA), options: []verify.VerifierOption{
				verify.WithSignedTimestamps(1), verify.WithSignedCertificateTimestamps(1),
			}}
			if err := v.verify(t, a, app); (err == nil) != test.fine {
				t.Errorf("verify = %v", err)
			}
		})
	}
}

// A timestamp authority's leaf must be for timestamps alone (row 13).
func TestATimestampAuthorityOfAnotherUse(t *testing.T) {
	t.Parallel()
	s := sigstoretest.New()
	tsa := sigstoretest.NewTSA(sigstoretest.TSAOptions{Template: func(c *x509.Certificate) {
		usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}, {1, 3, 6, 1, 5, 5, 7, 3, 3}})
		if err != nil {
			t.Error(err)
		}
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}}
	}})
	a := sigstoretest.Sign(sigstoretest.Signature{
		Signer: s.Keyless(sigstoretest.Identity{Subject: sigstoretest.Email("dev@example.org"), Issuer: "https://example.org"}),
		Digest: app, Format: evidence.Bundle, Witnesses: witnesses{tsa},
	})
	v := verifier{root: sigstoretest.Trust(s.Fulcio, s.CT, tsa), options: []verify.VerifierOption{verify.WithSignedTimestamps(1)}}
	if err := v.verify(t, a, app); err == nil || !strings.Contains(err.Error(), "extended key usages") {
		t.Errorf("verify = %v", err)
	}
}
