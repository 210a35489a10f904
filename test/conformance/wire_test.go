package conformance_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/test/pluginproc"
)

// wire is the way to a server that a test can cut: a port of its own whose
// connections are forwarded.
type wire struct {
	t    *testing.T
	to   string
	host string // its address, which stays the same

	// mu guards what follows, for a moment.
	mu       sync.Mutex
	listener net.Listener // nil while connections are refused
	silent   bool
	open     map[net.Conn]bool
	accepted int
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	w := &wire{t: t, to: to, open: map[net.Conn]bool{}}
	w.Mend()
	t.Cleanup(w.Cut)
	return w
}

// Mend forwards connections from now on.
func (w *wire) Mend() { w.listen(false) }

// Silence takes connections from now on and says nothing on them.
func (w *wire) Silence() { w.listen(true) }

// Cut refuses connections from now on, and ends those that there are.
func (w *wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.listener != nil {
		_ = w.listener.Close()
		w.listener = nil
	}
	for c := range w.open {
		_ = c.Close()
	}
	clear(w.open)
}

// Accepted is how many connections there were so far.
func (w *wire) Accepted() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.accepted
}

func (w *wire) listen(silent bool) {
	w.t.Helper()
	w.Cut()
	var l net.Listener
	var err error
	// Somebody else may have the port for a moment, as the near end of a connection.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if l, err = net.Listen("tcp", cmp.Or(w.host, "127.0.0.1:0")); err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		w.t.Error(err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listener, w.silent, w.host = l, silent, l.Addr().String()
	go w.accept(l)
}

func (w *wire) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if w.take(l, c) {
			go w.forward(c)
		}
	}
}

// take keeps a connection of that listener, and is whether it is to be forwarded.
func (w *wire) take(l net.Listener, c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.listener != l {
		_ = c.Close()
		return false
	}
	w.accepted++
	w.open[c] = true
	return !w.silent
}

func (w *wire) forward(near net.Conn) {
	defer w.end(near)
	far, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer far.Close()
	go func() {
		_, _ = io.Copy(far, near)
		_ = far.Close()
	}()
	_, _ = io.Copy(near, far)
}

func (w *wire) end(c net.Conn) {
	_ = c.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, c)
}

// blackHole is the address of a server of which nothing is heard at all, not even that
// there is none: its backlog is full.
func blackHole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", bound.(*syscall.SockaddrInet4).Port)
	for range 16 {
		c, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("its backlog does not become full")
	return ""
}

// through makes the plugin reach the registry by the wire.
func (s *signing) through(t *testing.T) *wire {
	t.Helper()
	w := newWire(t, s.registry.Host())
	s.host = w.host
	return w
}

// pod is app(name) in that namespace with that image, as the plugin is to call it.
func (s *signing) pod(namespace, name string, image sigstoretest.Pushed) kubelettest.Pod {
	p := of(name, image)
	p.Namespace = namespace
	c := &p.Containers[0]
	c.Image, c.ImageID = strings.Replace(c.Image, s.registry.Host(), s.host, 1), strings.Replace(c.ImageID, s.registry.Host(), s.host, 1)
	return p
}

// policyOf is an image policy for a namespace that the developer must have signed for.
func policyOf(name, namespace, more string) string {
	return fmt.Sprintf(`
	image_policy %q {
		match {
			namespaces = [%q]
		}
		%s
		authority "dev" {
			issuer     = "https://accounts.example.org"
			subject    = "dev@example.org"
			trust_root = "own"
		}
	}`, name, namespace, more)
}

// hasty asks again soon where there was no answer, or not the hoped for.
const hasty = `
	cache {
		negative_ttl = "1s"
	}`

// wantVerified attests the process, for which the policy must hold.
func wantVerified(t *testing.T, plugin *pluginproc.Process, pid int, policy string) {
	t.Helper()
	got, err := plugin.Selectors(t.Context(), pid)
	if err != nil || !contains(got, "image-policy:"+policy) {
		t.Errorf("got %q, %v", got, err)
	}
}

// eventuallyVerified waits until the policy holds for the process, and returns how
// long that took.
func eventuallyVerified(t *testing.T, plugin *pluginproc.Process, pid int, policy string) time.Duration {
	t.Helper()
	began := time.Now()
	var last error
	for end := began.Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		got, err := plugin.Selectors(t.Context(), pid)
		if err == nil && contains(got, "image-policy:"+policy) {
			return time.Since(began)
		}
		last = err
	}
	t.Errorf("it is not verified within a minute: %v", last)
	return 0
}

// heldUntil serves when something is closed.
func heldUntil(release <-chan struct{}) sigstoretest.Fault {
	return func(w http.ResponseWriter, q *http.Request, serve http.HandlerFunc) {
		select {
		case <-release:
			serve(w, q)
		case <-q.Context().Done():
		}
	}
}
