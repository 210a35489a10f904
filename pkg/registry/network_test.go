package registry_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
)

// network is registries without sockets, for tests whose time is not real.
type network struct {
	// answer makes the answer to a host's request with that number, from 1.
	answer func(n int, r *http.Request) (*http.Response, error)
	// connect is what comes before it; nil is at once.
	connect func(n int, r *http.Request) error

	mu       sync.Mutex
	numbers  map[string]int
	starts   map[string][]time.Duration // by host, since the network was made
	made     time.Time
	inFlight map[string]int
	atOnce   map[string]int
}

func newNetwork(answer func(n int, r *http.Request) (*http.Response, error)) *network {
	return &network{answer: answer, numbers: map[string]int{}, starts: map[string][]time.Duration{}, made: time.Now(), inFlight: map[string]int{}, atOnce: map[string]int{}}
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	host := r.URL.Host
	n.mu.Lock()
	n.numbers[host]++
	number := n.numbers[host]
	n.starts[host] = append(n.starts[host], time.Since(n.made))
	n.inFlight[host]++
	n.atOnce[host] = max(n.atOnce[host], n.inFlight[host])
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.inFlight[host]--
	}()
	trace := httptrace.ContextClientTrace(r.Context())
	trace.GetConn(host)
	if n.connect != nil {
		if err := n.connect(number, r); err != nil {
			return nil, err
		}
	}
	trace.GotConn(httptrace.GotConnInfo{})
	return n.answer(number, r)
}

func (n *network) wantStarts(t *testing.T, host string, want ...time.Duration) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if fmt.Sprint(n.starts[host]) != fmt.Sprint(want) {
		t.Errorf("requests to %s started at %v, want %v", host, n.starts[host], want)
	}
}

func answered(code int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// in asks about an empty blob of a repository, which every registry here has.
func in(c *registry.Client, name string) func(context.Context) error {
	return inOf(c, who.Tenant, name)
}

// inOf asks for a namespace, in a new conversation each time.
func inOf(c *registry.Client, tenant, name string) func(context.Context) error {
	return func(ctx context.Context) error { return within(c.Conversation(fair.Who{Tenant: tenant}), name)(ctx) }
}

// within asks in one conversation.
func within(c *registry.Conversation, name string) func(context.Context) error {
	repo, err := image.ParseRepository(name)
	if err != nil {
		panic(err)
	}
	return func(ctx context.Context) error {
		_, err := c.Blob(ctx, repo, image.Of(nil), 10)
		return err
	}
}

func online(t *testing.T, n *network, cfg registry.Config) *registry.Client {
	return newClientWith(t, cfg, registry.Changes{Transport: n, May: func(netip.Addr) bool { return true }})
}
