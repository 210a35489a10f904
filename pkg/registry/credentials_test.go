package registry_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

const (
	user     = "robot"
	password = "s3cret:with-colon"
)

var users = map[string]string{user: password}

// dockerConfig is a docker configuration with the credentials under those keys.
func dockerConfig(t testing.TB, keys ...string) string {
	t.Helper()
	var entries []string
	for _, k := range keys {
		entries = append(entries, fmt.Sprintf("%q:{%q:%q}", k, "auth", base64.StdEncoding.EncodeToString([]byte(user+":"+password))))
	}
	return file(t, "config.json", []byte(`{"auths":{`+strings.Join(entries, ",")+`},"credsStore":"must-not-be-run","HttpHeaders":{"User-Agent":"x"}}`))
}

// authorizations are what was sent in that header, each once.
func authorizations(r *sigstoretest.Registry) []string {
	var out []string
	for _, q := range r.Requests() {
		out = append(out, q.Authorization)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestEveryWayToGiveCredentials(t *testing.T) {
	t.Parallel()
	passwordFile := func(t testing.TB) string { return file(t, "password", []byte(password+"\n")) }
	for _, auth := range []sigstoretest.Auth{{Users: users}, {Users: users, Token: true}} {
		for name, give := range map[string]func(t testing.TB, host string, b *registry.Registry, c *registry.Config){
			"a password": func(_ testing.TB, _ string, b *registry.Registry, _ *registry.Config) {
				b.Username, b.Password = user, password
			},
			"a password's file": func(t testing.TB, _ string, b *registry.Registry, _ *registry.Config) {
				b.Username, b.PasswordPath = user, passwordFile(t)
			},
			"the registry's docker configuration": func(t testing.TB, host string, b *registry.Registry, _ *registry.Config) {
				b.DockerConfigPath = dockerConfig(t, host)
			},
			"the docker configuration": func(t testing.TB, host string, _ *registry.Registry, c *registry.Config) {
				c.DockerConfigPath = dockerConfig(t, "https://"+host+"/v2/", "other.example.org")
			},
			"the docker configuration, for a repository": func(t testing.TB, host string, _ *registry.Registry, c *registry.Config) {
				c.DockerConfigPath = dockerConfig(t, host+"/pay")
			},
			"for these repositories": func(_ testing.TB, _ string, b *registry.Registry, _ *registry.Config) {
				b.Username, b.Password, b.Repositories = user, password, []string{"other", "pay/"}
			},
		} {
			t.Run(fmt.Sprintf("%s, token %v", name, auth.Token), func(t *testing.T) {
				t.Parallel()
				r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &auth})
				app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
				r.Attach(app.Ref, sigstoretest.Usual, signed(evidence.SimpleSigning, "a"), signed(evidence.Bundle, "b"))
				cfg := registry.Config{}
				b := block(t, r)
				give(t, r.Host(), &b, &cfg)
				cfg.Registries = []registry.Registry{b}
				c := newClient(t, cfg)
				found, err := c.Conversation(who).Evidence(t.Context(), app.Ref)
				wantItems(t, found, err, "a,b")
				// Now it is known what the registry wants.
				r.Forget()
				found, err = c.Conversation(who).Evidence(t.Context(), app.Ref)
				wantItems(t, found, err, "a,b")
				if sent := authorizations(r); len(sent) != 1 || sent[0] == "" {
					t.Errorf("then %q was sent", sent)
				}
			})
		}
	}
}

func TestRequestsThatStartTogetherGetOneToken(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Token: true, Anonymous: true}})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	c := asks(t, r)
	if _, err := c.Conversation(who).Evidence(t.Context(), app.Ref); err != nil {
		t.Fatal(err)
	}
	tokens := 0
	for _, q := range r.Requests() {
		if strings.HasPrefix(q.Target, "/token?") {
			tokens++
			if q.Target != "/token?scope=repository%3Apay%2Fapi%3Apull&service="+strings.ReplaceAll(r.Host(), ":", "%3A") {
				t.Error(q.Target)
			}
		}
	}
	if tokens != 1 || c.Tokens(r.Host()) != 1 {
		t.Errorf("%d tokens were asked for", tokens)
	}
	// One that ends before its time is replaced.
	r.RevokeTokens()
	if found, err := c.Conversation(who).Evidence(t.Context(), app.Ref); err != nil || len(found.Problems) > 0 {
		t.Error(found, err)
	}
}

