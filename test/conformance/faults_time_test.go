package conformance_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
)

// A request ends after 10 s, whatever the kubelet does with it. All of them at
// once, so that the test does not take the sum.
func TestARequestThatComesToNoEnd(t *testing.T) {
	t.Parallel()
	const noAnswer = "no complete answer within 10s"
	var calls sync.WaitGroup
	for name, test := range map[string]struct {
		fault kubelettest.Fault
		port  func(t *testing.T) int // in place of the kubelet's
		words []string
	}{
		"it hangs":             {fault: kubelettest.Hang(), words: []string{"unable to perform request: " + noAnswer, "it was connected, but slow or stuck"}},
		"it hangs in the list": {fault: kubelettest.HangInBody(), words: []string{"unable to read pods response: " + noAnswer, "bytes by then"}},
		"no TLS handshake":     {port: silent, words: []string{"unable to perform request: " + noAnswer, "the TLS handshake was not over"}},
		"packets are dropped":  {port: dropping, words: []string{"unable to perform request: " + noAnswer, "it was still being connected to"}},
	} {
		node := pluginproc.NewNode(t, kubelettest.Options{})
		change := settings{"max_poll_attempts": 1, "attest_timeout": "100s"}
		if test.port != nil {
			change["kubelet_secure_port"] = test.port(t)
		} else {
			node.Kubelet.Inject(-1, test.fault)
		}
		plugin := pluginproc.Start(t, pluginproc.Options{})
		plugin.MustConfigure(t, node.Settings().With(change))
		pid := node.Pod(app("app"))
		calls.Go(func() {
			within(t, 100*time.Second, func(ctx context.Context) {
				_, err := plugin.Selectors(ctx, pid)
				t.Logf("%s: %v", name, err)
				wantStatus(t, err, codes.Unavailable, test.words...)
			})
			wantPeak(t, plugin)
		})
	}
	calls.Wait()
}

// Which of the two bounds is hit first depends on the machine.
func TestAListWithoutEnd(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, settings{"max_poll_attempts": 1, "attest_timeout": "100s"})
	pid := node.Pod(app("app"))
	node.Kubelet.Inject(-1, kubelettest.Endless())
	within(t, 100*time.Second, func(ctx context.Context) {
		_, err := plugin.Selectors(ctx, pid)
		wantStatus(t, err, codes.Unavailable)
		if !strings.Contains(err.Error(), "limit exceeded: it is longer than 1 GiB") && !strings.Contains(err.Error(), "no complete answer within 10s") {
			t.Errorf("got %v", err)
		}
	})
	wantPeak(t, plugin)
}

// A kubelet that hangs does not hold up who leaves, nor Configure, nor the
// plugin's end.
func TestAKubeletThatHangsHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, settings{"attest_timeout": "200ms"})
	pid := node.Pod(app("app"))
	node.Kubelet.Inject(1, kubelettest.Hang())
	within(t, 5*time.Second, func(context.Context) {
		wantFailure(t, plugin, pid, codes.DeadlineExceeded, "no selectors found after max poll attempts")
		plugin.MustConfigure(t, node.Settings())
		plugin.MustConfigure(t, node.Settings().With(settings{"reload_interval": "1h"}))
		plugin.Stop()
	})
}

// silent is the port of somebody who accepts connections and says nothing.
func silent(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

// dropping is a port to which no connection comes about: the queue of those that
// wait to be accepted is full, and the kernel drops the next ones' packets.
func dropping(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*unix.SockaddrInet4).Port}
	for range 16 {
		c, err := net.DialTimeout("tcp4", address.String(), 200*time.Millisecond)
		if err != nil {
			return address.Port
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the queue does not fill up")
	return 0
}
