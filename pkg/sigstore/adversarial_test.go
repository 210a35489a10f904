package sigstore_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// Row 9: a name in a form that x509 passes over, and with it the constraints that a
// CA put on what its subordinate may certify.
func TestANameThatGetsPastNameConstraints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	team := sigstoretest.NewCA(sigstoretest.CAOptions{Template: func(depth int, c *x509.Certificate) {
		if depth == 1 {
			c.PermittedDNSDomainsCritical, c.PermittedEmailAddresses = true, []string{"team.example.org"}
		}
	}})
	// constructed says of the name that it is made of others, which none of its type
	// is.
	constructed := func(c *x509.Certificate) {
		for i, e := range c.ExtraExtensions {
			if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
				value := bytes.Clone(e.Value)
				value[2] |= 0x20
				c.ExtraExtensions[i].Value = value
			}
		}
	}
	for name, c := range map[string]struct {
		subject string
		change  func(*x509.Certificate)
		want    sigstore.Reason
	}{
		"its own":                        {"dev@team.example.org", nil, ""},
		"another team's":                 {"release@example.org", nil, sigstore.ReasonCertificate},
		"another team's, as if in parts": {"release@example.org", constructed, sigstore.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newPKI(t, sigstore.PKIConfig{PEM: team.RootPEM(), Identities: []sigstore.Identity{{Subject: sigstore.Exact(c.subject)}}})
			id := sigstoretest.Identity{Subject: sigstoretest.Email(c.subject), Template: c.change}
			_, err := w.sign(t, a, sigstoretest.Signature{Signer: team.Signer(id), Digest: app, Format: evidence.SimpleSigning})
			if reasonOf(err) != c.want || (err != nil) != (c.want != "") {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// Row 14: a log that is in use no more does not count where nobody says when it was
// signed, either: who got hold of its old key could have made the entry today.
func TestALogThatIsInUseNoMoreWithoutATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, ca := sigstoretest.NewKey(sigstoretest.ECDSAP256), sigstoretest.NewCA(sigstoretest.CAOptions{})
	for who, c := range map[string]struct {
		signer    *sigstoretest.Signer
		authority *sigstore.Authority
	}{
		"a key":         {key, newKeys(t, sigstore.KeysConfig{RequireLog: true}, key)},
		"a private PKI": {ca.Signer(dev()), newPKI(t, sigstore.PKIConfig{PEM: ca.ChainPEM(), Identities: allowDev(), RequireLog: true})},
	} {
		made := item(t, sigstoretest.Sign(sigstoretest.Signature{Signer: c.signer, Digest: app, Format: evidence.Bundle, Witnesses: witnesses{w.Rekor2}}))
		for when, p := range map[string]struct {
			valid sigstoretest.Period
			want  sigstore.Reason
		}{
			"in use":         {sigstoretest.Always, ""},
			"until just now": {sigstoretest.Period{Start: sigstoretest.Always.Start, End: now}, ""},
			"no more":        {sigstoretest.Period{Start: sigstoretest.Always.Start, End: now.Add(-time.Second)}, sigstore.ReasonTime},
			"not yet":        {sigstoretest.Period{Start: now.Add(time.Second)}, sigstore.ReasonTime},
		} {
			trusted := w.Root()
			for i := range trusted.Logs {
				trusted.Logs[i].Valid = p.valid
			}
			_, err := c.authority.Signature(parseRoot(t, trusted), made, []image.Digest{app}, now)
			if reasonOf(err) != p.want || (err != nil) != (p.want != "") {
				t.Errorf("%s, %s: %v, want %q", who, when, err, p.want)
			}
		}
	}
}

// Row 9: names of types that nobody matches.
func TestNamesOfOtherTypes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := newKeyless(t, sigstore.KeylessConfig{AnyIdentity: true})
	for name, tag := range map[string]byte{"x400Address": 0x83, "registeredID": 0x88, "a type that is none": 0x89, "a number": 0x02} {
		id := dev()
		id.Subject = sigstoretest.DNS("example.org")
		id.Template = func(c *x509.Certificate) {
			for i, e := range c.ExtraExtensions {
				if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
					value := bytes.Clone(e.Value)
					value[2] = tag
					c.ExtraExtensions[i].Value, c.ExtraExtensions[i].Critical = value, false
				}
			}
		}
		s := w.signed()
		s.Signer = w.Keyless(id)
		if _, err := w.sign(t, a, s); reasonOf(err) != sigstore.ReasonMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Row 10: what a CA says that everybody must understand is understood, or the
// certificate is none.
func TestACriticalExtensionThatNobodyKnows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ca := sigstoretest.NewCA(sigstoretest.CAOptions{})
	id := dev()
	id.Template = func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 99}, Critical: true, Value: []byte{5, 0}})
	}
	anybody := newKeyless(t, sigstore.KeylessConfig{AnyIdentity: true})
	for _, c := range []struct {
		signer *sigstoretest.Signer
		a      *sigstore.Authority
	}{{w.Keyless(id), anybody}, {ca.Signer(id), newPKI(t, sigstore.PKIConfig{PEM: ca.ChainPEM(), AnyIdentity: true})}} {
		s := w.signed()
		s.Signer = c.signer
		_, err := w.sign(t, c.a, s)
		refused(t, err, sigstore.ReasonCertificate)
	}
	// The same without a name, whose extension is critical and known.
	id.Subject = sigstoretest.SAN{}
	s := w.signed()
	s.Signer = w.Keyless(id)
	_, err := w.sign(t, anybody, s)
	refused(t, err, sigstore.ReasonMalformed)
}

