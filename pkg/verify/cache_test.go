package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/selector"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/store"
	"github.com/podseal/podseal/pkg/trustroot"
	"github.com/podseal/podseal/pkg/verify"
)

// signed is a world with an image that the developer has signed, and the shelf with
// it. Tests of time begin long after it was signed: in a bubble the year is 2000, which
// is before, so that they judge by a key, which has no time.
type signed struct {
	*world
	app   sigstoretest.Pushed
	cfg   verify.Config
	shelf *shelf
	// found is what there is about it.
	found map[image.Ref]*registry.Found
}

func newSigned(t *testing.T) *signed {
	t.Helper()
	s := &signed{world: newWorld(t, sigstoretest.RegistryOptions{})}
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	s.app = s.registry.PushImage("app", sigstoretest.Image{Content: "app", Tag: "1"})
	s.registry.Attach(s.app.Ref, sigstoretest.Usual, s.sign(key, s.app.Ref.Digest, evidence.SimpleSigning, func(s *sigstoretest.Signature) { s.Witnesses = nil }))
	s.cfg = s.requires(t, authority(t)(sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{key.PublicPEM()}})))
	for name := range s.cfg.Judges {
		s.cfg.Judges[name] = verify.Judge{Authority: s.cfg.Judges[name].Authority}
	}
	s.shelf = s.filled(t, s.cfg, func(v *verify.Verifier) { s.holds(t, v) })
	s.found = s.shelf.evidence
	return s
}

// nothing is what there is about an image once its signatures were deleted.
func (s *signed) nothing() map[image.Ref]*registry.Found {
	none := map[image.Ref]*registry.Found{}
	for ref := range s.found {
		none[ref] = &registry.Found{}
	}
	return none
}

// nowhere keeps nothing.
type nowhere struct{}

func (nowhere) Get(image.Ref) ([]byte, string, bool)             { return nil, "", false }
func (nowhere) Put(image.Ref, string, []byte)                    {}
func (nowhere) Record(store.Key) ([]byte, bool)                  { return nil, false }
func (nowhere) PutRecord(store.Key, string, []byte, []image.Ref) {}

// verifier is one that asks the shelf.
func (s *signed) verifier(t *testing.T, kept verify.Store) *verify.Verifier {
	t.Helper()
	return remembering(t, s.cfg, s.shelf, verify.RecordStatuses{}, kept)
}

func memory() *store.Store { return store.Open(store.Config{}) }

func (s *signed) ask(t *testing.T, v *verify.Verifier) (*verify.Result, error) {
	t.Helper()
	p := running(s.app)
	return v.Container(t.Context(), p, &p.Containers[0])
}

func (s *signed) holds(t *testing.T, v *verify.Verifier) *verify.Result {
	t.Helper()
	r, err := s.ask(t, v)
	if err != nil || len(r.Trust.Accepted) == 0 {
		t.Fatalf("it does not hold: %v", err)
	}
	return r
}

func (s *signed) fails(t *testing.T, v *verify.Verifier, kind verify.Kind) {
	t.Helper()
	_, err := s.ask(t, v)
	if e, ok := errors.AsType[*verify.Error](err); !ok || e.Kind() != kind {
		t.Fatalf("it fails with %v, want it %s", err, kind)
	}
}

// asked fails the test unless there were so many conversations.
func (s *signed) asked(t *testing.T, want int) {
	t.Helper()
	synctest.Wait()
	if got, _ := s.shelf.had(); got != want {
		t.Fatalf("%d conversations, want %d", got, want)
	}
}

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
	s := newSigned(t)
	for r := range s.cfg.Policies.All() {
		r.OnUnavailable = policy.Stale
	}
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
		s.shelf.set(func(s *shelf) { s.before = func(context.Context) error { return faulty(registry.Unavailable) } })
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
		down := func(context.Context) error { return faulty(registry.Unavailable) }
		s.shelf.set(func(s *shelf) { s.before = down })
		s.fails(t, v, verify.Unavailable)
		s.fails(t, v, verify.Unavailable)
		s.asked(t, 1)
		time.Sleep(5 * time.Second)
		s.shelf.set(func(s *shelf) { s.before = nil })
		s.holds(t, v)
		// What counts is not lost by an outage before its time.
		s.shelf.set(func(s *shelf) { s.before = down })
		time.Sleep(ages.TTL - 1)
		s.holds(t, v)
		time.Sleep(time.Nanosecond)
		s.fails(t, v, verify.Unavailable)
	})
}

