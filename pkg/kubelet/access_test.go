package kubelet_test

import (
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
)

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
