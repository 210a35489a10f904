package verify_test

import (
	"context"
	"crypto"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/rekor"
	"github.com/podseal/podseal/pkg/selector"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/store"
	"github.com/podseal/podseal/pkg/verify"
)

// logWorld is a world whose old log can be asked.
type logWorld struct {
	*world
	log *sigstoretest.Rekor
}

func newLogWorld(t testing.TB) *logWorld {
	t.Helper()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	return &logWorld{w, sigstoretest.NewRekor(t, w.Rekor1)}
}

// asksLog is a client of the log.
func (w *logWorld) asksLog(t testing.TB) *rekor.Client {
	t.Helper()
	client, err := rekor.New(rekor.Config{URL: w.log.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// policy is the policy p of one authority, with a log where that is not nil.
func (w *logWorld) policy(t testing.TB, a *sigstore.Authority, log verify.Log, do policy.OnUnavailable) verify.Config {
	t.Helper()
	cfg := w.requires(t, a)
	cfg.Policies = set(t, &policy.Policy{Name: "p", Mode: policy.Fail, OnUnavailable: do, Authorities: []policy.Authority{{Name: "a"}}})
	if log != nil {
		cfg.Logs = map[string]verify.Log{"p": log}
	}
	return cfg
}

// block is the sigstore block, with a log where that is not nil.
func (w *world) block(a *sigstore.Authority, log verify.Log) verify.Config {
	return verify.Config{Budget: 20 * time.Second, Platform: image.NodePlatform(),
		Block: &verify.Block{Judge: verify.Judge{Authority: a, Root: fixed{w.root}}, Log: log}}
}

// unlogged is a signature or an attestation that is in the log, and whose entry was not
// stored with it.
func (w *logWorld) unlogged(by *sigstoretest.Signer, digest image.Digest, format evidence.Format) *sigstoretest.Artefact {
	return w.sign(by, digest, format, func(s *sigstoretest.Signature) { s.Break = sigstoretest.LogOnly })
}

// unsaid is one that no log has.
func (w *logWorld) unsaid(by *sigstoretest.Signer, digest image.Digest) *sigstoretest.Artefact {
	return w.sign(by, digest, evidence.SimpleSigning, func(s *sigstoretest.Signature) { s.Witnesses = nil })
}

func (w *logWorld) image(path string, signatures ...func(image.Digest) *sigstoretest.Artefact) sigstoretest.Pushed {
	app := w.registry.PushImage(path, sigstoretest.Image{Content: path, Tag: "1"})
	for _, sign := range signatures {
		w.registry.Attach(app.Ref, sigstoretest.Usual, sign(app.Ref.Digest))
	}
	return app
}

func (w *logWorld) devUnlogged(d image.Digest) *sigstoretest.Artefact {
	return w.unlogged(w.dev(), d, evidence.SimpleSigning)
}

func (w *logWorld) devAttestsUnlogged(d image.Digest) *sigstoretest.Artefact {
	return w.unlogged(w.dev(), d, evidence.Envelope)
}

func (w *logWorld) devUnsaid(d image.Digest) *sigstoretest.Artefact { return w.unsaid(w.dev(), d) }

func (w *logWorld) devLogged(d image.Digest) *sigstoretest.Artefact {
	return w.sign(w.dev(), d, evidence.SimpleSigning)
}

// has fails the test unless the image is accepted, with a selector that begins so.
func has(t testing.TB, v *verify.Verifier, app sigstoretest.Pushed, prefixes ...string) {
	t.Helper()
	got, err := selectors(t, v, running(app))
	if err != nil {
		t.Errorf("refused: %v", err)
	}
	for _, prefix := range prefixes {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, prefix) }) {
			t.Errorf("no %s among %q", prefix, got)
		}
	}
}

