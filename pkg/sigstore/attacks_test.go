package sigstore_test

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// The numbers in comments are the rows of the project's list of attacks on image
// verification.

// attack is a signature that is good but for what an attacker did to it.
type attack struct {
	name string
	// change is done before signing, parts after.
	change func(*sigstoretest.Signature)
	parts  func(*sigstoretest.Parts)
	// root is what is trusted, the whole Sigstore by default.
	root func(*sigstoretest.Root)
	want sigstore.Reason
}

func (w *world) run(t *testing.T, base sigstoretest.Signature, attacks []attack) {
	t.Helper()
	authority := keyless(t, releaseIdentity())
	if _, err := w.sign(t, authority, base); err != nil {
		t.Fatalf("without an attack: %v", err)
	}
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			s := base
			if a.change != nil {
				a.change(&s)
			}
			s.Break = a.parts
			trusted := w.Root()
			if a.root != nil {
				a.root(&trusted)
			}
			made := sigstoretest.Sign(s)
			_, err := authority.Signature(parseRoot(t, trusted), item(t, made), []image.Digest{app}, now)
			refused(t, err, a.want)
		})
	}
}

func entry(change func(*sigstoretest.Entry)) func(*sigstoretest.Signature) {
	return func(s *sigstoretest.Signature) { s.Entry = change }
}

func (w *world) signer(change func(*sigstoretest.Identity)) func(*sigstoretest.Signature) {
	return func(s *sigstoretest.Signature) {
		id := release()
		change(&id)
		s.Signer = w.Keyless(id)
	}
}

// Row 1: what is signed is in the signed bytes; a tag, a referrer's subject and
// the name of a repository can be copied.
func TestASignatureOfAnotherImageAtOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, format := range []evidence.Format{evidence.SimpleSigning, evidence.Envelope, evidence.Bundle} {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			s := w.signed()
			s.Format, s.Digest, s.Witnesses = format, evil, witnesses{w.Rekor1}
			a := keyless(t, releaseIdentity())
			if format == evidence.Envelope {
				_, err := w.attest(t, a, s)
				refused(t, err, sigstore.ReasonContent)
				return
			}
			_, err := w.sign(t, a, s)
			refused(t, err, sigstore.ReasonContent)
		})
	}
}