// Row 3: each kind of entry that a log of Rekor v1 has for an envelope, with one part
// of something else.
func TestEveryKindOfEntryOfSomethingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := keyless(t, releaseIdentity())
	base := w.signed()
	base.Witnesses = witnesses{w.Rekor1}
	other := sigstoretest.Sign(base).Parts
	for _, kind := range [][2]string{{"dsse", "0.0.1"}, {"intoto", "0.0.2"}} {
		as := func(change func(*sigstoretest.Entry)) sigstoretest.Signature {
			s := base
			s.Entry = func(e *sigstoretest.Entry) {
				e.Kind, e.Version = kind[0], kind[1]
				change(e)
			}
			return s
		}
		if _, err := w.sign(t, a, as(func(*sigstoretest.Entry) {})); err != nil {
			t.Errorf("%s: %v", kind[0], err)
		}
		for name, change := range map[string]func(*sigstoretest.Entry){
			"signature":   func(e *sigstoretest.Entry) { e.Signature = other.Signature },
			"certificate": func(e *sigstoretest.Entry) { e.Certificate = other.Certificate },
			"payload":     func(e *sigstoretest.Entry) { e.Payload = []byte("{}") },
		} {
			if _, err := w.sign(t, a, as(change)); reasonOf(err) != sigstore.ReasonLog {
				t.Errorf("%s with another %s: %v", kind[0], name, err)
			}
		}
	}
	// Of an envelope there is no entry of its own kind in a log of Rekor v1 that has
	// only the digest of what was signed, and none of Rekor v1's kinds in Rekor v2.
	for log, kind := range map[*sigstoretest.Log]string{w.Rekor1: "hashedrekord", w.Rekor2: "dsse"} {
		s := base
		s.Witnesses = witnesses{log, w.TSA}
		s.Entry = func(e *sigstoretest.Entry) { e.Kind, e.Version = kind, "0.0.1" }
		if _, err := w.sign(t, a, s); reasonOf(err) != sigstore.ReasonLog {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// Rows 3 and 12: a good entry makes no other one good, whichever comes first.
func TestALieBesideTheTruth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base := w.signed()
	base.Witnesses = witnesses{w.Rekor1, w.Rekor2, w.TSA}
	other := sigstoretest.Sign(base).Parts
	if _, err := w.sign(t, keyless(t, releaseIdentity()), base); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		s := base
		s.Break = func(p *sigstoretest.Parts) { p.Entries[i] = other.Entries[i] }
		_, err := w.sign(t, keyless(t, releaseIdentity()), s)
		refused(t, err, sigstore.ReasonLog)
	}
}

