package kubelet_test

import (
	"bytes"
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

// Which certificate is accepted for which configuration.
func TestTheKubeletsCertificate(t *testing.T) {
	t.Parallel()
	const request = "unable to perform request: "
	long := make([]string, 100)
	for i := range long {
		long[i] = fmt.Sprintf("name-%03d.example", i)
	}
	for name, c := range map[string]struct {
		serving kubelettest.Leaf
		change  func(t *testing.T, n *node)
		refused []string // nil: accepted
	}{
		"any name without a node name":      {serving: kubelettest.Leaf{Names: []string{"other.example"}}},
		"no name without a node name":       {serving: kubelettest.Leaf{Names: []string{}}},
		"the node's name":                   {serving: kubelettest.Leaf{Names: []string{"localhost"}}, change: nodeName("localhost")},
		"the node's address":                {serving: kubelettest.Leaf{Names: []string{"127.0.0.1"}}, change: nodeName("127.0.0.1")},
		"kubelet_server_name":               {serving: kubelettest.Leaf{Names: []string{"node-1.example"}}, change: serverName("", "node-1.example")},
		"kubelet_server_name and node name": {serving: kubelettest.Leaf{Names: []string{"node-1.example"}}, change: serverName("localhost", "node-1.example")},
		"pinned":                            {change: pinned},
		"pinned and self-signed":            {serving: kubelettest.Leaf{SelfSigned: true}, change: pinned},
		"pinned, with its name":             {serving: kubelettest.Leaf{SelfSigned: true, Names: []string{"localhost"}}, change: all(pinned, nodeName("localhost"))},
		"several CAs in the file":           {change: severalCAs},
		"unknown but unverified":            {change: all(otherCA, skipVerification)},
		"expired but unverified":            {serving: kubelettest.Leaf{NotAfter: time.Now().Add(-time.Minute)}, change: skipVerification},

		"another name": {serving: kubelettest.Leaf{Names: []string{"other.example", "10.0.0.1"}}, change: nodeName("localhost"),
			refused: []string{request, `"other.example", "10.0.0.1"`, `not "localhost"`, "kubelet_server_name", "node_name"}},
		"another name than kubelet_server_name": {change: serverName("", "node-1.example"), refused: []string{request, `not "node-1.example"`, "kubelet_server_name"}},
		"a name where an address is dialled":    {serving: kubelettest.Leaf{Names: []string{"localhost"}}, change: nodeName("127.0.0.1"), refused: []string{request, `not "127.0.0.1"`}},
		"no names at all":                       {serving: kubelettest.Leaf{Names: []string{}}, change: nodeName("localhost"), refused: []string{request, "the names (none)"}},
		"hostile names":                         {serving: kubelettest.Leaf{Names: long}, change: nodeName("localhost"), refused: []string{request, `"name-009.example", ...`}},
		"another CA":                            {change: otherCA, refused: []string{request, `issued by "CN=kubelettest serving CA`, "kubelet_ca_path", "ca.crt"}},
		"another CA, with the name":             {change: all(otherCA, nodeName("localhost")), refused: []string{request, "issued by", "kubelet_ca_path"}},
		"self-signed and not pinned":            {serving: kubelettest.Leaf{SelfSigned: true}, refused: []string{request, `issued by "CN=system:node:kubelettest"`, "the certificate itself"}},
		"expired": {serving: kubelettest.Leaf{NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2021, 2, 3, 4, 5, 6, 0, time.UTC)},
			refused: []string{request, "from 2020-01-01T00:00:00Z to 2021-02-03T04:05:06Z", "clock"}},
		"expired and pinned": {serving: kubelettest.Leaf{SelfSigned: true, NotAfter: time.Now().Add(-time.Minute)}, change: pinned, refused: []string{request, "is valid from"}},
		"not yet valid":      {serving: kubelettest.Leaf{NotBefore: time.Now().Add(time.Hour)}, refused: []string{request, "is valid from"}},
		"a client's":         {serving: kubelettest.Leaf{Client: true}, refused: []string{request, "not good for a server"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, kubelettest.Options{Serving: c.serving})
			if c.change != nil {
				c.change(t, n)
			}
			client := n.client(t)
			// Twice: nothing may be remembered of the first connection that makes
			// the second one easier.
			for range 2 {
				_, err := client.Next(t.Context(), time.Time{})
				if c.refused == nil {
					if err != nil {
						t.Fatal(err)
					}
					continue
				}
				expectation{kind: "RequestError", words: c.refused}.check(t, err)
				if _, ok := errors.AsType[*kubelet.CertificateError](err); !ok {
					t.Errorf("no CertificateError in %v", err)
				}
			}
			if got := n.Stats().Requests; c.refused != nil && got != 0 {
				t.Errorf("%d requests were sent, with the token, to who knows", got)
			}
		})
	}
}

