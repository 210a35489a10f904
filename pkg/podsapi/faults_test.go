package podsapi_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/podsapi"
	"github.com/podseal/podseal/pkg/podsapi/podsapitest"
)

// wantReason checks an error's diagnosis.
func wantReason(t *testing.T, err error, want diagnosis.Reason) {
	t.Helper()
	d, ok := diagnosis.Of(err)
	if !ok || d.Reason != want || d.Cause == "" || d.Remedy == "" {
		t.Errorf("error %v: diagnosis %+v, want %q", err, d, want)
	}
}

func TestAKubeletThatStartsIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.SetPods(webPod("a"))
		n.SetFaults(podsapitest.Faults{Starting: true})
		c := n.client(t)
		_, err := c.Next(t.Context(), kubelettest.UID("a"), time.Time{})
		wantReason(t, err, podsapi.ReasonStarting)
		wantReason(t, c.Trouble(), podsapi.ReasonStarting)
		time.AfterFunc(20*time.Second, func() { n.SetFaults(podsapitest.Faults{}) })
		began := time.Now()
		if _, err := await(t.Context(), c, kubelettest.UID("a"), kubelettest.ID("a")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 20*time.Second+interval {
			t.Errorf("it took %v", took)
		}
		if c.Trouble() != nil {
			t.Errorf("trouble %v", c.Trouble())
		}
		// Every failed attempt of 20 s is none of GetPod; of the watch they are
		// spread out.
		if s := n.Stats(); s.WatchPods > 15 || s.GetPod != 1 {
			t.Errorf("%+v", s)
		}
		eventually(t, "the client watches", c.Watching)
		if n.logs.lines("level=WARN") != 1 || n.logs.lines("answers again") != 1 {
			t.Errorf("log:\n%s", n.logs)
		}
	})
}

func TestAKubeletThatHangsIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.SetPods(webPod("a"))
		n.SetFaults(podsapitest.Faults{DelayCalls: time.Minute, Mute: true})
		c := n.client(t)
		began := time.Now()
		_, err := c.Next(t.Context(), kubelettest.UID("a"), time.Time{})
		wantReason(t, err, podsapi.ReasonTimeout)
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("after %v", took)
		}
		_, err = c.Next(t.Context(), "", time.Time{})
		wantReason(t, err, podsapi.ReasonTimeout)
		n.SetFaults(podsapitest.Faults{})
		if _, err := await(t.Context(), c, kubelettest.UID("a"), kubelettest.ID("a")); err != nil {
			t.Error(err)
		}
	})
}

// A kubelet that can't encode some pod ends every watch.
func TestWithoutAWatchAnswersAreRightAndTakeThePause(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string]podsapitest.Faults{"ended": {NoWatch: true}, "mute": {Mute: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newPipeNode(t, podsapitest.Options{})
				n.SetPods(webPods(30)...)
				n.SetFaults(faults)
				c := n.client(t)
				time.AfterFunc(30*time.Second+1, func() {
					n.AddPod(webPod("a", kubelettest.Container{Name: "later", ID: kubelettest.ID("later")}))
				})
				began := time.Now()
				if _, err := await(t.Context(), c, kubelettest.UID("a"), kubelettest.ID("later")); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > 30*time.Second+2*interval {
					t.Errorf("it took %v", took)
				}
				if s := n.Stats(); s.WatchPods > 20 {
					t.Errorf("%d watches in 30 s", s.WatchPods)
				}
			})
		})
	}
}

func TestAWatchThatEndsIsRenewedAndWhatItMissedIsFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.cfg.Interval, n.cfg.TTL = time.Hour, time.Hour
		n.SetPods(webPod("a"))
		c := n.client(t)
		watched(t, c)
		next(t, c, kubelettest.UID("a"), time.Time{})
		n.CloseWatches()
		n.AddSilently(webPod("a", kubelettest.Container{Name: "later", ID: kubelettest.ID("later")}))
		began := time.Now()
		if _, err := await(t.Context(), c, kubelettest.UID("a"), kubelettest.ID("later")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAReaderThatIsTooSlowLosesItsWatchAndNothingElse(t *testing.T) {
	t.Parallel()
	n := newNode(t, podsapitest.Options{})
	n.cfg.Interval = time.Minute
	n.SetPods(webPod("a"))
	c := n.client(t)
	watched(t, c)
	done := make(chan error, 1)
	go func() {
		_, err := await(t.Context(), c, kubelettest.UID("a"), kubelettest.ID("later"))
		done <- err
	}()
	eventually(t, "a watch is dropped", func() bool {
		n.Flood(webPod("noise"), 2000)
		return n.Stats().Dropped > 0
	})
	n.AddPod(webPod("a", kubelettest.Container{Name: "later", ID: kubelettest.ID("later")}))
	if err := <-done; err != nil {
		t.Error(err)
	}
	eventually(t, "the client watches", c.Watching)
}

func TestNobodyIsAskedWhileNobodyAsks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNode(t, podsapitest.Options{})
		n.SetPods(webPods(10)...)
		c := n.client(t)
		time.Sleep(time.Hour)
		if s := n.Stats(); s != (podsapitest.Stats{}) {
			t.Errorf("before the first caller: %+v", s)
		}
		next(t, c, kubelettest.UID("web-1"), time.Time{})
		synctest.Wait()
		before := n.Stats()
		time.Sleep(time.Hour)
		n.AddPod(webPod("b"))
		synctest.Wait()
		if after := n.Stats(); after != before || before.Watching != 1 {
			t.Errorf("after the last caller: %+v, then %+v", before, after)
		}
		n.Stop()
		time.Sleep(time.Hour)
		lines := n.logs.String()
		time.Sleep(time.Hour)
		if n.logs.String() != lines || n.logs.lines("level=WARN") > 2 {
			t.Errorf("log:\n%s", n.logs)
		}
	})
}

