package registry_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// replace puts other content in a file's place, as tools do.
func replace(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// ADVERSARIAL.md row 29: what is remembered of a registry's answers was got with
// these credentials, from this place, over this connection.
func TestAVersionChangesWithEverythingThatAnswersDependOn(t *testing.T) {
	t.Parallel()
	one, other := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{}).CAPEM(), sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{}).CAPEM()
	block := func(change func(*registry.Registry)) registry.Config {
		b := registry.Registry{Host: "example.org"}
		change(&b)
		return registry.Config{Registries: []registry.Registry{b}}
	}
	app, secret := mustRepository("example.org/pay/api"), mustRepository("example.org/secret/api")
	seen := map[registry.Version]string{}
	for name, cfg := range map[string]registry.Config{
		"no block":                {},
		"no block, any registry":  {Any: true},
		"a docker configuration":  {Any: true, DockerConfigPath: dockerConfig(t, "example.org")},
		"another user there":      {Any: true, DockerConfigPath: file(t, "config.json", []byte(`{"auths":{"example.org":{"username":"other","password":"`+password+`"}}}`))},
		"another password there":  {Any: true, DockerConfigPath: file(t, "config.json", []byte(`{"auths":{"example.org":{"username":"`+user+`","password":"x"}}}`))},
		"a block":                 block(func(*registry.Registry) {}),
		"plain HTTP":              block(func(b *registry.Registry) { b.Insecure = true }),
		"a mirror":                block(func(b *registry.Registry) { b.Mirror = "mirror.example.org" }),
		"another mirror":          block(func(b *registry.Registry) { b.Mirror = "mirror.example.org/cache" }),
		"a CA":                    block(func(b *registry.Registry) { b.CAPath = file(t, "ca.pem", one) }),
		"another CA":              block(func(b *registry.Registry) { b.CAPath = file(t, "ca.pem", other) }),
		"a proxy":                 block(func(b *registry.Registry) { b.ProxyURL = "http://proxy.example.org" }),
		"a password for it":       block(func(b *registry.Registry) { b.ProxyURL = "http://u:p@proxy.example.org" }),
		"a host for tokens":       block(func(b *registry.Registry) { b.TokenHosts = []string{"auth.example.org"} }),
		"a user":                  block(func(b *registry.Registry) { b.Username, b.Password = user, password }),
		"another user":            block(func(b *registry.Registry) { b.Username, b.Password = "other", password }),
		"another password":        block(func(b *registry.Registry) { b.Username, b.Password = user, "x" }),
		"the border moved by one": block(func(b *registry.Registry) { b.Username, b.Password = user+password[:1], password[1:] }),
	} {
		cfg.Salt = []byte("salt")
		v := newClient(t, cfg).Version(app)
		if before, twice := seen[v]; twice {
			t.Errorf("%s is as %s", name, before)
		}
		seen[v] = name
		if again := newClient(t, cfg).Version(app); again != v {
			t.Errorf("%s: the same has two versions", name)
		}
		cfg.Salt = []byte("pepper")
		if newClient(t, cfg).Version(app) == v {
			t.Errorf("%s: the salt counts for nothing", name)
		}
		if text := fmt.Sprintf("%s%v%x", v, v, v); strings.Contains(text, password) {
			t.Errorf("%s: %s", name, text)
		}
	}
	// No salt is a random one.
	unsalted := func() registry.Version { return newClient(t, registry.Config{}).Version(app) }
	if first := unsalted(); first == unsalted() {
		t.Error("two clients without a salt make the same versions")
	}
	// Credentials that are for a part of the registry are nothing to the rest.
	partly := func(secret string) *registry.Client {
		cfg := block(func(b *registry.Registry) {
			b.Username, b.Password, b.Repositories = user, secret, []string{"secret/"}
		})
		cfg.Salt = []byte("salt")
		return newClient(t, cfg)
	}
	a, b := partly("one"), partly("two")
	if a.Version(app) != b.Version(app) || a.Version(secret) == b.Version(secret) || a.Version(secret) == a.Version(app) {
		t.Error("the versions are not those of the credentials that would be sent")
	}
	if got := a.Version(mustRepository("example.org/pay/web")); got != a.Version(app) {
		t.Error("two repositories that are asked in the same way differ")
	}
}

func TestIsConfigured(t *testing.T) {
	t.Parallel()
	c := newClient(t, registry.Config{Any: true, Registries: []registry.Registry{{Host: "Example.org"}, {Host: "docker.io"}}})
	for name, want := range map[string]bool{
		"example.org": true, "EXAMPLE.org:443": true, "index.docker.io": true,
		"example.org:5000": false, "other.example.org": false, "": false, "not a host": false,
	} {
		if c.IsConfigured(name) != want {
			t.Errorf("%q: want %v", name, want)
		}
	}
}

// A credential that was rotated is taken up without a restart: by the next request,
// and so that what was got with the old one is known to be of another version.
func TestARotatedCredentialIsTakenUp(t *testing.T) {
	t.Parallel()
	docker := func(secret string) string {
		return fmt.Sprintf(`{"auths":{"HOST":{"username":%q,"password":%q}}}`, user, secret)
	}
	for _, token := range []bool{false, true} {
		for name, c := range map[string]struct {
			content func(secret string) string
			use     func(cfg *registry.Config, b *registry.Registry, path string)
		}{
			"a password's file": {func(s string) string { return s }, func(_ *registry.Config, b *registry.Registry, path string) {
				b.Username, b.PasswordPath = user, path
			}},
			"a registry's docker configuration": {docker, func(_ *registry.Config, b *registry.Registry, path string) { b.DockerConfigPath = path }},
			"the docker configuration":          {docker, func(cfg *registry.Config, _ *registry.Registry, path string) { cfg.DockerConfigPath = path }},
		} {
			t.Run(fmt.Sprintf("%s, token %v", name, token), func(t *testing.T) {
				t.Parallel()
				auth := &sigstoretest.Auth{Users: map[string]string{user: "new"}, Token: token}
				r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: auth})
				content := func(secret string) string { return strings.ReplaceAll(c.content(secret), "HOST", r.Host()) }
				app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
				path := file(t, "secret", []byte(content("old")))
				b := block(t, r)
				var cfg registry.Config
				c.use(&cfg, &b, path)
				cfg.Registries = []registry.Registry{b}
				client := newClient(t, cfg)
				ask := func() error {
					_, _, err := client.Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
					return err
				}
				before := client.Version(app.Ref.Repository)
				wantKind(t, ask(), registry.Denied, "accept")
				replace(t, path, content("new"))
				after := client.Version(app.Ref.Repository)
				if before == after {
					t.Error("the version is the same")
				}
				if err := ask(); err != nil {
					t.Error(err)
				}
				// A token that was got with a password is not used with another one.
				r.Forget()
				replace(t, path, content("wrong"))
				wantKind(t, ask(), registry.Denied, "accept")
				replace(t, path, content("new"))
				if err := ask(); err != nil || client.Version(app.Ref.Repository) != after {
					t.Errorf("back again: %v", err)
				}
			})
		}
	}
}
