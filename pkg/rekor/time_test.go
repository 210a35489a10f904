package rekor_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/rekor"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

func newTLS(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// trip answers requests without a network, for tests about time.
type trip struct {
	mu     sync.Mutex
	times  []time.Time
	answer func(q *http.Request) (*http.Response, error)
}

func (f *trip) RoundTrip(q *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.times = append(f.times, time.Now())
	answer := f.answer
	f.mu.Unlock()
	return answer(q)
}

func (f *trip) requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.times)
}

// will is how it answers from now on.
func (f *trip) will(answer func(q *http.Request) (*http.Response, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func response(status int, body string, header http.Header) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Header: header}
}

// empty is a log that has nothing.
func empty(*http.Request) (*http.Response, error) { return response(http.StatusOK, "[]", nil), nil }

// signed is made outside of a bubble.
func signed(t *testing.T) evidence.Item {
	t.Helper()
	s := sigstoretest.New()
	return item(t, sigstoretest.Sign(sigstoretest.Signature{Signer: s.Keyless(dev()), Digest: app}))
}

func offline(t *testing.T, answer func(q *http.Request) (*http.Response, error)) (*rekor.Client, *trip) {
	t.Helper()
	f := &trip{answer: answer}
	return newClient(t, rekor.Config{URL: "https://rekor.example.org", Transport: f}), f
}

// Row 45: a log that is away costs whoever asks first no more than the time for a
// request, and the others nothing, for a while.
func TestALogThatIsAwayIsLeftAlone(t *testing.T) {
	t.Parallel()
	found := signed(t)
	for name, c := range map[string]struct {
		answer func(q *http.Request) (*http.Response, error)
		takes  time.Duration
		pause  time.Duration
	}{
		"it can't be reached": {func(*http.Request) (*http.Response, error) { return nil, errors.New("no route to host") }, 0, rekor.Pause},
		"it does not answer": {func(q *http.Request) (*http.Response, error) {
			<-q.Context().Done()
			return nil, q.Context().Err()
		}, rekor.Timeout, rekor.Pause},
		"it answers a byte a second": {func(q *http.Request) (*http.Response, error) {
			r := response(http.StatusOK, "", nil)
			r.Body = io.NopCloser(slow{q.Context()})
			return r, nil
		}, rekor.Timeout, rekor.Pause},
		"429":            {status(http.StatusTooManyRequests, ""), 0, rekor.Pause},
		"429, 20s":       {status(http.StatusTooManyRequests, "20"), 0, 20 * time.Second},
		"503":            {status(http.StatusServiceUnavailable, ""), 0, rekor.Pause},
		"429, a day":     {status(http.StatusTooManyRequests, "86400"), 0, time.Minute},
		"429, 0s":        {status(http.StatusTooManyRequests, "0"), 0, time.Second},
		"429, nonsense":  {status(http.StatusTooManyRequests, "soon"), 0, rekor.Pause},
		"500":            {status(http.StatusInternalServerError, "20"), 0, 0},
		"nonsense":       {status(http.StatusOK, ""), 0, 0},
		"not found":      {status(http.StatusNotFound, ""), 0, 0},
		"it has nothing": {empty, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client, log := offline(t, c.answer)
				start := time.Now()
				if _, err := client.Complete(t.Context(), pay, found); err == nil {
					t.Fatal("no error")
				}
				if took := time.Since(start); took != c.takes {
					t.Errorf("it took %v, want %v", took, c.takes)
				}
				log.will(empty)
				if c.pause > 0 {
					time.Sleep(c.pause - time.Millisecond)
					_, err := client.Complete(t.Context(), fair.Who{Tenant: "web"}, found)
					failed(t, err, rekor.Unavailable)
					if n := log.requests(); n != 1 {
						t.Errorf("%d requests", n)
					}
					time.Sleep(time.Millisecond)
				}
				if _, err := client.Complete(t.Context(), pay, found); !errors.Is(err, rekor.ErrNoEntry) {
					t.Errorf("after the pause: %v", err)
				}
			})
		})
	}
}

// slow has another byte each second.
type slow struct{ ctx context.Context }

