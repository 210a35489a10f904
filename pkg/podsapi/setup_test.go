package podsapi_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/podsapi"
	"github.com/podseal/podseal/pkg/podsapi/podsapitest"
)

const interval = 500 * time.Millisecond

// node is a stand-in kubelet with the configuration to talk to it.
type node struct {
	*podsapitest.Server
	cfg  podsapi.Config
	logs *logs
	dial func(context.Context) (net.Conn, error) // nil for a real socket
}

// newNode starts a kubelet on a real socket.
func newNode(t testing.TB, o podsapitest.Options) *node {
	t.Helper()
	dir, err := os.MkdirTemp("", "podsapi") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	o.Socket = filepath.Join(dir, "pods-api.sock")
	return start(t, o, nil)
}

// newPipeNode starts a kubelet without a socket, for synctest.
func newPipeNode(t testing.TB, o podsapitest.Options) *node {
	t.Helper()
	p := &pipes{}
	o.Listen = p.listen
	return start(t, o, p.dial)
}

func start(t testing.TB, o podsapitest.Options, dial func(context.Context) (net.Conn, error)) *node {
	t.Helper()
	s, err := podsapitest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &node{s, podsapi.Config{Socket: filepath.Join("/", o.Socket), PeerUID: uint32(os.Getuid()), TTL: interval, Interval: interval}, newLogs(t), dial}
}

func notInPod(int32) (bool, error) { return false, nil }

func (n *node) client(t testing.TB) *podsapi.Client {
	t.Helper()
	c, err := podsapi.New(n.cfg, podsapi.NewLimiter(), notInPod, n.logs.logger)
	if n.dial != nil {
		c, err = podsapi.NewWithDial(n.cfg, podsapi.NewLimiter(), notInPod, n.logs.logger, n.dial)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// next is Next for a UID that must be there.
func next(t testing.TB, c *podsapi.Client, uid string, newerThan time.Time) (*pod.Pod, *pod.Index) {
	t.Helper()
	x, err := c.Next(t.Context(), uid, newerThan)
	if err != nil {
		t.Fatal(err)
	}
	p, err := x.ByUID(uid)
	if err != nil {
		t.Fatal(err)
	}
	return p, x
}

// await does what package attest does: it asks until the container is there.
func await(ctx context.Context, c *podsapi.Client, uid, containerID string) (*pod.Pod, error) {
	var newerThan time.Time
	for {
		x, err := c.Next(ctx, uid, newerThan)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			continue // the next call waits
		}
		newerThan = x.Taken
		p, err := x.ByUID(uid)
		if err != nil {
			return nil, err
		}
		if p == nil {
			continue
		}
		if _, ok := p.ContainerByID(containerID); ok {
			return p, nil
		}
	}
}

// eventually waits for something that other goroutines do.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to this: %s", what)
		}
	}
}

// watched waits until the client has its watch.
func watched(t testing.TB, c *podsapi.Client) {
	t.Helper()
	c.Start()
	eventually(t, "the client watches", func() bool { c.Start(); return c.Watching() })
}

// pipes is a network of pipes.
type pipes struct {
	mu      sync.Mutex
	current *pipeListener
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) listen() (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	return p.current, nil
}

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	p.mu.Lock()
	l := p.current
	p.mu.Unlock()
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, os.ErrNotExist
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: "pipe"} }

// logs collects what is logged, for the test's output and its questions.
type logs struct {
	logger *slog.Logger
	mu     sync.Mutex
	buf    bytes.Buffer
}

func newLogs(t testing.TB) *logs {
	l := &logs{}
	l.logger = slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", l)
		}
	})
	return l
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) lines(words string) int { return strings.Count(l.String(), words) }

// webPod is a pod with one running container; extra are further ones.
func webPod(name string, extra ...kubelettest.Container) *corev1.Pod {
	return kubelettest.Pod{
		Namespace:      "shop",
		Name:           name,
		UID:            kubelettest.UID(name),
		ServiceAccount: "web",
		Labels:         map[string]string{"app": "web", "version": "1"},
		Containers: append([]kubelettest.Container{{
			Name: "web", ID: kubelettest.ID(name), Image: "registry.example.org/web:1",
			ImageID: "registry.example.org/web@sha256:" + kubelettest.ID("image"),
		}}, extra...),
	}.Build()
}

func webPods(n int) []*corev1.Pod {
	all := make([]*corev1.Pod, n)
	for i := range all {
		all[i] = webPod(fmt.Sprintf("web-%d", i))
	}
	return all
}