// A legacy signature whose entry was not stored with it counts where a log may be
// asked for the entry, and nowhere else. What the log said is kept like the rest: it
// counts without the log, and without the registry.
func TestTheEntryOfALegacySignatureIsLookedUpOnce(t *testing.T) {
	t.Parallel()
	w := newLogWorld(t)
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	byKey := authority(t)(sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{key.PublicPEM()}, RequireLog: true}))
	for name, c := range map[string]struct {
		config func(verify.Log) verify.Config
		sign   func(image.Digest) *sigstoretest.Artefact
		want   []string
	}{
		"policy": {
			func(l verify.Log) verify.Config {
				return w.policy(t, keyless(t, devIssuer, devSubject), l, policy.FailUnavailable)
			},
			w.devUnlogged, []string{"image-policy:p", "image-signer-identity:p/a:"},
		},
		"key": {
			func(l verify.Log) verify.Config { return w.policy(t, byKey, l, policy.FailUnavailable) },
			func(d image.Digest) *sigstoretest.Artefact { return w.unlogged(key, d, evidence.SimpleSigning) },
			[]string{"image-policy:p", "image-signer-key:p/a:"},
		},
		"block": {
			func(l verify.Log) verify.Config { return w.block(keyless(t, devIssuer, devSubject), l) },
			w.devUnlogged, []string{"image-signature:verified", "image-signature-log-index:", "image-signature-signed-entry-timestamp:"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := w.image("legacy/"+name, c.sign)
			wantRefusal(t, w.verifier(t, c.config(nil)), running(app), verify.NotVerified, "it has no log entry")

			log := &counted{Log: w.asksLog(t)}
			dir := t.TempDir()
			onDisk := store.Open(store.Config{Dir: dir})
			defer onDisk.Close()
			inMemory := store.Open(store.Config{})
			for _, kept := range []*store.Store{onDisk, inMemory} {
				has(t, remembering(t, c.config(log), verify.Registries(w.client), verify.RecordStatuses{}, kept), app, c.want...)
			}
			if n := log.count(); n != 2 {
				t.Errorf("the log was asked %d times for two verifications", n)
			}
			onDisk.Close()
			again := store.Open(store.Config{Dir: dir})
			defer again.Close()
			for _, kept := range []*store.Store{again, inMemory} {
				nobody := between{verify.Registries(w.client), func(ref image.Ref, _ func() (*registry.Found, error)) (*registry.Found, error) {
					t.Errorf("the registry was asked about %v", ref)
					return nil, context.Canceled
				}}
				has(t, remembering(t, c.config(nil), nobody, verify.RecordStatuses{}, kept), app, c.want...)
			}
		})
	}
}

// counted counts what a log is asked.
type counted struct {
	verify.Log

	mu    sync.Mutex
	asked int
}

func (l *counted) Complete(ctx context.Context, who fair.Who, item evidence.Item, keys ...crypto.PublicKey) (evidence.Item, error) {
	l.mu.Lock()
	l.asked++
	l.mu.Unlock()
	return l.Log.Complete(ctx, who, item, keys...)
}

func (l *counted) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// A log that the operator has named and that does not answer is what on_unavailable is
// for. One that answers something else, and one that says that it has no entry, are
// not: then the policy does not hold (ADVERSARIAL.md, row 38).
func TestALogThatDoesNotHelp(t *testing.T) {
	t.Parallel()
	w := newLogWorld(t)
	other := w.sign(w.dev(), image.Of([]byte("other")), evidence.SimpleSigning)
	for name, c := range map[string]struct {
		do                func(*sigstoretest.Rekor)
		kind              verify.Kind
		silent            bool
		sign              func(image.Digest) *sigstoretest.Artefact
		text              string
		consequenceOfThat policy.Mode
	}{
		"down":       {(*sigstoretest.Rekor).Close, verify.Unavailable, true, w.devUnlogged, "log 127.0.0.1", policy.Withhold},
		"500":        {func(r *sigstoretest.Rekor) { r.Break(sigstoretest.Status(500)) }, verify.Unavailable, true, w.devUnlogged, "500", policy.Withhold},
		"nonsense":   {func(r *sigstoretest.Rekor) { r.Break(sigstoretest.Body("application/json", []byte("{"))) }, verify.Unavailable, false, w.devUnlogged, "its answer is not", policy.Fail},
		"another's":  {func(r *sigstoretest.Rekor) { r.Break(sigstoretest.Entries(other.Parts.Entries...)) }, verify.Unavailable, false, w.devUnlogged, "not asked for", policy.Fail},
		"too long":   {func(r *sigstoretest.Rekor) { r.Break(sigstoretest.Endless("application/json")) }, verify.Limit, false, w.devUnlogged, "longer than", policy.Fail},
		"it has no.": {func(*sigstoretest.Rekor) {}, verify.NotVerified, false, w.devUnsaid, "it has no log entry", policy.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := w.image("log/"+strings.NewReplacer(" ", "-", "'", "", ".", "").Replace(name), c.sign)
			server := sigstoretest.NewRekor(t, w.Rekor1)
			c.do(server)
			for do, want := range map[policy.OnUnavailable]policy.Mode{policy.FailUnavailable: policy.Fail, policy.WithholdUnavailable: c.consequenceOfThat} {
				client, err := rekor.New(rekor.Config{URL: server.URL()})
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				v := w.verifier(t, w.policy(t, keyless(t, devIssuer, devSubject), client, do))
				f := theFailure(t, v, running(app))
				if f.Kind != c.kind || f.Unavailable != c.silent || f.Mode != want || !strings.Contains(f.String(), c.text) {
					t.Errorf("%s: kind %q, unavailable %t, %q: %v", do, f.Kind, f.Unavailable, f.Mode, f)
				}
			}
			// A block has no modes.
			client, err := rekor.New(rekor.Config{URL: server.URL()})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			wantRefusal(t, w.verifier(t, w.block(keyless(t, devIssuer, devSubject), client)), running(app), c.kind, c.text)
		})
	}
}

