package kubelettest_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
)

// ask sends a GET with a token.
func ask(t *testing.T, c *http.Client, s *kubelettest.Server, path, token string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d%s", s.Port(), path), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestPermissionsAreThoseOfAKubelet(t *testing.T) {
	t.Parallel()
	s := start(t, kubelettest.Options{Tokens: []string{"good"}})
	if err := s.SetPods(pods(1)...); err != nil {
		t.Fatal(err)
	}
	c := client(t, s)
	forbidden := func(subresources string) string {
		return "403 Forbidden (user=" + kubelettest.ServiceAccount + ", verb=get, resource=nodes, subresource(s)=[" + subresources + "])\n"
	}
	type answers map[kubelettest.Permission]string
	for path, want := range map[string]answers{
		"/containerLogs/shop/web-0/web": {
			kubelettest.NodesPods: forbidden("proxy"), kubelettest.NodesProxy: "200 ", kubelettest.Nothing: forbidden("proxy")},
		"/containerLogs/shop/web-0/other": {
			kubelettest.NodesPods: forbidden("proxy"), kubelettest.NodesProxy: `404 container "other" not found in pod "web-0"`},
		"/containerLogs/none/web-0/web": {
			kubelettest.NodesPods: forbidden("proxy"), kubelettest.NodesProxy: `404 pod "web-0" does not exist`},
		"/exec/shop/web-0/web": {kubelettest.NodesPods: forbidden("proxy")},
		"/metrics/cadvisor":    {kubelettest.NodesPods: forbidden("metrics"), kubelettest.NodesProxy: forbidden("metrics")},
		"/healthz":             {kubelettest.NodesPods: forbidden("healthz proxy"), kubelettest.NodesProxy: "200 ok"},
		"/nothing":             {kubelettest.Nothing: "404 404 page not found\n"},
	} {
		for permission, want := range want {
			s.SetPermission(kubelettest.ServiceAccount, permission)
			resp, body := ask(t, c, s, path, "good")
			if got := fmt.Sprint(resp.StatusCode, " ", body); got != want {
				t.Errorf("%s with permission %d: %q, want %q", path, permission, got, want)
			}
		}
		if resp, _ := ask(t, c, s, path, "bad"); (resp.StatusCode == http.StatusUnauthorized) != (path != "/nothing") {
			t.Errorf("%s with a bad token: %d", path, resp.StatusCode)
		}
	}
	for permission, code := range map[kubelettest.Permission]int{kubelettest.NodesPods: 200, kubelettest.NodesProxy: 200, kubelettest.Nothing: 403} {
		s.SetPermission(kubelettest.ServiceAccount, permission)
		if resp, _ := ask(t, c, s, "/pods", "good"); resp.StatusCode != code {
			t.Errorf("/pods with permission %d: %d, want %d", permission, resp.StatusCode, code)
		}
	}
}

func TestItsClockCanBeWrong(t *testing.T) {
	t.Parallel()
	s := start(t, kubelettest.Options{Tokens: []string{"good"}})
	c := client(t, s)
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} {
		s.SetClock(ahead)
		resp, _ := ask(t, c, s, "/pods", "good")
		date, err := http.ParseTime(resp.Header.Get("Date"))
		if off := time.Since(date) + ahead; err != nil || off < -time.Minute || off > time.Minute {
			t.Errorf("%v ahead: Date %q", ahead, resp.Header.Get("Date"))
		}
	}
}
