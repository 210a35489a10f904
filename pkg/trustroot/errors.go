package trustroot

import (
	"context"
	"errors"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/printable"
)

// Kind says what a failure means for whoever has to do something about it.
type Kind int

// The kinds.
const (
	// Unavailable is a mirror that did not answer, not in time or with an error of
	// its own: asking later may help.
	Unavailable Kind = iota
	// Untrusted is metadata that is not signed by whom it must be, does not fit
	// together, or is none.
	Untrusted
	// RolledBack is metadata that is older than what was seen before.
	RolledBack
	// Expired is metadata past its end: the repository is not looked after, or
	// somebody holds newer metadata back.
	Expired
	// Missing is a repository without a trusted_root.json.
	Missing
	// Limit is an answer or a number of them beyond one of our bounds.
	Limit
	// File is a file of the configuration or the environment that can't be used.
	File
	// Cache is a directory that nothing can be kept in.
	Cache
)

// kinds are what they are called, and what to do about each.
var kinds = diagnosis.Kinds{
	Unavailable: {"unavailable", "see that this node reaches the mirror, or give the trusted_root.json itself with trusted_root_path; a trust root that was good before stays in use"},
	Untrusted:   {"untrusted", "compare the mirror with root_path: either the repository was made anew, and then its new root.json belongs there, or somebody answers in its place; a trust root that was good before stays in use"},
	RolledBack:  {"rolled back", "see why the mirror serves older metadata than before: a copy that lags behind, or somebody who answers in its place; a trust root that was good before stays in use"},
	Expired:     {"expired", "see that the repository is signed anew and the mirror gets it, and compare the clock of this node; a trust root that was good before stays in use"},
	Missing:     {"missing", "add the target trusted_root.json to the TUF repository, or give the file with trusted_root_path"},
	Limit:       {"limit", "see what the mirror serves: no TUF repository of Sigstore is that large"},
	File:        {"file", "put a file that can be read and holds what it should there, or name another one; its last good content stays in use"},
	Cache:       {"cache", "make it a directory of mode 0700 that belongs to the user that podseal runs as, on a disk with room; until then a restart without the network begins with an older trust root"},
}

func (k Kind) String() string { return kinds.Name(int(k)) }

// Error is why a trust root could not be had, refreshed or kept.
type Error struct {
	// What it is about: a mirror, a file, a directory.
	What string
	Kind Kind
	Err  error
}

// Error names what it is about, fit for printing.
func (e *Error) Error() string {
	return printable.Line(fmt.Sprintf("%q: %v", clip(e.What), e.Err), 2<<10)
}

func (e *Error) Unwrap() error { return e.Err }

// Diagnosis says what to do about it.
func (e *Error) Diagnosis() diagnosis.Diagnosis { return kinds.Diagnose(int(e.Kind), e.Error()) }

// failure is an Error before it is known what it is about.
type failure struct {
	kind Kind
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(kind Kind, format string, args ...any) error {
	return &failure{kind: kind, err: fmt.Errorf(format, args...)}
}

// about makes an Error of err.
func about(what string, err error) error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	return &Error{What: what, Kind: kindOf(err), Err: err}
}

// kindOf is the kind of an error of this package or of go-tuf.
func kindOf(err error) Kind {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.kind
	}
	if _, ok := errors.AsType[*metadata.ErrExpiredMetadata](err); ok {
		return Expired
	}
	if _, ok := errors.AsType[*metadata.ErrBadVersionNumber](err); ok {
		return RolledBack
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Unavailable
	}
	return Untrusted // what else go-tuf says of what it was given
}

// guarded calls f; a panic in a library that reads what strangers wrote is an error
// (go-tuf, GHSA-846p-jg2w-w324).
func guarded[T any](f func() (T, error)) (result T, err error) {
	err = guard.Do(func() (err error) {
		result, err = f()
		return err
	})
	if p, ok := errors.AsType[*guard.PanicError](err); ok {
		var none T
		return none, fail(Untrusted, "it can't be read: %w", p)
	}
	return result, err
}

// clip is for strings that are quoted with %q anyway.
func clip(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
