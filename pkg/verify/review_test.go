package verify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/store"
	"github.com/podseal/podseal/pkg/verify"
)

// ADVERSARIAL.md, row 42: who answers with a verdict of which three quarters are over
// has the list fetched anew, and not what was kept read again.
func TestARenewalAsksTheRegistry(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, memory())
		s.holds(t, v)
		time.Sleep(ages.TTL / 4 * 3)
		s.shelf.set(func(shelf *shelf) { shelf.evidence = s.nothing() })
		s.holds(t, v)
		synctest.Wait()
		s.fails(t, v, verify.NotVerified)
	})
}

// ADVERSARIAL.md, row 29: what was told to who had other credentials does not count
// because the credentials changed before all was told.
func TestCredentialsThatChangeWhileTheRegistryAnswers(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, memory())
		s.shelf.set(func(s *shelf) { s.before = func(context.Context) error { time.Sleep(time.Second); return nil } })
		go func() { _, _ = s.ask(t, v) }()
		time.Sleep(1500 * time.Millisecond)
		s.shelf.set(func(s *shelf) { s.version = registry.Version{1} })
		s.holds(t, v) // and looks at the credentials while the list is fetched
		time.Sleep(versionAge)
		s.holds(t, v)
		_, before := s.shelf.had()
		time.Sleep(versionAge)
		s.holds(t, v)
		if _, after := s.shelf.had(); before != after {
			t.Errorf("%d questions were asked again though nothing changed", after-before)
		}
		if conversations, _ := s.shelf.had(); conversations < 2 {
			t.Error("what was told with the old credentials counts for those with the new ones")
		}
	})
}

const versionAge = time.Second

// ADVERSARIAL.md, row 38: only silence keeps old evidence in use. Who pushes so much
// that a bound is hit would keep a signature that was deleted.
func TestABoundThatIsHitEndsWhatIsStale(t *testing.T) {
	t.Parallel()
	for _, answer := range []faulty{faulty(registry.Limit), faulty(registry.Denied)} {
		t.Run(answer.Error(), func(t *testing.T) {
			t.Parallel()
			s := newSigned(t).orStale()
			synctest.Test(t, func(t *testing.T) {
				v := s.verifier(t, memory())
				s.holds(t, v)
				s.shelf.set(func(s *shelf) { s.before = away })
				time.Sleep(ages.TTL)
				s.holds(t, v)
				s.shelf.set(func(s *shelf) { s.before = func(context.Context) error { return answer } })
				time.Sleep(ages.NegativeTTL)
				s.holds(t, v)
				synctest.Wait()
				if _, err := s.ask(t, v); err == nil {
					t.Errorf("stale evidence counts though the registry answers: %v", answer)
				}
			})
		})
	}
}

// ADVERSARIAL.md, row 45: who begins to look at an image that another namespace runs
// too does not make that wait behind all his own.
func TestANamespaceWaitsNotBehindAnotherOnesImagesForOneThatBothRun(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, memory())
		s.shelf.set(func(s *shelf) {
			s.before = func(context.Context) error { time.Sleep(2 * time.Second); return nil }
		})
		ask := func(namespace, tag string) error {
			p := running(s.app)
			p.UID, p.Namespace = namespace, namespace
			p.Containers[0].SpecImage = s.app.Ref.Repository.String() + ":" + tag
			_, err := v.Container(t.Context(), p, &p.Containers[0])
			return err
		}
		var crowd sync.WaitGroup
		defer func() { crowd.Wait(); time.Sleep(time.Minute) }() // until the last flight has ended
		for i := range 100 {
			crowd.Go(func() { _ = ask("crowd", fmt.Sprint("crowd", i)) })
		}
		synctest.Wait()
		crowd.Go(func() { _ = ask("crowd", "1") })
		synctest.Wait()
		before := time.Now()
		if err := ask("shop", "1"); err != nil {
			t.Errorf("after %v: %v", time.Since(before), err)
		}
	})
}

// aliased says that containers run something of another name than the record says.
type aliased struct{ image string }

func (a aliased) Runs(_ context.Context, _ *pod.Pod, c *pod.Container) (verify.Runs, error) {
	return verify.Runs{Source: verify.FromCRI, SpecImage: c.SpecImage, Image: a.image, ImageID: c.ImageID}, nil
}