// Row 2.
func TestStatementsThatNameTheImageSomehow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hex := app.Hex()
	subject := func(text string) func(*sigstoretest.Signature) {
		return func(s *sigstoretest.Signature) { s.Subject = text }
	}
	payload := func(format string, args ...any) func(*sigstoretest.Signature) {
		return func(s *sigstoretest.Signature) { s.Payload = fmt.Appendf(nil, format, args...) }
	}
	const statement = `"_type":"https://in-toto.io/Statement/v1","predicateType":"https://sigstore.dev/cosign/sign/v1"`
	w.run(t, w.signed(), []attack{
		{name: "under another algorithm", change: subject(`[{"digest":{"sha512":"` + hex + `"}}]`), want: sigstore.ReasonContent},
		{name: "under the algorithm's name in capitals", change: subject(`[{"digest":{"SHA256":"` + hex + `"}}]`), want: sigstore.ReasonMalformed},
		{name: "in capitals", change: subject(`[{"digest":{"sha256":"` + strings.ToUpper(hex) + `"}}]`), want: sigstore.ReasonContent},
		{name: "with its algorithm twice", change: subject(`[{"digest":{"sha256":"sha256:` + hex + `"}}]`), want: sigstore.ReasonContent},
		{name: "and more", change: subject(`[{"digest":{"sha256":"` + hex + hex + `"}}]`), want: sigstore.ReasonContent},
		{name: "in part", change: subject(`[{"digest":{"sha256":"` + hex[:32] + `"}}]`), want: sigstore.ReasonContent},
		{name: "as a name", change: subject(`[{"name":"` + hex + `","digest":{"sha256":"` + evil.Hex() + `"}}]`), want: sigstore.ReasonContent},
		{name: "null subjects", change: subject(`[null]`), want: sigstore.ReasonMalformed},
		{name: "a null subject before it", change: subject(`[null,{"digest":{"sha256":"` + hex + `"}}]`), want: sigstore.ReasonMalformed},
		{name: "no subjects", change: subject(`[]`), want: sigstore.ReasonContent},
		{name: "subjects that are null", change: subject(`null`), want: sigstore.ReasonMalformed},
		{name: "a digest that is null", change: subject(`[{"digest":null}]`), want: sigstore.ReasonMalformed},
		{name: "a digest that is a list", change: subject(`[{"digest":["` + hex + `"]}]`), want: sigstore.ReasonMalformed},
		{name: "a digest that is a number", change: subject(`[{"digest":{"sha256":7}}]`), want: sigstore.ReasonMalformed},
		{name: "the algorithm twice", change: subject(`[{"digest":{"sha256":"` + evil.Hex() + `","sha256":"` + hex + `"}}]`), want: sigstore.ReasonMalformed},
		{name: "1025 subjects", change: subject(`[` + strings.Repeat(`{"digest":{"sha256":"`+evil.Hex()+`"}},`, 1024) + `{"digest":{"sha256":"` + hex + `"}}]`), want: sigstore.ReasonLimit},
		{name: "33 digests", change: subject(`[{"digest":{` + manyMembers(32) + `"sha256":"` + hex + `"}}]`), want: sigstore.ReasonLimit},
		// Row 21.
		{name: "two lists of subjects", change: payload(`{%s,"subject":[{"digest":{"sha256":"%s"}}],"subject":[{"digest":{"sha256":"%s"}}]}`, statement, evil.Hex(), hex), want: sigstore.ReasonMalformed},
		{name: "a second list in capitals", change: payload(`{%s,"subject":[{"digest":{"sha256":"%s"}}],"Subject":[{"digest":{"sha256":"%s"}}]}`, statement, hex, evil.Hex()), want: sigstore.ReasonMalformed},
		{name: "a second statement behind it", change: payload(`{%s,"subject":[{"digest":{"sha256":"%s"}}]}{}`, statement, hex), want: sigstore.ReasonMalformed},
		{name: "another version of in-toto", change: payload(`{"_type":"https://in-toto.io/Statement/v2","predicateType":"https://sigstore.dev/cosign/sign/v1","subject":[{"digest":{"sha256":"%s"}}]}`, hex), want: sigstore.ReasonMalformed},
		// Row 7.
		{name: "no JSON", change: payload(`{%s,"subject":[{"digest":{"sha256":"%s"}}]`, statement, hex), want: sigstore.ReasonMalformed},
		{name: "nothing", change: payload(" "), want: sigstore.ReasonMalformed},
		{name: "another payload type", change: func(s *sigstoretest.Signature) { s.PayloadType = "application/json" }, want: sigstore.ReasonUnsupported},
	})
}

func manyMembers(n int) (text string) {
	for i := range n {
		text += fmt.Sprintf(`"a%d":"x",`, i)
	}
	return text
}

