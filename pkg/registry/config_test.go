package registry_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/registry"
)

func TestConfigurationsThatAreRefused(t *testing.T) {
	t.Parallel()
	empty := file(t, "empty", nil)
	secret := file(t, "secret", []byte("pw"))
	directory := t.TempDir()
	for name, c := range map[string]struct {
		block registry.Registry
		says  []string
	}{
		"no host":                      {registry.Registry{}, []string{`registry ""`}},
		"a URL":                        {registry.Registry{Host: "https://example.org"}, []string{"not a port"}},
		"a path":                       {registry.Registry{Host: "example.org/x"}, []string{"not the name of a host"}},
		"a mirror that is a URL":       {registry.Registry{Host: "example.org", Mirror: "https://mirror.example.org"}, []string{"mirror: ", "host[:port][/prefix]"}},
		"a mirror that goes up":        {registry.Registry{Host: "example.org", Mirror: "mirror.example.org/../x"}, []string{"mirror: "}},
		"a mirror with a slash":        {registry.Registry{Host: "example.org", Mirror: "mirror.example.org/"}, []string{"mirror: "}},
		"a user without a password":    {registry.Registry{Host: "example.org", Username: "u"}, []string{"username: "}},
		"a password without a user":    {registry.Registry{Host: "example.org", Password: "pw"}, []string{"username: "}},
		"a password's file without":    {registry.Registry{Host: "example.org", PasswordPath: secret}, []string{"username: "}},
		"two passwords":                {registry.Registry{Host: "example.org", Username: "u", Password: "pw", PasswordPath: secret}, []string{"password_path: "}},
		"two kinds of credentials":     {registry.Registry{Host: "example.org", Username: "u", Password: "pw", DockerConfigPath: file(t, "config.json", []byte("{}"))}, []string{"docker_config_path: "}},
		"a user with a colon":          {registry.Registry{Host: "example.org", Username: "u:v", Password: "pw"}, []string{"username: "}},
		"files that are missing":       {registry.Registry{Host: "example.org", Username: "u", PasswordPath: "/nowhere/p", CAPath: "/nowhere/c"}, []string{"password_path: ", "/nowhere/p", "ca_path: ", "/nowhere/c"}},
		"files that are empty":         {registry.Registry{Host: "example.org", Username: "u", PasswordPath: empty, CAPath: empty}, []string{"no password in it", "no PEM certificate"}},
		"files that are directories":   {registry.Registry{Host: "example.org", DockerConfigPath: directory, CAPath: directory}, []string{"docker_config_path: ", "ca_path: ", "is not a file"}},
		"a file that is too long":      {registry.Registry{Host: "example.org", CAPath: file(t, "long", make([]byte, 1<<20+1))}, []string{"larger than 1 MiB"}},
		"a key in place of a CA":       {registry.Registry{Host: "example.org", CAPath: file(t, "key", pemOf("PRIVATE KEY", []byte("x")))}, []string{"PRIVATE KEY"}},
		"a password with a newline":    {registry.Registry{Host: "example.org", Username: "u", PasswordPath: file(t, "two", []byte("pw\npw"))}, []string{"characters that no password has"}},
		"a CA for plain HTTP":          {registry.Registry{Host: "example.org", CAPath: empty, Insecure: true}, []string{"ca_path: plain HTTP has no certificates"}},
		"an empty list":                {registry.Registry{Host: "example.org", Repositories: []string{}}, []string{"repositories: the list is empty"}},
		"an empty prefix":              {registry.Registry{Host: "example.org", Repositories: []string{""}}, []string{"repositories: "}},
		"a slash alone":                {registry.Registry{Host: "example.org", Repositories: []string{"/"}}, []string{"repositories: "}},
		"a pattern":                    {registry.Registry{Host: "example.org", Repositories: []string{"pay/*"}}, []string{"repositories: "}},
		"a URL for tokens":             {registry.Registry{Host: "example.org", TokenHosts: []string{"https://auth.example.org/token"}}, []string{"token_hosts: "}},
		"a proxy that is no URL":       {registry.Registry{Host: "example.org", ProxyURL: "proxy.example.org:3128"}, []string{"proxy_url: "}},
		"a proxy of an unknown kind":   {registry.Registry{Host: "example.org", ProxyURL: "ftp://pr0xy:pr0xy@example.org"}, []string{"proxy_url: "}},
		"a docker configuration, none": {registry.Registry{Host: "example.org", DockerConfigPath: secret}, []string{"docker_config_path: ", "not a docker configuration"}},
	} {
		client, err := registry.New(registry.Config{Registries: []registry.Registry{c.block, {Host: "good.example.org"}}}, slog.New(slog.DiscardHandler))
		if err == nil || client != nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if strings.Contains(err.Error(), "pw") && !strings.Contains(err.Error(), "/") || strings.Contains(err.Error(), "pr0xy") {
			t.Errorf("%s: %v", name, err)
		}
		for _, s := range append(c.says, "registry[") {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %q does not say %q", name, err, s)
			}
		}
	}
}

func TestTheSameRegistryTwice(t *testing.T) {
	t.Parallel()
	_, err := registry.New(registry.Config{Registries: []registry.Registry{{Host: "docker.io"}, {Host: "index.docker.io:443"}}}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "another block for docker.io") {
		t.Error(err)
	}
}

// The docker configuration may be missing, and come later; a broken one is a
// warning, since nobody has asked for it in particular.
func TestTheDefaultDockerConfiguration(t *testing.T) {
	t.Parallel()
	log, lines := newLog(t)
	path := filepath.Join(t.TempDir(), "config.json")
	for content, warns := range map[string]bool{"": false, "{": true} {
		if content != "" {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, err := registry.New(registry.Config{DockerConfigPath: path}, log)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if text := lines.all(); strings.Contains(text, "no credentials are taken from it") != warns {
			t.Errorf("%q: logged %q", content, text)
		}
		_ = os.Remove(path)
	}
}
