package sigstore_test

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// What is kept of a verdict must not outlive what it depends on: at the last moment it
// is accepted, right after it no more.
func TestUntilWhenItIsValid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	end := now.Add(time.Hour)
	ending := func(end time.Time) sigstoretest.Period {
		return sigstoretest.Period{Start: sigstoretest.Always.Start, End: end}
	}
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	ca := sigstoretest.NewCA(sigstoretest.CAOptions{})
	leafEnds := release()
	leafEnds.Valid = ending(end)
	long := release()
	long.Valid = sigstoretest.Always
	devEnds := dev()
	devEnds.Valid = ending(end)
	intermediateEnds := sigstoretest.NewCA(sigstoretest.CAOptions{Intermediate: ending(end)})
	rootEnds := sigstoretest.NewCA(sigstoretest.CAOptions{Root: ending(end)})
	// A second intermediate for the same key, which ends later, as a CA has it that
	// renews its certificates.
	renewed := sigstoretest.NewCA(sigstoretest.CAOptions{Intermediate: ending(end.Add(-time.Minute))})
	renewal := renewed.Renew(end)

	rootOf := func(change func(*sigstoretest.Root)) *sigstore.Root {
		r := w.Root()
		change(&r)
		return parseRoot(t, r)
	}
	ignoring := newKeyless(t, sigstore.KeylessConfig{Identities: []sigstore.Identity{releaseIdentity()}, IgnoreLog: true})
	private := func(pem []byte) *sigstore.Authority {
		return newPKI(t, sigstore.PKIConfig{PEM: pem, Identities: allowDev()})
	}
	stranger := witnesses{sigstoretest.NewLog(sigstoretest.LogOptions{})}
	for name, c := range map[string]struct {
		authority *sigstore.Authority
		signer    *sigstoretest.Signer
		witnesses witnesses
		root      *sigstore.Root
		chain     [][]byte
		want      time.Time
	}{
		"a key":                              {authority: newKeys(t, sigstore.KeysConfig{}, key), signer: key},
		"a key that ends":                    {authority: newKeys(t, sigstore.KeysConfig{ValidUntil: end}, key), signer: key, want: end},
		"a key that ends, with a log's time": {authority: newKeys(t, sigstore.KeysConfig{ValidUntil: end}, key), signer: key, witnesses: witnesses{w.Rekor1}},
		"a key that ends, with an authority's time": {authority: newKeys(t, sigstore.KeysConfig{ValidUntil: end}, key), signer: key, witnesses: witnesses{w.TSA}},
		"a key that ends, with a stranger's time":   {authority: newKeys(t, sigstore.KeysConfig{ValidUntil: end}, key), signer: key, witnesses: stranger, want: end},
		"a key, with a log that ends and tells no time": {
			authority: newKeys(t, sigstore.KeysConfig{}, key), signer: key, witnesses: witnesses{w.Rekor2}, want: end,
			root: rootOf(func(r *sigstoretest.Root) { r.Logs[1].Valid = ending(end) }),
		},
		"a key that ends before the log": {
			authority: newKeys(t, sigstore.KeysConfig{ValidUntil: end}, key), signer: key, witnesses: witnesses{w.Rekor2}, want: end,
			root: rootOf(func(r *sigstoretest.Root) { r.Logs[1].Valid = ending(end.Add(time.Hour)) }),
		},
		"a key that ends after the log": {
			authority: newKeys(t, sigstore.KeysConfig{ValidUntil: end.Add(time.Hour)}, key), signer: key, witnesses: witnesses{w.Rekor2}, want: end,
			root: rootOf(func(r *sigstoretest.Root) { r.Logs[1].Valid = ending(end) }),
		},
		"a key, with a log that ends and tells the time": {
			authority: newKeys(t, sigstore.KeysConfig{}, key), signer: key, witnesses: witnesses{w.Rekor1},
			root: rootOf(func(r *sigstoretest.Root) { r.Logs[0].Valid = ending(end) }),
		},
		"keyless, with a log's time":             {authority: keyless(t, releaseIdentity()), signer: w.Keyless(release()), witnesses: witnesses{w.Rekor1}},
		"keyless, with an authority's time":      {authority: ignoring, signer: w.Keyless(release()), witnesses: witnesses{w.TSA}},
		"keyless, and nobody tells the time":     {authority: ignoring, signer: w.Keyless(leafEnds), want: end},
		"keyless, and only strangers tell it":    {authority: ignoring, signer: w.Keyless(leafEnds), witnesses: stranger, want: end},
		"keyless, and the CA's certificates end": {authority: ignoring, signer: w.Keyless(long), want: sigstoretest.Always.End},
		"keyless, and the trust root ends with it": {
			authority: ignoring, signer: w.Keyless(long), want: end,
			root: rootOf(func(r *sigstoretest.Root) { r.Fulcios[0].Valid = ending(end) }),
		},
		"keyless, and the trust root has the CA twice": {
			authority: ignoring, signer: w.Keyless(long), want: end,
			root: rootOf(func(r *sigstoretest.Root) {
				first := r.Fulcios[0]
				first.Valid = ending(end.Add(-time.Minute))
				r.Fulcios[0].Valid = ending(end)
				r.Fulcios = append([]sigstoretest.RootCA{first}, r.Fulcios...)
			}),
		},
		"a private PKI":                             {authority: private(ca.ChainPEM()), signer: ca.Signer(dev()), want: sigstoretest.Always.End},
		"a private PKI, with a log's time":          {authority: private(ca.ChainPEM()), signer: ca.Signer(devEnds), witnesses: witnesses{w.Rekor1}},
		"a private PKI's leaf ends":                 {authority: private(ca.ChainPEM()), signer: ca.Signer(devEnds), want: end},
		"a private PKI's intermediate ends":         {authority: private(intermediateEnds.ChainPEM()), signer: intermediateEnds.Signer(dev()), want: end},
		"a private PKI's root ends":                 {authority: private(rootEnds.ChainPEM()), signer: rootEnds.Signer(dev()), want: end},
		"a private PKI with a renewed intermediate": {authority: private(renewed.RootPEM()), signer: renewed.Signer(dev()), chain: append(renewed.Chain(), renewal), want: end},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := w.root
			if c.root != nil {
				root = c.root
			}
			s := sigstoretest.Signature{Signer: c.signer, Digest: app, Format: evidence.Bundle, Witnesses: c.witnesses}
			if c.chain != nil {
				s.Format = evidence.SimpleSigning
				s.Break = func(p *sigstoretest.Parts) { p.Chain = c.chain }
			}
			made := item(t, sigstoretest.Sign(s))
			judge := func(at time.Time) (time.Time, error) {
				got, err := c.authority.Signature(root, made, []image.Digest{app}, at)
				if err != nil {
					return time.Time{}, err
				}
				return got.ValidUntil(), nil
			}
			until, err := judge(now)
			if err != nil {
				t.Fatal(err)
			}
			if !until.Equal(c.want) {
				t.Fatalf("valid until %s, want %s", until, c.want)
			}
			if c.want.IsZero() {
				if _, err := judge(now.AddDate(200, 0, 0)); err != nil {
					t.Errorf("time has changed it: %v", err)
				}
				return
			}
			if later, err := judge(c.want); err != nil || !later.Equal(c.want) {
				t.Errorf("at the last moment: until %s, %v", later, err)
			}
			_, err = judge(c.want.Add(time.Nanosecond))
			if reason := reasonOf(err); reason != sigstore.ReasonTime && reason != sigstore.ReasonCertificate {
				t.Errorf("right after it: %v", err)
			}
		})
	}
}

