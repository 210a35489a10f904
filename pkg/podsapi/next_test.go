package podsapi_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/podsapi/podsapitest"
	"github.com/podseal/podseal/pkg/unixpeer"
)

func TestAnAnswerIsUsedForItsTimeToLiveAndConfirmedAfterIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.SetPods(webPod("a"))
		c := n.client(t)
		uid := kubelettest.UID("a")
		watched(t, c)

		p, first := next(t, c, uid, time.Time{})
		if p == nil || p.Name != "a" {
			t.Fatalf("pod %v", p)
		}
		time.Sleep(interval - time.Millisecond)
		if _, x := next(t, c, uid, time.Time{}); x != first {
			t.Error("within its time to live the index is not the same")
		}
		time.Sleep(time.Millisecond)
		again, x := next(t, c, uid, time.Time{})
		if !x.Taken.After(first.Taken) {
			t.Error("after its time to live the index is the same")
		}
		if again != p {
			t.Error("a pod that did not change has a new record, and so loses what was rendered of it")
		}
		if got := n.Stats().GetPod; got != 2 {
			t.Errorf("%d calls of GetPod, want 2", got)
		}
	})
}

// The watch says nothing of labels.
func TestALabelThatChangedIsInTheAnswerAfterTheTimeToLive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.SetPods(webPod("a"))
		c := n.client(t)
		uid := kubelettest.UID("a")
		watched(t, c)
		next(t, c, uid, time.Time{})
		changed := webPod("a")
		changed.Labels["version"] = "2"
		n.AddSilently(changed)
		time.Sleep(interval)
		if p, _ := next(t, c, uid, time.Time{}); p.Labels[1].Value != "2" {
			t.Errorf("labels %v", p.Labels)
		}
	})
}

func TestAContainerThatIsPublishedReachesWhoWaitsAtOnceAndWithoutPolling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.cfg.Interval = time.Hour
		n.SetPods(webPod("a"))
		c := n.client(t)
		watched(t, c)
		found := make(chan error, 1)
		go func() {
			_, err := await(t.Context(), c, kubelettest.UID("a"), kubelettest.ID("later"))
			found <- err
		}()
		time.Sleep(time.Minute)
		n.AddPod(webPod("b")) // is none of his business
		time.Sleep(time.Minute)
		before := n.Stats().GetPod
		published := time.Now()
		n.AddPod(webPod("a", kubelettest.Container{Name: "later", ID: kubelettest.ID("later")}))
		if err := <-found; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(published); took > 0 {
			t.Errorf("it took %v", took)
		}
		if after := n.Stats().GetPod; before != 1 || after != 2 {
			t.Errorf("%d calls of GetPod before and %d after, want 1 and 2", before, after)
		}
	})
}

func TestAPodThatAppearsReachesWhoWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.cfg.Interval = time.Hour
		c := n.client(t)
		watched(t, c)
		time.AfterFunc(time.Minute, func() { n.AddPod(webPod("a")) })
		began := time.Now()
		if _, err := await(t.Context(), c, kubelettest.UID("a"), kubelettest.ID("a")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it took %v", took)
		}
		if got := n.Stats().GetPod; got != 2 {
			t.Errorf("%d calls of GetPod, want 2", got)
		}
	})
}

func TestAnEventThatIsLostCostsAPauseAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, absent := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			n := newPipeNode(t, podsapitest.Options{})
			if !absent {
				n.SetPods(webPod("a"))
			}
			n.SetFaults(podsapitest.Faults{DropEvents: true})
			c := n.client(t)
			watched(t, c)
			time.AfterFunc(3*time.Second+1, func() {
				n.AddPod(webPod("a", kubelettest.Container{Name: "later", ID: kubelettest.ID("later")}))
			})
			began := time.Now()
			if _, err := await(t.Context(), c, kubelettest.UID("a"), kubelettest.ID("later")); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > 3*time.Second+interval+10 {
				t.Errorf("it took %v", took)
			}
			if got := n.Stats().GetPod; got != 8 {
				t.Errorf("%d calls of GetPod in 3.5 s, want 8", got)
			}
		})
	}
}

