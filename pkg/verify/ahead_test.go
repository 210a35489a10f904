package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/verify"
)

// preparer notes when it is asked for what.
type preparer struct {
	began time.Time
	// takes is how long it takes, by namespace.
	takes map[string]time.Duration
	err   error

	mu           sync.Mutex
	calls        []string
	now, atOnce  int
	ofOne        map[string]int
	twiceAtATime bool
}

func newPreparer() *preparer {
	return &preparer{began: time.Now(), takes: map[string]time.Duration{}, ofOne: map[string]int{}}
}

func (*preparer) Concerns(p *pod.Pod) bool { return p.Namespace != "free" }

func (r *preparer) Prepare(ctx context.Context, p *pod.Pod, c *pod.Container) error {
	r.mu.Lock()
	r.calls = append(r.calls, fmt.Sprintf("%v %s/%s %s", time.Since(r.began), p.Namespace, p.Name, c.SpecImage))
	r.now++
	r.atOnce = max(r.atOnce, r.now)
	r.ofOne[p.Namespace]++
	r.twiceAtATime = r.twiceAtATime || r.ofOne[p.Namespace] > 1
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.now--
		r.ofOne[p.Namespace]--
	}()
	if p.Name == "broken" {
		panic("of " + p.Name)
	}
	timer := time.NewTimer(r.takes[p.Namespace])
	defer timer.Stop()
	select {
	case <-timer.C:
		return r.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// want compares with what was asked for, and forgets it.
func (r *preparer) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(want, r.calls); diff != "" {
		t.Errorf("looked at (-want +got):\n%s", diff)
	}
	r.calls = nil
	if r.twiceAtATime {
		t.Error("two images of a namespace were looked at at once")
	}
}

// aheadOf is an Ahead that a roster tells what was started.
func aheadOf(t *testing.T, r *preparer) (*verify.Ahead, *pod.Roster) {
	t.Helper()
	var ahead *verify.Ahead
	roster := pod.NewRoster(func(p *pod.Pod) { ahead.Add(p) })
	ahead = verify.NewAhead(r, roster, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(ahead.Close)
	return ahead, roster
}

// startedPod is a pod in which a container of each image runs.
func startedPod(namespace, name string, images ...string) *pod.Pod {
	p := &pod.Pod{UID: namespace + "-" + name, Namespace: namespace, Name: name, ServiceAccount: "default"}
	for i, image := range images {
		p.Containers = append(p.Containers, pod.Container{Name: fmt.Sprint("c", i), Type: pod.Regular, SpecImage: image,
			HasStatus: true, ID: fmt.Sprint(name, "-", i), Image: image, ImageID: image + "@sha256:00", Running: true})
	}
	return p
}

func TestWhatWasStartedIsLookedAtAMomentLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPreparer()
		_, roster := aheadOf(t, r)
		web := func() *pod.Pod {
			p := startedPod("shop", "web", "a", "b", "c", "d")
			p.Containers[1].Running = false // made, not started
			p.Containers[2].Running, p.Containers[2].Terminated = false, true
			p.Containers[3].Type = pod.Ephemeral
			return p
		}
		roster.Add(web(), time.Now())
		roster.Add(startedPod("free", "nobody's", "x"), time.Now()) // no policy concerns it
		r.want(t)
		time.Sleep(10 * time.Second)
		r.want(t, "500ms shop/web a", "600ms shop/web d")

		labelled := web()
		labelled.Labels = []pod.Label{{Key: "k", Value: "v"}}
		roster.Add(labelled, time.Now())
		time.Sleep(10 * time.Second)
		r.want(t)
	})
}

func TestOneImageIsLookedAtOnceForAllWhoStartIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPreparer()
		_, roster := aheadOf(t, r)
		for i := range 100 {
			roster.Add(startedPod("shop", fmt.Sprint("web-", i), "a"), time.Now())
		}
		other := startedPod("shop", "other", "a") // other policies may apply to it
		other.ServiceAccount = "other"
		roster.Add(other, time.Now())
		roster.Remove("shop-web-0", time.Now())
		time.Sleep(time.Minute)
		r.want(t, "500ms shop/web-99 a", "600ms shop/other a")
	})
}

func TestNothingIsDoneForWhatIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPreparer()
		_, roster := aheadOf(t, r)
		for _, name := range []string{"gone", "ended", "again", "there"} {
			roster.Add(startedPod("shop", name, name), time.Now())
		}
		roster.Remove("shop-gone", time.Now())
		ended := startedPod("shop", "ended", "ended")
		ended.Containers[0].Running, ended.Containers[0].Terminated = false, true
		roster.Add(ended, time.Now())
		again := startedPod("shop", "again", "again-2")
		again.Containers[0].ID, again.Containers[0].LastID = "other", again.Containers[0].ID
		roster.Add(again, time.Now())
		time.Sleep(time.Minute)
		r.want(t, "800ms shop/there there", "900ms shop/again again-2")
	})
}

func TestNamespacesTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPreparer()
		_, roster := aheadOf(t, r)
		for i := range 3 {
			roster.Add(startedPod("a", fmt.Sprint(i), fmt.Sprint("a", i)), time.Now())
		}
		roster.Add(startedPod("b", "0", "b0", "b1"), time.Now())
		roster.Add(startedPod("c", "0", "c0"), time.Now())
		time.Sleep(time.Minute)
		r.want(t, "500ms a/0 a0", "600ms b/0 b0", "700ms c/0 c0", "800ms a/1 a1", "900ms b/0 b1", "1s a/2 a2")
	})
}

// Row 45: a namespace with a thousand images, of a registry that hangs, costs the ahead
// work of another one a tenth of a second.
func TestANamespaceWithAThousandImagesDelaysNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPreparer()
		ahead, roster := aheadOf(t, r)
		r.takes["greedy"], r.err = 10*time.Second, errors.New("no answer")
		for i := range 1000 {
			roster.Add(startedPod("greedy", fmt.Sprint(i), fmt.Sprint("g", i)), time.Now())
		}
		roster.Add(startedPod("shop", "web", "a", "b"), time.Now())
		time.Sleep(5 * time.Second)
		r.want(t, "500ms greedy/744 g744", "600ms shop/web a", "700ms shop/web b")
		if got, want := ahead.Dropped(), uint64(1000-verify.AheadOfOne); got != want {
			t.Errorf("%d were left out, want %d", got, want)
		}
		time.Sleep(10 * time.Second)
		r.want(t, "10.5s greedy/745 g745")
	})
}

// A list after the start has all pods at once.
func TestAllPodsAtOnceAreLookedAtOneAfterTheOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const namespaces, pods = 50, 10
		r := newPreparer()
		r.err = errors.New("no answer")
		ahead, roster := aheadOf(t, r)
		b := pod.NewBuilder(time.Now(), 0)
		for n := range namespaces {
			namespace := fmt.Sprint("n", n)
			r.takes[namespace] = 300 * time.Millisecond
			for i := range pods {
				b.Add(startedPod(namespace, fmt.Sprint(i), fmt.Sprint("image-", i)))
			}
		}
		x := b.Index()
		roster.List(x)
		roster.List(x)
		time.Sleep(verify.AheadDelay + namespaces*pods*verify.AheadPace)
		synctest.Wait()
		if len(r.calls) != namespaces*pods || ahead.Dropped() != 0 || r.atOnce > verify.AheadAtOnce || r.atOnce < 3 {
			t.Errorf("%d were looked at, %d left out, %d at once", len(r.calls), ahead.Dropped(), r.atOnce)
		}
		if want := fmt.Sprint(verify.AheadDelay+(namespaces*pods-1)*verify.AheadPace, " "); !strings.HasPrefix(r.calls[len(r.calls)-1], want) {
			t.Errorf("the last is %q, want it at %s", r.calls[len(r.calls)-1], want)
		}
	})
}

func TestHowManyWaitInAllIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPreparer()
		ahead, roster := aheadOf(t, r)
		for n := range verify.AheadInAll {
			roster.Add(startedPod(fmt.Sprint("n", n), "p", "i"), time.Now())
		}
		for i := range 10 {
			roster.Add(startedPod("busy", "p", fmt.Sprint("i", i)), time.Now())
		}
		if got := ahead.Dropped(); got != 10 {
			t.Errorf("%d were left out, want 10", got)
		}
		long := startedPod("long", "p", strings.Repeat("x", verify.AheadNames))
		roster.Add(long, time.Now())
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := len(r.calls); got != verify.AheadInAll {
			t.Errorf("%d were looked at, want %d", got, verify.AheadInAll)
		}
	})
}

