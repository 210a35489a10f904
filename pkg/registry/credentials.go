package registry

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/podseal/podseal/pkg/image"
)

// credential is a user name and a password. The zero credential is none. It must
// appear in no text.
type credential struct{ username, password string }

func (c credential) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.username+":"+c.password))
}

// credentials returns what the registry may be sent about a repository: what its
// block has, else what the docker configuration has for exactly this host.
func (e *endpoint) credentials(r image.Repository) (credential, error) {
	b := e.block
	if b != nil && !b.covers(r) {
		return credential{}, nil
	}
	switch {
	case b != nil && b.passwordFile != nil:
		password, err := b.passwordFile.get()
		if err != nil {
			return credential{}, fail(Unavailable, "password_path: %w", err)
		}
		return credential{b.username, password}, nil
	case b != nil && b.username != "":
		return credential{b.username, b.password}, nil
	case b != nil && b.docker != nil:
		found, err := b.docker.get()
		if err != nil {
			return credential{}, fail(Unavailable, "docker_config_path: %w", err)
		}
		return found.of(e.host, e.prefix+r.Path()), nil
	case e.client.docker != nil:
		found, err := e.client.docker.get()
		if err != nil { // it was logged, and others may do without
			return credential{}, nil
		}
		return found.of(e.host, e.prefix+r.Path()), nil
	}
	return credential{}, nil
}

// covers is whether the block's credentials are for that repository.
func (b *block) covers(r image.Repository) bool {
	return b.repositories == nil || slices.ContainsFunc(b.repositories, func(prefix string) bool { return below(r.Path(), prefix) })
}

// advice is what to do about a registry that gives something not to us.
func (e *endpoint) advice(r image.Repository, auth authorization) string {
	switch {
	case auth.held != "":
		return auth.held
	case auth.header != "" && !auth.anonymous:
		return "the credentials for it are not accepted, or are for less than that"
	case e.block == nil:
		return fmt.Sprintf("there are no credentials for it: give registry %q a block with username and password_path", e.registry)
	case !e.block.covers(r):
		return fmt.Sprintf("the credentials in the registry's block are not for %s (repositories)", r.Path())
	}
	return "there are no credentials for it: set username and password_path, or docker_config_path, in the registry's block; " +
		"of a docker configuration only passwords in its `auths` are used, credential helpers are not run"
}

// parsePassword reads a password. The end of its line does not belong to it.
func parsePassword(content []byte) (string, error) {
	password := strings.TrimRight(string(content), "\r\n")
	switch {
	case password == "":
		return "", errors.New("there is no password in it")
	case strings.ContainsFunc(password, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", errors.New("it holds characters that no password has")
	}
	return password, nil
}

// auths are the credentials of a docker configuration by the host, or the host and
// the beginning of a repository's path, that they are for.
type auths map[string]credential

// of returns the credential for a repository: that of the longest path below
// exactly that host.
func (a auths) of(host, path string) credential {
	for key := host + "/" + path; ; {
		if c, ok := a[key]; ok {
			return c
		}
		i := strings.LastIndexByte(key, '/')
		if i < 0 {
			return credential{}
		}
		key = key[:i]
	}
}

// parseDockerConfig reads the `auths` of a docker configuration. An entry without a
// password is left out: its password is in a credential helper, which is not run.
func parseDockerConfig(content []byte) (auths, error) {
	var file struct {
		Auths map[string]struct {
			Auth     string `json:"auth"`
			Username string `json:"username"`
			Password string `json:"password"`
		} `json:"auths"`
	}
	if err := json.Unmarshal(content, &file); err != nil {
		// The text of the error may quote what stands there.
		return nil, errors.New("it is not a docker configuration in JSON")
	}
	found := auths{}
	from := map[string]string{}
	for _, written := range slices.Sorted(maps.Keys(file.Auths)) {
		entry := file.Auths[written]
		key, ok := authKey(written)
		if !ok {
			continue
		}
		c := credential{entry.Username, entry.Password}
		if entry.Auth != "" {
			decoded, err := base64.StdEncoding.DecodeString(entry.Auth)
			if err != nil {
				return nil, fmt.Errorf("auths: %q: its auth is not base64", clip(written))
			}
			c.username, c.password, _ = strings.Cut(strings.TrimRight(string(decoded), "\x00"), ":")
		}
		if c.username == "" || c.password == "" {
			continue
		}
		if other, twice := found[key]; twice && other != c {
			return nil, fmt.Errorf("auths: %q and %q are the same registry with different credentials", clip(from[key]), clip(written))
		}
		found[key], from[key] = c, written
	}
	return found, nil
}

// authKey reads a key of `auths`: a host, also as a URL with the path of the
// registry's interface, or a host with the beginning of a repository's path.
func authKey(s string) (string, bool) {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://")
	host, path, _ := strings.Cut(s, "/")
	host, err := image.ParseRegistry(host)
	if err != nil {
		return "", false
	}
	path = strings.Trim(path, "/")
	if path == "" || path == "v1" || path == "v2" {
		return host, true
	}
	r, err := image.ParseRepository("example.org/" + path)
	if err != nil {
		return "", false
	}
	return host + "/" + r.Path(), true
}
