package trustroot

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/printable"
	"github.com/podseal/podseal/pkg/sigstore"
)

// OriginKind is where a trust root is from.
type OriginKind string

// The kinds, and what Origin.Location is for each.
const (
	FromFile        OriginKind = "file"        // trusted_root_path: its path
	FromMirror      OriginKind = "tuf"         // fetched now: the mirror's URL
	FromCache       OriginKind = "cache"       // fetched before this start: the mirror's URL
	FromCosign      OriginKind = "cosign"      // by `cosign initialize`: its directory
	FromBuild       OriginKind = "built-in"    // the public-good root of sigstore.PublicGoodDate: empty
	FromEnvironment OriginKind = "environment" // all of it: empty, see Environment
)

// Origin is where a trust root is from.
type Origin struct {
	Kind     OriginKind
	Location string
	// Environment are the variables whose files take the place of a part of it,
	// in the order of their declaration.
	Environment []string
}

// String is the origin for a person, fit for printing.
func (o Origin) String() string {
	var s string
	switch o.Kind {
	case FromFile:
		s = "the file " + o.Location
	case FromMirror:
		s = "TUF, " + o.Location
	case FromCache:
		s = "the cache of TUF, " + o.Location
	case FromCosign:
		s = "cosign's cache in " + o.Location
	case FromBuild:
		s = "the public-good root of " + sigstore.PublicGoodDate.Format(time.DateOnly) + " that is built in"
	case FromEnvironment:
		s = "the environment"
	default:
		return "nowhere"
	}
	if len(o.Environment) > 0 {
		s += fmt.Sprintf(" (with %s)", strings.Join(o.Environment, ", "))
	}
	return printable.Line(s, 1<<10)
}

// Status is what there is to say of a trust root besides itself.
type Status struct {
	Origin Origin
	// Fetched is when the root was last known to be the newest: when the mirror
	// said so, when its file was written, for FromBuild when it was made. Age is how
	// long ago that is.
	Fetched time.Time
	Age     time.Duration
	// Expires is when the metadata says that something newer must be there; zero for
	// what has no metadata. The last good root is used after it.
	Expires time.Time
	// Err is the last problem, nil since it was overcome: each an *Error. There may be
	// a root all the same.
	Err error
	// Ahead is by how much the mirror's clock was ahead of this node's at least when it
	// last answered over HTTPS; zero where it was not.
	Ahead time.Duration
}

// String is where the root is from, how old it is and until when it should have been
// replaced, for a person, fit for printing.
func (s Status) String() string {
	text := s.Origin.String()
	if !s.Fetched.IsZero() {
		done := "fetched"
		switch s.Origin.Kind {
		case FromFile, FromEnvironment:
			done = "written"
		case FromBuild:
			done = "made"
		}
		text += fmt.Sprintf(", %s %s ago", done, printable.Span(s.Age))
	}
	if !s.Expires.IsZero() {
		ends := "expires"
		if time.Until(s.Expires) < 0 {
			ends = "expired"
		}
		text += fmt.Sprintf(", %s %s", ends, s.Expires.UTC().Format(time.RFC3339))
	}
	return text
}

// material is a trusted_root.json and what is known of it.
type material struct {
	text             []byte
	root             *sigstore.Root // absent until it is parsed
	origin           Origin
	fetched, expires time.Time
}

// stale is whether something newer is to be had by waiting a moment.
func (m *material) stale() bool {
	return m.origin.Kind == FromBuild || !m.expires.IsZero() && time.Now().After(m.expires)
}

func (m *material) attrs() []any {
	attrs := []any{slog.String("origin", m.origin.String()), slog.String("digest", m.root.Digest().String()),
		slog.Time("fetched", m.fetched), slog.Duration("age", max(0, time.Since(m.fetched)).Round(time.Second))}
	if !m.expires.IsZero() {
		attrs = append(attrs, slog.Time("expires", m.expires))
	}
	return attrs
}

// join is nil, the only error, or all of them.
func join(errs ...error) error {
	var found diagnosis.Several
	for _, err := range errs {
		if err != nil {
			found = append(found, err)
		}
	}
	switch len(found) {
	case 0:
		return nil
	case 1:
		return found[0]
	}
	return found
}