// All but an entry of a log: a log may be asked for it, with the key it was signed with.
func TestWhatLacksOnlyALogsEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, other := sigstoretest.NewKey(sigstoretest.ECDSAP256), sigstoretest.NewKey(sigstoretest.Ed25519)
	ca := sigstoretest.NewCA(sigstoretest.CAOptions{})
	keys := newKeys(t, sigstore.KeysConfig{RequireLog: true}, other, key)
	private := newPKI(t, sigstore.PKIConfig{PEM: ca.ChainPEM(), Identities: allowDev(), RequireLog: true})
	releases := keyless(t, releaseIdentity())
	signs := sigstoretest.SignPredicate
	for name, c := range map[string]struct {
		authority *sigstore.Authority
		signature sigstoretest.Signature
		key       any
	}{
		"keyless":             {releases, sigstoretest.Signature{Signer: w.Keyless(release())}, nil},
		"keyless, a stamp":    {releases, sigstoretest.Signature{Signer: w.Keyless(release()), Witnesses: witnesses{w.TSA}}, nil},
		"keyless, envelope":   {releases, sigstoretest.Signature{Signer: w.Keyless(release()), Format: evidence.Envelope, PredicateType: signs}, nil},
		"key":                 {keys, sigstoretest.Signature{Signer: key}, key.Public()},
		"key, envelope":       {keys, sigstoretest.Signature{Signer: key, Format: evidence.Envelope, PredicateType: signs}, key.Public()},
		"key, empty":          {keys, sigstoretest.Signature{Signer: key, Break: func(p *sigstoretest.Parts) { p.Entries = nil }}, key.Public()},
		"PKI":                 {private, sigstoretest.Signature{Signer: ca.Signer(dev())}, nil},
		"key, of Rekor v2 so": {keys, sigstoretest.Signature{Signer: key, Witnesses: witnesses{w.Rekor2}}, key.Public()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.signature.Digest = app
			_, err := w.sign(t, c.authority, c.signature)
			refused(t, err, sigstore.ReasonLog)
			unlogged, ok := errors.AsType[*sigstore.UnloggedError](err)
			if !ok || !errors.Is(err, sigstore.ErrNoLogEntry) {
				t.Fatalf("not for the log alone: %v", err)
			}
			if diff := cmp.Diff(c.key, any(unlogged.Key)); diff != "" {
				t.Errorf("key (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnAttestationThatLacksOnlyALogsEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.attest(t, keyless(t, releaseIdentity()), sigstoretest.Signature{Signer: w.Keyless(release()), Digest: app, Format: evidence.Envelope})
	if !errors.Is(err, sigstore.ErrNoLogEntry) {
		t.Error(err)
	}
}

// Row 45: nothing that a stranger can push makes anybody ask a log.
func TestWhatLacksMoreThanALogsEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	releases := keyless(t, releaseIdentity())
	key, other := sigstoretest.NewKey(sigstoretest.ECDSAP256), sigstoretest.NewKey(sigstoretest.ECDSAP256)
	ca := sigstoretest.NewCA(sigstoretest.CAOptions{})
	good := sigstoretest.Sign(sigstoretest.Signature{Signer: w.Keyless(release()), Digest: app}).Parts
	noSCT := release()
	noSCT.SCTs = func([][]byte) [][]byte { return nil }
	server := release()
	server.Template = func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	for name, c := range map[string]struct {
		authority *sigstore.Authority
		change    func(*sigstoretest.Signature)
		want      sigstore.Reason
	}{
		"of another image": {releases, func(s *sigstoretest.Signature) { s.Digest = evil }, sigstore.ReasonContent},
		"another identity": {releases, func(s *sigstoretest.Signature) { s.Signer = w.Keyless(dev()) }, sigstore.ReasonIdentity},
		"another CA":       {releases, func(s *sigstoretest.Signature) { s.Signer = ca.Signer(release()) }, sigstore.ReasonCertificate},
		"not for code":     {releases, func(s *sigstoretest.Signature) { s.Signer = w.Keyless(server) }, sigstore.ReasonCertificate},
		"no SCT":           {releases, func(s *sigstoretest.Signature) { s.Signer = w.Keyless(noSCT) }, sigstore.ReasonSCT},
		"another's signature": {releases, func(s *sigstoretest.Signature) {
			s.Break = func(p *sigstoretest.Parts) { p.Signature = good.Signature }
		}, sigstore.ReasonSignature},
		"another key":    {newKeys(t, sigstore.KeysConfig{RequireLog: true}, key), func(s *sigstoretest.Signature) { s.Signer = other }, sigstore.ReasonSignature},
		"an attestation": {releases, func(s *sigstoretest.Signature) { s.Format = evidence.Envelope }, sigstore.ReasonKind},
		"a bundle":       {releases, func(s *sigstoretest.Signature) { s.Format = evidence.Bundle }, sigstore.ReasonLog},
		"an entry that is bad": {releases, func(s *sigstoretest.Signature) {
			s.Witnesses = witnesses{sigstoretest.NewLog(sigstoretest.LogOptions{})}
		}, sigstore.ReasonLog},
		"an annotation missing": {
			newKeyless(t, sigstore.KeylessConfig{Identities: []sigstore.Identity{releaseIdentity()}, Annotations: map[string]string{"env": "prod"}}),
			func(*sigstoretest.Signature) {}, sigstore.ReasonAnnotations,
		},
		"stamped too late": {releases, func(s *sigstoretest.Signature) {
			s.Witnesses, s.Certified = witnesses{w.TSA}, sigstoretest.Time.Add(-time.Hour)
		}, sigstore.ReasonCertificate},
		"stamped in the future": {newKeys(t, sigstore.KeysConfig{RequireLog: true}, key), func(s *sigstoretest.Signature) {
			s.Signer, s.Witnesses, s.Time = key, witnesses{w.TSA}, now.Add(time.Hour)
		}, sigstore.ReasonTime},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sigstoretest.Signature{Signer: w.Keyless(release()), Digest: app}
			c.change(&s)
			_, err := w.sign(t, c.authority, s)
			refused(t, err, c.want)
			if errors.Is(err, sigstore.ErrNoLogEntry) {
				t.Errorf("a log would be asked: %v", err)
			}
		})
	}
}