// ADVERSARIAL.md row 24: the credentials are for some repositories only.
func TestOtherRepositoriesAreAskedForWithoutCredentials(t *testing.T) {
	t.Parallel()
	for _, token := range []bool{false, true} {
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Users: users, Token: token}})
		b := block(t, r)
		b.Username, b.Password, b.Repositories = user, password, []string{"pay/", "exact"}
		c := newClient(t, registry.Config{Registries: []registry.Registry{b}, DockerConfigPath: dockerConfig(t, r.Host())})
		for path, ok := range map[string]bool{"pay/api": true, "pay/a/b": true, "exact": true, "exact/x": true, "payroll/x": false, "exactly": false, "other/pay/x": false, "pay": false} {
			r.Forget()
			app := r.PushImage(path, sigstoretest.Image{Content: "v1"})
			_, _, err := c.Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
			if ok && err != nil {
				t.Errorf("%s: %v", path, err)
			}
			if !ok {
				if token {
					wantKind(t, err, registry.Denied, "without credentials")
				} else {
					wantKind(t, err, registry.Denied, "are not for "+path, "repositories")
				}
				if sent := authorizations(r); len(sent) != 1 || sent[0] != "" {
					t.Errorf("%s: %q was sent", path, sent)
				}
			}
		}
	}
}

// ADVERSARIAL.md row 24: a host that looks like the one that the credentials are
// for.
func TestADockerConfigurationIsForExactlyItsHosts(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(dockerConfig(t, "registry.azurecr.io", "https://index.docker.io/v1/", "example.org:5000/team/app", "Example.com:443", "localhost"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := registry.ParseDockerConfig(content)
	if err != nil || d.Len() != 5 {
		t.Fatal(d.Len(), err)
	}
	for where, want := range map[[2]string]bool{
		{"registry.azurecr.io", "a/b"}:         true,
		{"registry.azurecr.io.evil.org", "a"}:  false,
		{"registry.azurecr.io.evil", "a"}:      false,
		{"azurecr.io", "a"}:                    false,
		{"x.registry.azurecr.io", "a"}:         false,
		{"registry.azurecr.io:5000", "a"}:      false,
		{"docker.io", "library/alpine"}:        true,
		{"index.docker.io", "library/alpine"}:  false, // not a canonical name
		{"docker.io:5000", "library/alpine"}:   false,
		{"example.org:5000", "team/app"}:       true,
		{"example.org:5000", "team/app/x"}:     true,
		{"example.org:5000", "team/app2"}:      false,
		{"example.org:5000", "team"}:           false,
		{"example.org", "team/app"}:            false,
		{"example.com", "a"}:                   true,
		{"localhost", "a"}:                     true,
		{"localhost:5000", "a"}:                false,
		{"registry.azurecr.io\x00.evil", "a"}:  false,
		{"registry.azurecr.io@evil.org", "a"}:  false,
		{"registry.azurecr.io%2fevil.org", ""}: false,
	} {
		if u, p := d.Of(where[0], where[1]); (u == user && p == password) != want || !want && u+p != "" {
			t.Errorf("%v: %q", where, u)
		}
	}
}

func TestDockerConfigurationsThatAreNone(t *testing.T) {
	t.Parallel()
	auth := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, c := range map[string]struct {
		content string
		ok      bool
	}{
		"nothing":                          {"", false},
		"no auths":                         {"{}", true},
		"auths in a helper":                {`{"auths":{"example.org":{}},"credsStore":"desktop"}`, true},
		"only an identity token":           {`{"auths":{"example.org":{"auth":"` + auth("token:") + `","identitytoken":"x"}}}`, true},
		"not base64":                       {`{"auths":{"example.org":{"auth":"!"}}}`, false},
		"a key that is no host":            {`{"auths":{"*.example.org/**":{"auth":"` + auth("a:b") + `"}}}`, true},
		"two keys, the same credentials":   {`{"auths":{"example.org":{"auth":"` + auth("a:b") + `"},"https://example.org/v1/":{"username":"a","password":"b"}}}`, true},
		"two keys, other credentials":      {`{"auths":{"example.org":{"auth":"` + auth("a:b") + `"},"https://example.org":{"auth":"` + auth("a:c") + `"}}}`, false},
		"a key twice":                      {`{"auths":{"example.org":{"auth":"` + auth("a:b") + `"},"example.org":{"auth":"` + auth("a:c") + `"}}}`, false},
		"a string in place of an object":   {`{"auths":"` + auth("a:b") + `"}`, false},
		"something after it":               {`{"auths":{}} x`, false},
		"a password that ends in NUL":      {`{"auths":{"example.org":{"auth":"` + auth("a:b\x00\x00") + `"}}}`, true},
		"a password in an error's context": {`{"auths":{"example.org":{"auth":7,"password":"` + password + `"}}}`, false},
	} {
		d, err := registry.ParseDockerConfig([]byte(c.content))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), password) || strings.Contains(err.Error(), auth("a:b"))) {
			t.Errorf("%s: %v", name, err)
		}
		if u, _ := d.Of("example.org", "x"); name == "only an identity token" && u != "" {
			t.Errorf("%s: %q", name, u)
		}
		if _, p := d.Of("example.org", "x"); name == "a password that ends in NUL" && p != "b" {
			t.Errorf("%s: %q", name, p)
		}
	}
}

func TestCredentialsThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, token := range []bool{false, true} {
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Users: users, Token: token}})
		app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
		b := block(t, r)
		b.Username, b.Password = user, "wr0ng"
		c := newClient(t, registry.Config{Registries: []registry.Registry{b}})
		for range 2 {
			_, _, err := c.Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
			wantKind(t, err, registry.Denied, "accept")
			if strings.Contains(err.Error(), "wr0ng") {
				t.Error(err)
			}
		}
	}
}

func TestARegistryThatWantsSomethingElse(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"", "Negotiate", "Bearer", `Digest realm="x"`} {
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
		r.Break(sigstoretest.On{}, func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
			if header != "" {
				w.Header().Set("WWW-Authenticate", header)
			}
			w.WriteHeader(401)
		})
		_, _, err := asks(t, r).Conversation(who).Manifest(t.Context(), r.Repository("pay/api"), image.Of(nil))
		if header == "Bearer" {
			wantKind(t, err, registry.Malformed, "no place")
		} else {
			wantKind(t, err, registry.Denied, "does not say what it wants", "username and password_path")
		}
	}
}

// ADVERSARIAL.md row 17, for those who give tokens.
func TestTokensBeyondABound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault sigstoretest.Fault
		kind  registry.Kind
	}{
		"too long":           {sigstoretest.Body("application/json", []byte(`{"token":"`+strings.Repeat("x", 64<<10)+`"}`)), registry.Limit},
		"endless":            {sigstoretest.Endless("application/json"), registry.Limit},
		"compressed":         {sigstoretest.GzipBomb("application/json", 1<<20), registry.Malformed},
		"not JSON":           {sigstoretest.Body("application/json", []byte(`token`)), registry.Malformed},
		"no token":           {sigstoretest.Body("application/json", []byte(`{}`)), registry.Malformed},
		"two":                {sigstoretest.Body("application/json", []byte(`{"token":"a","token":"b"}`)), registry.Malformed},
		"a header":           {sigstoretest.Body("application/json", []byte(`{"token":"a\r\nX: y"}`)), registry.Malformed},
		"a redirect":         {sigstoretest.Redirects(-1), registry.Malformed},
		"not there":          {sigstoretest.Status(404), registry.Malformed},
		"out of order":       {sigstoretest.Status(502), registry.Unavailable},
		"forbidden":          {sigstoretest.Status(403), registry.Denied},
		"too many questions": {sigstoretest.RetryAfter("3600"), registry.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Token: true, Anonymous: true}})
			app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
			r.Break(sigstoretest.On{Path: "/token"}, c.fault)
			ctx, cancel := withTimeout(t, 2*time.Second)
			defer cancel()
			_, _, err := asks(t, r).Conversation(who).Manifest(ctx, app.Ref.Repository, app.Ref.Digest)
			wantKind(t, err, c.kind, "token")
		})
	}
}

