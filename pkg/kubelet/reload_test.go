package kubelet_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
)

func TestATokenThatWasRotatedInTheMeantimeIsTriedBeforeGivingUp(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	old := kubelettest.Token(time.Now().Add(-time.Minute))
	replace(t, n.files.Token, []byte(old))
	c := n.client(t) // holds the expired token for the next minute
	fresh := kubelettest.Token(time.Now().Add(time.Hour))
	n.SetTokens(fresh)
	replace(t, n.files.Token, []byte(fresh))
	_, err := c.Next(t.Context(), time.Time{})
	expectation{kind: "StatusError", words: []string{"unexpected status code on pods response: 401", "there is a new one", "token_path"}}.check(t, err)
	if _, err := c.Next(t.Context(), time.Time{}); err != nil {
		t.Errorf("with the new token: %v", err)
	}
}

// At each step the kubelet accepts only the newest of something.
func TestRotation(t *testing.T) {
	t.Parallel()
	for name, rotate := range map[string]func(t *testing.T, n *node){
		"token": func(t *testing.T, n *node) {
			token := kubelettest.Token(time.Now().Add(time.Hour))
			n.SetTokens(token)
			replace(t, n.files.Token, []byte(token))
		},
		"client certificate": func(t *testing.T, n *node) {
			name := fmt.Sprint("client-", time.Now().UnixNano())
			n.writeClient(t, kubelettest.Leaf{CommonName: name})
		},
		"CA": func(t *testing.T, n *node) {
			if err := n.NewServingCA(); err != nil {
				t.Fatal(err)
			}
			replace(t, n.files.CA, n.CA())
			n.Stop()
			if err := n.Resume(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, kubelettest.Options{})
			n.cfg.ReloadInterval = time.Nanosecond
			if name == "client certificate" {
				useCertificate(n)
			}
			c := n.client(t)
			for range 3 {
				if _, err := c.Next(t.Context(), time.Time{}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(n.cfg.Interval)
				rotate(t, n)
			}
			connections := n.Stats().Connections
			if name == "token" && connections != 1 {
				t.Errorf("%d connections, want one: nothing but the token changed", connections)
			}
			if name != "token" && connections != 3 {
				t.Errorf("%d connections, want one for each", connections)
			}
		})
	}
}

// recorder answers every request with an empty list and keeps the tokens.
type recorder struct {
	tokens []string
	code   int
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.tokens = append(r.tokens, strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
	if r.code != 0 {
		return answered(r.code, ""), nil
	}
	return listOf(1), nil
}

func (r *recorder) want(t *testing.T, want ...string) {
	t.Helper()
	if fmt.Sprint(r.tokens) != fmt.Sprint(want) {
		t.Errorf("tokens %q were sent, want %q", r.tokens, want)
	}
}

// tokenClient is a client of a recorder with a token file.
func tokenClient(t *testing.T) (*kubelet.Client, *recorder, *logs, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	write(t, path, "one\n")
	l, r := newLogs(t), &recorder{}
	c, err := kubelet.NewWithTransport(kubelet.Config{
		Secure: true, Port: 10250, SkipVerification: true, TokenPath: path, ReloadInterval: time.Minute, Interval: interval, TTL: interval,
	}, kubelet.NewGate(), l.logger, r)
	if err != nil {
		t.Fatal(err)
	}
	return c, r, l, path
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreReadAgainWhenTheReloadIntervalHasPassed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, r, _, path := tokenClient(t)
		write(t, path, "two")
		next(t, c, time.Time{})
		time.Sleep(time.Minute - time.Millisecond)
		next(t, c, time.Time{})
		r.want(t, "one", "one")
		time.Sleep(interval)
		next(t, c, time.Time{})
		r.want(t, "one", "one", "two")
		write(t, path, "three")
		if err := c.Reload(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(interval)
		next(t, c, time.Time{})
		r.want(t, "one", "one", "two", "three")
	})
}

func TestA401HasTheFilesReadAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, r, _, path := tokenClient(t)
		r.code = 401
		for _, token := range []string{"two", "three", "four"} {
			if _, err := c.Next(t.Context(), time.Time{}); err == nil {
				t.Error("no error")
			}
			write(t, path, token) // after the 401: the next request reads again
		}
		r.code = 0
		next(t, c, time.Time{})
		r.want(t, "one", "two", "three", "four")
	})
}