func TestManyWhoMissTheSamePodAskNoMoreOftenThanOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		c := n.client(t)
		watched(t, c)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second-1)
		defer cancel()
		done := make(chan error)
		for i := range 50 {
			go func() {
				time.Sleep(time.Duration(i) * 7 * time.Millisecond)
				_, err := await(ctx, c, "missing", "x")
				done <- err
			}()
		}
		for range 50 {
			if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		}
		if got := n.Stats().GetPod; got != 10 {
			t.Errorf("%d calls of GetPod in 5 s, want 10", got)
		}
	})
}

func TestEventsThatAreLateOrUntrueChangeNoAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		now := webPod("a", kubelettest.Container{Name: "new", ID: kubelettest.ID("new")})
		n.SetPods(now)
		c := n.client(t)
		watched(t, c)
		uid := kubelettest.UID("a")
		for _, e := range []struct {
			t int32
			p string
		}{{1, "a"}, {2, "a"}, {3, "a"}, {4, "a"}, {0, "a"}, {9, "a"}, {2, "never-there"}, {3, "never-there"}} {
			next(t, c, uid, time.Time{})
			n.Send(podsapitest.EventType(e.t), webPod(e.p)) // an old state of the pod
			synctest.Wait()
			p, _ := next(t, c, uid, time.Time{})
			if p == nil {
				t.Fatalf("after event %v the pod is gone", e)
			}
			if _, ok := p.ContainerByID(kubelettest.ID("new")); !ok {
				t.Errorf("after event %v the container is gone", e)
			}
			if p, x := next(t, c, kubelettest.UID("never-there"), time.Time{}); p != nil || x.Len() != 0 {
				t.Errorf("after event %v there is a pod that never was: %v", e, p)
			}
		}
	})
}

func TestACachedRecordIsNotUsedAfterAnEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.SetPods(webPod("a"))
		c := n.client(t)
		watched(t, c)
		uid := kubelettest.UID("a")
		next(t, c, uid, time.Time{})
		ended := webPod("a")
		ended.Status.Phase = "Failed"
		n.AddPod(ended)
		synctest.Wait()
		if p, _ := next(t, c, uid, time.Time{}); !p.Terminal {
			t.Error("the record from before the event was used")
		}
		n.RemovePod(uid)
		synctest.Wait()
		if p, _ := next(t, c, uid, time.Time{}); p != nil {
			t.Error("the record from before the deletion was used")
		}
	})
}

// After a kubelet's start its lists can be empty for a moment.
func TestAnEmptyInitialListIsNoStatement(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.SetPods(webPods(20)...)
		n.SetFaults(podsapitest.Faults{Unlisted: true})
		c := n.client(t)
		watched(t, c)
		done := make(chan error)
		for i := range 20 {
			name := webPods(20)[i].Name
			go func() {
				_, err := await(t.Context(), c, kubelettest.UID(name), kubelettest.ID(name))
				done <- err
			}()
		}
		for range 20 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		n.SetFaults(podsapitest.Faults{Hidden: true})
		time.AfterFunc(800*time.Millisecond, func() { n.SetFaults(podsapitest.Faults{}) })
		time.Sleep(interval)
		if _, err := await(t.Context(), c, kubelettest.UID("web-3"), kubelettest.ID("web-3")); err != nil {
			t.Error(err)
		}
	})
}

func TestWhoLeavesCancelsNothingForTheOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.SetPods(webPod("a"))
		n.SetFaults(podsapitest.Faults{DelayCalls: time.Second})
		c := n.client(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		left := make(chan error, 1)
		go func() {
			_, err := c.Next(ctx, kubelettest.UID("a"), time.Time{})
			left <- err
		}()
		time.AfterFunc(time.Second/2, func() { cancel(gone) })
		time.Sleep(time.Second / 4)
		if p, _ := next(t, c, kubelettest.UID("a"), time.Time{}); p == nil {
			t.Error("no pod")
		}
		if err := <-left; !errors.Is(err, gone) {
			t.Errorf("error %v, want the cause", err)
		}
		if got := n.Stats().GetPod; got != 1 {
			t.Errorf("%d calls of GetPod, want 1", got)
		}
	})
}