// Rows 1, 7 and 21, for cosign's own format.
func TestPayloadsThatNameTheImageSomehow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base := w.signed()
	base.Format, base.Witnesses = evidence.SimpleSigning, witnesses{w.Rekor1}
	const identity, kind = `"identity":{"docker-reference":"x"}`, `"type":"cosign container image signature"`
	good := `"image":{"docker-manifest-digest":"` + app.String() + `"}`
	payload := func(text string) func(*sigstoretest.Signature) {
		return func(s *sigstoretest.Signature) { s.Payload = []byte(text) }
	}
	critical := func(text string) func(*sigstoretest.Signature) {
		return payload(`{"critical":{` + text + `},"optional":null}`)
	}
	w.run(t, base, []attack{
		{name: "in capitals", change: critical(identity + `,"image":{"docker-manifest-digest":"sha256:` + strings.ToUpper(app.Hex()) + `"},` + kind), want: sigstore.ReasonMalformed},
		{name: "of another algorithm", change: critical(identity + `,"image":{"docker-manifest-digest":"sha512:` + app.Hex() + app.Hex() + `"},` + kind), want: sigstore.ReasonMalformed},
		{name: "with a path", change: critical(identity + `,"image":{"docker-manifest-digest":"sha256:../../x"},` + kind), want: sigstore.ReasonMalformed},
		{name: "two images", change: critical(identity + `,"image":{"docker-manifest-digest":"` + evil.String() + `"},` + good + `,` + kind), want: sigstore.ReasonMalformed},
		{name: "an image in capitals beside it", change: critical(identity + `,` + good + `,"Image":{"docker-manifest-digest":"` + evil.String() + `"},` + kind), want: sigstore.ReasonMalformed},
		{name: "no image", change: critical(identity + `,` + kind), want: sigstore.ReasonMalformed},
		{name: "an image that is null", change: critical(identity + `,"image":null,` + kind), want: sigstore.ReasonMalformed},
		{name: "no identity", change: critical(good + `,` + kind), want: sigstore.ReasonMalformed},
		{name: "no type", change: critical(identity + `,` + good), want: sigstore.ReasonMalformed},
		{name: "another type", change: critical(identity + `,` + good + `,"type":"atomic container signature"`), want: sigstore.ReasonMalformed},
		{name: "something else that is critical", change: critical(identity + `,` + good + `,` + kind + `,"not-for":"production"`), want: sigstore.ReasonMalformed},
		{name: "something beside critical", change: payload(`{"critical":{` + identity + `,` + good + `,` + kind + `},"optional":{},"x":1}`), want: sigstore.ReasonMalformed},
		{name: "optional that is a list", change: payload(`{"critical":{` + identity + `,` + good + `,` + kind + `},"optional":[]}`), want: sigstore.ReasonMalformed},
		{name: "a second payload behind it", change: payload(`{"critical":{` + identity + `,` + good + `,` + kind + `},"optional":{}} {}`), want: sigstore.ReasonMalformed},
		{name: "no JSON", change: payload(`critical: ` + app.String()), want: sigstore.ReasonMalformed},
		{name: "a name that ends a line", change: func(s *sigstoretest.Signature) { s.Reference = "x\nimage-policy:prod" }, want: sigstore.ReasonMalformed},
		{name: "64 KiB and more", change: func(s *sigstoretest.Signature) {
			s.Optional = map[string]any{"x": strings.Repeat("x", 64<<10)}
		}, want: sigstore.ReasonLimit},
		{name: "nothing at all", change: payload("{}"), want: sigstore.ReasonMalformed},
	})
}

