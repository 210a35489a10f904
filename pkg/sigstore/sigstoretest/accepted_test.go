package sigstoretest_test

import (
	"crypto"
	"slices"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// What is made here must be what signers make: sigstore-go accepts it.
func TestSigstoreGoAcceptsWhatIsSigned(t *testing.T) {
	t.Parallel()
	s := sigstoretest.New()
	pki := sigstoretest.NewCA(sigstoretest.CAOptions{})
	logged, stamped := verify.WithTransparencyLog(1), verify.WithSignedTimestamps(1)
	observed, certified := verify.WithObserverTimestamps(1), verify.WithSignedCertificateTimestamps(1)
	proofs := []struct {
		name      string
		witnesses witnesses
		options   []verify.VerifierOption
	}{
		{"Rekor v1", witnesses{s.Rekor1}, []verify.VerifierOption{logged, observed}},
		{"Rekor v2 and TSA", witnesses{s.Rekor2, s.TSA}, []verify.VerifierOption{logged, stamped}},
		{"TSA only", witnesses{s.TSA}, []verify.VerifierOption{stamped}},
		{"none", nil, nil},
	}
	forms := map[string]sigstoretest.Signature{
		"simple signing": {Format: evidence.SimpleSigning},
		"envelope":       {Format: evidence.Envelope},
		"bundle v0.1":    {Format: evidence.Bundle, Version: "0.1"},
		"bundle v0.2":    {Format: evidence.Bundle, Version: "0.2"},
		"bundle v0.3":    {Format: evidence.Bundle},
		"message":        {Format: evidence.Bundle, Message: true},
	}
	for _, who := range []string{"keyless", "key", "PKI"} {
		for name, form := range forms {
			for _, p := range proofs {
				t.Run(who+"/"+name+"/"+p.name, func(t *testing.T) {
					t.Parallel()
					form := form
					v := verifier{root: s.Root(), options: slices.Clone(p.options)}
					switch who {
					case "keyless":
						form.Signer = s.Keyless(sigstoretest.GitHub("org/app", "release.yml", "refs/tags/v1"))
						v.options = append([]verify.VerifierOption{certified}, v.options...)
						if p.witnesses == nil {
							v.options = append(v.options, verify.WithCurrentTime()) // its certificate has expired
						}
					case "key":
						form.Signer = sigstoretest.NewKey(sigstoretest.ECDSAP256)
						v.key = form.Signer
						if p.witnesses == nil {
							v.options = append(v.options, verify.WithNoObserverTimestamps())
						}
					case "PKI":
						form.Signer = pki.Signer(sigstoretest.Identity{Subject: sigstoretest.Email("dev@example.org")})
						v.root.Fulcios = sigstoretest.Trust(pki).Fulcios
						if p.witnesses == nil {
							v.options = append(v.options, verify.WithCurrentTime())
						}
					}
					if form.Format != evidence.Bundle && p.name == "Rekor v2 and TSA" {
						// Cosign's formats have no place for that entry.
						v.options = v.options[:len(v.options)-2]
						v.options = append(v.options, stamped)
					}
					form.Digest, form.Witnesses = app, p.witnesses
					err := v.verify(t, sigstoretest.Sign(form), app)
					unseen := who == "keyless" && p.witnesses == nil
					// A bundle v0.1 needs the promise that a Rekor v2 does not give.
					unpromised := form.Version == "0.1" && p.name == "Rekor v2 and TSA"
					if (err != nil) != (unseen || unpromised) {
						t.Errorf("verify = %v", err)
					}
				})
			}
		}
	}
}

// Rekor v1 also takes in-toto entries, and one signature may be in several logs.
func TestSigstoreGoAcceptsSeveralWitnesses(t *testing.T) {
	t.Parallel()
	s, other := sigstoretest.New(), sigstoretest.NewLog(sigstoretest.LogOptions{URL: "https://other.example.org"})
	a := sigstoretest.Sign(sigstoretest.Signature{
		Signer: s.Keyless(sigstoretest.Identity{Subject: sigstoretest.Email("dev@example.org"), Issuer: "https://accounts.example.org"}),
		Digest: app, Format: evidence.Bundle, Witnesses: witnesses{s.Rekor1, other, s.TSA},
		Entry: func(e *sigstoretest.Entry) { e.Kind, e.Version = "intoto", "0.0.2" },
	})
	v := verifier{root: sigstoretest.Trust(s.Fulcio, s.CT, s.Rekor1, other, s.TSA), options: []verify.VerifierOption{
		verify.WithTransparencyLog(2), verify.WithObserverTimestamps(3), verify.WithSignedCertificateTimestamps(1),
	}}
	if err := v.verify(t, a, app); err != nil {
		t.Error(err)
	}
}

func TestSigstoreGoAcceptsEveryKindOfKey(t *testing.T) {
	t.Parallel()
	s := sigstoretest.New()
	for name, test := range map[string]struct {
		algorithm sigstoretest.Algorithm
		hash      crypto.Hash
		message   bool
	}{
		"P-256":                     {algorithm: sigstoretest.ECDSAP256},
		"P-384":                     {algorithm: sigstoretest.ECDSAP384},
		"P-521":                     {algorithm: sigstoretest.ECDSAP521},
		"RSA-2048":                  {algorithm: sigstoretest.RSA2048},
		"RSA-3072":                  {algorithm: sigstoretest.RSA3072},
		"RSA-4096":                  {algorithm: sigstoretest.RSA4096},
		"Ed25519":                   {algorithm: sigstoretest.Ed25519},
		"Ed25519ph":                 {algorithm: sigstoretest.Ed25519, hash: crypto.SHA512, message: true},
		"P-384 with a message":      {algorithm: sigstoretest.ECDSAP384, message: true},
		"P-384, SHA-256, a message": {algorithm: sigstoretest.ECDSAP384, hash: crypto.SHA256, message: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := sigstoretest.NewKey(test.algorithm)
			signature := sigstoretest.Signature{
				Signer: s.Keyless(sigstoretest.Identity{
					Subject: sigstoretest.URI("https://example.org/ci"), Issuer: "https://example.org", KeyOf: key,
				}),
				Digest: app, Format: evidence.Bundle, Witnesses: witnesses{s.Rekor1}, Hash: test.hash, Message: test.message,
			}
			v := verifier{root: s.Root(), options: []verify.VerifierOption{verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1)}}
			if err := v.verify(t, sigstoretest.Sign(signature), app); err != nil {
				t.Errorf("keyless: %v", err)
			}
			if test.hash == crypto.SHA256 {
				return // a key's verifier has one hash
			}
			signature.Signer = key
			v.key, v.prehashed = key, test.hash == crypto.SHA512
			if err := v.verify(t, sigstoretest.Sign(signature), app); err != nil {
				t.Errorf("key: %v", err)
			}
		})
	}
}

