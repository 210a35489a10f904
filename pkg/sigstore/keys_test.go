package sigstore_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// Row 11: a key counts within its window, at the time that somebody of the trust
// root vouches for or else now, so that a key that was stolen later is of no use.
func TestAKeyOutsideOfItsWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	then := sigstoretest.Time
	for name, c := range map[string]struct {
		from, until time.Time
		witnesses   witnesses
		want        sigstore.Reason
	}{
		"no window, no time":            {},
		"at its beginning":              {from: then, witnesses: witnesses{w.Rekor1}},
		"at its end":                    {until: then, witnesses: witnesses{w.Rekor1}},
		"before it, by a log":           {from: then.Add(time.Second), witnesses: witnesses{w.Rekor1}, want: sigstore.ReasonTime},
		"after it, by a log":            {until: then.Add(-time.Second), witnesses: witnesses{w.Rekor1}, want: sigstore.ReasonTime},
		"after it, by an authority":     {until: then.Add(-time.Second), witnesses: witnesses{w.TSA}, want: sigstore.ReasonTime},
		"in it now":                     {from: then, until: now},
		"ended since, nobody saw it":    {until: then.Add(time.Hour), want: sigstore.ReasonTime},
		"ended since, a log saw it":     {until: then.Add(time.Hour), witnesses: witnesses{w.Rekor1}},
		"not begun yet, nobody saw it":  {from: now.Add(time.Second), want: sigstore.ReasonTime},
		"Rekor v2 tells no time":        {until: then.Add(time.Hour), witnesses: witnesses{w.Rekor2}, want: sigstore.ReasonTime},
		"a stranger's log tells no one": {until: then.Add(time.Hour), witnesses: witnesses{sigstoretest.NewLog(sigstoretest.LogOptions{})}, want: sigstore.ReasonTime},
		"a stranger's TSA tells no one": {until: then.Add(time.Hour), witnesses: witnesses{sigstoretest.NewTSA(sigstoretest.TSAOptions{})}, want: sigstore.ReasonTime},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newKeys(t, sigstore.KeysConfig{ValidFrom: c.from, ValidUntil: c.until}, key)
			_, err := w.sign(t, a, sigstoretest.Signature{Signer: key, Digest: app, Format: evidence.Bundle, Witnesses: c.witnesses})
			if reasonOf(err) != c.want || (err != nil) != (c.want != "") {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// Row 11: an entry that does not verify tells no time, so it can't bring a stolen
// key back to life.
func TestAStolenKeyWithSomebodyElsesEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	good := sigstoretest.Sign(sigstoretest.Signature{Signer: key, Digest: app, Format: evidence.Bundle, Witnesses: witnesses{w.Rekor1, w.TSA}}).Parts
	stolen := sigstoretest.Signature{Signer: key, Digest: app, Format: evidence.Bundle, Break: func(p *sigstoretest.Parts) {
		p.Entries, p.Timestamps = good.Entries, good.Timestamps
	}}
	a := newKeys(t, sigstore.KeysConfig{ValidUntil: sigstoretest.Time.Add(time.Hour)}, key)
	_, err := w.sign(t, a, stolen)
	refused(t, err, sigstore.ReasonTime)
}

func TestALogThatIsRequiredOfKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	a := newKeys(t, sigstore.KeysConfig{RequireLog: true}, key)
	for name, c := range map[string]struct {
		witnesses witnesses
		want      sigstore.Reason
	}{
		"Rekor v1": {witnesses{w.Rekor1}, ""}, "Rekor v2": {witnesses{w.Rekor2}, ""},
		"none": {nil, sigstore.ReasonLog}, "TSA": {witnesses{w.TSA}, sigstore.ReasonLog},
		"a stranger's": {witnesses{sigstoretest.NewLog(sigstoretest.LogOptions{})}, sigstore.ReasonLog},
	} {
		_, err := w.sign(t, a, sigstoretest.Signature{Signer: key, Digest: app, Format: evidence.Bundle, Witnesses: c.witnesses})
		if reasonOf(err) != c.want || (err != nil) != (c.want != "") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// An authority of keys needs no trust root, where no log is required.
func TestWithoutATrustRoot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	made := item(t, sigstoretest.Sign(sigstoretest.Signature{Signer: key, Digest: app, Format: evidence.Bundle, Witnesses: witnesses{w.Rekor1}}))
	a := newKeys(t, sigstore.KeysConfig{}, key)
	if a.NeedsRoot() {
		t.Error("it needs a root")
	}
	got, err := a.Signature(nil, made, []image.Digest{app}, now)
	if err != nil {
		t.Fatal(err)
	}
	if got.IsLogged() || !got.Time().IsZero() {
		t.Error("an entry was believed without a root")
	}
	for name, a := range map[string]*sigstore.Authority{"keyless": keyless(t, releaseIdentity()), "a log": newKeys(t, sigstore.KeysConfig{RequireLog: true}, key)} {
		if _, err := a.Signature(nil, made, []image.Digest{app}, now); !a.NeedsRoot() || !errors.Is(err, sigstore.ErrNoRoot) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAKeyOfSomebodyElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, other := sigstoretest.NewKey(sigstoretest.ECDSAP256), sigstoretest.NewKey(sigstoretest.Ed25519)
	for _, format := range []evidence.Format{evidence.SimpleSigning, evidence.Bundle} {
		s := sigstoretest.Signature{Signer: key, Digest: app, Format: format, Break: func(p *sigstoretest.Parts) { p.Hint = "the other one" }}
		_, err := w.sign(t, newKeys(t, sigstore.KeysConfig{}, other), s)
		refused(t, err, sigstore.ReasonSignature)
		// A bundle's hint is a guess, and not needed.
		if _, err := w.sign(t, newKeys(t, sigstore.KeysConfig{}, other, key), s); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
}

// A certificate says by whose leave somebody signs, and a key by nobody's: the one
// is not the other, except where cosign puts a certificate beside a key's
// signature.
func TestACertificateWhereAKeyIsExpected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ca := sigstoretest.NewCA(sigstoretest.CAOptions{})
	signer, other := ca.Signer(dev()), ca.Signer(dev())
	a := newKeys(t, sigstore.KeysConfig{}, signer)
	_, err := w.sign(t, a, sigstoretest.Signature{Signer: signer, Digest: app, Format: evidence.Bundle})
	refused(t, err, sigstore.ReasonSigner)
	for name, c := range map[string]struct {
		parts func(*sigstoretest.Parts)
		want  sigstore.Reason
	}{
		"its own":   {},
		"another's": {func(p *sigstoretest.Parts) { p.Certificate = other.Certificate(sigstoretest.Time) }, sigstore.ReasonSigner},
	} {
		_, err := w.sign(t, newKeys(t, sigstore.KeysConfig{RequireLog: true}, signer), sigstoretest.Signature{
			Signer: signer, Digest: app, Format: evidence.SimpleSigning, Witnesses: witnesses{w.Rekor1}, Break: c.parts,
		})
		if reasonOf(err) != c.want || (err != nil) != (c.want != "") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestAKeyWhereACertificateIsExpected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.signed()
	s.Signer = sigstoretest.NewKey(sigstoretest.ECDSAP256)
	_, err := w.sign(t, keyless(t, releaseIdentity()), s)
	refused(t, err, sigstore.ReasonSigner)
}

func TestKeysThatAreTooWeak(t *testing.T) {
	t.Parallel()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.PublicKey{"RSA-1024": small.Public(), "P-224": curve.Public()} {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		if _, err := sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{text}}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Row 12: a key is one key, in however many files and forms it is.
func TestAKeyUnderTwoNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := sigstoretest.NewKey(sigstoretest.RSA2048)
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(key.Public().(*rsa.PublicKey))})
	var seen []image.Digest
	for _, text := range [][]byte{key.PublicPEM(), pkcs1} {
		a := newKeys(t, sigstore.KeysConfig{PEM: [][]byte{text}})
		got, err := w.sign(t, a, sigstoretest.Signature{Signer: key, Digest: app})
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, got.Key())
	}
	if seen[0] != seen[1] || seen[0].IsZero() {
		t.Errorf("two keys: %v", seen)
	}
}

