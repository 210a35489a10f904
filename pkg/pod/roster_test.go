package pod_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/pod"
)

// roster is a Roster with the names of the pods that it said were started.
type roster struct {
	*pod.Roster
	news []string
}

func newRoster() *roster {
	r := &roster{}
	r.Roster = pod.NewRoster(func(p *pod.Pod) { r.news = append(r.news, p.Name) })
	return r
}

// wantNews compares with what was said since the last time.
func (r *roster) wantNews(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, r.news); diff != "" {
		t.Errorf("pods with something started (-want +got):\n%s", diff)
	}
	r.news = nil
}

// withRuns is a pod with a running container for each ID.
func withRuns(name string, ids ...string) *pod.Pod {
	p := &pod.Pod{UID: "uid-" + name, Namespace: "ns", Name: name}
	for i, id := range ids {
		p.Containers = append(p.Containers, pod.Container{Name: fmt.Sprint("c", i), HasStatus: true, ID: id, ImageID: "r@sha256:" + id, Running: true})
	}
	return p
}

func with(p *pod.Pod, change func(*pod.Pod)) *pod.Pod {
	change(p)
	return p
}

func TestWhatIsNewsOfAPod(t *testing.T) {
	t.Parallel()
	running := withRuns("a", "1")
	for _, test := range []struct {
		name  string
		first *pod.Pod
		then  *pod.Pod
		want  bool
	}{
		{"nothing changed", running, withRuns("a", "1"), false},
		{"its labels changed", running, with(withRuns("a", "1"), func(p *pod.Pod) { p.Labels = []pod.Label{{Key: "k", Value: "v"}} }), false},
		{"a container was started again", running, with(withRuns("a", "2"), func(p *pod.Pod) { p.Containers[0].LastID = "1" }), true},
		{"a container runs another image in place", running, with(withRuns("a", "1"), func(p *pod.Pod) { p.Containers[0].ImageID = "r@sha256:other" }), true},
		{"an ephemeral container was started", running, with(withRuns("a", "1", "2"), func(p *pod.Pod) { p.Containers[1].Type = pod.Ephemeral }), true},
		{"a container was started that was not", &pod.Pod{UID: "uid-a", Name: "a", Containers: []pod.Container{{Name: "c0"}}}, withRuns("a", "1"), true},
		{"a container is made but not started", running, with(withRuns("a", "1", "2"), func(p *pod.Pod) { p.Containers[1].Running = false }), false},
		{"a container runs of which the image is not known", running, with(withRuns("a", "1", "2"), func(p *pod.Pod) { p.Containers[1].ImageID = "" }), false},
		{"a container has ended", withRuns("a", "1", "2"), with(withRuns("a", "1", "2"), func(p *pod.Pod) { p.Containers[1].Running, p.Containers[1].Terminated = false, true }), false},
		{"the pod has completed", running, &pod.Pod{UID: "uid-a", Name: "a", Terminal: true, Completed: true}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRoster()
			at := time.Now()
			r.Add(test.first, at)
			r.news = nil
			r.Add(test.then, at.Add(1))
			if got := len(r.news) > 0; got != test.want {
				t.Errorf("news: %v, want %v", got, test.want)
			}
		})
	}
}

// Just after its start a kubelet may report a container in other words than before
// and after, or no pods at all.
func TestTheRestartOfAKubeletIsNoNews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoster()
		r.List(index(withRuns("b", "2"), withRuns("a", "1")).Index())
		r.wantNews(t, "a", "b")
		time.Sleep(time.Second)
		r.List(index().Index())
		if !r.Present("uid-a") || r.Runs("uid-a", &withRuns("a", "1").Containers[0]) {
			t.Error("a pod that is not listed is away at once, or still runs")
		}
		time.Sleep(time.Second)
		r.Add(with(withRuns("a", "1"), func(p *pod.Pod) { p.Containers[0].Running = false }), time.Now())
		r.List(index(withRuns("a", "1"), withRuns("b", "2")).Index())
		r.wantNews(t)
		if !r.Runs("uid-a", &withRuns("a", "1").Containers[0]) {
			t.Error("a container that runs does not")
		}
	})
}

func TestWhoIsPresent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoster()
		wantPresent := func(when, uid string, want bool) {
			t.Helper()
			if got := r.Present(uid); got != want {
				t.Errorf("%s: %s is present: %v, want %v", when, uid, got, want)
			}
		}
		wantPresent("before anything was heard", "uid-a", true)
		r.Add(withRuns("b", "1"), time.Now())
		wantPresent("before all were heard of", "uid-a", true)
		r.Remove("uid-b", time.Now())
		time.Sleep(4 * time.Minute)
		wantPresent("until a few minutes after it left", "uid-b", true)
		time.Sleep(2 * time.Minute)
		wantPresent("later", "uid-b", false)
		wantPresent("later, before all were heard of", "uid-a", true)
		wantPresent("before all were heard of", "", true)

		b := index(withRuns("c", "1"), withRuns("d", "2"))
		b.Fault("uid-e", errors.New("too long"))
		b.Fault("", errors.New("garbage"))
		r.List(b.Index())
		wantPresent("not in a list", "uid-a", false)
		wantPresent("after a list", "", false)
		wantPresent("listed but unreadable", "uid-e", true)
		r.Remove("uid-nobody", time.Now())
		r.Add(&pod.Pod{UID: "uid-d", Terminal: true, Completed: true}, time.Now())
		r.Add(&pod.Pod{UID: "uid-old", Terminal: true, Completed: true}, time.Now())
		wantPresent("completed before it was heard of", "uid-old", false)
		time.Sleep(time.Hour)
		wantPresent("nothing was heard for long", "uid-c", true)
		wantPresent("completed", "uid-d", false)
	})
}

