package sigstore_test

import (
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// BenchmarkJudge is one candidate of each kind. The design's bound is 5 ms of CPU.
func BenchmarkJudge(b *testing.B) {
	w := newWorld(b)
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	ca := sigstoretest.NewCA(sigstoretest.CAOptions{})
	keyless := keyless(b, releaseIdentity())
	keyed := newKeys(b, sigstore.KeysConfig{}, key)
	private := newPKI(b, sigstore.PKIConfig{PEM: ca.ChainPEM(), Identities: allowDev()})
	sign := func(signer *sigstoretest.Signer, format evidence.Format, seen ...sigstoretest.Witness) sigstoretest.Signature {
		return sigstoretest.Signature{Signer: signer, Digest: app, Format: format, Witnesses: seen}
	}
	bill := sign(w.Keyless(release()), evidence.Bundle, w.Rekor2, w.TSA)
	bill.PredicateType, bill.Predicate = "https://spdx.dev/Document", `[`+strings.Repeat(`{"name":"libc6","versionInfo":"2.41-12"},`, 25_000)+`0]`
	for _, c := range []struct {
		name string
		a    *sigstore.Authority
		s    sigstoretest.Signature
	}{
		{"keyless simple signing Rekor v1", keyless, sign(w.Keyless(release()), evidence.SimpleSigning, w.Rekor1)},
		{"keyless bundle Rekor v1", keyless, sign(w.Keyless(release()), evidence.Bundle, w.Rekor1)},
		{"keyless bundle Rekor v2 and TSA", keyless, sign(w.Keyless(release()), evidence.Bundle, w.Rekor2, w.TSA)},
		{"key simple signing", keyed, sign(key, evidence.SimpleSigning)},
		{"key simple signing Rekor v1", keyed, sign(key, evidence.SimpleSigning, w.Rekor1)},
		{"key bundle", keyed, sign(key, evidence.Bundle)},
		{"PKI bundle", private, sign(ca.Signer(dev()), evidence.Bundle)},
		{"another key", newKeys(b, sigstore.KeysConfig{}, sigstoretest.NewKey(sigstoretest.ECDSAP256)), sign(key, evidence.Bundle)},
		{"keyless attestation of 1 MB", keyless, bill},
	} {
		found := item(b, sigstoretest.Sign(c.s))
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if c.s.PredicateType != "" {
					_, err = c.a.Attestation(w.root, found, []image.Digest{app}, now)
				} else {
					_, err = c.a.Signature(w.root, found, []image.Digest{app}, now)
				}
				if (err != nil) != (c.name == "another key") {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseRoot(b *testing.B) {
	w := newWorld(b)
	data := w.TrustedRoot()
	for b.Loop() {
		if _, err := sigstore.ParseRoot(data); err != nil {
			b.Fatal(err)
		}
	}
}