// Where no log is required none is asked.
func TestASignatureThatNeedsNoLogsEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	if _, err := w.sign(t, newKeys(t, sigstore.KeysConfig{}, key), sigstoretest.Signature{Signer: key, Digest: app}); err != nil {
		t.Error(err)
	}
}

func TestSlimKeepsWhatIsKnownWithoutTheBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.signed()
	s.Format, s.PredicateType = evidence.SimpleSigning, ""
	signature, err := w.sign(t, keyless(t, releaseIdentity()), s)
	if err != nil {
		t.Fatal(err)
	}
	s.Format = evidence.Envelope
	attestation, err := w.attest(t, keyless(t, releaseIdentity()), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ full, slim verified }{{signature, signature.Slim()}, {attestation, attestation.Slim()}} {
		if diff := cmp.Diff(factsOf(c.full), factsOf(c.slim), cmp.Comparer(func(a, b image.Digest) bool { return a == b })); diff != "" {
			t.Errorf("-full +slim:\n%s", diff)
		}
		want := c.full.Item()
		if len(want.Content) == 0 || len(want.Annotations) == 0 {
			t.Error("the original lost its bytes")
		}
		got := c.slim.Item()
		if got.Content != nil || got.Annotations != nil || got.Format != want.Format || got.Source != want.Source || got.At != want.At || got.Blob != want.Blob {
			t.Errorf("the item is %+v", got)
		}
	}
	if slim := signature.Slim(); slim.ClaimedName() != signature.ClaimedName() || !slim.ValidUntil().Equal(signature.ValidUntil()) {
		t.Error("the name that is claimed is lost")
	}
	if slim := attestation.Slim(); slim.PredicateType() != attestation.PredicateType() || slim.Predicate() != nil || attestation.Predicate() == nil {
		t.Error("the predicate's type is lost, or the predicate is not")
	}
}