// Lists, answers and events overtake each other.
func TestAnOlderWordDoesNotOutdoALaterOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const minutes = 6 * time.Minute
		r := newRoster()
		list := index(withRuns("a", "1"), withRuns("gone", "2"))
		time.Sleep(time.Second)
		r.Add(withRuns("a", "3"), time.Now())
		r.Add(withRuns("late", "4"), time.Now())
		r.Add(withRuns("gone", "2"), time.Now())
		r.Remove("uid-gone", time.Now())
		r.wantNews(t, "a", "late", "gone")
		r.List(list.Index()) // which was asked for before all that
		r.wantNews(t)
		r.Change(withRuns("gone", "5"), time.Now())
		r.wantNews(t)
		time.Sleep(minutes)
		if !r.Present("uid-a") || !r.Present("uid-late") || r.Present("uid-gone") {
			t.Errorf("present: %v, %v, %v, want the first two", r.Present("uid-a"), r.Present("uid-late"), r.Present("uid-gone"))
		}
		if r.Runs("uid-a", &withRuns("a", "1").Containers[0]) {
			t.Error("the run before still runs")
		}
		r.Change(withRuns("a", "6"), time.Now())
		r.wantNews(t, "a")
		r.Remove("uid-a", time.Now().Add(-time.Second))
		if !r.Runs("uid-a", &withRuns("a", "6").Containers[0]) {
			t.Error("an old word that it was gone removes it")
		}
		// It can come back: a static pod keeps its UID.
		r.Remove("uid-a", time.Now())
		r.Add(withRuns("a", "7"), time.Now())
		r.wantNews(t, "a")
		time.Sleep(minutes)
		if !r.Present("uid-a") {
			t.Error("it has come back and is not present")
		}
	})
}

func TestAPodWithManyContainers(t *testing.T) {
	t.Parallel()
	r := newRoster()
	var ids []string
	for i := range 100 {
		ids = append(ids, fmt.Sprint("id-", i))
	}
	r.Add(withRuns("a", ids...), time.Now())
	slices.Reverse(ids)
	r.Add(withRuns("a", ids...), time.Now())
	r.wantNews(t, "a")
	r.Add(withRuns("a", append(ids, "another")...), time.Now())
	r.wantNews(t, "a")
	for i, c := range withRuns("a", ids...).Containers {
		if !r.Runs("uid-a", &c) {
			t.Errorf("container %d does not run", i)
		}
	}
}

func TestWhatARosterRemembersIsBounded(t *testing.T) {
	t.Parallel()
	r := newRoster()
	for i := range pod.MaxRoster + 10 {
		r.Add(withRuns(fmt.Sprint(i), "1"), time.Now())
	}
	if got := len(r.news); got != pod.MaxRoster {
		t.Errorf("%d pods were taken, want %d", got, pod.MaxRoster)
	}
}

func TestANilRosterTakesEveryPodForPresent(t *testing.T) {
	t.Parallel()
	var r *pod.Roster
	r.List(index(withRuns("a", "1")).Index())
	r.Add(withRuns("a", "1"), time.Now())
	r.Change(withRuns("a", "1"), time.Now())
	r.Whole(time.Now())
	r.Remove("uid-a", time.Now())
	if !r.Present("uid-a") || !r.Runs("uid-a", &withRuns("a", "1").Containers[0]) {
		t.Error("a pod is not present")
	}
}

// started is called without a lock: it may ask the Roster, from many goroutines.
func TestARosterIsAskedWhileItIsTold(t *testing.T) {
	t.Parallel()
	var r *pod.Roster
	r = pod.NewRoster(func(p *pod.Pod) {
		if !r.Present(p.UID) {
			t.Errorf("%s is not present", p.Name)
		}
	})
	var work sync.WaitGroup
	for i := range 4 {
		work.Go(func() {
			for n := range 100 {
				r.Add(withRuns(fmt.Sprint(i, n), "1"), time.Now())
				r.List(index(withRuns(fmt.Sprint(i, n), fmt.Sprint(n))).Index())
			}
		})
	}
	work.Wait()
}

func BenchmarkAnUnchangedList(b *testing.B) {
	var pods []*pod.Pod
	for i := range 500 {
		pods = append(pods, withRuns(fmt.Sprint("0d5e2a1c-1111-2222-3333-", i), fmt.Sprintf("%064d", i), fmt.Sprintf("%064d", i+1000)))
	}
	r := pod.NewRoster(func(*pod.Pod) {})
	x := index(pods...).Index()
	r.List(x)
	b.ReportAllocs()
	for b.Loop() {
		r.List(x)
	}
}
