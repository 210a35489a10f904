package kubelet_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/kubelet"
)

func TestTwoCallsWithinTheIntervalMakeOneRequestAndOneAfterItMakesAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(after(20 * time.Millisecond))
		c := newClient(t, plain(), kubelet.NewGate(), n)
		first := next(t, c, time.Time{})
		if since := time.Since(first.Taken); since != 20*time.Millisecond {
			t.Errorf("taken %v ago, want the request's start", since)
		}
		time.Sleep(interval - 21*time.Millisecond)
		if x := next(t, c, time.Time{}); x != first {
			t.Error("within the interval the index is not the same")
		}
		n.wantStarts(t, 0)
		time.Sleep(time.Millisecond)
		if x := next(t, c, time.Time{}); from(x) != "from-request-2" {
			t.Errorf("after the interval the index is %s", from(x))
		}
		n.wantStarts(t, 0, interval)
	})
}

func TestWhoWantsSomethingNewerWaitsForTheNextRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(after(20 * time.Millisecond))
		c := newClient(t, plain(), kubelet.NewGate(), n)
		x := next(t, c, time.Time{})
		for range 3 {
			newer := next(t, c, x.Taken)
			if !newer.Taken.After(x.Taken) {
				t.Fatalf("%v is not after %v", newer.Taken, x.Taken)
			}
			x = newer
		}
		n.wantStarts(t, 0, interval, 2*interval, 3*interval)
	})
}

// A container may have started after the request in flight was answered in the
// kubelet's mind: its answer can't be news to who asks for something newer.
func TestAnAnswerToARequestThatStartedTooEarlyIsNotReturned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(after(2 * time.Second))
		c := newClient(t, plain(), kubelet.NewGate(), n)
		go func() { _, _ = c.Next(t.Context(), time.Time{}) }()
		time.Sleep(time.Second)
		if x := next(t, c, time.Now()); from(x) != "from-request-2" {
			t.Errorf("the index is %s", from(x))
		}
		n.wantStarts(t, 0, 2*time.Second)
	})
}

func TestCallersShareOneRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(after(time.Second))
		c := newClient(t, plain(), kubelet.NewGate(), n)
		var callers sync.WaitGroup
		for range 16 {
			callers.Go(func() {
				if x, err := c.Next(t.Context(), time.Time{}); err != nil || from(x) != "from-request-1" {
					t.Errorf("%v, %v", x, err)
				}
			})
		}
		callers.Wait()
		n.wantStarts(t, 0)
	})
}

func TestAFailureGoesToEveryoneAndIsNotKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(n int, r *http.Request) (*http.Response, error) {
			if n == 1 {
				time.Sleep(10 * time.Millisecond)
				return answered(http.StatusServiceUnavailable, "not yet"), nil
			}
			return listOf(n), nil
		})
		c := newClient(t, plain(), kubelet.NewGate(), n)
		var callers sync.WaitGroup
		for range 3 {
			callers.Go(func() {
				_, err := c.Next(t.Context(), time.Time{})
				if status, ok := errors.AsType[*kubelet.StatusError](err); !ok || status.Code != 503 || status.Final() {
					t.Errorf("error %v, want a 503 that is not final", err)
				}
			})
		}
		callers.Wait()
		next(t, c, time.Time{})
		n.wantStarts(t, 0, interval)
	})
}

func TestAFailureDoesNotDropTheLastIndexWithinItsInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := plain()
		n := newNetwork(func(n int, r *http.Request) (*http.Response, error) {
			if n == 2 {
				return answered(http.StatusInternalServerError, ""), nil
			}
			return listOf(n), nil
		})
		c := newClient(t, cfg, kubelet.NewGate(), n)
		x := next(t, c, time.Time{})
		if _, err := c.Next(t.Context(), x.Taken); err == nil {
			t.Error("no error from the second request")
		}
		if x := next(t, c, time.Time{}); from(x) != "from-request-3" {
			t.Errorf("the index is %s", from(x))
		}
		n.wantStarts(t, 0, interval, 2*interval)
	})
}

func TestACallerThatLeavesCancelsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(after(time.Second))
		c := newClient(t, plain(), kubelet.NewGate(), n)
		impatient := errors.New("impatient")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, impatient)
		defer cancel()
		if _, err := c.Next(ctx, time.Time{}); !errors.Is(err, impatient) {
			t.Errorf("error %v, want the context's cause", err)
		}
		if since := time.Since(n.made); since != 100*time.Millisecond {
			t.Errorf("it left after %v", since)
		}
		if x := next(t, c, time.Time{}); from(x) != "from-request-1" {
			t.Errorf("the index is %s, want that of the first request", from(x))
		}
		n.wantStarts(t, 0)
	})
}

func TestAContextThatHasEndedMakesNoRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(after(0))
		c := newClient(t, plain(), kubelet.NewGate(), n)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Next(ctx, time.Time{}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		n.wantStarts(t)
	})
}

func TestNothingIsAskedWithoutACaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(after(0))
		c := newClient(t, plain(), kubelet.NewGate(), n)
		x := next(t, c, time.Time{})
		// Everyone who waits for the second request leaves before it starts.
		ctx, cancel := context.WithTimeout(t.Context(), interval/2)
		defer cancel()
		var callers sync.WaitGroup
		for range 3 {
			callers.Go(func() {
				if _, err := c.Next(ctx, x.Taken); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v", err)
				}
			})
		}
		callers.Wait()
		time.Sleep(time.Hour)
		n.wantStarts(t, 0)
		next(t, c, time.Time{})
		n.wantStarts(t, 0, interval/2+time.Hour)
	})
}

func TestWhoComesWhenEveryoneHasLeftGetsTheNextRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(after(0))
		c := newClient(t, plain(), kubelet.NewGate(), n)
		x := next(t, c, time.Time{})
		ctx, cancel := context.WithTimeout(t.Context(), interval/2)
		defer cancel()
		if _, err := c.Next(ctx, x.Taken); err == nil {
			t.Error("no error")
		}
		next(t, c, x.Taken)
		n.wantStarts(t, 0, interval)
	})
}

func TestARequestEndsAfterTenSeconds(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(int, *http.Request) (*http.Response, error){
		"before the headers": after(time.Hour),
		"in the body": func(_ int, r *http.Request) (*http.Response, error) {
			resp := answered(http.StatusOK, "")
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"items":[`), readerFunc(func([]byte) (int, error) {
				<-r.Context().Done()
				return 0, r.Context().Err()
			})))
			return resp, nil
		},
		"in a body that trickles": func(_ int, r *http.Request) (*http.Response, error) {
			resp := answered(http.StatusOK, "")
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"items":[`), readerFunc(func(p []byte) (int, error) {
				time.Sleep(100 * time.Millisecond)
				p[0] = ' '
				return 1, nil
			})))
			return resp, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(answer)
				c := newClient(t, plain(), kubelet.NewGate(), n)
				_, err := c.Next(t.Context(), time.Time{})
				if _, ok := errors.AsType[*kubelet.RequestError](err); !ok || !strings.Contains(err.Error(), "no complete answer within 10s") {
					t.Errorf("error %v, want one that says 10 s", err)
				}
				if took := time.Since(n.made); took < 10*time.Second || took > 10*time.Second+100*time.Millisecond {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

func TestTheGateIsSharedByClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(after(2 * time.Second))
		gate := kubelet.NewGate()
		old := newClient(t, plain(), gate, n)
		var callers sync.WaitGroup
		callers.Go(func() {
			if x := next(t, old, time.Time{}); from(x) != "from-request-1" {
				t.Errorf("the call in progress got %s", from(x))
			}
		})
		synctest.Wait()
		// A reconfiguration during the fetch.
		cfg := plain()
		cfg.Port = 10256
		renewed := newClient(t, cfg, gate, n)
		old.Close()
		old.Close()
		if x := next(t, renewed, time.Time{}); from(x) != "from-request-2" {
			t.Errorf("the call after the reconfiguration got %s", from(x))
		}
		callers.Wait()
		if x := next(t, old, time.Time{}); from(x) != "from-request-3" {
			t.Errorf("a call that still uses the old client got %s", from(x))
		}
		n.wantStarts(t, 0, 2*time.Second, 4*time.Second)
	})
}

func TestStartsAreSpacedOverClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(after(0))
		gate := kubelet.NewGate()
		for range 4 {
			next(t, newClient(t, plain(), gate, n), time.Time{})
		}
		n.wantStarts(t, 0, interval, 2*interval, 3*interval)
	})
}

func TestAPanicGoesToTheCallersAndOpensTheGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(n int, r *http.Request) (*http.Response, error) {
			if n == 1 {
				time.Sleep(time.Second)
				panic("boom")
			}
			return listOf(n), nil
		})
		c := newClient(t, plain(), kubelet.NewGate(), n)
		var callers sync.WaitGroup
		for range 2 {
			callers.Go(func() {
				_, err := c.Next(t.Context(), time.Time{})
				if p, ok := errors.AsType[*guard.PanicError](err); !ok || p.Value != "boom" {
					t.Errorf("error %v, want the panic", err)
				}
			})
		}
		callers.Wait()
		next(t, c, time.Time{})
		n.wantStarts(t, 0, time.Second)
	})
}

// Many callers that come and go, under the race detector.
func TestCallersThatComeAndGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(after(300 * time.Millisecond))
		gate := kubelet.NewGate()
		clients := []*kubelet.Client{newClient(t, plain(), gate, n), newClient(t, plain(), gate, n)}
		var callers sync.WaitGroup
		for i := range 200 {
			callers.Go(func() {
				time.Sleep(time.Duration(i) * 17 * time.Millisecond)
				patience := time.Duration(i%7+1) * 150 * time.Millisecond
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				began := time.Now()
				x, err := clients[i%2].Next(ctx, time.Time{})
				if err != nil && (!errors.Is(err, context.DeadlineExceeded) || time.Since(began) != patience) {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
				if err == nil && time.Since(x.Taken) > interval {
					t.Errorf("the index is %v old", time.Since(x.Taken))
				}
			})
		}
		callers.Wait()
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.atOnce > 1 {
			t.Errorf("%d requests at once", n.atOnce)
		}
		for i := 1; i < len(n.starts); i++ {
			if d := n.starts[i] - n.starts[i-1]; d < interval {
				t.Errorf("requests %d and %d started %v apart", i, i+1, d)
			}
		}
	})
}

// lateEnd is a body that stops in the middle, and then ends as if that were all
// when the client gives up: so does a server that hears of it before the
// connection is gone.
type lateEnd struct {
	io.Reader
	given context.Context // the request's
}

func (l lateEnd) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err == nil {
		return n, nil
	}
	<-l.given.Done()
	return n, io.EOF
}

func TestAListThatEndsWhenTheTimeIsOverIsLateAndNotBroken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(_ int, r *http.Request) (*http.Response, error) {
			body := lateEnd{strings.NewReader(`{"items":[{"metadata":{`), r.Context()}
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(body), ContentLength: -1}, nil
		})
		_, err := newClient(t, plain(), kubelet.NewGate(), n).Next(t.Context(), time.Time{})
		if err == nil || !strings.HasPrefix(err.Error(), "unable to read pods response: no complete answer within 10s") {
			t.Errorf("Next: %v", err)
		}
	})
}

func TestAnAnswerAtTheEndOfTheTimeIsNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(_ int, r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}, nil
		})
		_, err := newClient(t, plain(), kubelet.NewGate(), n).Next(t.Context(), time.Time{})
		if err == nil || !strings.HasPrefix(err.Error(), "unable to perform request: no complete answer within 10s") {
			t.Errorf("Next: %v", err)
		}
	})
}