// Row 15: certificates are counted before they are parsed.
func TestAnEndlessChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.signed()
	s.Format, s.Witnesses = evidence.SimpleSigning, witnesses{w.Rekor1}
	authority := keyless(t, releaseIdentity())
	for name, c := range map[string]struct {
		change func(annotations map[string]string)
		want   sigstore.Reason
	}{
		"7 above": {func(a map[string]string) {
			a["dev.sigstore.cosign/chain"] = strings.Repeat(string(w.Fulcio.RootPEM()), 7)
		}, ""},
		"8 above": {func(a map[string]string) {
			a["dev.sigstore.cosign/chain"] = strings.Repeat(string(w.Fulcio.RootPEM()), 8)
		}, sigstore.ReasonLimit},
		"thousand": {func(a map[string]string) {
			a["dev.sigstore.cosign/chain"] = strings.Repeat(string(w.Fulcio.RootPEM()), 1000)
		}, sigstore.ReasonLimit},
		"thousand that are none": {func(a map[string]string) { a["dev.sigstore.cosign/chain"] = strings.Repeat("-----BEGIN ", 1000) }, sigstore.ReasonLimit},
		"two of the signer":      {func(a map[string]string) { a["dev.sigstore.cosign/certificate"] += string(w.Fulcio.RootPEM()) }, sigstore.ReasonMalformed},
		"none of the signer":     {func(a map[string]string) { delete(a, "dev.sigstore.cosign/certificate") }, sigstore.ReasonMalformed},
		"text before": {func(a map[string]string) {
			a["dev.sigstore.cosign/certificate"] = "x" + a["dev.sigstore.cosign/certificate"]
		}, sigstore.ReasonMalformed},
		"text behind": {func(a map[string]string) { a["dev.sigstore.cosign/certificate"] += "x" }, sigstore.ReasonMalformed},
		"a private key": {func(a map[string]string) {
			a["dev.sigstore.cosign/certificate"] = strings.ReplaceAll(a["dev.sigstore.cosign/certificate"], "CERTIFICATE", "PRIVATE KEY")
		}, sigstore.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			made := sigstoretest.Sign(s)
			c.change(made.Annotations)
			_, err := authority.Signature(w.root, item(t, made), []image.Digest{app}, now)
			if reasonOf(err) != c.want || (err != nil) != (c.want != "") {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
