package registry_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
)

// ADVERSARIAL.md row 25: a registry that only a pod's author has named sends us, by
// a redirect or for a token, to one that the operator has named and that has a
// private address for that.
func TestAStrangerLeadsToNoRegistryInsideTheNetwork(t *testing.T) {
	t.Parallel()
	c := newClient(t, registry.Config{Any: true, Registries: []registry.Registry{
		{Host: "registry.internal:5000"}, {Host: "plain.internal", Insecure: true}, {Host: "storage.internal"},
	}})
	for _, by := range []string{"evil.example", "registry.internal:5000"} {
		stranger := by == "evil.example"
		for to, protected := range map[string]bool{
			"https://registry.internal:5000/api/projects":  true,
			"https://storage.internal/v2/x/blobs/sha256:0": true,
			"http://plain.internal:80/token":               false,
		} {
			u, err := url.Parse(to)
			if err != nil {
				t.Fatal(err)
			}
			abroad, err := c.LeadsAbroad(by, u)
			switch {
			case stranger && !protected && err == nil:
				t.Errorf("%s leads to %s", by, to)
			case err == nil && abroad != stranger:
				t.Errorf("%s leads to %s, abroad %t", by, to, abroad)
			}
		}
	}
}

// ADVERSARIAL.md row 25: names of addresses inside the network, for a proxy that
// resolves them as the C library does.
func TestRedirectsThroughAProxyToAddressesInOtherForms(t *testing.T) {
	t.Parallel()
	var to atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			t.Errorf("the proxy was sent to %s", r.Host)
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Location", to.Load().(string))
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	defer proxy.Close()
	c := newClient(t, registry.Config{Registries: []registry.Registry{{Host: "registry.example.org", Insecure: true, ProxyURL: proxy.URL}}})
	repo, err := image.ParseRepository("registry.example.org/pay/api")
	if err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{
		"https://LocalHost/", "https://x.localhost:8443/", "https://127.1/", "https://0177.0.0.1/", "https://2130706433/", "https://0x7f000001:1/", "https://127.0.0X1/",
	} {
		to.Store(place)
		_, _, err = c.Conversation(who).Manifest(t.Context(), repo, image.Of(nil))
		wantKind(t, err, registry.NotAllowed, "not a public one")
	}
}

// ADVERSARIAL.md row 17: a registry whose tokens are as long as an answer may be, for
// any number of repositories.
func TestLongTokensAreKeptInBoundedMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("t", 60<<10)
		n := newNetwork(func(n int, r *http.Request) (*http.Response, error) {
			switch {
			case r.URL.Path == "/token":
				return answered(200, fmt.Sprintf(`{"token":"%s%d","expires_in":3600}`, long, n)), nil
			case r.Header.Get("Authorization") == "":
				return answered(401, "", "WWW-Authenticate", `Bearer realm="https://evil.example/token"`), nil
			}
			return answered(200, ""), nil
		})
		c := online(t, n, registry.Config{Any: true})
		for i := range 20 {
			if err := in(c, fmt.Sprint("evil.example/a", i))(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if got := c.Tokens("evil.example"); got < 1 || got > 4 {
			t.Errorf("%d tokens of 60 KiB are kept", got)
		}
		// The last one is among them.
		asked := n.numbers["evil.example"]
		if err := in(c, "evil.example/a19")(t.Context()); err != nil || n.numbers["evil.example"] != asked+1 {
			t.Errorf("%d requests, %v", n.numbers["evil.example"]-asked, err)
		}
	})
}