// Row 4: of several signatures of an envelope one would be judged, and another one
// looked up in the log.
func TestABundleWithSeveralSignatures(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := sigstoretest.Sign(w.signed()).Parts
	for name, change := range map[string]func(*sigstoretest.Parts){
		"a bad one behind it": func(p *sigstoretest.Parts) { p.MoreSignatures = [][]byte{[]byte("x")} },
		"a bad one before it": func(p *sigstoretest.Parts) { p.MoreSignatures, p.Signature = [][]byte{p.Signature}, []byte("x") },
		"another good one":    func(p *sigstoretest.Parts) { p.MoreSignatures = [][]byte{good.Signature} },
		"the same twice":      func(p *sigstoretest.Parts) { p.MoreSignatures = [][]byte{p.Signature} },
	} {
		s := w.signed()
		s.Break = change
		if _, err := w.sign(t, keyless(t, releaseIdentity()), s); reasonOf(err) != sigstore.ReasonMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Row 13: an authority of the trust root whose certificate is for more than
// timestamps, and one whose is for none.
func TestATimestampAuthorityOfAnotherUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, usages := range map[string][]asn1.ObjectIdentifier{
		"for code as well": {{1, 3, 6, 1, 5, 5, 7, 3, 8}, {1, 3, 6, 1, 5, 5, 7, 3, 3}},
		"for code alone":   {{1, 3, 6, 1, 5, 5, 7, 3, 3}},
	} {
		usage, err := asn1.Marshal(usages)
		if err != nil {
			t.Fatal(err)
		}
		tsa := sigstoretest.NewTSA(sigstoretest.TSAOptions{Template: func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}}
		}})
		trusted := w.Root()
		trusted.TSAs = sigstoretest.Trust(tsa).TSAs
		s := w.signed()
		s.Witnesses = witnesses{w.Rekor2, tsa}
		_, err = keyless(t, releaseIdentity()).Signature(parseRoot(t, trusted), item(t, sigstoretest.Sign(s)), []image.Digest{app}, now)
		if reasonOf(err) != sigstore.ReasonTime {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Row 15, for bundles.
func TestAnEndlessChainInABundle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ca := sigstoretest.NewCA(sigstoretest.CAOptions{})
	a := newPKI(t, sigstore.PKIConfig{PEM: ca.ChainPEM(), Identities: allowDev()})
	for n, want := range map[int]sigstore.Reason{7: "", 8: sigstore.ReasonLimit, 2000: sigstore.ReasonLimit} {
		s := sigstoretest.Signature{Signer: ca.Signer(dev()), Digest: app, Format: evidence.Bundle, Version: "0.2"}
		s.Break = func(p *sigstoretest.Parts) {
			// The last one is the root, which a bundle is without.
			p.Chain = append(slices.Repeat([][]byte{ca.Chain()[0]}, n), ca.Root().Raw)
		}
		if _, err := w.sign(t, a, s); reasonOf(err) != want || (err != nil) != (want != "") {
			t.Errorf("%d: %v, want %q", n, err, want)
		}
	}
}

// nested is DER of about that size in which every sequence holds one sequence.
func nested(size int) []byte {
	der := make([]byte, size)
	at := size
	for {
		header := []byte{0x30, byte(size - at)}
		if n := size - at; n >= 0x80 {
			header = []byte{0x30, 0x82, byte(n >> 8), byte(n)}
		}
		if at < len(header) {
			return der[at:]
		}
		at -= len(header)
		copy(der[at:], header)
	}
}

