package kubelet_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
)

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		n := newNode(t, kubelettest.Options{Plain: plain})
		n.Stop()
		c := n.client(t)
		_, err := c.Next(t.Context(), time.Time{})
		key := map[bool]string{false: "kubelet_secure_port", true: "kubelet_read_only_port"}[plain]
		expectation{kind: "RequestError", words: []string{"unable to perform request: ", "connection refused", fmt.Sprint("127.0.0.1:", n.Port()), key, "hostNetwork"}}.check(t, err)
		if err := n.Resume(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Next(t.Context(), time.Time{}); err != nil {
			t.Errorf("after it came back: %v", err)
		}
	}
}

func TestARestartedKubeletIsReachedAgain(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	c := n.client(t)
	for range 3 {
		if _, err := c.Next(t.Context(), time.Time{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(n.cfg.Interval)
		n.Stop()
		if err := n.Resume(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestANameThatIsUnknown(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	n.cfg.NodeName = strings.Repeat("n", 64) // longer than a name can be: no resolver is asked
	_, err := n.client(t).Next(t.Context(), time.Time{})
	expectation{kind: "RequestError", words: []string{"unable to perform request: ", `"nnnn`, "node_name", "node_name_env", "MY_NODE_NAME"}}.check(t, err)
}

func TestThePortSpeaksTheOtherProtocol(t *testing.T) {
	t.Parallel()
	t.Run("HTTP on the secure port", func(t *testing.T) {
		t.Parallel()
		n := newNode(t, kubelettest.Options{Plain: true})
		n.cfg.Secure = true
		_, err := n.client(t).Next(t.Context(), time.Time{})
		expectation{kind: "RequestError", words: []string{"unable to perform request: ", "does not speak TLS", "kubelet_read_only_port"}}.check(t, err)
	})
	t.Run("TLS on the read-only port", func(t *testing.T) {
		t.Parallel()
		n := newNode(t, kubelettest.Options{})
		n.cfg.Secure = false
		_, err := n.client(t).Next(t.Context(), time.Time{})
		expectation{kind: "StatusError", words: []string{"unexpected status code on pods response: 400 ", "kubelet_secure_port"}}.check(t, err)
	})
	t.Run("TLS of another make on the read-only port", func(t *testing.T) {
		t.Parallel()
		l := listen(t, func(c net.Conn) { _, _ = c.Write([]byte("\x15\x03\x01\x00\x02\x02\x16")) })
		cfg := kubelet.Config{Port: l, Interval: time.Millisecond, TTL: time.Millisecond}
		c, err := kubelet.New(cfg, kubelet.NewGate(), newLogs(t).logger)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Next(t.Context(), time.Time{})
		expectation{kind: "RequestError", words: []string{"unable to perform request: ", "kubelet_secure_port"}}.check(t, err)
	})
	t.Run("a port that hangs up", func(t *testing.T) {
		t.Parallel()
		n := newNode(t, kubelettest.Options{})
		n.cfg.Port = listen(t, func(net.Conn) {})
		_, err := n.client(t).Next(t.Context(), time.Time{})
		expectation{kind: "RequestError", words: []string{"unable to perform request: ", "closed the connection without an answer"}}.check(t, err)
	})
}

// listen serves each connection by one call.
func listen(t *testing.T, serve func(net.Conn)) (port int) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 1024)
			_, _ = c.Read(buf)
			serve(c)
			c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func TestNothingIsSentThatShouldNotBe(t *testing.T) {
	// The environment's proxies are not for the kubelet.
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("NO_PROXY", "")
	n := newNode(t, kubelettest.Options{})
	n.cfg.NodeName = "localhost"
	c := n.client(t)
	if _, err := c.Next(t.Context(), time.Time{}); err != nil {
		t.Fatal(err)
	}
	for name := range n.Stats().Header {
		if name != "Accept" && name != "User-Agent" {
			t.Errorf("header %s is sent", name)
		}
	}
}

func TestThePlainPortGetsNoCredentials(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{Plain: true})
	n.cfg.NodeName, n.cfg.ServerName = "no-such-node.invalid", "nor-this.invalid" // not for this port
	n.cfg.TokenPath, n.cfg.CAPath = filepath.Join(t.TempDir(), "none"), filepath.Join(t.TempDir(), "none")
	sent := make(chan string, 1)
	n.Inject(1, func(_ *kubelettest.Server, w http.ResponseWriter, r *http.Request) {
		sent <- r.Header.Get("Authorization")
		_, _ = io.WriteString(w, `{"items":null}`)
	})
	if _, err := n.client(t).Next(t.Context(), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got := <-sent; got != "" {
		t.Errorf("Authorization: %s", got)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	pair, err := n.Client(kubelettest.Leaf{CommonName: "x"})
	if err != nil {
		t.Fatal(err)
	}
	key, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{key}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}) // #nosec G402 -- this is what is refused
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake()
			c.Close()
		}
	}()
	n.cfg.Port = l.Addr().(*net.TCPAddr).Port
	_, err = n.client(t).Next(t.Context(), time.Time{})
	expectation{kind: "RequestError", words: []string{"unable to perform request: ", "protocol version"}}.check(t, err)
}