// Rows 3 and 4: each part alone is of something else.
func TestLogEntriesOfSomethingElse(t *testing.T) {
	t.Parallel()
	w, stranger := newWorld(t), sigstoretest.New()
	for version, log := range map[string]*sigstoretest.Log{"Rekor v1": w.Rekor1, "Rekor v2": w.Rekor2} {
		base := w.signed()
		base.Witnesses = witnesses{log, w.TSA}
		other := sigstoretest.Sign(base).Parts
		ofEvil := base
		ofEvil.Digest = evil
		evilParts := sigstoretest.Sign(ofEvil).Parts
		attacks := []attack{
			{name: "another signature's", parts: func(p *sigstoretest.Parts) { p.Entries = other.Entries }, want: sigstore.ReasonLog},
			{name: "another image's", parts: func(p *sigstoretest.Parts) { p.Entries = evilParts.Entries }, want: sigstore.ReasonLog},
			{name: "with another certificate", change: entry(func(e *sigstoretest.Entry) { e.Certificate = other.Certificate }), want: sigstore.ReasonLog},
			{name: "with another digest", change: entry(func(e *sigstoretest.Entry) { e.Message, e.Payload = []byte("x"), []byte("{}") }), want: sigstore.ReasonLog},
			{name: "with another signature", change: entry(func(e *sigstoretest.Entry) { e.Signature = other.Signature }), want: sigstore.ReasonLog},
			{name: "with a key in place of the certificate", change: entry(func(e *sigstoretest.Entry) { e.Certificate = nil }), want: sigstore.ReasonLog},
			{name: "of another kind than it is said to be", parts: func(p *sigstoretest.Parts) { p.Entries[0].Kind = "intoto" }, want: sigstore.ReasonMalformed},
			{name: "the signature is another one of the same by the same key", parts: func(p *sigstoretest.Parts) { p.Signature = other.Signature }, want: sigstore.ReasonLog},
			{name: "the signature is another image's", parts: func(p *sigstoretest.Parts) { p.Signature = evilParts.Signature }, want: sigstore.ReasonSignature},
			{name: "the payload is another one", parts: func(p *sigstoretest.Parts) {
				p.Payload = bytes.Replace(p.Payload, []byte(`"predicate":{}`), []byte(`"predicate":{"x":1}`), 1)
			}, want: sigstore.ReasonSignature},
			{name: "the certificate is another one of the same signer", parts: func(p *sigstoretest.Parts) { p.Certificate = other.Certificate }, want: sigstore.ReasonLog},
			{name: "a proof with a hash changed", parts: func(p *sigstoretest.Parts) { p.Entries[0].Proof.Hashes[0] = make([]byte, 32) }, want: sigstore.ReasonLog},
			{name: "a proof of another entry", parts: func(p *sigstoretest.Parts) { p.Entries[0].Proof = other.Entries[0].Proof; p.Entries[0].LogIndex-- }, want: sigstore.ReasonLog},
			// Row 27: keys are the trust root's.
			{name: "signed by another log that says it is ours", parts: func(p *sigstoretest.Parts) {
				proof := p.Entries[0].Proof
				strange := stranger.Rekor1
				if p.Entries[0].SignedEntryTimestamp == nil {
					strange = stranger.Rekor2
				} else {
					p.Entries[0].SignedEntryTimestamp = strange.Promise(p.Entries[0])
				}
				proof.Checkpoint = strange.Checkpoint(proof.TreeSize, proof.RootHash)
			}, want: sigstore.ReasonLog},
			{name: "of a log that is not in the root", root: func(r *sigstoretest.Root) { r.Logs = stranger.Root().Logs }, want: sigstore.ReasonLog},
			{name: "a log's root that has changed since", root: func(r *sigstoretest.Root) {
				r.Logs[0].Key, r.Logs[1].Key = stranger.Rekor1.Public(), stranger.Rekor2.Public()
			}, want: sigstore.ReasonLog},
			{name: "no entry", parts: func(p *sigstoretest.Parts) { p.Entries = nil }, want: sigstore.ReasonLog},
			// Row 12.
			{name: "one entry twice", parts: func(p *sigstoretest.Parts) { p.Entries = slices.Repeat(p.Entries, 2) }, want: sigstore.ReasonMalformed},
			// Row 16.
			{name: "33 entries", change: func(s *sigstoretest.Signature) { s.Witnesses = slices.Repeat(s.Witnesses, 33) }, want: sigstore.ReasonLimit},
		}
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			w.run(t, base, attacks)
		})
	}
}

// Row 3, for Rekor v1 alone: the promise and the proof are of one entry.
func TestPromisesOfSomethingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base := w.signed()
	base.Witnesses = witnesses{w.Rekor1}
	other := sigstoretest.Sign(base).Parts
	w.run(t, base, []attack{
		{name: "for another entry", parts: func(p *sigstoretest.Parts) { p.Entries[0].SignedEntryTimestamp = other.Entries[0].SignedEntryTimestamp }, want: sigstore.ReasonLog},
		{name: "for another time", parts: func(p *sigstoretest.Parts) { p.Entries[0].IntegratedTime++ }, want: sigstore.ReasonLog},
		{name: "for another index", parts: func(p *sigstoretest.Parts) { p.Entries[0].LogIndex++ }, want: sigstore.ReasonLog},
		{name: "negative index", parts: func(p *sigstoretest.Parts) { p.Entries[0].LogIndex = -1 }, want: sigstore.ReasonMalformed},
		// Row 31.
		{name: "negative time", parts: func(p *sigstoretest.Parts) { p.Entries[0].IntegratedTime = -1 }, want: sigstore.ReasonMalformed},
		// Without a promise the time is not signed by anybody.
		{name: "no promise", parts: func(p *sigstoretest.Parts) { p.Entries[0].SignedEntryTimestamp = nil }, want: sigstore.ReasonTime},
		{name: "a log that was not in use yet", root: func(r *sigstoretest.Root) { r.Logs[0].Valid.Start = sigstoretest.Time.Add(time.Second) }, want: sigstore.ReasonLog},
		{name: "a log that was in use no more", root: func(r *sigstoretest.Root) { r.Logs[0].Valid.End = sigstoretest.Time.Add(-time.Second) }, want: sigstore.ReasonLog},
	})
}

