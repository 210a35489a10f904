package kubelet_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/pod"
)

// network is a kubelet without sockets, for tests whose time is not real.
type network struct {
	// answer makes the answer to the request with that number, from 1.
	answer func(n int, r *http.Request) (*http.Response, error)

	mu               sync.Mutex
	starts           []time.Duration // since the network was made
	made             time.Time
	inFlight, atOnce int
}

func newNetwork(answer func(n int, r *http.Request) (*http.Response, error)) *network {
	return &network{answer: answer, made: time.Now()}
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	n.starts = append(n.starts, time.Since(n.made))
	number := len(n.starts)
	n.inFlight++
	n.atOnce = max(n.atOnce, n.inFlight)
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		n.inFlight--
		n.mu.Unlock()
	}()
	return n.answer(number, r)
}

// wantStarts compares the times at which requests started.
func (n *network) wantStarts(t *testing.T, want ...time.Duration) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if fmt.Sprint(n.starts) != fmt.Sprint(want) {
		t.Errorf("requests started at %v, want %v", n.starts, want)
	}
	if n.atOnce > 1 {
		t.Errorf("%d requests were in flight at once", n.atOnce)
	}
}

func answered(code int, body string) *http.Response {
	return &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// numbered pods tell which request they came from.
func listOf(n int) *http.Response {
	return answered(http.StatusOK, fmt.Sprintf(`{"items":[{"metadata":{"uid":"from-request-%d"}}]}`, n))
}

func from(x *pod.Index) string {
	for p := range x.All() {
		return p.UID
	}
	return ""
}

// after answers d later.
func after(d time.Duration) func(int, *http.Request) (*http.Response, error) {
	return func(n int, r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return listOf(n), nil
		case <-r.Context().Done():
			return nil, context.Cause(r.Context())
		}
	}
}

const interval = 500 * time.Millisecond

func plain() kubelet.Config {
	return kubelet.Config{Port: 10255, Interval: interval, TTL: interval, ReloadInterval: time.Minute}
}

func newClient(t *testing.T, cfg kubelet.Config, gate *kubelet.Gate, n *network) *kubelet.Client {
	t.Helper()
	c, err := kubelet.NewWithTransport(cfg, gate, slog.New(slog.DiscardHandler), n)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func next(t *testing.T, c *kubelet.Client, newerThan time.Time) *pod.Index {
	t.Helper()
	x, err := c.Next(t.Context(), newerThan)
	if err != nil {
		t.Fatal(err)
	}
	return x
}