// ADVERSARIAL.md, row 41: a decoy that never starts makes a policy that withholds false
// at once, and that must not hide one that fails, for what runs by another name.
func TestAPolicyThatWithholdsHidesNoneThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	unsigned := w.registry.PushImage("app", sigstoretest.Image{Content: "app"})
	cfg := w.requires(t, keyless(t, devIssuer, devSubject))
	named, err := policy.NewMatch(nil, nil, []string{"registry.example.org/pay/*"})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Policies = set(t,
		&policy.Policy{Name: "strict", Mode: policy.Fail, Match: named, Authorities: []policy.Authority{{Name: "a"}}},
		&policy.Policy{Name: "tried", Mode: policy.Audit, Authorities: []policy.Authority{{Name: "a"}}})
	for _, name := range []string{"strict", "tried"} {
		cfg.Judges[verify.AuthorityName{Policy: name, Authority: "a"}] = cfg.Judges[verify.AuthorityName{Policy: "p", Authority: "a"}]
	}
	v := verifier(t, cfg, w.client, aliased{"registry.example.org/pay/api:1"})
	p := running(unsigned, unsigned)
	p.Containers[1].ID, p.Containers[1].ImageID = "", ""
	r, err := v.Pod(t.Context(), p)
	if e, ok := errors.AsType[*verify.Error](err); !ok || e.Failures[0].Policy != "strict" {
		t.Errorf("%v, withheld %q", err, names(r.Withheld))
	}
	if !slices.Equal(names(r.Withheld), []string{"tried audit not verified"}) {
		t.Errorf("withheld %q", names(r.Withheld))
	}
	if n := len(w.registry.Requests()); n != 0 {
		t.Errorf("the registry was asked %d times", n)
	}
}

// ADVERSARIAL.md, row 42: old evidence counts while the registry is silent, and not
// because it was when somebody asked last.
func TestWhatIsStaleIsNotBelievedWithoutAskingAgain(t *testing.T) {
	t.Parallel()
	s := newSigned(t).orStale()
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, memory())
		s.holds(t, v)
		s.shelf.set(func(s *shelf) { s.before = away })
		time.Sleep(ages.TTL)
		s.holds(t, v)
		// The outage ends, the signature is deleted, and nobody asks for an hour.
		s.shelf.set(func(shelf *shelf) { shelf.before, shelf.evidence = nil, s.nothing() })
		time.Sleep(time.Hour)
		s.fails(t, v, verify.NotVerified)
	})
}

// noted is a store that says for which keys it has records.
type noted struct {
	*store.Store
	mu   sync.Mutex
	keys []store.Key
}

func (n *noted) PutRecord(key store.Key, tenant string, body []byte, refs []image.Ref) {
	n.Store.PutRecord(key, tenant, body, refs)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keys = append(n.keys, key)
}

// pinned is how many of the records are of images that run here.
func (n *noted) pinned(v *verify.Verifier) (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, key := range n.keys {
		if v.Pinned(key) {
			count++
		}
	}
	return count
}

// ADVERSARIAL.md, row 45: a container's image can be changed in place, again and again.
// What it ran before does not run any more, and must not fill the store.
func TestAContainerPinsWhatItRunsAndNotWhatItRanBefore(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	s.cfg.Present = func(uid string) bool { return uid == "u" }
	synctest.Test(t, func(t *testing.T) {
		kept := &noted{Store: memory()}
		v := s.verifier(t, kept)
		for i := range 100 {
			p := running(s.app)
			p.Containers[0].SpecImage = s.app.Ref.Repository.String() + fmt.Sprint(":", i)
			if _, err := v.Container(t.Context(), p, &p.Containers[0]); err != nil {
				t.Fatal(err)
			}
		}
		if n := kept.pinned(v); n != 1 || len(kept.keys) != 100 {
			t.Errorf("%d of %d records are pinned for one container", n, len(kept.keys))
		}
	})
}

// ADVERSARIAL.md, row 45: a container that has its identity asks nobody after a
// reconfiguration, and others must not cost it its evidence by then.
func TestWhatRunsHereIsPinnedOverReconfigurations(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	present := true
	s.cfg.Present = func(uid string) bool { return uid == "u" && present }
	kept := &noted{Store: memory()}
	v := s.verifier(t, kept)
	s.holds(t, v)
	for i := range 3 {
		next := s.verifier(t, kept)
		if n := kept.pinned(next); n != 0 {
			t.Errorf("configuration %d: %d records are pinned that nobody named", i, n)
		}
		next.Succeed(v)
		if n := kept.pinned(next); n != 1 {
			t.Errorf("configuration %d: %d records are pinned, want 1", i, n)
		}
		v = next
	}
	s.holds(t, v)
	present = false
	if n := kept.pinned(v); n != 0 {
		t.Errorf("%d records are pinned of what is gone", n)
	}
}