// Row 3: an entry of Rekor v2's kind in a log of Rekor v1. sigstore-go compares such
// an entry with nothing.
func TestAnEntryOfRekor2InRekor1(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := sigstoretest.Sign(w.signed()).Parts
	base := w.signed()
	base.Entry = func(e *sigstoretest.Entry) { e.Kind, e.Version = "hashedrekord", "0.0.2" }
	strip := func(p *sigstoretest.Parts) { p.Entries[0].SignedEntryTimestamp = nil }
	for name, change := range map[string]func(*sigstoretest.Entry){
		"of another signature":   func(e *sigstoretest.Entry) { e.Signature = other.Signature },
		"of another certificate": func(e *sigstoretest.Entry) { e.Certificate = other.Certificate },
		"of another key":         func(e *sigstoretest.Entry) { e.Certificate = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := base
			s.Entry = func(e *sigstoretest.Entry) { base.Entry(e); change(e) }
			s.Break = strip
			_, err := w.sign(t, keyless(t, releaseIdentity()), s)
			refused(t, err, sigstore.ReasonLog)
		})
	}
}

// Row 14: a log counts only for the time of its key, both ends included, also where
// the time is a timestamp authority's.
func TestALogThatWasNotInUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	authority := keyless(t, releaseIdentity())
	s := w.signed()
	s.Witnesses = witnesses{w.Rekor2, w.TSA}
	made := item(t, sigstoretest.Sign(s))
	for name, c := range map[string]struct {
		valid sigstoretest.Period
		want  sigstore.Reason
	}{
		"begins then":  {sigstoretest.Period{Start: sigstoretest.Time}, ""},
		"ends then":    {sigstoretest.Period{Start: sigstoretest.Always.Start, End: sigstoretest.Time}, ""},
		"begins later": {sigstoretest.Period{Start: sigstoretest.Time.Add(time.Second)}, sigstore.ReasonTime},
		"ended before": {sigstoretest.Period{Start: sigstoretest.Always.Start, End: sigstoretest.Time.Add(-time.Second)}, sigstore.ReasonTime},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trusted := w.Root()
			for i := range trusted.Logs {
				trusted.Logs[i].Valid = c.valid
			}
			_, err := authority.Signature(parseRoot(t, trusted), made, []image.Digest{app}, now)
			if reasonOf(err) != c.want || (err != nil) != (c.want != "") {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// Row 3: early Rekor v2 has entries that sigstore-go can't read any more. They are
// refused by that name, and not as a lie.
func TestAnEntryOfEarlyRekor2(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.signed()
	s.Witnesses, s.Entry = witnesses{w.Rekor2, w.TSA}, func(e *sigstoretest.Entry) { e.Kind = "dsse" }
	_, err := w.sign(t, keyless(t, releaseIdentity()), s)
	refused(t, err, sigstore.ReasonUnsupported)
	if !strings.Contains(err.Error(), `"dsse", version "0.0.2": early Rekor v2`) {
		t.Errorf("it does not say what to do: %v", err)
	}
}

// Rows 8, 9 and 10: certificates.
func TestCertificatesThatMustNotCount(t *testing.T) {
	t.Parallel()
	w, stranger := newWorld(t), sigstoretest.New()
	expired := sigstoretest.NewCA(sigstoretest.CAOptions{
		Lifetime: 10 * time.Minute, Logs: []*sigstoretest.CTLog{w.CT},
		Intermediate: sigstoretest.Period{Start: sigstoretest.Always.Start, End: sigstoretest.Time.Add(-time.Hour)},
	})
	base := w.signed()
	base.Witnesses = witnesses{w.TSA, w.Rekor1}
	w.run(t, base, []attack{
		{name: "of another Fulcio", change: func(s *sigstoretest.Signature) { s.Signer = stranger.Keyless(release()) }, want: sigstore.ReasonCertificate},
		{name: "expired before it was signed", change: func(s *sigstoretest.Signature) { s.Certified = sigstoretest.Time.Add(-time.Hour) }, want: sigstore.ReasonLog},
		{name: "made after it was signed", change: func(s *sigstoretest.Signature) { s.Certified = sigstoretest.Time.Add(time.Hour) }, want: sigstore.ReasonLog},
		{name: "expired before it was stamped", change: func(s *sigstoretest.Signature) {
			s.Token = func(k *sigstoretest.Token) { k.Time = k.Time.Add(time.Hour) }
		}, want: sigstore.ReasonCertificate},
		{name: "of an intermediate that had expired", change: func(s *sigstoretest.Signature) { s.Signer = expired.Signer(release()) },
			root: func(r *sigstoretest.Root) { r.Fulcios = sigstoretest.Trust(expired).Fulcios }, want: sigstore.ReasonCertificate},
		{name: "of a Fulcio that was in use no more", root: func(r *sigstoretest.Root) { r.Fulcios[0].Valid.End = sigstoretest.Time.Add(-time.Second) }, want: sigstore.ReasonCertificate},
		{name: "for servers", change: w.signer(func(id *sigstoretest.Identity) {
			id.Template = func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
		}), want: sigstore.ReasonCertificate},
		{name: "for anything", change: w.signer(func(id *sigstoretest.Identity) {
			id.Template = func(c *x509.Certificate) { c.ExtKeyUsage = nil }
		}), want: sigstore.ReasonCertificate},
		{name: "a CA's", change: w.signer(func(id *sigstoretest.Identity) {
			id.Template = func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }
		}), want: sigstore.ReasonCertificate},
		{name: "that may sign others", change: w.signer(func(id *sigstoretest.Identity) {
			id.Template = func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }
		}), want: sigstore.ReasonCertificate},
		{name: "no SCT", change: w.signer(func(id *sigstoretest.Identity) { id.SCTs = func([][]byte) [][]byte { return nil } }), want: sigstore.ReasonSCT},
		{name: "another certificate's SCT", change: w.signer(func(id *sigstoretest.Identity) {
			id.SCTs = func(scts [][]byte) [][]byte { scts[0][len(scts[0])-1] ^= 1; return scts }
		}), want: sigstore.ReasonSCT},
		{name: "in a CT log that is not in the root", root: func(r *sigstoretest.Root) { r.CTLogs = stranger.Root().CTLogs }, want: sigstore.ReasonSCT},
		{name: "no issuer", change: w.signer(func(id *sigstoretest.Identity) { id.Issuer = "" }), want: sigstore.ReasonMalformed},
		{name: "two issuers", change: w.signer(func(id *sigstoretest.Identity) { id.IssuerV1 = "https://evil.example.org" }), want: sigstore.ReasonMalformed},
		{name: "two issuers, the other way round", change: w.signer(func(id *sigstoretest.Identity) { id.IssuerV2 = "https://evil.example.org" }), want: sigstore.ReasonMalformed},
		{name: "another issuer", change: w.signer(func(id *sigstoretest.Identity) { id.Issuer = "https://evil.example.org" }), want: sigstore.ReasonIdentity},
		{name: "another issuer, in the old extension alone", change: w.signer(func(id *sigstoretest.Identity) {
			id.Issuer, id.IssuerV2 = "https://evil.example.org", sigstoretest.Omit
		}), want: sigstore.ReasonIdentity},
		{name: "no subject", change: w.signer(func(id *sigstoretest.Identity) { id.Subject = sigstoretest.SAN{} }), want: sigstore.ReasonMalformed},
		{name: "two subjects", change: w.signer(func(id *sigstoretest.Identity) {
			id.More = []sigstoretest.SAN{sigstoretest.URI("https://evil.example.org")}
		}), want: sigstore.ReasonMalformed},
		{name: "another subject", change: w.signer(func(id *sigstoretest.Identity) { id.Subject = sigstoretest.URI("https://github.com/org/app") }), want: sigstore.ReasonIdentity},
		{name: "the subject as an e-mail address", change: w.signer(func(id *sigstoretest.Identity) {
			id.Subject = sigstoretest.Email("https://github.com/org/app/.github/workflows/release.yml@refs/tags/v1")
		}), want: sigstore.ReasonMalformed},
		{name: "the subject as another name", change: w.signer(func(id *sigstoretest.Identity) {
			id.Subject = sigstoretest.Username("https://github.com/org/app/.github/workflows/release.yml@refs/tags/v1")
		}), want: sigstore.ReasonMalformed},
		{name: "the subject as a host name", change: w.signer(func(id *sigstoretest.Identity) {
			id.Subject = sigstoretest.DNS("https://github.com/org/app/.github/workflows/release.yml@refs/tags/v1")
		}), want: sigstore.ReasonMalformed},
	})
}

