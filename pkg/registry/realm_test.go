package registry_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// ADVERSARIAL.md row 24: a registry names somebody else as the place for tokens.
func TestCredentialsGoToNoRealmThatTheRegistryChooses(t *testing.T) {
	t.Parallel()
	// What breaks the rule is a password at the thief's: sigstoretest would fail the
	// test for it there.
	for _, declared := range []bool{false, true} {
		thief := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Users: users, Token: true, Anonymous: true}})
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Users: users, Token: true, Issuer: thief}})
		app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
		b := block(t, r)
		b.Username, b.Password = user, password
		if declared {
			b.TokenHosts = []string{thief.Host()}
			b.CAPath = file(t, "both.pem", append(r.CAPEM(), thief.CAPEM()...))
		}
		log, lines := newLog(t)
		// The thief has a block of its own, so that his address is allowed.
		c, err := registry.NewWith(registry.Config{Registries: []registry.Registry{b, block(t, thief)}}, log, registry.Changes{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _, err = c.Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
		if err != nil { // anybody may read with an anonymous token
			t.Error(err)
		}
		sent := authorizations(thief)
		if declared != (len(sent) == 1 && strings.HasPrefix(sent[0], "Basic ")) || !declared && (len(sent) != 1 || sent[0] != "") {
			t.Errorf("declared %v: the place for tokens got %q", declared, sent)
		}
		if text := lines.all(); strings.Contains(text, "token_hosts") == declared || strings.Contains(text, password) {
			t.Errorf("declared %v: logged %q", declared, text)
		}
	}
}

// A realm in the open is not asked, even where its host is a registry that may be
// asked so.
func TestNoTokenIsTakenFromTheOpen(t *testing.T) {
	t.Parallel()
	plain := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Plain: true})
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Users: users, Token: true, Realm: plain.URL() + "/token"}})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	_, _, err := asks(t, r, plain).Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
	wantKind(t, err, registry.NotAllowed, "not protected")
	if n := len(plain.Requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
}

func TestItIsSaidThatCredentialsWereHeldBack(t *testing.T) {
	t.Parallel()
	thief := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Users: users, Token: true}})
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Users: users, Token: true, Issuer: thief}})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	b := block(t, r)
	b.Username, b.Password = user, password
	c := newClient(t, registry.Config{Registries: []registry.Registry{b, block(t, thief)}})
	_, _, err := c.Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
	wantKind(t, err, registry.Denied, "were not sent to", thief.Host(), "token_hosts")
}

// ADVERSARIAL.md rows 24 and 25: realms without protection, inside the network, or
// that are no place.
func TestRealmsThatAreNotAsked(t *testing.T) {
	t.Parallel()
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a realm inside was asked") }))
	defer inside.Close()
	insideTLS := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a realm inside was asked") }))
	defer insideTLS.Close()
	for realm, kind := range map[string]registry.Kind{
		"http://127.0.0.1:1/token":                registry.NotAllowed,
		inside.URL + "/token":                     registry.NotAllowed,
		insideTLS.URL + "/token":                  registry.NotAllowed,
		"https://localhost:1/token":               registry.NotAllowed,
		"https://169.254.169.254/latest/api":      registry.NotAllowed,
		"https://[::1]/token":                     registry.NotAllowed,
		"https://[::ffff:127.0.0.1]/token":        registry.NotAllowed,
		"https://user:pw@127.0.0.1/token":         registry.NotAllowed,
		"ftp://example.org/token":                 registry.NotAllowed,
		"file:///etc/passwd":                      registry.Malformed,
		"":                                        registry.Malformed,
		"/token":                                  registry.Malformed,
		"https://%zz/":                            registry.Malformed,
		"https://exa_mple.org/token":              registry.NotAllowed,
		"http://registry.example.org@127.0.0.1:1": registry.NotAllowed,
	} {
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Users: users, Token: true, Realm: realm}})
		if realm == "" {
			r.Break(sigstoretest.On{}, func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
				w.Header().Set("WWW-Authenticate", "Bearer")
				w.WriteHeader(401)
			})
		}
		app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
		b := block(t, r)
		b.Username, b.Password = user, password
		_, _, err := newClient(t, registry.Config{Registries: []registry.Registry{b}}).Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
		wantKind(t, err, kind)
		if err != nil && strings.Contains(err.Error(), "pw") {
			t.Error(err)
		}
	}
}

// ADVERSARIAL.md row 24: a redirect to another host, and back.
func TestRedirectsCarryNoCredentialsElsewhere(t *testing.T) {
	t.Parallel()
	for _, token := range []bool{false, true} {
		// A registry without Auth fails the test when it gets credentials.
		storage := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Users: users, Token: token}})
		app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
		storage.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
		b := block(t, r)
		b.Username, b.Password = user, password
		other := block(t, storage)
		other.Username, other.Password = "for", "the storage"
		c := newClient(t, registry.Config{Registries: []registry.Registry{b, other}})
		redirect := sigstoretest.RedirectTo(storage)
		r.Break(sigstoretest.On{Path: "/blobs/"}, func(w http.ResponseWriter, q *http.Request, serve http.HandlerFunc) {
			if q.Header.Get("Authorization") == "" {
				serve(w, q)
				return
			}
			redirect(w, q, serve)
		})
		if _, err := c.Conversation(who).Blob(t.Context(), app.Ref.Repository, app.Config, 1<<20); err != nil {
			t.Error(err)
		}
		if sent := authorizations(storage); len(sent) != 1 || sent[0] != "" {
			t.Errorf("the storage got %q", sent)
		}

		// Who is sent back has nothing either, and is not asked for anything.
		storage.Break(sigstoretest.On{}, sigstoretest.Redirect(r.URL()+"/v2/pay/api/manifests/"+app.Ref.Digest.String()))
		_, err := c.Conversation(who).Blob(t.Context(), app.Ref.Repository, app.Config, 1<<20)
		wantKind(t, err, registry.Denied, "sent us to", "401")
		// Nor does a place that we were sent to get any by asking.
		storage.Mend()
		storage.Break(sigstoretest.On{}, func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(401)
		})
		_, err = c.Conversation(who).Blob(t.Context(), app.Ref.Repository, app.Config, 1<<20)
		wantKind(t, err, registry.Denied, "sent us to", storage.Host())
	}
}
