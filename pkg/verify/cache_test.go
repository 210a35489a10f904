package verify_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/trustroot"
	"github.com/podseal/podseal/pkg/verify"
)

func TestAVerdictCountsAsLongAsItsListIsNew(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, memory())
		begin := time.Now()
		if r := s.holds(t, v); !r.Images[0].Fetched.Equal(begin) || r.Images[0].Stored {
			t.Errorf("fetched %v, stored %t", r.Images[0].Fetched, r.Images[0].Stored)
		}
		s.asked(t, 1)
		time.Sleep(ages.TTL/2 - time.Second)
		s.holds(t, v)
		s.asked(t, 1)
		time.Sleep(ages.TTL/4 + time.Second)
		s.shelf.set(func(s *shelf) { s.before = func(context.Context) error { time.Sleep(time.Second); return nil } })
		before := time.Now()
		s.holds(t, v)
		if took := time.Since(before); took != 0 {
			t.Errorf("a caller waited %v for a list that was fetched anew on the side", took)
		}
		time.Sleep(time.Minute)
		s.asked(t, 2)
		renewed := time.Now().Add(-time.Minute)
		time.Sleep(ages.TTL - time.Minute)
		before = time.Now()
		if r := s.holds(t, v); !r.Images[0].Fetched.After(renewed) {
			t.Errorf("fetched %v", r.Images[0].Fetched)
		}
		if time.Since(before) == 0 {
			t.Error("nobody waited for the new list when the old one was over")
		}
		s.asked(t, 3)
	})
}

// ADVERSARIAL.md, row 42: a signature that is deleted counts no longer than the list
// does, and nothing brings it back.
func TestASignatureThatIsDeletedIsGone(t *testing.T) {
	t.Parallel()
	s := newSigned(t).orStale()
	synctest.Test(t, func(t *testing.T) {
		kept := memory()
		v := s.verifier(t, kept)
		s.holds(t, v)
		s.shelf.set(func(shelf *shelf) { shelf.evidence = s.nothing() })
		s.holds(t, v)
		time.Sleep(ages.TTL)
		s.fails(t, v, verify.NotVerified)
		s.fails(t, s.verifier(t, kept), verify.NotVerified)
		// Nor does an outage, as long as old evidence would do.
		s.shelf.set(func(s *shelf) { s.before = away })
		time.Sleep(time.Hour)
		s.fails(t, v, verify.Unavailable)
		s.fails(t, s.verifier(t, kept), verify.Unavailable)
	})
}

func TestARefusalCountsForLessTime(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, memory())
		s.shelf.set(func(shelf *shelf) { shelf.evidence = s.nothing() })
		s.fails(t, v, verify.NotVerified)
		s.asked(t, 1)
		s.shelf.set(func(shelf *shelf) { shelf.evidence = s.found })
		time.Sleep(ages.NegativeTTL - 1)
		s.fails(t, v, verify.NotVerified)
		s.asked(t, 1)
		time.Sleep(time.Nanosecond)
		s.holds(t, v)
		s.asked(t, 2)
	})
}

func TestARegistryThatFlapsIsAskedAgainSoon(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, memory())
		s.shelf.set(func(s *shelf) { s.before = away })
		if r, err := s.ask(t, v); err == nil || !r.Images[0].Fetched.IsZero() {
			t.Errorf("%v, and a list was fetched at %v", err, r.Images[0].Fetched)
		}
		s.fails(t, v, verify.Unavailable)
		s.fails(t, v, verify.Unavailable)
		s.asked(t, 1)
		time.Sleep(5 * time.Second)
		s.shelf.set(func(s *shelf) { s.before = nil })
		s.holds(t, v)
		// What counts is not lost by an outage before its time.
		s.shelf.set(func(s *shelf) { s.before = away })
		time.Sleep(ages.TTL - 1)
		s.holds(t, v)
		time.Sleep(time.Nanosecond)
		s.fails(t, v, verify.Unavailable)
	})
}

func TestEvidenceFromBeforeAnOutageCountsWherePoliciesSaySo(t *testing.T) {
	t.Parallel()
	s := newSigned(t).orStale()
	synctest.Test(t, func(t *testing.T) {
		kept := memory()
		v := s.verifier(t, kept)
		begin := time.Now()
		s.holds(t, v)
		down := true
		s.shelf.set(func(s *shelf) {
			s.before = func(context.Context) error {
				if time.Sleep(time.Second); down {
					return faulty(registry.Unavailable)
				}
				return nil
			}
		})
		time.Sleep(2 * ages.TTL)
		for _, v := range []*verify.Verifier{v, s.verifier(t, kept)} {
			if r := s.holds(t, v); !r.Verdicts[0].Stale.Equal(begin) || !slices.Contains(selectorsOf(t, r), "image-policy:p") {
				t.Errorf("stale since %v, want %v; %q", r.Verdicts[0].Stale, begin, selectorsOf(t, r))
			}
			// Nobody waits again for a registry that is away.
			before := time.Now()
			s.holds(t, v)
			time.Sleep(ages.NegativeTTL)
			s.holds(t, v)
			if took := time.Since(before) - ages.NegativeTTL; took != 0 {
				t.Errorf("callers waited %v", took)
			}
			synctest.Wait()
		}
		time.Sleep(ages.StaleTTL - time.Since(begin))
		s.fails(t, v, verify.Unavailable)
		down = false
		time.Sleep(ages.NegativeTTL)
		if r := s.holds(t, v); !r.Verdicts[0].Stale.IsZero() {
			t.Error("new evidence is called stale")
		}
	})
}