// theFailure is the only one, wherever it is, of the pod's first container.
func theFailure(t testing.TB, v *verify.Verifier, p *pod.Pod) verify.Failure {
	t.Helper()
	failing, withheld := failures(t, v, p)
	all := append(failing, withheld...)
	if len(all) != 1 {
		t.Fatalf("%d failures: %v", len(all), all)
	}
	if wanted := all[0].Mode == policy.Fail; wanted != (len(failing) == 1) {
		t.Errorf("mode %q, and it fails the attestation: %t", all[0].Mode, !wanted)
	}
	return all[0]
}

// failures are those that fail the attestation of the pod's first container, and those
// that are withheld.
func failures(t testing.TB, v *verify.Verifier, p *pod.Pod) (failing, withheld []verify.Failure) {
	t.Helper()
	r, err := v.Container(t.Context(), p, &p.Containers[0])
	if e, ok := errors.AsType[*verify.Error](err); ok {
		failing = e.Failures
	} else if err != nil {
		t.Fatal(err)
	}
	if values, err := selector.Images(r.Trust); err != nil || len(failing) > 0 && len(values) > 0 {
		t.Errorf("selectors in spite of an error: %q, %v", values, err)
	}
	return failing, r.Withheld
}

// A log is asked for what would count with its entry, and for nothing else: what
// strangers have pushed costs it nothing.
func TestStrangersSignaturesMakeNobodyAskALog(t *testing.T) {
	t.Parallel()
	w := newLogWorld(t)
	mallory := w.Keyless(sigstoretest.Identity{Issuer: devIssuer, Subject: sigstoretest.Email("mallory@example.org")})
	elsewhere := sigstoretest.New().Keyless(sigstoretest.Identity{Issuer: devIssuer, Subject: sigstoretest.Email(devSubject)})
	spoilt := func(d image.Digest) *sigstoretest.Artefact {
		return w.sign(w.dev(), d, evidence.SimpleSigning, func(s *sigstoretest.Signature) {
			s.Break = func(p *sigstoretest.Parts) {
				sigstoretest.LogOnly(p)
				p.Signature = slices.Clone(p.Signature)
				p.Signature[len(p.Signature)-1] ^= 1
			}
		})
	}
	junk := []func(image.Digest) *sigstoretest.Artefact{
		func(d image.Digest) *sigstoretest.Artefact { return w.unlogged(mallory, d, evidence.SimpleSigning) },
		func(d image.Digest) *sigstoretest.Artefact { return w.unlogged(elsewhere, d, evidence.SimpleSigning) },
		func(image.Digest) *sigstoretest.Artefact { return w.devUnlogged(image.Of([]byte("other"))) },
		func(d image.Digest) *sigstoretest.Artefact { return w.unlogged(mallory, d, evidence.Envelope) },
		spoilt,
	}
	only := w.image("junk/only", junk...)
	log := &counted{Log: w.asksLog(t)}
	cfg := w.policy(t, keyless(t, devIssuer, devSubject), log, policy.FailUnavailable)
	wantRefusal(t, w.verifier(t, cfg), running(only), verify.NotVerified)
	wantRefusal(t, w.verifier(t, w.block(keyless(t, devIssuer, devSubject), log)), running(only), verify.NotVerified)
	if n := log.count(); n != 0 {
		t.Errorf("the log was asked %d times", n)
	}
	has(t, w.verifier(t, cfg), w.image("junk/and-good", append(junk, w.devUnlogged)...), "image-policy:p")
	if n := log.count(); n != 1 {
		t.Errorf("the log was asked %d times for one signature", n)
	}
}