func nodeName(name string) func(*testing.T, *node) { return serverName(name, "") }

func serverName(node_, server string) func(*testing.T, *node) {
	return func(_ *testing.T, n *node) { n.cfg.NodeName, n.cfg.ServerName = node_, server }
}

func pinned(_ *testing.T, n *node) { n.cfg.CAPath = n.files.Serving }

func skipVerification(_ *testing.T, n *node) {
	n.cfg.SkipVerification = true
	n.cfg.CAPath = "/nonexistent/ca.crt" // not read then
}

func otherCA(t *testing.T, n *node) {
	replace(t, n.files.CA, newCA(t))
}

func severalCAs(t *testing.T, n *node) {
	replace(t, n.files.CA, bytes.Join([][]byte{[]byte("# the old one\n"), newCA(t), []byte("# the new one\n"), n.CA(), []byte("end\n")}, nil))
}

func all(changes ...func(*testing.T, *node)) func(*testing.T, *node) {
	return func(t *testing.T, n *node) {
		for _, c := range changes {
			c(t, n)
		}
	}
}

func newCA(t *testing.T) []byte {
	t.Helper()
	ca, err := kubelettest.NewCA("another CA")
	if err != nil {
		t.Fatal(err)
	}
	return ca.PEM()
}

func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := kubelettest.Replace(path, content); err != nil {
		t.Fatal(err)
	}
}

func TestWaysToAuthenticate(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*node){
		"token":              func(*node) {},
		"client certificate": useCertificate,
		"anonymous": func(n *node) {
			n.SetAnonymous(true)
			n.cfg.Anonymous = true
			n.cfg.CertificatePath, n.cfg.PrivateKeyPath, n.cfg.TokenPath = "/nonexistent", "", "/nonexistent" // not read then
		},
		"a certificate wins over the token": func(n *node) {
			useCertificate(n)
			n.cfg.TokenPath = "/nonexistent"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, kubelettest.Options{})
			change(n)
			if _, err := n.client(t).Next(t.Context(), time.Time{}); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("client certificate where one is required", func(t *testing.T) {
		t.Parallel()
		n := newNode(t, kubelettest.Options{RequireClientCertificate: true})
		useCertificate(n)
		if _, err := n.client(t).Next(t.Context(), time.Time{}); err != nil {
			t.Error(err)
		}
	})
}

func useCertificate(n *node) {
	n.cfg.CertificatePath, n.cfg.PrivateKeyPath = n.files.Certificate, n.files.Key
}

// writeClient replaces the client certificate by a new one.
func (n *node) writeClient(t *testing.T, leaf kubelettest.Leaf) {
	t.Helper()
	pair, err := n.Client(leaf)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, n.files.Certificate, pair.Certificate)
	replace(t, n.files.Key, pair.Key)
}