func TestEvidenceFromBeforeAnOutageCountsWherePoliciesSaySo(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	for r := range s.cfg.Policies.All() {
		r.OnUnavailable = policy.Stale
	}
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
	s := newSigned(t)
	for r := range s.cfg.Policies.All() {
		r.OnUnavailable = policy.Stale
	}
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, memory())
		s.holds(t, v)
		s.shelf.set(func(s *shelf) { s.before = func(context.Context) error { return faulty(registry.Unavailable) } })
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

func TestManyCallersOfOneImageAreOneConversation(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, memory())
		s.shelf.set(func(s *shelf) {
			s.before = func(context.Context) error { time.Sleep(100 * time.Millisecond); return nil }
		})
		var all sync.WaitGroup
		left := errors.New("left")
		for i := range 100 {
			all.Go(func() {
				p := running(s.app)
				p.UID, p.Namespace = fmt.Sprint(i), fmt.Sprint("ns", i%7)
				ctx := t.Context()
				leaves := i%2 == 0 // among them who came first
				if leaves {
					timed, cancel := context.WithTimeoutCause(ctx, 50*time.Millisecond, left)
					defer cancel()
					ctx = timed
				}
				if _, err := v.Container(ctx, p, &p.Containers[0]); leaves != errors.Is(err, left) || !leaves && err != nil {
					t.Errorf("caller %d: %v", i, err)
				}
			})
		}
		all.Wait()
		s.asked(t, 1)
	})
}

// Two namespaces with policies of their own ask about one image at once: what one of
// them finds out is not asked for again by the other.
func TestPoliciesOfTwoNamespacesShareTheEvidenceAndNotTheVerdict(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	strict := &policy.Policy{Name: "strict", Mode: policy.Fail, Authorities: []policy.Authority{{Name: "a"}}}
	for r := range s.cfg.Policies.All() {
		r.Match = match(t, "shop")
		s.cfg.Policies = set(t, r, strict)
	}
	strict.Match = match(t, "bank")
	s.cfg.Judges[verify.AuthorityName{Policy: "strict", Authority: "a"}] = verify.Judge{Authority: authority(t)(sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{sigstoretest.NewKey(sigstoretest.Ed25519).PublicPEM()}}))}
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, memory())
		s.shelf.set(func(s *shelf) {
			s.before = func(context.Context) error { time.Sleep(100 * time.Millisecond); return nil }
		})
		var both sync.WaitGroup
		for _, namespace := range []string{"shop", "bank"} {
			both.Go(func() {
				p := running(s.app)
				p.Namespace = namespace
				if _, err := v.Container(t.Context(), p, &p.Containers[0]); (err == nil) != (namespace == "shop") {
					t.Errorf("%s: %v", namespace, err)
				}
			})
		}
		both.Wait()
		_, first := s.shelf.had()
		p := running(s.app)
		p.Namespace = "bank"
		if _, err := v.Container(t.Context(), p, &p.Containers[0]); err == nil {
			t.Error("the verdict of the other namespace's policy was served")
		}
		if _, after := s.shelf.had(); after != first {
			t.Error("a refusal was looked up again at once")
		}
	})
}

func match(t testing.TB, namespace string) policy.Match {
	t.Helper()
	m, err := policy.NewMatch([]string{namespace}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
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

// ADVERSARIAL.md, row 45: a namespace with a thousand images loses its own verdicts.
func TestImagesThatRunHereAndThoseOfOthersAreKept(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	s.cfg.MaxEntries = 16
	s.cfg.Present = func(uid string) bool { return uid == "stays" }
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, nowhere{})
		ask := func(uid, namespace, tag string) {
			p := running(s.app)
			p.UID, p.Namespace = uid, namespace
			p.Containers[0].SpecImage = s.app.Ref.Repository.String() + ":" + tag
			_, _ = v.Container(t.Context(), p, &p.Containers[0]) // most of the tags are nothing
		}
		ask("stays", "crowd", "1")
		for i := range 4 {
			ask("gone", "shop", fmt.Sprint("shop", i))
		}
		for i := range 1000 {
			ask("gone", "crowd", fmt.Sprint("crowd", i))
		}
		before, _ := s.shelf.had()
		ask("stays", "crowd", "1")
		for i := range 4 {
			ask("gone", "shop", fmt.Sprint("shop", i))
		}
		s.asked(t, before)
		for i := range 1000 {
			ask("gone", "crowd", fmt.Sprint("crowd", i))
		}
		if after, _ := s.shelf.had(); after < before+900 {
			t.Errorf("only %d of a thousand were asked for again: more is kept than may be", after-before)
		}
	})
}