// What the files say is used when they say something else, without a new client.
func TestFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Users: users}})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	b := block(t, r)
	b.Username, b.PasswordPath = user, file(t, "password", []byte("wrong"))
	right := b.CAPath
	b.CAPath = file(t, "wrong-ca.pem", sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{}).CAPEM())
	log, lines := newLog(t)
	c, err := registry.New(registry.Config{Registries: []registry.Registry{b}}, log)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func() error {
		_, _, err := c.Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
		return err
	}
	write := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	wantKind(t, ask(), registry.Unavailable, "certificate", "ca_path")
	content, err := os.ReadFile(right)
	if err != nil {
		t.Fatal(err)
	}
	write(b.CAPath, string(content))
	wantKind(t, ask(), registry.Denied)
	write(b.PasswordPath, password)
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	if text := lines.all(); text != "" {
		t.Errorf("logged %q", text)
	}

	// The last good content serves while there is nothing better.
	write(b.PasswordPath, "")
	write(b.CAPath, "no certificate")
	for range 3 {
		if err := ask(); err != nil {
			t.Error(err)
		}
	}
	text := lines.all()
	if strings.Count(text, "last good content") != 2 || strings.Contains(text, password) {
		t.Errorf("logged %q", text)
	}
	if err := os.Remove(b.PasswordPath); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err != nil {
		t.Error(err)
	}
	// In place, of the same length and time: what was written just now is not trusted
	// to be the same.
	write(b.PasswordPath, strings.Repeat("x", len(password)))
	wantKind(t, ask(), registry.Denied)
	info, err := os.Stat(b.PasswordPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(b.PasswordPath, []byte(password), 0o600), os.Chtimes(b.PasswordPath, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err != nil {
		t.Error(err)
	}
}

// Nothing secret in any error or line, whatever goes wrong.
func TestSecretsAreNotTold(t *testing.T) {
	t.Parallel()
	log, lines := newLog(t)
	for _, token := range []bool{false, true} {
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Users: users, Token: token}})
		app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
		b := block(t, r)
		b.Username, b.Password = user, password
		b.ProxyURL = "http://someone:pr0xy-secret@127.0.0.1:1"
		c, err := registry.New(registry.Config{Registries: []registry.Registry{b}}, log)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = c.Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
		wantKind(t, err, registry.Unavailable, "proxy")
		c.Close()
		if text := err.Error() + lines.all(); strings.Contains(text, "s3cret") || strings.Contains(text, "pr0xy") {
			t.Error(text)
		}
	}
}

func TestManyAtOnceWithCredentials(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Users: users, Token: true}})
	b := block(t, r)
	b.Username, b.Password = user, password
	c := newClient(t, registry.Config{Registries: []registry.Registry{b}})
	var all sync.WaitGroup
	for i := range 5 {
		app := r.PushImage(fmt.Sprint("pay/", i%2), sigstoretest.Image{Content: "v1"})
		r.Attach(app.Ref, sigstoretest.Usual, signed(evidence.SimpleSigning, fmt.Sprint("s", i)))
		all.Go(func() {
			if found, err := c.Conversation(who).Evidence(t.Context(), app.Ref); err != nil || len(found.Problems) > 0 {
				t.Errorf("%v, %v", found, err)
			}
		})
	}
	all.Wait()
	if n := c.Tokens(r.Host()); n != 2 {
		t.Errorf("%d tokens for 2 repositories", n)
	}
}