func TestAFileThatCantBeReadAgainKeepsItsLastGoodContent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, r, l, path := tokenClient(t)
		time.Sleep(time.Minute)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			next(t, c, time.Time{})
			time.Sleep(interval)
		}
		r.want(t, "one", "one", "one")
		if w := l.warnings("last good content"); len(w) != 1 || !strings.Contains(w[0], "unable to load token") || !strings.Contains(w[0], "token_path") {
			t.Errorf("warnings: %q", w)
		}
		// When the request fails as well, its error says so.
		r.code = 500
		_, err := c.Next(t.Context(), time.Time{})
		expectation{kind: "StatusError", words: []string{"unexpected status code on pods response: 500", "unable to load token: open " + path, "token_path"}}.check(t, err)
		if file, ok := errors.AsType[*kubelet.FileError](err); !ok || file.Path != path || file.Key != "token_path" || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("no FileError in %v", err)
		}
		r.code = 0

		write(t, path, "bad\x00token")
		next(t, c, time.Time{})
		if w := l.warnings("last good content"); len(w) != 2 {
			t.Errorf("warnings: %q", w)
		}
		// It heals at the next fetch, not a minute later.
		write(t, path, "good")
		time.Sleep(interval)
		next(t, c, time.Time{})
		if last := r.tokens[len(r.tokens)-1]; last != "good" {
			t.Errorf("the last token is %q", last)
		}
		// The same problem again is news.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		next(t, c, time.Time{})
		if w := l.warnings("last good content"); len(w) != 3 {
			t.Errorf("warnings: %q", w)
		}
	})
}

// A certificate and its key are two files: in between they don't match.
func TestAHalfWrittenPairKeepsTheLastGoodOne(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	n.cfg.ReloadInterval = time.Nanosecond
	useCertificate(n)
	c := n.client(t)
	pair, err := n.Client(kubelettest.Leaf{CommonName: "renewed"})
	if err != nil {
		t.Fatal(err)
	}
	replace(t, n.files.Certificate, pair.Certificate)
	if _, err := c.Next(t.Context(), time.Time{}); err != nil {
		t.Error(err)
	}
	if w := n.logs.warnings(""); len(w) != 1 || !strings.Contains(w[0], "unable to load keypair") {
		t.Errorf("warnings: %q", w)
	}
	n.SetForbidden("spire-agent")
	replace(t, n.files.Key, pair.Key)
	time.Sleep(n.cfg.Interval)
	if _, err := c.Next(t.Context(), time.Time{}); err != nil {
		t.Errorf("with the new pair: %v", err)
	}
}

