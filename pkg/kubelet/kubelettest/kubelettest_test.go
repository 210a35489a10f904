package kubelettest_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
)

func start(t *testing.T, o kubelettest.Options) *kubelettest.Server {
	t.Helper()
	s, err := kubelettest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, s *kubelettest.Server) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func get(t *testing.T, c *http.Client, s *kubelettest.Server, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/pods", s.Port()), nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func pods(n int) []*corev1.Pod {
	var all []*corev1.Pod
	for i := range n {
		name := fmt.Sprintf("web-%d", i)
		all = append(all, kubelettest.Pod{Namespace: "shop", Name: name, UID: kubelettest.UID(name), Labels: map[string]string{"app": "web"},
			Containers: []kubelettest.Container{{Name: "web", ID: kubelettest.ID(name), Image: "registry.example.org/web:1"}}}.Build())
	}
	return all
}

func TestPodsAreListedInANewOrderEachTime(t *testing.T) {
	t.Parallel()
	s := start(t, kubelettest.Options{Tokens: []string{"good"}})
	if err := s.SetPods(pods(30)...); err != nil {
		t.Fatal(err)
	}
	c := client(t, s)
	list := func() []string {
		code, body := get(t, c, s, "good")
		if code != http.StatusOK {
			t.Fatalf("%d %s", code, body)
		}
		var l corev1.PodList
		if err := json.Unmarshal([]byte(body), &l); err != nil {
			t.Fatal(err)
		}
		if perPod := len(body) / len(l.Items); perPod < 5_000 || perPod > 15_000 {
			t.Errorf("a pod takes %d bytes, which is not like real ones", perPod)
		}
		var names []string
		for _, p := range l.Items {
			names = append(names, p.Name)
		}
		return names
	}
	one, two := list(), list()
	if slices.Equal(one, two) {
		t.Error("the order is the same twice")
	}
	slices.Sort(one)
	slices.Sort(two)
	if !slices.Equal(one, two) || len(slices.Compact(one)) != 30 {
		t.Errorf("not the same pods: %v, %v", one, two)
	}
	if stats := s.Stats(); stats.Requests != 2 || stats.MaxInFlight != 1 || len(stats.Starts) != 2 {
		t.Errorf("stats: %+v", stats)
	}
}

func TestWhoMayAsk(t *testing.T) {
	t.Parallel()
	s := start(t, kubelettest.Options{Tokens: []string{"good", kubelettest.Token(time.Now().Add(-time.Minute))}})
	c := client(t, s)
	for _, token := range []string{"", "bad", kubelettest.Token(time.Now().Add(-time.Minute))} {
		if code, body := get(t, c, s, token); code != http.StatusUnauthorized || body != "Unauthorized" {
			t.Errorf("token %q: %d %s", token, code, body)
		}
	}
	s.SetForbidden(kubelettest.ServiceAccount)
	want := "Forbidden (user=system:serviceaccount:spire:spire-agent, verb=get, resource=nodes, subresource(s)=[pods proxy])\n"
	if code, body := get(t, c, s, "good"); code != http.StatusForbidden || body != want {
		t.Errorf("%d %s", code, body)
	}
	s.SetForbidden()
	s.SetAnonymous(true)
	if code, _ := get(t, c, s, ""); code != http.StatusOK {
		t.Errorf("anonymous: %d", code)
	}
	pair, err := s.Client(kubelettest.Leaf{CommonName: "someone"})
	if err != nil {
		t.Fatal(err)
	}
	key, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	s.SetAnonymous(false)
	c = client(t, s)
	c.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{key}
	if code, _ := get(t, c, s, ""); code != http.StatusOK {
		t.Errorf("client certificate: %d", code)
	}
}

func TestPodsComeAndGo(t *testing.T) {
	t.Parallel()
	s := start(t, kubelettest.Options{Tokens: []string{"good"}})
	p := pods(1)[0]
	if err := s.UpdatePod(p); err == nil {
		t.Error("a pod that is not there was updated")
	}
	if err := s.AddPod(p); err != nil {
		t.Fatal(err)
	}
	if err := s.AddPod(p); err == nil {
		t.Error("a pod was added twice")
	}
	if err := s.SetPods(p, p); err == nil {
		t.Error("a pod was set twice")
	}
	p.Labels["app"] = "changed"
	if err := s.UpdatePod(p); err != nil {
		t.Fatal(err)
	}
	var l corev1.PodList
	if err := json.Unmarshal(s.List(), &l); err != nil || len(l.Items) != 1 || l.Items[0].Labels["app"] != "changed" {
		t.Errorf("%v, %v", l.Items, err)
	}
	s.RemovePod(string(p.UID))
	if got, want := string(s.List()), `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":null}`+"\n"; got != want {
		t.Errorf("empty list: %s", got)
	}
}

func TestItComesBackOnItsPort(t *testing.T) {
	t.Parallel()
	s := start(t, kubelettest.Options{Tokens: []string{"good"}})
	port := s.Port()
	c := client(t, s)
	get(t, c, s, "good")
	s.Stop()
	if _, err := c.Get(fmt.Sprintf("https://127.0.0.1:%d/pods", port)); err == nil {
		t.Error("it answers while it is stopped")
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := s.Resume(); err == nil {
		t.Error("it started twice")
	}
	if code, _ := get(t, c, s, "good"); code != http.StatusOK || s.Port() != port {
		t.Errorf("%d on port %d, want 200 on %d", code, s.Port(), port)
	}
}

func TestFaultsComeInTheirOrderAndEnd(t *testing.T) {
	t.Parallel()
	s := start(t, kubelettest.Options{Tokens: []string{"good"}})
	s.Inject(2, kubelettest.Status(503, "not yet"))
	s.Inject(1, kubelettest.Body("x"))
	s.Inject(0, kubelettest.Status(500, "never"))
	c := client(t, s)
	for _, want := range []string{"503 not yet", "503 not yet", "200 x"} {
		if code, body := get(t, c, s, ""); fmt.Sprint(code, " ", body) != want {
			t.Errorf("%d %s, want %s", code, body, want)
		}
	}
	s.Inject(-1, kubelettest.Status(500, "always"))
	for range 3 {
		if code, _ := get(t, c, s, "good"); code != 500 {
			t.Errorf("%d, want 500", code)
		}
	}
	s.Heal()
	if code, _ := get(t, c, s, "good"); code != 200 {
		t.Errorf("%d after Heal", code)
	}
}
