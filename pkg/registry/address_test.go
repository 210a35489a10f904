package registry_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// ADVERSARIAL.md row 25: the ways to write an address inside the network.
func TestAddressesThatAreNotPublic(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "172.15.255.255": true, "172.32.0.0": true, "100.63.255.255": true, "100.128.0.0": true, "192.0.1.0": true,
		"198.17.255.255": true, "198.20.0.0": true, "223.255.255.255": true, "11.0.0.0": true, "126.255.255.255": true, "169.253.255.255": true,
		"2606:4700::1111": true, "2a00:1450:4001::200e": true, "2001:200::1": true, "2400::1": true,

		"0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "10.255.255.255": false, "127.0.0.1": false, "127.255.255.255": false,
		"169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "100.64.0.1": false, "100.100.100.200": false,
		"100.127.255.255": false, "192.0.0.192": false, "192.0.2.1": false, "192.88.99.1": false, "198.18.0.1": false, "198.19.255.255": false,
		"198.51.100.1": false, "203.0.113.1": false, "224.0.0.1": false, "239.255.255.255": false, "240.0.0.1": false, "255.255.255.255": false,

		"::": false, "::1": false, "::2": false, "::127.0.0.1": false, "::ffff:127.0.0.1": false, "::ffff:8.8.8.8": false, "::ffff:0:127.0.0.1": false,
		"64:ff9b::7f00:1": false, "64:ff9b::808:808": false, "64:ff9b:1::7f00:1": false, "100::1": false, "2001::1": false, "2001:0:7f00:1::": false,
		"2001:10::1": false, "2001:20::1": false, "2001:db8::1": false, "2002:7f00:1::": false, "2002:a9fe:a9fe::1": false, "2002:808:808::1": false,
		"3fff::1": false, "5f00::1": false, "fc00::1": false, "fd00:ec2::254": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false,
		"ff02::1": false, "ff0e::1": false, "4000::1": false, "1fff::1": false,
	} {
		if got := registry.Public(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s is public: %v", address, got)
		}
	}
	if registry.Public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

// ADVERSARIAL.md row 25: the author of a pod names a host inside the network.
func TestStrangersAreNotAskedInsideTheNetwork(t *testing.T) {
	t.Parallel()
	inside := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was asked for %s", r.Host, r.URL) }))
	defer inside.Close()
	port := inside.URL[strings.LastIndexByte(inside.URL, ':')+1:]
	c := newClient(t, registry.Config{Any: true})
	for _, host := range []string{"127.0.0.1:" + port, "localhost:" + port, "[::1]:" + port, "0.0.0.0:" + port, "169.254.169.254", "10.0.0.1:5000", "[64:ff9b::7f00:1]:" + port} {
		repo, err := image.ParseRepository(host + "/pay/api")
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Conversation(who).Evidence(t.Context(), image.Ref{Repository: repo, Digest: image.Of(nil)})
		wantKind(t, err, registry.NotAllowed, "not a public one", repo.Registry())
	}
}

// ADVERSARIAL.md row 25: a registry that may be asked sends us inside.
func TestRedirectsInsideTheNetworkAreNotFollowed(t *testing.T) {
	t.Parallel()
	asked := func(w http.ResponseWriter, r *http.Request) { t.Errorf("%s was asked for %s", r.Host, r.URL) }
	inside, insideTLS := httptest.NewServer(http.HandlerFunc(asked)), httptest.NewTLSServer(http.HandlerFunc(asked))
	defer inside.Close()
	defer insideTLS.Close()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	plain := strings.Replace(r.URL(), "https://", "http://", 1)
	for to, says := range map[string]string{
		insideTLS.URL:                   "not a public one",
		"https://169.254.169.254/":      "not a public one",
		"https://localhost:1/":          "not a public one",
		inside.URL:                      "not protected",
		plain:                           "not protected",
		"http://169.254.169.254/":       "not protected",
		"gopher://127.0.0.1:1/":         "no place to ask",
		"file:///etc/passwd":            "no place to ask",
		"https://u:p@" + r.Host() + "/": "no place to ask",
		"https://exa_mple/":             "not the name of a host",
	} {
		r.Mend()
		r.Break(sigstoretest.On{}, func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
			w.Header().Set("Location", to)
			w.WriteHeader(307)
		})
		c := newClient(t, registry.Config{Any: true, Registries: []registry.Registry{block(t, r)}})
		_, err := c.Conversation(who).Blob(t.Context(), app.Ref.Repository, app.Config, 1<<20)
		wantKind(t, err, registry.NotAllowed, says)
	}
}