// Logs and timestamp authorities have keys of several kinds.
func TestSigstoreGoAcceptsWitnessesWithOtherKeys(t *testing.T) {
	t.Parallel()
	s := sigstoretest.New()
	for name, test := range map[string]struct {
		log sigstoretest.LogOptions
		tsa sigstoretest.TSAOptions
	}{
		"Rekor v2 with P-256": {log: sigstoretest.LogOptions{Version: 2}},
		"TSA with P-384":      {tsa: sigstoretest.TSAOptions{Key: sigstoretest.ECDSAP384}},
		"TSA with P-521":      {tsa: sigstoretest.TSAOptions{Key: sigstoretest.ECDSAP521}},
		"TSA with RSA":        {tsa: sigstoretest.TSAOptions{Key: sigstoretest.RSA2048}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log, tsa := sigstoretest.NewLog(test.log), sigstoretest.NewTSA(test.tsa)
			a := sigstoretest.Sign(sigstoretest.Signature{
				Signer: s.Keyless(sigstoretest.Identity{Subject: sigstoretest.Email("dev@example.org"), Issuer: "https://example.org"}),
				Digest: app, Format: evidence.Bundle, Witnesses: witnesses{log, tsa},
			})
			v := verifier{root: sigstoretest.Trust(s.Fulcio, s.CT, log, tsa), options: []verify.VerifierOption{
				verify.WithTransparencyLog(1), verify.WithSignedTimestamps(1), verify.WithSignedCertificateTimestamps(1),
			}}
			if err := v.verify(t, a, app); err != nil {
				t.Error(err)
			}
		})
	}
}