// Which refusals are the last word, and which may pass.
func TestRefusedCredentials(t *testing.T) {
	t.Parallel()
	const unauthorized = "unexpected status code on pods response: 401 Unauthorized: "
	for name, c := range map[string]struct {
		options kubelettest.Options
		change  func(t *testing.T, n *node)
		want    expectation
	}{
		"a token that is not known": {change: func(t *testing.T, n *node) { n.SetTokens() },
			want: expectation{kind: "StatusError", words: []string{unauthorized, "token refused, or the kubelet can't reach the API server", "token_path"}}},
		"a token of no known form": {change: func(t *testing.T, n *node) { replace(t, n.files.Token, []byte("abc.def")) },
			want: expectation{kind: "StatusError", words: []string{unauthorized, "token refused, or the kubelet can't reach the API server"}}},
		"an expired token": {change: func(t *testing.T, n *node) {
			replace(t, n.files.Token, []byte(kubelettest.Token(time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC))))
		}, want: expectation{kind: "StatusError", final: true, words: []string{unauthorized, "expired at 2025-01-02T03:04:05Z", "token_path"}}},
		"an empty token": {change: func(t *testing.T, n *node) { replace(t, n.files.Token, []byte(" \n")) },
			want: expectation{kind: "StatusError", final: true, words: []string{unauthorized, "no token in", "token_path"}}},
		"anonymous": {change: func(t *testing.T, n *node) { n.cfg.Anonymous = true },
			want: expectation{kind: "StatusError", final: true, words: []string{unauthorized, "no anonymous requests", "authentication.anonymous", "token_path", "certificate_path"}}},
		"an expired certificate": {change: func(t *testing.T, n *node) {
			n.writeClient(t, kubelettest.Leaf{CommonName: "x", NotAfter: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), NotBefore: time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)})
			useCertificate(n)
		}, want: expectation{kind: "StatusError", final: true, words: []string{unauthorized, "expired at 2026-01-02T03:04:05Z", "certificate_path"}}},
		"another CA's certificate": {change: func(t *testing.T, n *node) {
			foreignClient(t, n)
		}, want: expectation{kind: "StatusError", words: []string{unauthorized, "client certificate refused", "clientCAFile", "certificate_path"}}},
		"another CA's certificate, in the handshake": {options: kubelettest.Options{RequireClientCertificate: true}, change: func(t *testing.T, n *node) {
			foreignClient(t, n)
		}, want: expectation{kind: "RequestError", words: []string{"unable to perform request: ", "client certificate", "certificate_path"}}},
		"no certificate, in the handshake": {options: kubelettest.Options{RequireClientCertificate: true},
			want: expectation{kind: "RequestError", words: []string{"unable to perform request: ", "want a client certificate", "certificate_path"}}},
		"a token without the right": {change: func(t *testing.T, n *node) { n.SetForbidden(kubelettest.ServiceAccount) },
			want: expectation{kind: "StatusError", final: true, words: []string{
				"unexpected status code on pods response: 403 Forbidden (user=system:serviceaccount:spire:spire-agent, verb=get, resource=nodes, subresource(s)=[pods proxy]): ", "nodes/pods"}}},
		"a certificate without the right": {change: func(t *testing.T, n *node) { useCertificate(n); n.SetForbidden("spire-agent") },
			want: expectation{kind: "StatusError", final: true, words: []string{"unexpected status code on pods response: 403 Forbidden (user=spire-agent"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, c.options)
			if c.change != nil {
				c.change(t, n)
			}
			_, err := n.client(t).Next(t.Context(), time.Time{})
			c.want.check(t, err)
			checkNoToken(t, n, err)
		})
	}
}

func foreignClient(t *testing.T, n *node) {
	t.Helper()
	ca, err := kubelettest.NewCA("foreign")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(kubelettest.Leaf{CommonName: "x", Client: true})
	if err != nil {
		t.Fatal(err)
	}
	replace(t, n.files.Certificate, pair.Certificate)
	replace(t, n.files.Key, pair.Key)
	useCertificate(n)
}

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
		Secure: true, Port: 10250, SkipVerification: true, TokenPath: path, ReloadInterval: time.Minute, Interval: interval,
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
		if w := l.warnings(); len(w) != 1 || !strings.Contains(w[0], "unable to load token") || !strings.Contains(w[0], "token_path") {
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
		if w := l.warnings(); len(w) != 2 {
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
		if w := l.warnings(); len(w) != 3 {
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
	if w := n.logs.warnings(); len(w) != 1 || !strings.Contains(w[0], "unable to load keypair") {
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
		if w := n.logs.warnings(); len(w) != 0 {
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