func TestRegistriesThatAreNotConfiguredAreNotAsked(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	other := block(t, r)
	other.Host = "registry.example.org"
	c := newClient(t, registry.Config{Registries: []registry.Registry{other}})
	_, _, err := c.Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
	wantKind(t, err, registry.NotAllowed, fmt.Sprintf("registry %q", r.Host()), `registries = "any"`)
	_, _, err = c.Conversation(who).Tag(t.Context(), app.Ref.Repository, "x")
	wantKind(t, err, registry.NotAllowed)
	_, err = c.Conversation(who).Blob(t.Context(), app.Ref.Repository, app.Config, 1)
	wantKind(t, err, registry.NotAllowed)
	_, err = c.Conversation(who).Evidence(t.Context(), app.Ref)
	wantKind(t, err, registry.NotAllowed)
	if n := len(r.Requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
}

func TestAnyRegistryWithAPublicAddress(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	c := newClientWith(t, registry.Config{Any: true}, anywhere)
	_, _, err := c.Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
	// It got as far as the certificate, which is of nobody's.
	wantKind(t, err, registry.Unavailable, "certificate", "ca_path")
}

// http where the configuration does not say so, and the reverse.
func TestProtectionIsNotNegotiated(t *testing.T) {
	t.Parallel()
	plain := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Plain: true})
	app := plain.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	c := newClient(t, registry.Config{Registries: []registry.Registry{{Host: plain.Host()}}})
	_, _, err := c.Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
	wantKind(t, err, registry.Unavailable, "insecure = true")
	if _, _, err := asks(t, plain).Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest); err != nil {
		t.Error(err)
	}
	secure := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app = secure.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	c = newClient(t, registry.Config{Registries: []registry.Registry{{Host: secure.Host(), Insecure: true}}})
	_, _, err = c.Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
	wantKind(t, err, registry.Malformed, "400")
}

// A certificate for another host, and of somebody else's CA.
func TestCertificatesAreVerified(t *testing.T) {
	t.Parallel()
	wrongName := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Names: []string{"registry.example.org"}})
	r, other := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{}), sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	wrongCA := block(t, r)
	wrongCA.CAPath = block(t, other).CAPath
	for _, b := range []registry.Registry{block(t, wrongName), wrongCA, {Host: r.Host()}} {
		repo, err := image.ParseRepository(b.Host + "/pay/api")
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = newClient(t, registry.Config{Registries: []registry.Registry{b}}).Conversation(who).Tag(t.Context(), repo, "x")
		wantKind(t, err, registry.Unavailable, "certificate")
	}
}

func TestAMirrorIsAskedInPlaceOfTheRegistry(t *testing.T) {
	t.Parallel()
	mirror := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Users: users, Token: true}})
	app := mirror.PushImage("cache/hub/library/alpine", sigstoretest.Image{Content: "v1"})
	b := block(t, mirror)
	b.Host, b.Mirror = "index.docker.io", mirror.Host()+"/cache/hub"
	b.Username, b.Password, b.Repositories = user, password, []string{"library/"}
	c := newClient(t, registry.Config{Registries: []registry.Registry{b}})
	ref, err := image.ParseRef("alpine@" + app.Ref.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Conversation(who).Manifest(t.Context(), ref.Repository, ref.Digest); err != nil {
		t.Error(err)
	}
	// The mirror's own name is not configured by that.
	_, _, err = c.Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
	wantKind(t, err, registry.NotAllowed)
}

// The environment's proxies are not for us. net/http would not use them for a
// loopback address either, but 0.0.0.0 it does not know as one.
func TestTheProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	// Not parallel: the environment is the process's.
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		t.Setenv(name, "")
	}
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Plain: true})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	host := strings.Replace(r.Host(), "127.0.0.1", "0.0.0.0", 1)
	repo, err := image.ParseRepository(host + "/pay/api")
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, registry.Config{Registries: []registry.Registry{{Host: host, Insecure: true}}})
	if _, _, err := c.Conversation(who).Manifest(t.Context(), repo, app.Ref.Digest); err != nil {
		t.Error(err)
	}
}

func TestTheProxyOfTheBlockIsUsed(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()
	c := newClient(t, registry.Config{Registries: []registry.Registry{{Host: "registry.example.org", ProxyURL: proxy.URL}}})
	repo, err := image.ParseRepository("registry.example.org/pay/api")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = c.Conversation(who).Manifest(t.Context(), repo, image.Of(nil))
	wantKind(t, err, registry.Unavailable, "Bad Gateway")
	if got := <-asked; got != "CONNECT registry.example.org:443" {
		t.Errorf("the proxy got %q", got)
	}
}

// Through a proxy that speaks plainly: where a registry behind it sends us is looked
// at as far as it can be.
func TestRedirectsThroughAProxy(t *testing.T) {
	t.Parallel()
	to := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			t.Errorf("the proxy was sent to %s", r.Host)
		}
		w.Header().Set("Location", <-to)
		w.WriteHeader(307)
	}))
	defer proxy.Close()
	c := newClient(t, registry.Config{Registries: []registry.Registry{{Host: "registry.example.org", Insecure: true, ProxyURL: proxy.URL}}})
	repo, err := image.ParseRepository("registry.example.org/pay/api")
	if err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{"https://169.254.169.254/", "https://127.0.0.1:1/", "https://localhost/", "https://[::1]/"} {
		to <- place
		_, _, err = c.Conversation(who).Manifest(t.Context(), repo, image.Of(nil))
		wantKind(t, err, registry.NotAllowed, "not a public one")
	}
}