// versioned is a registry whose repositories have versions of their own.
type versioned struct {
	verify.Registry
	of func(image.Repository) registry.Version
}

func (r versioned) Version(of image.Repository) registry.Version { return r.of(of) }

// ADVERSARIAL.md, row 29: credentials are of a repository, and an image may be found by
// those of another one than its pod's author names.
func TestCredentialsOfTheImageIDsRepositoryThatChange(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	synctest.Test(t, func(t *testing.T) {
		var version registry.Version
		v := remembering(t, s.cfg, versioned{s.shelf, func(of image.Repository) registry.Version {
			if of == s.app.Ref.Repository {
				return version
			}
			return registry.Version{}
		}}, verify.RecordStatuses{}, memory())
		ask := func() (questions int) {
			p := running(s.app)
			p.Containers[0].SpecImage = s.app.Ref.Repository.Registry() + "/other:1"
			_, before := s.shelf.had()
			if _, err := v.Container(t.Context(), p, &p.Containers[0]); err != nil {
				t.Error(err)
			}
			_, after := s.shelf.had()
			return after - before
		}
		ask()
		time.Sleep(versionAge)
		if n := ask(); n != 0 {
			t.Errorf("%d questions though nothing changed", n)
		}
		version = registry.Version{1}
		time.Sleep(versionAge)
		if n := ask(); n == 0 {
			t.Error("nothing was asked with the new credentials")
		}
	})
}

// hangingAt is registries of which one does not answer before the time is over.
type hangingAt struct {
	verify.Registry
	registry string
}

func (h hangingAt) Conversation(who fair.Who) verify.Conversation {
	return hangingTalk{h.Registry.Conversation(who), h.registry}
}

type hangingTalk struct {
	verify.Conversation
	registry string
}

func (h hangingTalk) Tag(ctx context.Context, in image.Repository, tag string) ([]byte, string, error) {
	if in.Registry() == h.registry {
		<-ctx.Done()
		return nil, "", context.Cause(ctx)
	}
	return h.Conversation.Tag(ctx, in, tag)
}

// ADVERSARIAL.md, row 45: a registry without a block that hangs takes no more than half
// of what there is for all of them, whoever asks it.
func TestARegistryWithoutABlockThatHangsLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	s.shelf.strangers = true
	synctest.Test(t, func(t *testing.T) {
		v := remembering(t, s.cfg, hangingAt{s.shelf, "slow.example.org"}, verify.RecordStatuses{}, memory())
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				p := running(s.app)
				p.Namespace = fmt.Sprint("n", i%10)
				p.Containers[0].SpecImage = fmt.Sprint("slow.example.org/app:", i)
				_, _ = v.Container(t.Context(), p, &p.Containers[0])
			})
		}
		synctest.Wait()
		before := time.Now()
		s.holds(t, v)
		if took := time.Since(before); took != 0 {
			t.Errorf("an image of another registry took %v", took)
		}
		all.Wait()
		time.Sleep(time.Minute)
	})
}

// ADVERSARIAL.md, row 45: a bound that another namespace has hit is none of this one's.
func TestABoundThatAnotherNamespaceHitIsNotAnAnswer(t *testing.T) {
	t.Parallel()
	s := newSigned(t)
	synctest.Test(t, func(t *testing.T) {
		v := s.verifier(t, memory())
		var questions atomic.Int32
		s.shelf.set(func(s *shelf) {
			s.before = func(ctx context.Context) error {
				if questions.Add(1) > 1 {
					return nil
				}
				<-ctx.Done() // its namespace's share of the registry is used up
				return context.Cause(ctx)
			}
		})
		ask := func(namespace string) error {
			p := running(s.app)
			p.UID, p.Namespace = namespace, namespace
			_, err := v.Container(t.Context(), p, &p.Containers[0])
			return err
		}
		var both sync.WaitGroup
		both.Go(func() {
			if ask("evil") == nil {
				t.Error("it holds although nothing was told")
			}
		})
		time.Sleep(time.Second) // it has its turn
		both.Go(func() {
			if err := ask("shop"); err != nil {
				t.Errorf("who came later: %v", err)
			}
		})
		both.Wait()
	})
}
