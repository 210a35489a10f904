package kubelet_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
)

func TestInspectionSaysWhatIsOnTheWay(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	n.cfg.NodeName = "localhost"
	now := time.Now().Truncate(time.Second)
	claims := kubelettest.Claims{Audience: []string{"https://kubernetes.default.svc"}, IssuedAt: now.Add(-time.Minute), NotBefore: now.Add(-time.Minute), Expires: now.Add(time.Hour)}
	token := claims.Token()
	n.SetTokens(token)
	replace(t, n.files.Token, []byte(token))
	i, err := n.client(t).Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if i.Address != "localhost:"+port(n) || !strings.HasPrefix(i.Peer, "127.0.0.1:") || len(i.Resolved) == 0 || i.VerifiedName != "localhost" {
		t.Errorf("the way: %+v", i)
	}
	if diff := cmp.Diff(&kubelet.Claims{Subject: kubelettest.ServiceAccount, Audience: claims.Audience,
		IssuedAt: claims.IssuedAt, NotBefore: claims.NotBefore, Expires: claims.Expires}, i.Token); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if i.Certificate == nil || i.ClientCertificate != nil {
		t.Fatalf("certificates: %+v, %+v", i.Certificate, i.ClientCertificate)
	}
	if diff := cmp.Diff([]string{"localhost", "127.0.0.1"}, i.Certificate.Names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if i.Certificate.Subject != "CN=system:node:kubelettest" || !strings.HasPrefix(i.Certificate.Issuer, "CN=kubelettest serving CA") || !i.Certificate.NotAfter.After(now) {
		t.Errorf("certificate: %+v", i.Certificate)
	}
	if i.Date.Before(i.Asked.Truncate(time.Second)) || i.Date.After(i.Answered) {
		t.Errorf("date %v, asked %v, answered %v", i.Date, i.Asked, i.Answered)
	}
	if stats := n.Stats(); stats.Other != 1 || stats.Requests != 0 {
		t.Errorf("requests: %+v", stats)
	}
}

func TestInspectionTellsWhatElseTheCredentialsMayDo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		permission kubelettest.Permission
		want       kubelet.Excess
		status     int
	}{
		"nodes/pods":  {kubelettest.NodesPods, kubelet.ExcessNone, 403},
		"nodes/proxy": {kubelettest.NodesProxy, kubelet.ExcessProxy, 404},
		"nothing":     {kubelettest.Nothing, kubelet.ExcessNone, 403},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, kubelettest.Options{Permissions: map[string]kubelettest.Permission{kubelettest.ServiceAccount: c.permission}})
			i, err := n.client(t).Inspect(t.Context())
			if err != nil || i.Excess != c.want || i.Status != c.status {
				t.Errorf("%q, %d, %v; want %q", i.Excess, i.Status, err, c.want)
			}
		})
	}
	t.Run("the read-only port", func(t *testing.T) {
		t.Parallel()
		n := newNode(t, kubelettest.Options{Plain: true})
		i, err := n.client(t).Inspect(t.Context())
		if err != nil || i.Excess != kubelet.ExcessNotApplicable || i.Certificate != nil || i.Token != nil || i.VerifiedName != "" {
			t.Errorf("%+v, %v", i, err)
		}
	})
	t.Run("a client certificate", func(t *testing.T) {
		t.Parallel()
		n := newNode(t, kubelettest.Options{})
		useCertificate(n)
		i, err := n.client(t).Inspect(t.Context())
		if err != nil || i.Token != nil || i.ClientCertificate == nil || i.ClientCertificate.Subject != "CN=spire-agent" {
			t.Errorf("%+v, %v", i, err)
		}
	})
}

func TestInspectionFailsAsNextDoes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options kubelettest.Options
		change  func(t *testing.T, n *node)
	}{
		"refused":     {change: func(_ *testing.T, n *node) { n.Stop() }},
		"issuer":      {change: func(_ *testing.T, n *node) { _ = n.NewServingCA() }},
		"server-name": {change: func(_ *testing.T, n *node) { n.cfg.ServerName = "other.example.org" }},
		"expired": {change: func(_ *testing.T, n *node) {
			_ = n.SetServing(kubelettest.Leaf{NotAfter: time.Now().Add(-time.Minute)})
		}},
		"not-yet-valid": {change: func(_ *testing.T, n *node) { _ = n.SetServing(kubelettest.Leaf{NotBefore: time.Now().Add(time.Hour)}) }},
		"unresolved":    {change: func(_ *testing.T, n *node) { n.cfg.NodeName = strings.Repeat("n", 64) }},
		"protocol":      {options: kubelettest.Options{Plain: true}, change: func(_ *testing.T, n *node) { n.cfg.Secure = true }},
		"alert":         {options: kubelettest.Options{RequireClientCertificate: true}},
		"anonymous":     {change: func(_ *testing.T, n *node) { n.cfg.Anonymous = true }},
		"token-refused": {change: func(_ *testing.T, n *node) { n.SetTokens() }},
		"no-token":      {change: func(t *testing.T, n *node) { replace(t, n.files.Token, nil) }},
		"token-expired": {change: func(t *testing.T, n *node) {
			replace(t, n.files.Token, []byte(kubelettest.Token(time.Now().Add(-time.Minute))))
		}},
		"certificate-refused": {change: foreignClient},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, c.options)
			if c.change != nil {
				c.change(t, n)
			}
			client := n.client(t)
			_, nextErr := client.Next(t.Context(), time.Time{})
			i, err := client.Inspect(t.Context())
			if i == nil || i.Address == "" {
				t.Fatalf("inspection: %+v", i)
			}
			checkNoToken(t, n, err)
			next, ok := diagnosis.Of(nextErr)
			got, ok2 := diagnosis.Of(err)
			// An alert can get lost when the connection is reset right behind it.
			lost := func(r diagnosis.Reason) bool { return name == "alert" && r == kubelet.ReasonHungUp }
			if !ok || !ok2 || string(got.Reason) != name && !lost(got.Reason) || next.Reason != got.Reason && !lost(next.Reason) && !lost(got.Reason) {
				t.Fatalf("Inspect: %+v, Next: %+v", got, next)
			}
			if got.Cause == "" || got.Remedy == "" || strings.ContainsFunc(got.Cause+got.Remedy, func(r rune) bool { return r < ' ' }) {
				t.Errorf("%+v", got)
			}
			if _, refused := errors.AsType[*kubelet.CertificateError](err); refused && i.Certificate == nil {
				t.Error("the certificate that was refused is not shown")
			}
		})
	}
}

