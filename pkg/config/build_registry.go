package config

import (
	"net/url"
	"slices"
	"strings"

	"github.com/podseal/podseal/pkg/image"
)

// registries reads the registry blocks.
func (b *builder) registries() {
	for _, s := range b.s.all("registry") {
		host, ok := b.host(s)
		if !ok {
			continue
		}
		if other := b.registry(host); other != nil {
			b.refuse(s, "", "the same registry as %s", other.Path)
			continue
		}
		r := Registry{
			Host:             host,
			Path:             s.path,
			CAPath:           b.file(s, "ca_path"),
			Mirror:           b.mirror(s),
			Insecure:         s.flag("insecure"),
			Username:         s.text("username"),
			PasswordPath:     b.file(s, "password_path"),
			DockerConfigPath: b.file(s, "docker_config_path"),
			Repositories:     b.repositories(s),
			TokenHosts:       b.tokenHosts(s),
			ProxyURL:         Secret(s.text("proxy_url")),
		}
		b.registryConflicts(s, r)
		b.config.Images.Registries = append(b.config.Images.Registries, r)
	}
}

// registry is the one of that host so far, or nil.
func (b *builder) registry(host string) *Registry {
	all := b.config.Images.Registries
	if i := slices.IndexFunc(all, func(r Registry) bool { return r.Host == host }); i >= 0 {
		return &all[i]
	}
	return nil
}

// host is the registry that a block is named after.
func (b *builder) host(s *section) (string, bool) {
	host, err := image.ParseRegistry(s.name)
	if err != nil {
		b.refuse(s, "", "%q is not a registry's host, with or without a port", s.name)
	}
	return host, err == nil
}

func (b *builder) mirror(s *section) string {
	const key = "mirror"
	text := s.text(key)
	if text == "" {
		return ""
	}
	host, prefix, hasPrefix := strings.Cut(text, "/")
	host, err := image.ParseRegistry(host)
	if err != nil || hasPrefix && !isPathPrefix(prefix) {
		b.refuse(s, key, "%q is not host[:port][/prefix]", text)
	}
	if hasPrefix {
		return host + "/" + strings.TrimSuffix(prefix, "/")
	}
	return host
}

// atLeastOne is a list that is refused where it is given and empty: whether that means
// all or none is not for us to guess.
func (b *builder) atLeastOne(s *section, key string) []item {
	if s.given(key) && len(s.list(key)) == 0 {
		b.refuse(s, key, "at least one is required where it is given")
	}
	return s.list(key)
}

func (b *builder) tokenHosts(s *section) []string {
	const key = "token_hosts"
	var all []string
	for _, i := range b.atLeastOne(s, key) {
		host, err := image.ParseRegistry(i.text)
		if err != nil {
			b.problems.add(s.key(key), i.pos, "%s: %q is not a host, with or without a port", s.key(key), i.text)
		}
		all = append(all, host)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (b *builder) registryConflicts(s *section, r Registry) {
	switch {
	case r.Username != "" && r.DockerConfigPath != "":
		b.refuse(s, "docker_config_path", "cannot be used with username")
	case r.Username != "" && r.PasswordPath == "":
		b.refuse(s, "username", "password_path is required with it")
	case r.PasswordPath != "" && r.Username == "":
		b.refuse(s, "password_path", "username is required with it")
	}
	if r.Insecure && r.CAPath != "" {
		b.refuse(s, "ca_path", "cannot be used with insecure")
	}
	if r.ProxyURL != "" && !isProxyURL(string(r.ProxyURL)) {
		// Without the URL itself, which may hold a password.
		b.refuse(s, "proxy_url", "not the URL of a proxy: http://host:port, https:// or socks5://")
	}
	if r.Insecure {
		b.warnAt(s, "insecure", "plain HTTP: whoever is on the way to the registry can hide signatures, and reads the credentials")
	}
}

func isProxyURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && slices.Contains([]string{"http", "https", "socks5"}, u.Scheme)
}

// repositories is what the credentials are for.
func (b *builder) repositories(s *section) []string {
	const key = "repositories"
	var all []string
	for _, i := range b.atLeastOne(s, key) {
		if !isPathPrefix(i.text) {
			b.problems.add(s.key(key), i.pos, "%s: %q is not the beginning of a repository's path", s.key(key), i.text)
		}
		all = append(all, i.text)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// isPathPrefix is whether a repository's path can begin so.
func isPathPrefix(s string) bool {
	_, err := image.ParseRepository("registry.invalid/" + strings.TrimSuffix(s, "/"))
	return err == nil
}

// registryCredentials are SPIRE's. What is wrong with them has that attestor's answer:
// half of them are no credentials, and it says so.
func (b *builder) registryCredentials(s *section) {
	named := map[string]string{}
	for _, c := range s.all("registry_credentials") {
		host, ok := b.host(c)
		if !ok {
			continue
		}
		username, password := c.text("username"), c.text("password")
		if other, twice := named[host]; twice {
			b.refuse(c, "", "%s has credentials too", other)
			continue
		}
		named[host] = c.path
		if (username == "") != (password == "") {
			b.warnAt(c, "", "not used: both username and password must be given")
			username, password = "", ""
		}
		r := b.registry(host)
		switch {
		case r == nil:
			b.config.Images.Registries = append(b.config.Images.Registries, Registry{Host: host, Path: c.path, Username: username, Password: Secret(password)})
		case r.Username != "" || r.DockerConfigPath != "":
			b.refuse(c, "", "%s has credentials too", r.Path)
		default:
			r.Username, r.Password = username, Secret(password)
		}
	}
}
