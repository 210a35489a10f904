package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/podseal/podseal/pkg/image"
)

// Workload is an image in a pod, as far as a policy's match looks at it.
type Workload struct {
	Namespace, ServiceAccount string
	Names                     Names
}

// Names are what an image is called: in the pod's spec, in the container's status
// and in its image ID. The pod's author chooses the first and, on some runtimes,
// others the rest, so that a policy applies when any of them matches.
type Names struct {
	Repositories []image.Repository
	// Unreadable is whether there are names that could not be read. They count as
	// matching, and so does having no name at all: what nobody can read must not be
	// a way around a policy.
	Unreadable bool
}

// Match says which images a policy is for. Of the patterns of one kind one must
// match, and of every kind that is there; the zero Match is for every image.
type Match struct {
	namespaces, serviceAccounts, images []glob
}

// NewMatch returns the match of these patterns, nil for a kind that is not given.
// Its errors name the kind, which is the key, and the pattern.
//
// In a pattern "*" stands for any characters but "/", and "**" for any. Service
// accounts are written namespace/name. Images are repositories with their
// registry, without tag or digest; docker.io/name means docker.io/library/name.
func NewMatch(namespaces, serviceAccounts, images []string) (Match, error) {
	var m Match
	var err error
	if m.namespaces, err = globs("namespaces", namespaces, namespacePattern); err != nil {
		return Match{}, err
	}
	if m.serviceAccounts, err = globs("service_accounts", serviceAccounts, serviceAccountPattern); err != nil {
		return Match{}, err
	}
	if m.images, err = globs("images", images, imagePattern); err != nil {
		return Match{}, err
	}
	return m, nil
}

// Applies is whether the policy is for the image.
func (m Match) Applies(w Workload) bool {
	return m.concerns(w.Namespace, w.ServiceAccount) && m.names(w.Names)
}

func (m Match) concerns(namespace, serviceAccount string) bool {
	return matches(m.namespaces, namespace) && matches(m.serviceAccounts, namespace+"/"+serviceAccount)
}

func (m Match) names(names Names) bool {
	if m.images == nil || names.Unreadable || len(names.Repositories) == 0 {
		return true
	}
	return slices.ContainsFunc(names.Repositories, func(r image.Repository) bool { return matches(m.images, r.String()) })
}

func matches(globs []glob, text string) bool {
	return globs == nil || slices.ContainsFunc(globs, func(g glob) bool { return g.expression.MatchString(text) })
}

// glob is a compiled pattern.
type glob struct{ expression *regexp.Regexp }

// globs compiles the patterns of a key after normal has checked and normalised
// them. A pattern that can't match anything is an error: the policy would be for
// nothing, and nobody would notice.
func globs(key string, patterns []string, normal func(string) (string, error)) ([]glob, error) {
	if patterns == nil {
		return nil, nil
	}
	if len(patterns) == 0 {
		return nil, fmt.Errorf("%s: the list is empty, so that the policy would be for nothing; leave it out for any", key)
	}
	compiled := make([]glob, 0, len(patterns))
	for _, p := range patterns {
		pattern, err := normal(p)
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", key, p, err)
		}
		compiled = append(compiled, compile(pattern))
	}
	return compiled, nil
}

func compile(pattern string) glob {
	var e strings.Builder
	e.WriteString(`\A(?s:`)
	for rest := pattern; rest != ""; {
		switch {
		case strings.HasPrefix(rest, "**"):
			e.WriteString(".*")
			rest = rest[2:]
		case rest[0] == '*':
			e.WriteString("[^/]*")
			rest = rest[1:]
		default:
			literal := rest
			if i := strings.IndexByte(rest, '*'); i >= 0 {
				literal = rest[:i]
			}
			e.WriteString(regexp.QuoteMeta(literal))
			rest = rest[len(literal):]
		}
	}
	e.WriteString(`)\z`)
	return glob{regexp.MustCompile(e.String())}
}

const maxPattern = 512

// characters checks that a pattern has no others than these and "*".
func characters(pattern, allowed string) error {
	switch {
	case pattern == "":
		return errors.New("a pattern can't be empty")
	case len(pattern) > maxPattern:
		return fmt.Errorf("a pattern can't be longer than %d bytes", maxPattern)
	case strings.Contains(pattern, "***"):
		return errors.New("only * and ** are wildcards")
	}
	for _, r := range pattern {
		if r != '*' && !strings.ContainsRune(allowed, r) {
			return fmt.Errorf("the character %q is in no such name (no tags, no digests), and the only wildcards are * and **", r)
		}
	}
	return nil
}

const (
	lower        = "abcdefghijklmnopqrstuvwxyz"
	label        = lower + "0123456789-"
	labels       = label + "."
	repositories = labels + "_/"
)

func namespacePattern(pattern string) (string, error) { return pattern, characters(pattern, label) }

func serviceAccountPattern(pattern string) (string, error) {
	if err := characters(pattern, labels+"/"); err != nil {
		return "", err
	}
	if strings.Count(pattern, "/") != 1 || strings.Contains(pattern, "**") {
		return "", errors.New("a service account is written namespace/name, with * in either")
	}
	return pattern, nil
}

// imagePattern brings a pattern into the form that image.Repository has: a
// registry goes by several spellings, and an image must not get past a policy by
// being called in another than the policy's author thought of.
func imagePattern(pattern string) (string, error) {
	if pattern == "**" {
		return pattern, nil
	}
	host, path, ok := strings.Cut(pattern, "/")
	if !ok || !strings.ContainsAny(host, ".:*") && !strings.EqualFold(host, "localhost") {
		return "", errors.New("a repository is written with its registry, as docker.io/library/name, or as ** for all")
	}
	if strings.Contains(host, "*") {
		host = strings.ToLower(host)
		if err := characters(host, labels+":"); err != nil {
			return "", err
		}
	} else {
		var err error
		if host, err = image.ParseRegistry(host); err != nil {
			return "", err
		}
	}
	if host == dockerHub && !strings.Contains(path, "/") && !strings.Contains(path, "**") {
		path = "library/" + path
	}
	if err := characters(path, repositories); err != nil {
		return "", err
	}
	if strings.HasPrefix(path, "/") || strings.Contains(path, "//") || strings.HasSuffix(path, "/") {
		return "", errors.New("a part of its path is empty")
	}
	return host + "/" + path, nil
}

// dockerHub is what image.Repository calls Docker Hub.
const dockerHub = "docker.io"
