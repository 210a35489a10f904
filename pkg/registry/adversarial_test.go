package registry_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

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
		_, _, err = c.Manifest(t.Context(), repo, image.Of(nil))
		wantKind(t, err, registry.NotAllowed, "not a public one")
	}
}
