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

	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/verify"
)

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
