package image

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const (
	// dockerHub is the canonical name of Docker Hub, official the namespace of the
	// repositories there whose names have none.
	dockerHub = "docker.io"
	official  = "library/"

	// maxName bounds a name as a whole, maxHost and maxPath its parts.
	maxName = 1024
	maxHost = 255
	maxPath = 255
	maxTag  = 128

	httpsPort = 443
)

// Repository is a place in a registry where manifests and blobs are. There is one
// spelling of each, so that Repositories are compared with ==: "alpine",
// "Docker.io/library/alpine" and "index.docker.io:443/alpine" are one. The zero
// Repository is none.
type Repository struct{ registry, path string }

// ParseRepository reads a repository's name as container engines do: without a
// registry it is one of Docker Hub. A tag or digest is refused.
func ParseRepository(s string) (Repository, error) {
	if len(s) > maxName {
		return Repository{}, fmt.Errorf("%w: the name of a repository is longer than %d bytes", ErrLimit, maxName)
	}
	r, err := parseRepository(s)
	if err != nil {
		return Repository{}, fmt.Errorf("repository %q: %w", clip(s), err)
	}
	return r, nil
}

// Registry returns the host, and the port unless it is 443: "docker.io" for Docker
// Hub under any of its names. A host of one word other than localhost keeps its
// port, since without it the word would be a part of the path.
func (r Repository) Registry() string { return r.registry }

// Path returns the repository's path in the registry, which begins and ends
// without a slash.
func (r Repository) Path() string { return r.path }

// IsZero is whether there is no repository.
func (r Repository) IsZero() bool { return r == Repository{} }

// String returns the name, which ParseRepository reads as the same Repository.
func (r Repository) String() string {
	if r.IsZero() {
		return ""
	}
	return r.registry + "/" + r.path
}

func parseRepository(s string) (Repository, error) {
	host, path := dockerHub, s
	if first, rest, ok := strings.Cut(s, "/"); ok && isHost(first) {
		host, path = first, rest
	}
	registry, err := parseHost(host)
	if err != nil {
		return Repository{}, err
	}
	if registry == dockerHub && !strings.Contains(path, "/") {
		path = official + path
	}
	switch {
	case len(path) > maxPath:
		return Repository{}, fmt.Errorf("%w: its path is longer than %d bytes", ErrLimit, maxPath)
	case strings.ToLower(path) != path:
		return Repository{}, errors.New("a repository's path is written in lower case")
	}
	for component := range strings.SplitSeq(path, "/") {
		if !validComponent(component) {
			return Repository{}, fmt.Errorf("%q can't be a part of a repository's path", clip(component))
		}
	}
	// The name may be a part of something big.
	return Repository{registry: registry, path: strings.Clone(path)}, nil
}

// isHost is whether what stands before the first slash is a registry and not the
// first part of a path at Docker Hub. All engines agree about this.
func isHost(s string) bool {
	return s == "localhost" || strings.ContainsAny(s, ".:") || strings.ToLower(s) != s
}

// ParseRegistry reads host or host:port and returns the registry's canonical
// name: what Repository.Registry says.
func ParseRegistry(s string) (string, error) {
	registry, err := parseHost(s)
	if err != nil {
		return "", fmt.Errorf("registry %q: %w", clip(s), err)
	}
	return registry, nil
}

func parseHost(s string) (string, error) {
	if len(s) > maxHost {
		return "", fmt.Errorf("%w: its host is longer than %d bytes", ErrLimit, maxHost)
	}
	host, port, hasPort, err := splitPort(s)
	if err != nil {
		return "", err
	}
	number := uint64(httpsPort)
	if hasPort {
		if number, err = strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
			return "", fmt.Errorf("%q is not a port", clip(port))
		}
	}
	if number != httpsPort {
		return host + ":" + strconv.FormatUint(number, 10), nil
	}
	switch {
	case host == dockerHub || host == "index."+dockerHub || host == "registry-1."+dockerHub:
		return dockerHub, nil
	case isHost(host):
		return host, nil
	}
	return host + ":" + strconv.Itoa(httpsPort), nil
}

// splitPort returns the host in its canonical form, and the port as it is written.
func splitPort(s string) (host, port string, hasPort bool, err error) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, port, ok = strings.Cut(inner, "]")
		address, err := netip.ParseAddr(inner)
		switch {
		case !ok || err != nil || address.Zone() != "" || !address.Is6() || address.Is4In6():
			return "", "", false, fmt.Errorf("%q is not an IPv6 address in brackets", clip(s))
		case port == "":
			return "[" + address.String() + "]", "", false, nil
		case port[0] != ':':
			return "", "", false, fmt.Errorf("%q after an address is not a port", clip(port))
		}
		return "[" + address.String() + "]", port[1:], true, nil
	}
	host, port, hasPort = strings.Cut(s, ":")
	for label := range strings.SplitSeq(host, ".") {
		if !validLabel(label) {
			return "", "", false, fmt.Errorf("%q is not the name of a host", clip(host))
		}
	}
	return strings.ToLower(host), port, hasPort, nil
}

// validLabel is for one part of a host's name: letters and digits of ASCII, and
// dashes between them.
func validLabel(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isLower(c) && !isDigit(c) && (c < 'A' || c > 'Z') && (c != '-' || i == 0 || i == len(s)-1) {
			return false
		}
	}
	return s != ""
}

// validComponent is for one part of a path: runs of small letters and digits, and
// between two of them one of ".", "_", "__" or any number of dashes.
func validComponent(s string) bool {
	for {
		n := runOf(s, func(c byte) bool { return isLower(c) || isDigit(c) })
		if s = s[n:]; n == 0 || s == "" {
			return n > 0
		}
		n = runOf(s, func(c byte) bool { return !isLower(c) && !isDigit(c) })
		if between := s[:n]; between != "." && between != "_" && between != "__" && strings.Trim(between, "-") != "" {
			return false
		}
		s = s[n:]
	}
}

// ValidTag is whether s can be the tag of a manifest.
func ValidTag(s string) bool {
	if s == "" || len(s) > maxTag || s[0] == '.' || s[0] == '-' {
		return false
	}
	return len(s) == runOf(s, func(c byte) bool {
		return isLower(c) || isDigit(c) || 'A' <= c && c <= 'Z' || c == '_' || c == '.' || c == '-'
	})
}

func runOf(s string, is func(byte) bool) int {
	for i := range len(s) {
		if !is(s[i]) {
			return i
		}
	}
	return len(s)
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