// Row 13.
func TestTimestampsThatMustNotCount(t *testing.T) {
	t.Parallel()
	w, stranger := newWorld(t), sigstoretest.New()
	base := w.signed()
	base.Witnesses = witnesses{w.Rekor2, w.TSA}
	other := sigstoretest.Sign(base).Parts
	expired := sigstoretest.NewTSA(sigstoretest.TSAOptions{Leaf: sigstoretest.Period{Start: sigstoretest.Always.Start, End: sigstoretest.Time.Add(-time.Hour)}})
	w.run(t, base, []attack{
		{name: "of another signature", parts: func(p *sigstoretest.Parts) { p.Timestamps = other.Timestamps }, want: sigstore.ReasonTime},
		{name: "of the payload", change: func(s *sigstoretest.Signature) {
			s.Token = func(k *sigstoretest.Token) { k.Over = []byte("payload") }
		}, want: sigstore.ReasonTime},
		{name: "of another authority", parts: func(p *sigstoretest.Parts) {
			p.Timestamps = [][]byte{stranger.TSA.Timestamp(p.Signature, sigstoretest.Time)}
		}, want: sigstore.ReasonTime},
		{name: "with another authority's chain in it", parts: func(p *sigstoretest.Parts) {
			p.Timestamps = [][]byte{stranger.TSA.Issue(sigstoretest.Token{Over: p.Signature, Time: sigstoretest.Time, Certificates: stranger.TSA.Chain()})}
		}, want: sigstore.ReasonTime},
		{name: "of a leaf that had expired", change: func(s *sigstoretest.Signature) { s.Witnesses = witnesses{w.Rekor2, expired} },
			root: func(r *sigstoretest.Root) { r.TSAs = sigstoretest.Trust(expired).TSAs }, want: sigstore.ReasonTime},
		{name: "of an authority that was in use no more", root: func(r *sigstoretest.Root) { r.TSAs[0].Valid.End = sigstoretest.Time.Add(-time.Second) }, want: sigstore.ReasonTime},
		{name: "none", parts: func(p *sigstoretest.Parts) { p.Timestamps = nil }, want: sigstore.ReasonTime},
		{name: "no timestamp at all", parts: func(p *sigstoretest.Parts) { p.Timestamps = [][]byte{[]byte("x")} }, want: sigstore.ReasonTime},
		{name: "33 timestamps", parts: func(p *sigstoretest.Parts) { p.Timestamps = slices.Repeat(p.Timestamps, 33) }, want: sigstore.ReasonLimit},
		{name: "a long one", parts: func(p *sigstoretest.Parts) { p.Timestamps = [][]byte{make([]byte, 129<<10)} }, want: sigstore.ReasonLimit},
	})
}

// Row 10: whatever a log or an authority says, nothing is signed tomorrow.
func TestATimeInTheFuture(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for by, witnesses := range map[string]witnesses{"Rekor v1": {w.Rekor1}, "TSA": {w.Rekor2, w.TSA}} {
		s := w.signed()
		s.Witnesses = witnesses
		made := item(t, sigstoretest.Sign(s))
		for _, c := range []struct {
			now  time.Time
			want sigstore.Reason
		}{
			{sigstoretest.Time, ""},
			{sigstoretest.Time.Add(-4 * time.Minute), ""}, // this node's clock is slow
			{sigstoretest.Time.Add(-6 * time.Minute), sigstore.ReasonTime},
		} {
			if _, err := keyless(t, releaseIdentity()).Signature(w.root, made, []image.Digest{app}, c.now); reasonOf(err) != c.want {
				t.Errorf("%s, now %s: %v, want %q", by, c.now, err, c.want)
			}
		}
	}
}