// Signatures that would count may be any number too, for who may sign may also be
// careless: no more than four are looked up, and that is said.
func TestMoreSignaturesLackEntriesThanAreLookedUp(t *testing.T) {
	t.Parallel()
	w := newLogWorld(t)
	six := make([]func(image.Digest) *sigstoretest.Artefact, 6)
	for i := range six {
		six[i] = w.devUnsaid
	}
	log := &counted{Log: w.asksLog(t)}
	for name, c := range map[string]struct {
		cfg verify.Config
	}{
		"policy": {w.policy(t, keyless(t, devIssuer, devSubject), log, policy.WithholdUnavailable)},
		"block":  {w.block(keyless(t, devIssuer, devSubject), log)},
	} {
		before := log.count()
		app := w.image("many/"+name, six...)
		f := theFailure(t, w.verifier(t, c.cfg), running(app))
		if f.Kind != verify.Limit || f.Unavailable || f.Mode != policy.Fail || strings.Count(f.String(), "more than 4 signatures lack their log entries") != 1 {
			t.Errorf("%s: kind %q, unavailable %t, %q: %v", name, f.Kind, f.Unavailable, f.Mode, f)
		}
		if n := log.count() - before; n != 4 {
			t.Errorf("%s: the log was asked %d times", name, n)
		}
		good := slices.Clone(six)
		good[3] = w.devUnlogged
		has(t, w.verifier(t, c.cfg), w.image("many/good-"+name, good...), "image-")
	}
	// That the log is away as well makes it no other bound (ADVERSARIAL.md, row 38).
	away := &logShelf{}
	away.away.Store(true)
	f := theFailure(t, w.verifier(t, w.policy(t, keyless(t, devIssuer, devSubject), away, policy.WithholdUnavailable)), running(w.image("many/away", six...)))
	if f.Kind != verify.Limit || f.Unavailable || f.Mode != policy.Fail {
		t.Errorf("away: kind %q, unavailable %t, %q: %v", f.Kind, f.Unavailable, f.Mode, f)
	}
	// Two authorities have one bound between them, which is said once.
	cfg := w.requires(t, keyless(t, devIssuer, devSubject), keyless(t, devIssuer, devSubject))
	cfg.Logs = map[string]verify.Log{"p": log}
	before := log.count()
	f = theFailure(t, w.verifier(t, cfg), running(w.image("many/two", six...)))
	if n := log.count() - before; f.Kind != verify.Limit || n != 4 || strings.Count(f.String(), "more than 4 signatures lack their log entries") != 1 {
		t.Errorf("two authorities: kind %q, the log was asked %d times: %v", f.Kind, n, f)
	}
}

// The block says something of attestations, so theirs are looked up as well.
func TestTheEntryOfALegacyAttestationIsLookedUp(t *testing.T) {
	t.Parallel()
	w := newLogWorld(t)
	a := keyless(t, devIssuer, devSubject)
	for name, signature := range map[string]func(image.Digest) *sigstoretest.Artefact{"both": w.devUnlogged, "it": w.devLogged} {
		app := w.image("att/"+name, signature, w.devAttestsUnlogged)
		has(t, w.verifier(t, w.block(a, w.asksLog(t))), app, "image-signature:verified", "image-attestations:verified")
	}
	app := w.image("att/without", w.devLogged, w.devAttestsUnlogged)
	got, err := selectors(t, w.verifier(t, w.block(a, nil)), running(app))
	if err != nil || !slices.Contains(got, "image-signature:verified") || slices.Contains(got, "image-attestations:verified") {
		t.Errorf("without a log: %q, %v", got, err)
	}
	cfg := w.block(a, w.asksLog(t))
	cfg.Block.IgnoreAttestations = true
	before := len(w.log.Requests())
	if got, err := selectors(t, w.verifier(t, cfg), running(app)); err != nil || slices.Contains(got, "image-attestations:verified") {
		t.Errorf("with ignore_attestations: %q, %v", got, err)
	}
	if n := len(w.log.Requests()) - before; n != 0 {
		t.Errorf("with ignore_attestations the log was asked %d times", n)
	}
}