func TestErrorsOfNewAndReload(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		write(t, path, content)
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	big := file("big", strings.Repeat("x", 1<<20+1))
	for name, c := range map[string]struct {
		change func(*kubelet.Config)
		want   string // beginning
		key    string
	}{
		"CA missing":           {func(c *kubelet.Config) { c.CAPath = missing }, "unable to load kubelet CA: open " + missing, "kubelet_ca_path"},
		"CA a directory":       {func(c *kubelet.Config) { c.CAPath = dir }, "unable to load kubelet CA: " + dir + " is not a file", "kubelet_ca_path"},
		"CA a pipe":            {func(c *kubelet.Config) { c.CAPath = fifo }, "unable to load kubelet CA: " + fifo + " is not a file", "kubelet_ca_path"},
		"CA too big":           {func(c *kubelet.Config) { c.CAPath = big }, "unable to load kubelet CA: " + big + " is larger than 1 MiB", "kubelet_ca_path"},
		"CA empty":             {func(c *kubelet.Config) { c.CAPath = file("empty", "") }, "unable to parse kubelet CA: ", "kubelet_ca_path"},
		"CA of something else": {func(c *kubelet.Config) { c.CAPath = n.files.Key }, "unable to parse kubelet CA: ", "kubelet_ca_path"},
		"CA broken": {func(c *kubelet.Config) {
			c.CAPath = file("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
		}, "unable to parse kubelet CA: ", "kubelet_ca_path"},
		"token missing":         {func(c *kubelet.Config) { c.TokenPath = missing }, "unable to load token: open " + missing, "token_path"},
		"token with a newline":  {func(c *kubelet.Config) { c.TokenPath = file("lines", "secret\nsecret") }, "unable to load token: ", "token_path"},
		"token too big":         {func(c *kubelet.Config) { c.TokenPath = big }, "unable to load token: ", "token_path"},
		"certificate missing":   {func(c *kubelet.Config) { c.CertificatePath, c.PrivateKeyPath = missing, n.files.Key }, "unable to load certificate: ", "certificate_path"},
		"key missing":           {func(c *kubelet.Config) { c.CertificatePath, c.PrivateKeyPath = n.files.Certificate, missing }, "unable to load private key: ", "private_key_path"},
		"not a pair":            {func(c *kubelet.Config) { c.CertificatePath, c.PrivateKeyPath = n.files.CA, n.files.Key }, "unable to load keypair: ", "certificate_path"},
		"certificate alone":     {func(c *kubelet.Config) { c.CertificatePath = n.files.Certificate }, "the private key path is required with the certificate path", ""},
		"key alone":             {func(c *kubelet.Config) { c.PrivateKeyPath = n.files.Key }, "the certificate path is required with the private key path", ""},
		"no port":               {func(c *kubelet.Config) { c.Port = 0 }, "the kubelet's port must be between 1 and 65535, not 0", ""},
		"a URL for a node name": {func(c *kubelet.Config) { c.NodeName = "evil.example/x?" }, `node_name "evil.example/x?" is neither a host name nor an IP address`, ""},
		"user info":             {func(c *kubelet.Config) { c.NodeName = "a@b" }, `node_name "a@b"`, ""},
		"a bad server name":     {func(c *kubelet.Config) { c.ServerName = "a b" }, `kubelet_server_name "a b"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := n.cfg
			c.change(&cfg)
			_, err := kubelet.New(cfg, kubelet.NewGate(), n.logs.logger)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || !strings.Contains(err.Error(), c.key) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if _, ok := errors.AsType[*kubelet.FileError](err); ok != (c.key != "") {
				t.Errorf("error is %T", err)
			}
		})
	}
	t.Run("Reload", func(t *testing.T) {
		t.Parallel()
		n := newNode(t, kubelettest.Options{})
		c := n.client(t)
		replace(t, n.files.CA, []byte("nothing"))
		if err := c.Reload(); err == nil || !strings.HasPrefix(err.Error(), "unable to parse kubelet CA: ") {
			t.Errorf("error %v", err)
		}
		if w := n.logs.warnings(""); len(w) != 0 {
			t.Errorf("what is returned is logged too: %q", w)
		}
		if _, err := c.Next(t.Context(), time.Time{}); err != nil {
			t.Errorf("the last good CA does not serve: %v", err)
		}
	})
}

func TestConnectionsAreKeptUntilClose(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	c := n.client(t)
	fetch := func() {
		t.Helper()
		if _, err := c.Next(t.Context(), time.Time{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(n.cfg.Interval)
	}
	fetch()
	fetch()
	if got := n.Stats().Connections; got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
	c.Close()
	fetch()
	fetch()
	if got := n.Stats().Connections; got != 3 {
		t.Errorf("%d connections, want one for each request after Close", got)
	}
	waitFor(t, func() bool { return n.Open() == 0 })
}

func TestTheConnectionOfARequestInFlightIsClosedAfterItsAnswer(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	release := make(chan struct{})
	n.Inject(1, kubelettest.Held(release))
	c := n.client(t)
	done := make(chan error, 1)
	go func() {
		_, err := c.Next(context.Background(), time.Time{})
		done <- err
	}()
	waitFor(t, func() bool { return n.Stats().Requests == 1 })
	c.Close()
	close(release)
	if err := <-done; err != nil {
		t.Errorf("the call in progress: %v", err)
	}
	waitFor(t, func() bool { return n.Open() == 0 })
}

// waitFor waits for what another process or goroutine does in its own time.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen within a minute")
		}
	}
}