func TestAPodThatCannotBeReadCostsOnlyItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.SetPods(webPod("a"))
		n.AddRaw("bad", append(msg(1, str(nil, 5, "bad"), str(nil, 1, "\xff")), 0))
		n.AddRaw("huge", append(msg(1, str(nil, 5, "huge")), msg(99, make([]byte, 3<<20))...))
		n.AddRaw("liar", marshal(t, webPod("a")))
		c := n.client(t)
		for _, uid := range []string{"bad", "huge", "liar"} {
			x, err := c.Next(t.Context(), uid, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			if p, err := x.ByUID(uid); p != nil || !errors.Is(err, pod.ErrUndecodable) {
				t.Errorf("%s: pod %v, error %v", uid, p, err)
			}
		}
		n.AddRaw("liar", msg(1, str(nil, 5, "liar")))
		x, err := c.Next(t.Context(), "", time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		var faults []string
		for uid := range x.Faults() {
			faults = append(faults, uid)
		}
		if x.Len() != 2 || len(faults) != 2 || faults[0] != "bad" || faults[1] != "huge" {
			t.Errorf("%d pods, faults of %q", x.Len(), faults)
		}
	})
}

func TestAllPodsAreListedOnceForAllWhoAsk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.SetPods(webPods(30)...)
		c := n.client(t)
		watched(t, c)
		done := make(chan *pod.Index)
		for range 10 {
			go func() {
				x, err := c.Next(t.Context(), "", time.Time{})
				if err != nil {
					t.Error(err)
				}
				done <- x
			}()
		}
		for range 10 {
			if x := <-done; x.Len() != 30 {
				t.Errorf("%d pods", x.Len())
			}
		}
		x := all(t, c)
		if y, err := c.Next(t.Context(), "", x.Taken); err != nil || !y.Taken.After(x.Taken) {
			t.Errorf("%v, %v", y, err)
		}
		if s := n.Stats(); s.WatchPods != 3 || s.GetPod != 0 || s.ListPods != 0 {
			t.Errorf("%+v, want the watch and two lists", s)
		}
		// What a list says of a pod is as good as a call.
		next(t, c, kubelettest.UID("web-7"), time.Time{})
		if s := n.Stats(); s.GetPod != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func all(t *testing.T, c interface {
	Next(context.Context, string, time.Time) (*pod.Index, error)
}) *pod.Index {
	x, err := c.Next(t.Context(), "", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// A process whose cgroup does not name the pod is looked for in all of them.
func TestWhoWaitsForAContainerOfAnyPodHearsOfChangesSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.cfg.Interval = time.Hour
		n.SetPods(webPods(3)...)
		c := n.client(t)
		watched(t, c)
		x := all(t, c)
		time.AfterFunc(time.Minute, func() { n.AddPod(webPod("a")) })
		began := time.Now()
		x, err := c.Next(t.Context(), "", x.Taken)
		if err != nil || len(x.ByContainerID(kubelettest.ID("a"))) != 1 {
			t.Errorf("%v, %v", x, err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it took %v", took)
		}
		// One that changes all the time is listed no more often than that.
		before := n.Stats().WatchPods
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
			n.AddPod(webPod("a"))
			if x, err = c.Next(t.Context(), "", x.Taken); err != nil {
				t.Fatal(err)
			}
		}
		if lists := n.Stats().WatchPods - before; lists > 101 {
			t.Errorf("%d lists in 10 s", lists)
		}
	})
}

// Who believes less what a kubelet says just after its start has to know when that
// was. Here it is this process that listens.
func TestAnAnswerSaysSinceWhenTheKubeletIsThere(t *testing.T) {
	t.Parallel()
	n := newNode(t, podsapitest.Options{})
	n.AddPod(kubelettest.Pod{Namespace: "ns", Name: "a", UID: "a"}.Build())
	c := n.client(t)
	want := unixpeer.Peer{PID: int32(os.Getpid())}.Started() // #nosec G115 -- an ID
	for _, uid := range []string{"a", "", "a", "missing"} {
		index, err := c.Next(t.Context(), uid, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if off := index.Since.Sub(want).Abs(); off > time.Second {
			t.Errorf("%q: since %v, want %v", uid, index.Since, want)
		}
	}
}