func TestAnAheadThatIsClosedDoesNothingMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPreparer()
		r.takes["shop"] = time.Hour
		ahead, roster := aheadOf(t, r)
		roster.Add(startedPod("shop", "web", "a", "b"), time.Now())
		roster.Add(startedPod("other", "web", "a"), time.Now())
		time.Sleep(time.Second)
		r.want(t, "500ms shop/web a", "600ms other/web a")
		roster.Add(startedPod("other", "late", "b"), time.Now())
		ahead.Close()
		synctest.Wait()
		if r.now != 0 {
			t.Errorf("%d are looked at after the end", r.now)
		}
		roster.Add(startedPod("shop", "later", "c"), time.Now())
		ahead.Close()
		time.Sleep(time.Hour)
		r.want(t)
	})
}

// What goes wrong is no failed attestation, and no reason to stop.
func TestFailuresAheadAreNobodys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newPreparer()
		r.err = errors.New("signed by nobody")
		var logged bytes.Buffer
		roster := pod.NewRoster(func(*pod.Pod) {})
		ahead := verify.NewAhead(r, roster, slog.New(slog.NewTextHandler(&logged, nil)))
		for _, name := range []string{"web", "broken", "api"} {
			p := startedPod("shop", name, name)
			roster.Add(p, time.Now())
			ahead.Add(p)
		}
		time.Sleep(time.Minute)
		r.want(t, "500ms shop/web web", "600ms shop/broken broken", "700ms shop/api api")
		if got := strings.Count(logged.String(), "\n"); got != 1 || !strings.Contains(logged.String(), "level=ERROR msg=\"panic while") {
			t.Errorf("the log is\n%s", &logged)
		}
	})
}

// occupy has a namespace wait for answers of the registry that don't come, with as many
// requests as it may have: work in the background is not begun then.
func (w *world) occupy(t *testing.T) {
	t.Helper()
	slow := w.registry.Repository("slow")
	w.registry.Break(sigstoretest.On{Path: "/slow/"}, w.registry.Delay(time.Hour))
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	t.Cleanup(work.Wait)
	t.Cleanup(cancel)
	for i := range 8 {
		work.Go(func() {
			for ctx.Err() == nil {
				_, _, _ = w.client.Conversation(fair.Who{Tenant: "greedy"}).Manifest(ctx, slow, image.Of(fmt.Append(nil, i)))
			}
		})
	}
	for len(w.registry.Requests()) < 4 {
		time.Sleep(time.Millisecond)
	}
}

// Row 45. Work ahead that has to stand behind others must not make anybody wait who
// calls meanwhile, nor be what he is told afterwards.
func TestACallerDoesNotStandWhereWorkAheadStands(t *testing.T) {
	t.Parallel()
	for name, gaveUp := range map[string]bool{"while it waits": false, "when it has given up": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sigstoretest.RegistryOptions{})
			app := w.registry.PushImage("app", sigstoretest.Image{Content: "app"})
			w.registry.Attach(app.Ref, sigstoretest.Usual, sigstoretest.Sign(sigstoretest.Signature{Signer: w.dev(), Digest: app.Ref.Digest, Witnesses: []sigstoretest.Witness{w.Rekor1}}))
			cfg := w.requires(t, keyless(t, devIssuer, devSubject))
			cfg.Budget = 2 * time.Second
			v, p := w.verifier(t, cfg), running(app)
			w.occupy(t)
			ahead := make(chan error, 1)
			go func() { ahead <- v.Prepare(t.Context(), p, &p.Containers[0]) }()
			if gaveUp {
				if err := <-ahead; err == nil {
					t.Error("work in the background has its turn all the same")
				}
			} else {
				time.Sleep(cfg.Budget / 4) // until it stands there, or else this shows less
			}
			if _, err := selectors(t, v, p); err != nil {
				t.Errorf("the caller: %v", err)
			}
		})
	}
}