func TestAKubeletThatRestartsIsFoundAgain(t *testing.T) {
	t.Parallel()
	n := newNode(t, podsapitest.Options{})
	n.SetPods(webPod("a"))
	n.cfg.Interval, n.cfg.TTL = 50*time.Millisecond, 50*time.Millisecond
	c := n.client(t)
	for range 3 {
		watched(t, c)
		next(t, c, kubelettest.UID("a"), time.Time{})
		n.Stop()
		eventually(t, "the watch is lost", func() bool { return !c.Watching() && c.Trouble() != nil })
		_, err := c.Next(t.Context(), kubelettest.UID("a"), time.Now())
		wantReason(t, err, podsapi.ReasonRefused)
		changed := webPod("a", kubelettest.Container{Name: "later", ID: kubelettest.ID("later")})
		n.SetPods(changed)
		done := make(chan error, 1)
		go func() {
			_, err := await(t.Context(), c, kubelettest.UID("a"), kubelettest.ID("later"))
			done <- err
		}()
		if err := n.Resume(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		n.SetPods(webPod("a"))
		time.Sleep(n.cfg.TTL)
	}
	eventually(t, "the kubelet answers again", func() bool { return c.Trouble() == nil })
	if n.logs.lines("level=WARN") > 3 {
		t.Errorf("log:\n%s", n.logs)
	}
}

func TestWithoutASocketTheErrorSaysSoUntilThereIsOne(t *testing.T) {
	t.Parallel()
	n := newNode(t, podsapitest.Options{})
	n.SetPods(webPod("a"))
	n.Stop()
	if err := os.Remove(n.cfg.Socket); err != nil {
		t.Fatal(err)
	}
	c := n.client(t)
	if c.Trouble() != nil {
		t.Errorf("trouble %v before anybody tried", c.Trouble())
	}
	_, err := c.Next(t.Context(), kubelettest.UID("a"), time.Time{})
	wantReason(t, err, podsapi.ReasonNoSocket)
	wantReason(t, c.Trouble(), podsapi.ReasonNoSocket)
	if err := n.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the socket is found", func() bool { c.Start(); return c.Trouble() == nil })
	if p, _ := next(t, c, kubelettest.UID("a"), time.Time{}); p == nil {
		t.Error("no pod")
	}
}

func TestWhoeverListensMustBeTheKubelet(t *testing.T) {
	t.Parallel()
	n := newNode(t, podsapitest.Options{})
	n.SetPods(webPod("a"))
	own := uint32(os.Getuid())
	tests := []struct {
		name  string
		uid   uint32
		inPod func(int32) (bool, error)
		want  diagnosis.Reason
	}{
		{"another user", own + 1, notInPod, podsapi.ReasonPeerUser},
		{"in a pod", own, func(pid int32) (bool, error) { return int(pid) == os.Getpid(), nil }, podsapi.ReasonPeerPod},
		{"nobody knows", own, func(int32) (bool, error) { return false, errors.New("no such process\n") }, podsapi.ReasonPeer},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := n.cfg
			cfg.PeerUID = test.uid
			c, err := podsapi.New(cfg, podsapi.NewLimiter(), test.inPod, n.logs.logger)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, err = c.Next(t.Context(), kubelettest.UID("a"), time.Time{})
			wantReason(t, err, test.want)
			if e, ok := errors.AsType[*podsapi.PeerError](err); !ok || int(e.Peer.PID) != os.Getpid() {
				t.Errorf("error %v", err)
			}
			i, err := c.Inspect(t.Context())
			wantReason(t, err, test.want)
			if !i.Exists || i.Connected || i.Answered {
				t.Errorf("%+v", i)
			}
		})
	}
}

func TestAClosedClientAnswersAndKeepsNothingOpen(t *testing.T) {
	t.Parallel()
	n := newNode(t, podsapitest.Options{})
	n.SetPods(webPod("a"))
	c := n.client(t)
	watched(t, c)
	c.Close()
	eventually(t, "the watch ends", func() bool { return n.Stats().Watching == 0 })
	if p, _ := next(t, c, kubelettest.UID("a"), time.Time{}); p == nil {
		t.Error("no pod")
	}
	c.Close()
	if s := n.Stats(); s.Watching != 0 {
		t.Errorf("%+v", s)
	}
}

func TestInspectSaysWhatItMet(t *testing.T) {
	t.Parallel()
	n := newNode(t, podsapitest.Options{})
	n.SetPods(webPods(12)...)
	n.AddRaw("bad", []byte{0xFF})
	c := n.client(t)
	i, err := c.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !i.Exists || i.Mode&os.ModeSocket == 0 || !i.Connected || int(i.Peer.PID) != os.Getpid() || !i.Answered || i.Pods != 12 || i.Faults != 1 || i.Watching {
		t.Errorf("%+v", i)
	}
	watched(t, c)
	if i, err := c.Inspect(t.Context()); err != nil || !i.Watching {
		t.Errorf("%+v, %v", i, err)
	}
	n.Stop()
	i, err = c.Inspect(t.Context())
	wantReason(t, err, podsapi.ReasonRefused)
	if !i.Exists || i.Connected {
		t.Errorf("%+v", i)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if _, err := c.Inspect(ctx); !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
}
