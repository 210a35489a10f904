package kubelet_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/pod"
)

// told is a roster that says into a channel what was started.
type told struct {
	*pod.Roster
	news chan string
}

func (n *node) toldClient(t testing.TB) (*kubelet.Client, *told) {
	t.Helper()
	r := &told{news: make(chan string, 1000)}
	r.Roster = pod.NewRoster(func(p *pod.Pod) { r.news <- p.Name })
	c := n.client(t)
	c.Tell(r.Roster)
	return c, r
}

// want waits for what an answer says was started. A pod that starts with every answer
// is said last.
func (r *told) want(t *testing.T, when string, want ...string) {
	t.Helper()
	var got []string
	for name := range r.news {
		if name == last {
			break
		}
		got = append(got, name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: started %q, want %q", when, got, want)
	}
}

const last = "zz-last"

// lastPod is a pod with another container each time.
func lastPod(run int) *corev1.Pod {
	p := webPod(last)
	p.Status.ContainerStatuses[0].ContainerID = "containerd://" + kubelettest.ID(fmt.Sprint(last, run))
	return p
}

func TestAnswersSayWhatWasStarted(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	c, r := n.toldClient(t)
	runs := 0
	var newerThan time.Time
	ask := func(pods ...*corev1.Pod) {
		t.Helper()
		runs++
		if err := n.SetPods(append(pods, lastPod(runs))...); err != nil {
			t.Fatal(err)
		}
		newerThan = next(t, c, newerThan).Taken
	}
	waiting := webPod("new")
	waiting.Status.ContainerStatuses = nil
	labelled := webPod("old")
	labelled.Labels["changed"] = "1"

	ask(webPod("old"), webPod("gone"))
	r.want(t, "the first answer", "gone", "old")
	ask(webPod("old"), webPod("gone"))
	r.want(t, "the same again")
	ask(labelled, waiting)
	r.want(t, "a label, and a pod that has not started")
	if uid := kubelettest.UID("new"); !r.Present(uid) {
		t.Error("a pod that has not started is not present")
	}
	ask(labelled, webPod("new"))
	r.want(t, "its container starts", "new")

	n.Close()
	if _, err := c.Next(t.Context(), newerThan); err == nil {
		t.Fatal("a kubelet that is away answers")
	}
	if len(r.news) > 0 || !r.Present(kubelettest.UID("new")) {
		t.Error("a failure is news, or makes pods leave")
	}
}

// Who asked has the answer whatever becomes of what is done with the news.
func TestNobodyWaitsForWhoIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(number int, _ *http.Request) (*http.Response, error) {
			return answered(http.StatusOK, fmt.Sprintf(`{"items":[{"metadata":{"uid":"u"},"status":{"containerStatuses":[
				{"name":"c","containerID":"r://%d","imageID":"i","state":{"running":{}}}]}}]}`, number)), nil
		})
		logs := newLogs(t)
		c, err := kubelet.NewWithTransport(plain(), kubelet.NewGate(), logs.logger, n)
		if err != nil {
			t.Fatal(err)
		}
		var told atomic.Int32
		c.Tell(pod.NewRoster(func(*pod.Pod) {
			told.Add(1)
			time.Sleep(time.Minute)
			panic("of who is told")
		}))
		began := time.Now()
		x := next(t, c, time.Time{})
		next(t, c, x.Taken)
		if took := time.Since(began); took != interval {
			t.Errorf("two answers took %v, want %v", took, interval)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := strings.Count(logs.String(), "panic after an answer of the kubelet"); told.Load() != 2 || got != 2 {
			t.Errorf("it was told %d times, and %d panics are in the log", told.Load(), got)
		}
		n.wantStarts(t, 0, interval)
	})
}