func TestInspectionPassesTheGate(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	n.cfg.Interval = 200 * time.Millisecond
	c := n.client(t)
	if _, err := c.Next(t.Context(), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Inspect(t.Context()); err != nil {
		t.Fatal(err)
	}
	stats := n.Stats()
	if len(stats.Starts) != 2 || stats.Starts[1].Sub(stats.Starts[0]) < n.cfg.Interval/2 || stats.MaxInFlight != 1 {
		t.Errorf("%+v", stats)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	if i, err := c.Inspect(ctx); !errors.Is(err, stop) || i == nil {
		t.Errorf("cancelled: %+v, %v", i, err)
	}
	if n := len(n.Stats().Starts); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestEveryFailureHasACauseAndARemedy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault         kubelettest.Fault
		reason        diagnosis.Reason
		cause, remedy string
	}{
		"403":      {kubelettest.Status(403, "Forbidden (user=x)"), kubelet.ReasonForbidden, "403 Forbidden (user=x)", "nodes/pods"},
		"404":      {kubelettest.Status(404, ""), kubelet.ReasonNotKubelet, "answered 404", "kubelet_secure_port"},
		"redirect": {kubelettest.Redirect("https://example.org"), kubelet.ReasonNotKubelet, "redirects are not followed", "kubelet_secure_port"},
		"503":      {kubelettest.Status(503, "not\x1b now"), kubelet.ReasonStatus, `503 not\x1b now`, "log"},
		"garbage":  {kubelettest.Garbage(), kubelet.ReasonNotKubelet, "gives no list of pods", "kubelet_secure_port"},
		"gzip":     {kubelettest.Gzip(), kubelet.ReasonNotKubelet, "content encoding", "kubelet_secure_port"},
		"dropped":  {kubelettest.Drop(), kubelet.ReasonHungUp, "closed the connection", "restarting"},
		"cut":      {kubelettest.Cut(), kubelet.ReasonNotKubelet, "breaks off", "kubelet_secure_port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, kubelettest.Options{})
			n.Inject(-1, c.fault)
			_, err := n.client(t).Next(t.Context(), time.Time{})
			d, ok := diagnosis.Of(err)
			if !ok || d.Reason != c.reason || !strings.Contains(d.Cause, c.cause) || !strings.Contains(d.Remedy, c.remedy) || !strings.Contains(d.Cause, "127.0.0.1:"+port(n)) {
				t.Errorf("%+v", d)
			}
		})
	}
	t.Run("a file", func(t *testing.T) {
		t.Parallel()
		n := newNode(t, kubelettest.Options{})
		n.cfg.TokenPath += "-none"
		_, err := kubelet.New(n.cfg, kubelet.NewGate(), n.logs.logger)
		d, ok := diagnosis.Of(err)
		if !ok || d.Reason != kubelet.ReasonFile || !strings.Contains(d.Cause, n.cfg.TokenPath) || !strings.Contains(d.Cause, "token_path") || !strings.Contains(d.Remedy, n.cfg.TokenPath) {
			t.Errorf("%+v", d)
		}
	})
	t.Run("403 without credentials", func(t *testing.T) {
		t.Parallel()
		n := newNode(t, kubelettest.Options{Anonymous: true, Forbidden: []string{"system:anonymous"}})
		n.cfg.Anonymous = true
		_, err := n.client(t).Next(t.Context(), time.Time{})
		d, ok := diagnosis.Of(err)
		if !ok || d.Reason != kubelet.ReasonAnonymous || !strings.Contains(d.Remedy, "grant nothing to system:anonymous") {
			t.Errorf("%+v", d)
		}
	})
	if d, ok := diagnosis.Of(errors.New("another")); ok {
		t.Errorf("%+v", d)
	}
}