func TestAnOutageThatEndsIsNoticedOnTheSide(t *testing.T) {
	t.Parallel()
	s := newSigned(t).orStale()
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, memory())
		s.holds(t, v)
		s.shelf.set(func(s *shelf) { s.before = away })
		time.Sleep(ages.TTL)
		s.holds(t, v)
		// The signature was deleted meanwhile.
		s.shelf.set(func(shelf *shelf) { shelf.before, shelf.evidence = nil, s.nothing() })
		time.Sleep(ages.NegativeTTL)
		s.holds(t, v)
		synctest.Wait()
		s.fails(t, v, verify.NotVerified)
	})
}

// turning is a root that can be another one.
type turning struct {
	mu   sync.Mutex
	root *sigstore.Root
}

func (r *turning) Current() (*sigstore.Root, trustroot.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.root, trustroot.Status{}
}

func (r *turning) turn(to *sigstore.Root) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.root = to
}

// ADVERSARIAL.md, row 29: a verdict is by a trust root, and not by what was one before.
func TestATrustRootThatChangesIsTakenUpAtOnceWithoutAskingTheRegistry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	app := w.registry.PushImage("app", sigstoretest.Image{Content: "app", Tag: "1"})
	w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(w.dev(), app.Ref.Digest, evidence.Bundle))
	cfg := w.requires(t, keyless(t, devIssuer, devSubject))
	own := &turning{}
	for name, judge := range cfg.Judges {
		cfg.Judges[name] = verify.Judge{Authority: judge.Authority, Root: own}
	}
	other := root(t, sigstoretest.New().TrustedRoot())
	shelf := w.filled(t, w.requires(t, keyless(t, devIssuer, devSubject)), func(v *verify.Verifier) { wantSelectors(t, v, running(app), devSelectors(t, v, app)...) })
	v := remembering(t, cfg, shelf, verify.RecordStatuses{}, memory())
	for i, step := range []struct {
		root *sigstore.Root
		kind verify.Kind // empty: it holds
	}{{nil, verify.Unavailable}, {w.root, ""}, {other, verify.NotVerified}, {w.root, ""}, {nil, verify.Unavailable}, {w.root, ""}} {
		own.turn(step.root)
		if step.kind != "" {
			wantRefusal(t, v, running(app), step.kind)
			continue
		}
		_, before := shelf.had()
		wantSelectors(t, v, running(app), devSelectors(t, v, app)...)
		if _, after := shelf.had(); i > 1 && after != before {
			t.Errorf("step %d: the registry was asked %d questions because the root has changed", i, after-before)
		}
	}
}

// ADVERSARIAL.md, row 29: what was told to who had other credentials is asked anew.
func TestCredentialsThatChangeHaveTheRegistryAskedAnew(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	synctest.Test(t, func(t *testing.T) {
		kept := memory()
		v := s.verifier(t, kept)
		s.shelf.set(func(s *shelf) { s.before = func(context.Context) error { return faulty(registry.Denied) } })
		s.fails(t, v, verify.Unavailable)
		s.shelf.set(func(s *shelf) { s.before, s.version = nil, registry.Version{1} })
		time.Sleep(time.Second)
		s.holds(t, v)
		s.asked(t, 2)
		s.holds(t, s.verifier(t, kept))
		s.asked(t, 3) // a conversation in which nothing is asked
		_, before := s.shelf.had()
		s.shelf.set(func(s *shelf) { s.version = registry.Version{2} })
		time.Sleep(time.Second)
		s.holds(t, v)
		s.holds(t, s.verifier(t, kept))
		if _, after := s.shelf.had(); after == before {
			t.Error("nothing was asked with the new credentials")
		}
	})
}

// ADVERSARIAL.md, row 29: another configuration has its own verdicts, by evidence that
// is there.
func TestAnotherConfigurationJudgesByWhatIsStored(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	kept := memory()
	s.holds(t, s.verifier(t, kept))
	_, before := s.shelf.had()
	again := s.verifier(t, kept)
	if r := s.holds(t, again); !r.Images[0].Stored {
		t.Error("it does not say that it was stored")
	}
	if _, after := s.shelf.had(); after != before {
		t.Errorf("%d questions were asked again", after-before)
	}
	s.cfg.Judges = map[verify.AuthorityName]verify.Judge{{Policy: "p", Authority: "a"}: {Authority: authority(t)(sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{sigstoretest.NewKey(sigstoretest.Ed25519).PublicPEM()}}))}}
	s.fails(t, s.verifier(t, kept), verify.NotVerified)
}

// A key that may sign until a certain day does not count on the next one, whatever was
// found out before.
func TestAVerdictEndsWithWhatItDependsOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	app := w.registry.PushImage("app", sigstoretest.Image{Content: "app", Tag: "1"})
	w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(key, app.Ref.Digest, evidence.SimpleSigning, func(s *sigstoretest.Signature) { s.Witnesses = nil }))
	until := time.Date(2000, 1, 1, 0, 10, 0, 0, time.UTC)
	forever := w.requires(t, authority(t)(sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{key.PublicPEM()}})))
	cfg := w.requires(t, authority(t)(sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{key.PublicPEM()}, ValidUntil: until})))
	for _, c := range []verify.Config{forever, cfg} {
		for name := range c.Judges {
			c.Judges[name] = verify.Judge{Authority: c.Judges[name].Authority}
		}
	}
	s := &signed{world: w, app: app, cfg: cfg}
	s.shelf = w.filled(t, forever, func(v *verify.Verifier) { s.holds(t, v) })
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, memory())
		s.holds(t, v)
		time.Sleep(time.Until(until))
		s.holds(t, v)
		time.Sleep(time.Nanosecond)
		s.fails(t, v, verify.NotVerified)
	})
}
