package image

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNotPinned is what a name is that has no digest where one is needed.
var ErrNotPinned = errors.New("it has no digest, and a tag can mean another image tomorrow")

// Ref is an image in a repository, always pinned to a digest: of a manifest or of
// an index.
type Ref struct {
	Repository Repository
	Digest     Digest
}

// ParseRef reads "repository@sha256:..." or "repository:tag@sha256:...", of which
// the tag means nothing. A name without a digest is an ErrNotPinned.
func ParseRef(s string) (Ref, error) {
	n, err := ParseName(s)
	if err != nil {
		return Ref{}, err
	}
	if n.Digest.IsZero() {
		return Ref{}, fmt.Errorf("image %q: %w", clip(s), ErrNotPinned)
	}
	return Ref{n.Repository, n.Digest}, nil
}

// IsZero is whether there is no image.
func (r Ref) IsZero() bool { return r == Ref{} }

// String returns what ParseRef reads.
func (r Ref) String() string {
	if r.IsZero() {
		return ""
	}
	return r.Repository.String() + "@" + r.Digest.String()
}

// Name is an image as a pod's author or a person writes it. It names content only
// where it has a digest.
type Name struct {
	Repository Repository
	// Tag is "latest" where the name has neither tag nor digest, and empty where it
	// has only a digest.
	Tag string
	// Digest is zero where the name has none; otherwise it alone counts.
	Digest Digest
}

// ParseName reads a name as container engines do. What they would take for the
// digest of an image without a repository is refused: as a name it would be the
// tag of a repository "sha256" at Docker Hub.
func ParseName(s string) (Name, error) {
	n, err := parseName(s)
	if err != nil {
		return Name{}, fmt.Errorf("image %q: %w", clip(s), err)
	}
	return n, nil
}

func parseName(s string) (n Name, err error) {
	rest, digest, hasDigest := strings.Cut(s, "@")
	_, bare := parseHex(s)
	switch {
	case s == "":
		return Name{}, errors.New("there is no name")
	case len(s) > maxName:
		return Name{}, fmt.Errorf("%w: the name is longer than %d bytes", ErrLimit, maxName)
	case bare || strings.HasPrefix(s, digestPrefix):
		return Name{}, errors.New("this is an image without a repository")
	}
	if hasDigest {
		if n.Digest, err = ParseDigest(digest); err != nil {
			return Name{}, err
		}
	}
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		if n.Tag = strings.Clone(rest[i+1:]); !ValidTag(n.Tag) {
			return Name{}, fmt.Errorf("%q is not a tag", clip(n.Tag))
		}
		rest = rest[:i]
	}
	if n.Tag == "" && !hasDigest {
		n.Tag = "latest"
	}
	n.Repository, err = parseRepository(rest)
	return n, err
}

// IsZero is whether there is no name.
func (n Name) IsZero() bool { return n == Name{} }

// String returns the canonical form, with all that is known.
func (n Name) String() string {
	s := n.Repository.String()
	if n.Tag != "" {
		s += ":" + n.Tag
	}
	if !n.Digest.IsZero() {
		s += "@" + n.Digest.String()
	}
	return s
}

// ID is what a runtime, through the kubelet, says that a container's image is: a
// name that the runtime chose among those that it knows for the same content.
type ID struct {
	// Repository is zero where the runtime names none.
	Repository Repository
	// Digest is of a manifest or an index where there is a repository; without one
	// it is taken for a configuration's.
	Digest Digest
}

// The prefixes that the kubelet's way to Docker Engine has put before its IDs.
var idPrefixes = []string{"docker-pullable://", "docker://"}

// ParseID reads the imageID of a container's status in every form that there is:
// "repository@sha256:..." (containerd, CRI-O), "docker-pullable://repository@...",
// "docker://sha256:...", "sha256:..." and its 64 digits alone. What has no
// repository is never looked for at a default one.
func ParseID(s string) (ID, error) {
	text := s
	for _, p := range idPrefixes {
		if rest, ok := strings.CutPrefix(s, p); ok {
			text = rest
			break
		}
	}
	if d, ok := parseHex(strings.TrimPrefix(text, digestPrefix)); ok {
		return ID{Digest: d}, nil
	}
	if text == "" {
		return ID{}, fmt.Errorf("image ID %q: there is none", clip(s))
	}
	r, err := ParseRef(text)
	if err != nil {
		return ID{}, fmt.Errorf("image ID: %w", err)
	}
	return ID(r), nil
}

// IsZero is whether there is no ID.
func (id ID) IsZero() bool { return id == ID{} }

// Ref is the ID as an image of its repository, if it has one.
func (id ID) Ref() (Ref, bool) { return Ref(id), !id.Repository.IsZero() }

// String returns what ParseID reads, in the form without a prefix.
func (id ID) String() string {
	if id.Repository.IsZero() {
		return id.Digest.String()
	}
	return Ref(id).String()
}