// ADVERSARIAL.md, row 45: one pod that is there all the time, whose image its author
// changes in place again and again.
func TestAPodThatChangesItsImageTakesNoMoreRoomThanThereIs(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	s.cfg.MaxEntries = 16
	s.cfg.Present = func(string) bool { return true }
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, nowhere{})
		ask := func(uid, namespace, tag string) {
			p := running(s.app)
			p.UID, p.Namespace = uid, namespace
			p.Containers[0].SpecImage = s.app.Ref.Repository.String() + ":" + tag
			_, _ = v.Container(t.Context(), p, &p.Containers[0]) // most of the tags are nothing
		}
		ask("neighbour", "shop", "1")
		for range 2 {
			before, _ := s.shelf.had()
			for i := range 1000 {
				ask("changes", "crowd", fmt.Sprint("crowd", i))
			}
			if after, _ := s.shelf.had(); after != before+1000 {
				t.Errorf("%d of a thousand were asked for: more is kept than may be", after-before)
			}
		}
		before, _ := s.shelf.had()
		ask("neighbour", "shop", "1")
		s.asked(t, before)
	})
}

// Work that nobody waits for becomes urgent when somebody does.
func TestWhoWaitsForWhatWasBegunAheadIsNotBehindOthers(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, memory())
		release := make(chan struct{})
		s.shelf.set(func(s *shelf) { s.before = func(context.Context) error { <-release; return nil } })
		// All places for work ahead are taken by others.
		for i := range 8 {
			go func() {
				p := running(s.app)
				p.Namespace = fmt.Sprint("other", i)
				p.Containers[0].SpecImage = s.app.Ref.Repository.String() + fmt.Sprint(":x", i)
				_ = v.Prepare(t.Context(), p, &p.Containers[0])
			}()
		}
		synctest.Wait()
		p := running(s.app)
		go func() { _ = v.Prepare(t.Context(), p, &p.Containers[0]) }()
		synctest.Wait()
		before, _ := s.shelf.had()
		answered := make(chan error, 1)
		go func() {
			_, err := v.Container(t.Context(), p, &p.Containers[0])
			answered <- err
		}()
		synctest.Wait()
		if after, _ := s.shelf.had(); after != before+1 {
			t.Errorf("%d conversations began for who waits, want one", after-before)
		}
		close(release)
		if err := <-answered; err != nil {
			t.Error(err)
		}
	})
}

// A panic over one image is told to all who wait for it, and to nobody else.
func TestAPanicInAFlightReachesAllWhoWait(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, memory())
		s.shelf.set(func(s *shelf) { s.before = func(context.Context) error { time.Sleep(time.Second); panic("fell") } })
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				_, err := s.ask(t, v)
				if err == nil {
					t.Error("no error")
				}
			})
		}
		all.Wait()
		s.asked(t, 1)
		s.shelf.set(func(s *shelf) { s.before = nil })
		time.Sleep(ages.NegativeTTL)
		s.holds(t, v)
	})
}

// A panic of which nobody waits to hear is in the log, and does not come again at each
// call.
func TestAPanicWhileAVerdictIsRenewed(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	var log bytes.Buffer
	s.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, memory())
		s.holds(t, v)
		time.Sleep(ages.TTL / 4 * 3)
		s.shelf.set(func(s *shelf) { s.before = func(context.Context) error { panic("fell") } })
		for range 3 {
			s.holds(t, v)
			synctest.Wait()
		}
		s.asked(t, 2)
		if n := strings.Count(log.String(), "recovered from a panic"); n != 1 || !strings.Contains(log.String(), "panic=fell") {
			t.Errorf("%d reports:\n%s", n, log.String())
		}
	})
}

// A policy that looks at no evidence waits for none of another one's.
func TestAStaticAnswerWaitsForNobody(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	allow := &policy.Policy{Name: "allow", Mode: policy.Fail, Authorities: []policy.Authority{{Name: "a", Static: policy.Allow}}}
	for r := range s.cfg.Policies.All() {
		r.Mode = policy.Audit
		s.cfg.Policies = set(t, r, allow)
	}
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, memory())
		s.shelf.set(func(s *shelf) { s.before = func(context.Context) error { time.Sleep(time.Minute); return nil } })
		r, err := s.ask(t, v)
		if err != nil || len(r.Withheld) != 1 || !slices.Contains(selectorsOf(t, r), "image-policy:allow") {
			t.Errorf("%v, %d withheld, %q", err, len(r.Withheld), selectorsOf(t, r))
		}
		time.Sleep(time.Hour) // until the flight is over
	})
}

func selectorsOf(t *testing.T, r *verify.Result) []string {
	t.Helper()
	values, err := selector.Images(r.Trust)
	if err != nil {
		t.Fatal(err)
	}
	return values
}