func (s slow) Read(p []byte) (int, error) {
	select {
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	}
}

func status(code int, retryAfter string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		header := http.Header{}
		if retryAfter != "" {
			header.Set("Retry-After", retryAfter)
		}
		return response(code, "", header), nil
	}
}

// Who waits for others' answers learns from them that the log is away.
func TestOthersWhoWaitDoNotAskALogThatIsAway(t *testing.T) {
	t.Parallel()
	found := signed(t)
	synctest.Test(t, func(t *testing.T) {
		client, log := offline(t, func(q *http.Request) (*http.Response, error) {
			<-q.Context().Done()
			return nil, q.Context().Err()
		})
		var all sync.WaitGroup
		for range 40 {
			all.Go(func() {
				_, err := client.Complete(t.Context(), pay, found)
				failed(t, err, rekor.Unavailable)
			})
		}
		all.Wait()
		if n := log.requests(); n > 4 {
			t.Errorf("%d requests of one namespace", n)
		}
	})
}

// A caller with less time than the log has by itself learns nothing about the log.
func TestACallerWithoutTime(t *testing.T) {
	t.Parallel()
	found := signed(t)
	synctest.Test(t, func(t *testing.T) {
		client, log := offline(t, func(q *http.Request) (*http.Response, error) {
			<-q.Context().Done()
			return nil, q.Context().Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.Complete(ctx, pay, found)
		failed(t, err, rekor.Unavailable)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the cause is not in %v", err)
		}
		log.will(empty)
		if _, err := client.Complete(t.Context(), pay, found); !errors.Is(err, rekor.ErrNoEntry) {
			t.Errorf("the next one: %v", err)
		}
	})
}

// Row 45: a thousand signatures of one namespace keep another one waiting for no more
// than a turn, and the log gets no more than its rate.
func TestOneNamespaceDoesNotKeepAnotherWaiting(t *testing.T) {
	t.Parallel()
	found := signed(t)
	synctest.Test(t, func(t *testing.T) {
		client, log := offline(t, empty)
		var all sync.WaitGroup
		full := 0
		var mu sync.Mutex
		for range 1000 {
			all.Go(func() {
				_, err := client.Complete(t.Context(), pay, found)
				if errors.Is(err, fair.ErrFull) {
					failed(t, err, rekor.Limit)
					mu.Lock()
					full++
					mu.Unlock()
				} else if !errors.Is(err, rekor.ErrNoEntry) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		start := time.Now()
		if _, err := client.Complete(t.Context(), fair.Who{Tenant: "web"}, found); !errors.Is(err, rekor.ErrNoEntry) {
			t.Error(err)
		}
		if waited := time.Since(start); waited > time.Second/rekor.Rate*2 {
			t.Errorf("the other namespace waited for %v", waited)
		}
		all.Wait()
		took := time.Since(start)
		if most := rekor.Burst + int(took.Seconds()*rekor.Rate) + 1; log.requests() > most {
			t.Errorf("%d requests in %v", log.requests(), took)
		}
		if full == 0 {
			t.Error("everybody could wait")
		}
	})
}

// Others' requests that take long are no bound of ours.
func TestNoTurnWhileOthersAsk(t *testing.T) {
	t.Parallel()
	found := signed(t)
	synctest.Test(t, func(t *testing.T) {
		client, _ := offline(t, func(*http.Request) (*http.Response, error) {
			time.Sleep(rekor.Timeout / 2)
			return empty(nil)
		})
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { _, _ = client.Complete(t.Context(), pay, found) })
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.Complete(ctx, pay, found)
		failed(t, err, rekor.Unavailable)
		all.Wait()
	})
}

// Who has no time to wait for a turn is told so, and that it is a bound of ours.
func TestNoTurnInTime(t *testing.T) {
	t.Parallel()
	found := signed(t)
	synctest.Test(t, func(t *testing.T) {
		client, _ := offline(t, empty)
		for range rekor.Burst {
			if _, err := client.Complete(t.Context(), pay, found); !errors.Is(err, rekor.ErrNoEntry) {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := client.Complete(ctx, pay, found)
		failed(t, err, rekor.Limit)
	})
}
