package podsapi_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/podsapi"
	"github.com/podseal/podseal/pkg/podsapi/podsapitest"
)

func storm(t *testing.T, n *node) {
	const callers = 100
	n.SetPods(webPods(callers)...)
	c := n.client(t)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			name := fmt.Sprintf("web-%d", i)
			if p, _ := next(t, c, kubelettest.UID(name), time.Time{}); p == nil || p.Name != name {
				t.Errorf("%s: pod %v", name, p)
			}
		})
	}
	all.Wait()
	s := n.Stats()
	if s.Refused > 0 || s.GetPod > 20 || s.WatchPods > 2 {
		t.Errorf("%+v; want the watch, one list and next to no call besides", s)
	}
}

func TestAHundredCallersForAHundredPodsMakeOneList(t *testing.T) {
	t.Parallel()
	t.Run("on a socket", func(t *testing.T) { storm(t, newNode(t, podsapitest.Options{})) })
	t.Run("in a bubble", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { storm(t, newPipeNode(t, podsapitest.Options{})) })
	})
}

// Nothing can be concluded from a list, so each has to be asked about; with so
// many waiting, still below what the kubelet answers.
func TestAHundredCallersForPodsThatDoNotExistAreNotRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.SetPods(webPods(10)...)
		c := n.client(t)
		watched(t, c)
		began := time.Now()
		var callers sync.WaitGroup
		for i := range 100 {
			callers.Go(func() {
				if p, x := next(t, c, fmt.Sprintf("missing-%d", i), time.Time{}); p != nil || x == nil {
					t.Errorf("pod %v", p)
				}
			})
		}
		callers.Wait()
		if s := n.Stats(); s.Refused > 0 || s.GetPod != 100 || s.WatchPods != 2 {
			t.Errorf("%+v, want 100 calls and a list besides the watch", s)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// Other clients of the kubelet use the same bucket.
func TestARefusalByTheKubeletsLimiterIsWaitedOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.SetPods(webPods(5)...)
		n.SetFaults(podsapitest.Faults{Refuse: 12})
		c := n.client(t)
		var callers sync.WaitGroup
		for i := range 5 {
			callers.Go(func() {
				name := fmt.Sprintf("web-%d", i)
				if p, _ := next(t, c, kubelettest.UID(name), time.Time{}); p == nil {
					t.Errorf("%s: no pod", name)
				}
			})
		}
		callers.Wait()
		if s := n.Stats(); s.Refused != 12 || s.GetPod != 5 {
			t.Errorf("%+v, want 12 refusals and 5 answers", s)
		}
		if n.logs.lines("WARN") != 1 || n.logs.lines("answers again") != 1 {
			t.Errorf("log:\n%s", n.logs)
		}
	})
}

func TestTheLimiterSpreadsRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := podsapi.NewLimiter()
		began := time.Now()
		at := make([]time.Duration, 7)
		for i := range at {
			if err := l.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			at[i] = time.Since(began)
		}
		for i, want := range []time.Duration{0, 0, 0, 0, 0, 20 * time.Millisecond, 40 * time.Millisecond} {
			if at[i] != want {
				t.Errorf("request %d after %v, want %v", i, at[i], want)
			}
		}
	})
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{Unlimited: true})
		c := n.client(t)
		for i := range 5000 {
			next(t, c, fmt.Sprintf("missing-%d", i), time.Time{})
		}
		if known := c.Known(); known > 1024 {
			t.Errorf("%d pods are kept", known)
		}
		n.SetPods(webPods(50)...)
		if x := all(t, c); x.Len() != 50 {
			t.Fatalf("%d pods", x.Len())
		}
		n.SetPods(webPods(10)...)
		time.Sleep(2 * interval)
		all(t, c)
		if known := c.Known(); known != 10 {
			t.Errorf("%d pods are kept of 10", known)
		}
	})
}

// One caller after the other, each about another pod: there is never more than one
// question at a time, and more of them than the kubelet may be asked one by one.
func TestCallersThatTakeTurnsAreNotHeldUpByTheLimiter(t *testing.T) {
	t.Parallel()
	for _, pods := range []int{10, 26, 30, 33, 100} {
		t.Run(fmt.Sprintf("%d pods", pods), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { takeTurns(t, pods) })
		})
	}
}

func takeTurns(t *testing.T, pods int) {
	n := newPipeNode(t, podsapitest.Options{})
	n.SetPods(webPods(pods)...)
	c := n.client(t)
	watched(t, c)
	began := time.Now()
	for i := range 2000 {
		name := fmt.Sprintf("web-%d", i%pods)
		if p, _ := next(t, c, kubelettest.UID(name), time.Time{}); p == nil || p.Name != name {
			t.Errorf("%s: pod %v", name, p)
		}
		time.Sleep(time.Millisecond)
	}
	// Two seconds are slept; one question at a time would take forty.
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
	if s := n.Stats(); s.Refused > 0 || s.WatchPods > 10 {
		t.Errorf("%+v", s)
	}
}
