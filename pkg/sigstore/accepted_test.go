package sigstore_test

import (
	"encoding/base64"
	"encoding/hex"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// facts is all that is known of something verified.
type facts struct {
	Digest, Key     image.Digest
	Issuer, Subject string
	Type            sigstore.SubjectType
	Claims          map[sigstore.Claim]string
	Value           string
	Time            time.Time
	Logged          bool
	LogID           string
	LogIndex        int64
	Integrated      time.Time
	Promise         string
}

type verified interface {
	Digest() image.Digest
	Key() image.Digest
	Issuer() string
	Subject() string
	SubjectType() sigstore.SubjectType
	Claims() map[sigstore.Claim]string
	Value() string
	Time() time.Time
	IsLogged() bool
	LogID() string
	LogIndex() (int64, bool)
	IntegratedTime() time.Time
	SignedEntryTimestamp() string
	IsZero() bool
	Item() evidence.Item
}

func factsOf(v verified) facts {
	index, _ := v.LogIndex()
	return facts{
		Digest: v.Digest(), Key: v.Key(), Issuer: v.Issuer(), Subject: v.Subject(), Type: v.SubjectType(), Claims: v.Claims(), Value: v.Value(),
		Time: v.Time().UTC(), Logged: v.IsLogged(), LogID: v.LogID(), LogIndex: index, Integrated: v.IntegratedTime().UTC(), Promise: v.SignedEntryTimestamp(),
	}
}

// Every kind of signer in every format with every kind of witness: what counts,
// and what is known of it then.
func TestWhoSignedInWhichFormatWithWhichWitness(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	ca := sigstoretest.NewCA(sigstoretest.CAOptions{})
	signers := map[string]struct {
		signer    *sigstoretest.Signer
		authority *sigstore.Authority
		facts     facts
		needsLog  bool
	}{
		"keyless": {
			w.Keyless(release()), keyless(t, releaseIdentity()), facts{
				Issuer: sigstoretest.GitHubIssuer, Type: sigstore.URI,
				Subject: "https://github.com/org/app/.github/workflows/release.yml@refs/tags/v1",
				Claims: map[sigstore.Claim]string{
					sigstore.SourceRepository: "https://github.com/org/app", sigstore.SourceRef: "refs/tags/v1",
					sigstore.SourceDigest:      "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00",
					sigstore.BuildSigner:       "https://github.com/org/app/.github/workflows/release.yml@refs/tags/v1",
					sigstore.BuildTrigger:      "push",
					sigstore.RunnerEnvironment: "github-hosted",
				},
			}, true,
		},
		"key": {key, newKeys(t, sigstore.KeysConfig{}, sigstoretest.NewKey(sigstoretest.Ed25519), key), facts{}, false},
		"PKI": {
			ca.Signer(dev()), newPKI(t, sigstore.PKIConfig{PEM: ca.ChainPEM(), Identities: []sigstore.Identity{{Subject: sigstore.Exact("dev@example.org")}}}),
			facts{Subject: "dev@example.org", Type: sigstore.Email}, false,
		},
	}
	formats := map[string]sigstoretest.Signature{
		"simple signing": {Format: evidence.SimpleSigning},
		"envelope":       {Format: evidence.Envelope, PredicateType: sigstoretest.SignPredicate},
		"bundle v0.1":    {Format: evidence.Bundle, Version: "0.1"},
		"bundle v0.2":    {Format: evidence.Bundle, Version: "0.2"},
		"bundle v0.3":    {Format: evidence.Bundle},
	}
	seen := map[string]witnesses{
		"Rekor v1": {w.Rekor1}, "Rekor v1 and TSA": {w.Rekor1, w.TSA}, "Rekor v2 and TSA": {w.Rekor2, w.TSA}, "Rekor v2": {w.Rekor2},
		"TSA": {w.TSA}, "none": nil,
	}
	for who, s := range signers {
		for format, signature := range formats {
			for by, witnesses := range seen {
				t.Run(who+"/"+format+"/"+by, func(t *testing.T) {
					t.Parallel()
					signature := signature
					signature.Signer, signature.Digest, signature.Witnesses = s.signer, app, witnesses
					made := sigstoretest.Sign(signature)
					got, err := s.authority.Signature(w.root, item(t, made), []image.Digest{app}, now)
					want := s.facts
					// A bundle of v0.1 can have no log that promises nothing, and cosign's
					// formats have no place for one.
					version2 := (by == "Rekor v2" || by == "Rekor v2 and TSA")
					stamped := by != "none" && by != "Rekor v2"
					switch {
					case version2 && format == "bundle v0.1":
						refused(t, err, sigstore.ReasonLog)
						return
					case s.needsLog && (by == "none" || by == "TSA" || version2 && signature.Format != evidence.Bundle):
						refused(t, err, sigstore.ReasonLog)
						return
					case s.needsLog && !stamped:
						refused(t, err, sigstore.ReasonTime)
						return
					case err != nil:
						t.Fatal(err)
					}
					if got.IsZero() || !cmp.Equal(got.Item(), item(t, made), cmp.Comparer(func(a, b image.Ref) bool { return a == b }), cmp.Comparer(func(a, b image.Digest) bool { return a == b })) {
						t.Error("it is not of the item")
					}
					want.Digest, want.Value = app, base64.StdEncoding.EncodeToString(made.Parts.Signature)
					want.Key = image.Of(der(t, s.signer.PublicPEM()))
					if stamped {
						want.Time = sigstoretest.Time
					}
					if len(witnesses) > 0 && by != "TSA" && !(version2 && signature.Format != evidence.Bundle) {
						entry := made.Parts.Entries[0]
						want.Logged, want.LogID, want.LogIndex = true, hex.EncodeToString(entry.LogID), entry.LogIndex
						if !version2 {
							want.Integrated, want.Promise = sigstoretest.Time, base64.StdEncoding.EncodeToString(entry.SignedEntryTimestamp)
						}
					}
					if d := cmp.Diff(want, factsOf(got), cmp.Comparer(func(a, b image.Digest) bool { return a == b })); d != "" {
						t.Errorf("-want +got:\n%s", d)
					}
				})
			}
		}
	}
}

func TestKeysOfEveryKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, algorithm := range map[string]sigstoretest.Algorithm{
		"P-256": sigstoretest.ECDSAP256, "P-384": sigstoretest.ECDSAP384, "P-521": sigstoretest.ECDSAP521,
		"RSA-2048": sigstoretest.RSA2048, "Ed25519": sigstoretest.Ed25519,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := sigstoretest.NewKey(algorithm)
			id := release()
			id.Key = algorithm
			for _, format := range []evidence.Format{evidence.SimpleSigning, evidence.Bundle} {
				s := w.signed()
				s.Signer, s.Format = key, format
				// Rekor v1 takes no signature of an Ed25519 key over a message.
				if algorithm == sigstoretest.Ed25519 && format == evidence.SimpleSigning {
					s.Witnesses = nil
				}
				if _, err := w.sign(t, newKeys(t, sigstore.KeysConfig{RequireLog: len(s.Witnesses) > 0}, key), s); err != nil {
					t.Errorf("key, %s: %v", format, err)
				}
				if len(s.Witnesses) == 0 {
					continue
				}
				s.Signer = w.Keyless(id)
				if _, err := w.sign(t, keyless(t, releaseIdentity()), s); err != nil {
					t.Errorf("keyless, %s: %v", format, err)
				}
			}
		})
	}
}

func TestAnAttestationIsWhatWasSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, format := range []evidence.Format{evidence.Envelope, evidence.Bundle} {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			s := w.signed()
			s.Format, s.PredicateType, s.Predicate = format, "https://slsa.dev/provenance/v1", `{"buildDefinition":{"a":[1,2]}}`
			if format == evidence.Envelope {
				s.Witnesses = witnesses{w.Rekor1}
			}
			got, err := w.attest(t, keyless(t, releaseIdentity()), s)
			if err != nil {
				t.Fatal(err)
			}
			if got.Digest() != app || got.Subject() != "https://github.com/org/app/.github/workflows/release.yml@refs/tags/v1" {
				t.Errorf("it is about %s by %s", got.Digest(), got.Subject())
			}
			if got.PredicateType() != s.PredicateType || string(got.Predicate()) != s.Predicate {
				t.Errorf("predicate %s: %s", got.PredicateType(), got.Predicate())
			}
		})
	}
}

// cosign has the authority stamp the envelope of an attestation as a whole, and not
// its signature.
func TestATimestampOfAnEnvelopeIsOverAllOfIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := newKeyless(t, sigstore.KeylessConfig{Identities: []sigstore.Identity{releaseIdentity()}, IgnoreLog: true})
	s := w.signed()
	s.Format, s.Witnesses = evidence.Envelope, nil
	plain := sigstoretest.Sign(s)
	s.Break = func(p *sigstoretest.Parts) {
		*p = plain.Parts
		p.Timestamps = [][]byte{w.TSA.Timestamp(plain.Content, sigstoretest.Time)}
	}
	got, err := w.attest(t, a, s)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Time().Equal(sigstoretest.Time) {
		t.Errorf("signed at %s", got.Time())
	}
	other := s
	other.Break = func(p *sigstoretest.Parts) {
		*p = plain.Parts
		p.Timestamps = [][]byte{w.TSA.Timestamp([]byte("something else"), sigstoretest.Time)}
	}
	_, err = w.attest(t, a, other)
	refused(t, err, sigstore.ReasonCertificate) // it has expired
}

// The first candidate that is signed counts, and there may be none that is known.
func TestTheCandidateThatIsSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := item(t, sigstoretest.Sign(w.signed()))
	a := keyless(t, releaseIdentity())
	got, err := a.Signature(w.root, made, []image.Digest{evil, {}, app}, now)
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest() != app {
		t.Errorf("signed is %s", got.Digest())
	}
	for name, candidates := range map[string][]image.Digest{"none": nil, "an unknown one": {{}}, "another": {evil}} {
		if _, err := a.Signature(w.root, made, candidates, now); reasonOf(err) != sigstore.ReasonContent {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClaimedName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.signed()
	s.Format, s.Witnesses, s.Reference = evidence.SimpleSigning, witnesses{w.Rekor1}, "registry.example.org/pay/api:v1"
	got, err := w.sign(t, keyless(t, releaseIdentity()), s)
	if err != nil {
		t.Fatal(err)
	}
	if got.ClaimedName() != s.Reference {
		t.Errorf("the signer calls it %q", got.ClaimedName())
	}
}

// The zero values are no signature and no attestation, and do no harm.
func TestTheZeroValuesAreNotVerified(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]verified{"signature": &sigstore.Signature{}, "attestation": &sigstore.Attestation{}} {
		if !v.IsZero() {
			t.Errorf("%s: not zero", name)
		}
		got := factsOf(v)
		if d := cmp.Diff(facts{Time: time.Time{}, Integrated: time.Time{}}, got, cmp.Comparer(func(a, b image.Digest) bool { return a == b })); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