// Row 17: bytes that cost a library far more than their length, before anybody knows
// who has signed them. 128 KiB of nested sequences took four seconds.
func TestTimestampsThatAreWorkToRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base := w.signed()
	base.Witnesses = witnesses{w.Rekor2, w.TSA}
	stamps := func(all ...[]byte) func(*sigstoretest.Parts) {
		return func(p *sigstoretest.Parts) { p.Timestamps = append(p.Timestamps, all...) }
	}
	w.run(t, base, []attack{
		{name: "nested deeply", parts: stamps(nested(10 << 10)), want: sigstore.ReasonLimit},
		{name: "17 KiB", parts: stamps(make([]byte, 17<<10)), want: sigstore.ReasonLimit},
		{name: "five of 15 KiB", parts: stamps(slices.Repeat([][]byte{make([]byte, 15<<10)}, 5)...), want: sigstore.ReasonLimit},
	})
	// What is in another encoding is not read, and is as good as nothing.
	for _, other := range [][]byte{
		bytes.Repeat([]byte{0x30, 0x80}, 5<<10), append([]byte{0x3f, 1, 0x82, 39, 16}, nested(10_000)...), {0x30, 0x83, 0xff, 0xff, 0xff}, {0x30, 0x84, 0, 0, 0, 0}, {0x30},
	} {
		s := base
		s.Break = stamps(other)
		if _, err := w.sign(t, keyless(t, releaseIdentity()), s); err != nil {
			t.Errorf("%.20x: %v", other, err)
		}
		s.Break = func(p *sigstoretest.Parts) { p.Timestamps = [][]byte{other} }
		_, err := w.sign(t, keyless(t, releaseIdentity()), s)
		refused(t, err, sigstore.ReasonTime)
	}
}

// hugeKey is an RSA key of 32768 bits, which takes a tenth of a second to verify with.
func hugeKey(t testing.TB) []byte {
	t.Helper()
	n := new(big.Int).Lsh(big.NewInt(1), 32768)
	der, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n.Sub(n, big.NewInt(1)), E: 1<<31 - 1})
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// Row 17, for log entries: what a library would verify to read it.
func TestLogEntriesThatAreWorkToRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base := w.signed()
	base.Witnesses = witnesses{w.Rekor1}
	body := func(kind, version, text string) func(*sigstoretest.Signature) {
		return entry(func(e *sigstoretest.Entry) { e.Kind, e.Version, e.Body = kind, version, []byte(text) })
	}
	const proposed = `{"verifiers":["eA=="],"envelope":"{}"}`
	w.run(t, base, []attack{
		{name: "a proposal", change: body("dsse", "0.0.1", `{"kind":"dsse","apiVersion":"0.0.1","spec":{"proposedContent":`+proposed+`}}`), want: sigstore.ReasonUnsupported},
		{name: "a proposal beside none", change: body("dsse", "0.0.1", `{"kind":"dsse","apiVersion":"0.0.1","spec":{"proposedContent":`+proposed+`,"ProposedContent":null}}`), want: sigstore.ReasonMalformed},
		{name: "a proposal twice", change: body("dsse", "0.0.1", `{"kind":"dsse","apiVersion":"0.0.1","spec":{"proposedContent":`+proposed+`},"spec":{}}`), want: sigstore.ReasonMalformed},
		{name: "an envelope of two signatures", change: body("intoto", "0.0.2", `{"kind":"intoto","apiVersion":"0.0.2","spec":{"content":{"envelope":{"payload":"eA==","signatures":[{},{}]}}}}`), want: sigstore.ReasonLimit},
		{name: "33 KiB", change: entry(func(e *sigstoretest.Entry) { e.Body = append([]byte(`{"x":"`), strings.Repeat("x", 33<<10)+`"}`...) }), want: sigstore.ReasonLimit},
		{name: "150 KiB in 31", change: func(s *sigstoretest.Signature) {
			s.Witnesses = slices.Repeat(s.Witnesses, 31)
			s.Certified = s.Time
			id := release()
			id.Claims[sigstoretest.RunInvocationURI] = strings.Repeat("x", 2<<10)
			s.Signer = w.Keyless(id)
		}, want: sigstore.ReasonLimit},
	})
	s := base
	body("hashedrekord", "0.0.1", `{"kind":"hashedrekord","apiVersion":"0.0.1","spec":{"data":{"hash":{"algorithm":"sha256","value":"`+app.Hex()+
		`"}},"signature":{"content":"eA==","publicKey":{"content":`+quote(hugeKey(t))+`}}}}`)(&s)
	if _, err := w.sign(t, keyless(t, releaseIdentity()), s); err == nil || !strings.Contains(err.Error(), "an RSA key of 32768 bits") {
		t.Errorf("a huge key: %v", err)
	}
}
