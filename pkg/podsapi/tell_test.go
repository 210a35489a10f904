package podsapi_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/podsapi"
	"github.com/podseal/podseal/pkg/podsapi/podsapitest"
)

// told is a roster with what it said was started.
type told struct {
	*pod.Roster
	mu   sync.Mutex
	news []string
}

// toldClient is a client that tells a roster.
func (n *node) toldClient(t testing.TB) (*podsapi.Client, *told) {
	c, r := n.client(t), &told{}
	r.Roster = pod.NewRoster(func(p *pod.Pod) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.news = append(r.news, p.Name)
	})
	c.Tell(r.Roster)
	return c, r
}

// take returns what was said since the last time.
func (r *told) take() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	news := r.news
	r.news = nil
	return news
}

func (r *told) want(t *testing.T, when string, want ...string) {
	t.Helper()
	if got := r.take(); !slices.Equal(got, want) {
		t.Errorf("%s: started %q, want %q", when, got, want)
	}
}

// notStarted is the pod as it is before anything of it runs.
func notStarted(p *corev1.Pod) *corev1.Pod {
	p = p.DeepCopy()
	p.Status.ContainerStatuses = nil
	return p
}

func labelled(p *corev1.Pod, value string) *corev1.Pod {
	p = p.DeepCopy()
	p.Labels["changed"] = value
	return p
}

func TestTheWatchSaysWhatWasStarted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.AddPod(webPod("old"))
		c, r := n.toldClient(t)
		c.Start()
		r.want(t, "the initial list", "old")
		if !r.Present(kubelettest.UID("old")) || r.Present(kubelettest.UID("new")) {
			t.Error("not present what is in the initial list, or present what is not")
		}

		n.AddPod(notStarted(webPod("new")))
		r.want(t, "a pod that has not started")
		if !r.Present(kubelettest.UID("new")) {
			t.Error("a pod that has not started is not present")
		}
		n.AddPod(webPod("new"))
		r.want(t, "its container starts", "new")
		n.AddPod(labelled(webPod("new"), "1"))
		n.AddPod(webPod("new"))
		r.want(t, "a change that starts nothing")
		n.AddPod(webPod("new", kubelettest.Container{Name: "debug", ID: kubelettest.ID("debug"), Image: "i", ImageID: "i@sha256:" + kubelettest.ID("debug")}))
		r.want(t, "another container starts", "new")

		stats := n.Stats()
		if stats.GetPod+stats.ListPods != 0 || stats.WatchPods != 1 {
			t.Errorf("the kubelet was asked for that: %+v", stats)
		}

		n.RemovePod(kubelettest.UID("new"))
		n.Send(podsapitest.EventType(2), webPod("new")) // which comes late
		r.want(t, "it is gone")
		time.Sleep(10 * time.Minute)
		if r.Present(kubelettest.UID("new")) || !r.Present(kubelettest.UID("old")) {
			t.Error("present is who has left, or not who has not")
		}
	})
}

func TestAWatchThatBeginsAgainIsNoNews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{Unlimited: true})
		n.SetPods(webPods(500)...)
		c, r := n.toldClient(t)
		c.Start()
		if got := len(r.take()); got != 500 {
			t.Errorf("%d pods were started by the initial list, want 500", got)
		}
		n.CloseWatches()
		synctest.Wait()
		// While there is no watch one pod goes and another comes.
		n.SetPods(append(webPods(499), webPod("new"))...)
		time.Sleep(10 * time.Second)
		if !c.Watching() {
			t.Fatal("it does not watch again")
		}
		r.want(t, "the watch began again", "new")
		time.Sleep(10 * time.Minute)
		if r.Present(kubelettest.UID("web-499")) {
			t.Error("the pod that left meanwhile is present")
		}
		if !r.Present(kubelettest.UID("web-0")) {
			t.Error("a pod that is in both lists is not present")
		}
	})
}

// After its restart a kubelet may end the initial list before it has its pods.
func TestAKubeletThatRestartsMakesNobodyLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.AddPod(webPod("web"))
		c, r := n.toldClient(t)
		c.Start()
		r.want(t, "the initial list", "web")
		n.SetFaults(podsapitest.Faults{Hidden: true})
		n.CloseWatches()
		time.Sleep(time.Second)
		if !c.Watching() || !r.Present(kubelettest.UID("web")) {
			t.Errorf("watching: %v, present: %v", c.Watching(), r.Present(kubelettest.UID("web")))
		}
		n.SetFaults(podsapitest.Faults{})
		n.Send(podsapitest.EventType(1), webPod("web"))
		r.want(t, "the pod is added")
		time.Sleep(10 * time.Minute)
		if !r.Present(kubelettest.UID("web")) {
			t.Error("the pod is not present")
		}
	})
}

// Where there is no watch the answers say who is there.
func TestAnswersTellTheRosterToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{Unlimited: true})
		n.SetPods(webPods(3)...)
		n.SetFaults(podsapitest.Faults{NoWatch: true})
		c, r := n.toldClient(t)
		next(t, c, kubelettest.UID("web-1"), time.Time{})
		r.want(t, "an answer", "web-1")
		time.Sleep(time.Minute)
		next(t, c, kubelettest.UID("web-1"), time.Time{})
		next(t, c, kubelettest.UID("nobody"), time.Time{})
		r.want(t, "the same answer again, and that there is no such pod")
		n.SetFaults(podsapitest.Faults{})
		if _, err := c.Next(t.Context(), "", time.Time{}); err != nil {
			t.Fatal(err)
		}
		got := r.take()
		slices.Sort(got)
		if !slices.Equal(got, []string{"web-0", "web-2"}) || r.Present(kubelettest.UID("nobody")) {
			t.Errorf("a list: started %q; nobody is present: %v", got, r.Present(kubelettest.UID("nobody")))
		}
	})
}

// A pod of megabytes, or one that can't be read, is on the node like others; and the
// watch goes on.
func TestAPodThatIsNotReadIsPresent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		large := webPod("large")
		large.Annotations = map[string]string{"a": strings.Repeat("x", 300<<10)}
		twice := webPod("twice", kubelettest.Container{Name: "forged", ID: kubelettest.ID("twice"), ImageID: "i"})
		c, r := n.toldClient(t)
		c.Start()
		synctest.Wait()
		n.AddPod(large)
		n.AddPod(twice)
		n.AddPod(webPod("web"))
		r.want(t, "three pods", "web")
		for _, name := range []string{"large", "twice", "web"} {
			if !r.Present(kubelettest.UID(name)) {
				t.Errorf("%s is not present", name)
			}
		}
	})
}

// What is done with news must cost the watch nothing but itself.
func TestAPanicOfWhoIsToldEndsNoWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.AddPod(webPod("web-0"))
		c := n.client(t)
		c.Tell(pod.NewRoster(func(p *pod.Pod) { panic("of " + p.Name) }))
		for i := range 3 {
			n.AddPod(webPod(fmt.Sprint("web-", i)))
			if p, _ := next(t, c, kubelettest.UID(fmt.Sprint("web-", i)), time.Time{}); p == nil {
				t.Errorf("web-%d is not there", i)
			}
		}
		synctest.Wait()
		if stats := n.Stats(); stats.WatchPods != 1 || !c.Watching() {
			t.Errorf("the watch ended: %+v", stats)
		}
		if n.logs.lines("panic in the Pods API client") == 0 {
			t.Error("the panic is not logged")
		}
	})
}
