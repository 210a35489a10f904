package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/printable"
)

// Kind says what a failure means for whoever has to decide something.
type Kind int

// The kinds.
const (
	// Unavailable is a registry that did not answer, not in time or with an error of
	// its own: asking later may help.
	Unavailable Kind = iota
	// Incomplete is a part of what there may be about an image that the registry gave an
	// error of its own for, or no answer, while it answered for another: it is not away,
	// and who may push may have brought that about. Asking later may help.
	Incomplete
	// NotFound is what the registry says that it does not have.
	NotFound
	// Denied is what the registry does not give to us: 401 or 403.
	Denied
	// NotAllowed is what podseal does not ask: a registry that is not configured, an
	// address that strangers must not send us to, a connection without protection.
	NotAllowed
	// Limit is an answer, a list or a number of requests beyond one of our bounds.
	Limit
	// Malformed is an answer that is not what was asked for.
	Malformed
)

// kinds are what they are called, and what to do about each.
var kinds = diagnosis.Kinds{
	Unavailable: {"unavailable", "see that the registry is up and that this node reaches it: its address, and ca_path, mirror and proxy_url in its block"},
	Incomplete:  {"incomplete", "see that the registry, and where it has its contents, are well: it answers for some things and not for others; or take out of the repository what it can't give any more"},
	NotFound:    {"not found", "see that what is asked for is there, under that name; some registries say the same of what they let only others read"},
	Denied:      {"denied", "give the registry's block credentials that may pull from the repository: username and password_path, or docker_config_path"},
	NotAllowed: {"not allowed", `give the registry a block if it is one that you trust to be asked; a public one may also be asked with registries = "any", ` +
		"and an address inside the network or plain HTTP only with a block"},
	Limit: {"limit", "see what has been stored there, and by whom: limits has the bounds on what is read; " +
		"where it is requests that are too many, they are fewer later, and a namespace that asks for many takes none from others"},
	Malformed: {"malformed", "see what answers there: another service in the registry's place, or something that is damaged or that somebody else has stored there"},
}

func (k Kind) String() string { return kinds.Name(int(k)) }

// Error is why something could not be had from a registry.
type Error struct {
	// Repository was asked.
	Repository image.Repository
	// What was asked for: "manifest sha256:...".
	What string
	Kind Kind
	Err  error

	// registry was asked where no repository was.
	registry string
}

// Registry is the registry that was asked, as image.Repository names it.
func (e *Error) Registry() string { return cmp.Or(e.Repository.Registry(), e.registry) }

// Error names the repository, what was asked for and what to do, fit for printing.
func (e *Error) Error() string {
	where := cmp.Or(e.Repository.String(), printable.Line(e.registry, 300))
	return fmt.Sprintf("%s: %s: %s", where, e.What, printable.Line(e.Err.Error(), 2<<10))
}

func (e *Error) Unwrap() error { return e.Err }

// Diagnosis says what to do about it.
func (e *Error) Diagnosis() diagnosis.Diagnosis { return kinds.Diagnose(int(e.Kind), e.Error()) }

// failure is an Error before it is known what was asked for.
type failure struct {
	kind Kind
	err  error
	// status is the answer's, if there was one and it is why.
	status int
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(kind Kind, format string, args ...any) error {
	return &failure{kind: kind, err: fmt.Errorf(format, args...)}
}

// notAway is why something could not be had of a registry that has answered otherwise
// about the same image. That it is away is believed then only where nobody could connect
// to it: else who may push could make a registry that is well look as if it were not.
func notAway(problem error) error {
	e, ok := errors.AsType[*Error](problem)
	if !ok || e.Kind != Unavailable {
		return problem
	}
	f, ok := errors.AsType[*failure](e.Err)
	_, slow := errors.AsType[tooSlow](e.Err)
	if ok && f.status != 0 || slow {
		return &Error{Repository: e.Repository, What: e.What, Kind: Incomplete, Err: e.Err}
	}
	return problem
}

// about makes an Error of why something could not be had.
func about(r image.Repository, what string, err error) error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	return &Error{Repository: r, What: what, Kind: kindOf(err), Err: err}
}

// kindOf is the kind of an error of this package.
func kindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f.kind
	}
	if errors.Is(err, image.ErrLimit) {
		return Limit
	}
	if _, ok := errors.AsType[*guard.PanicError](err); ok {
		return Malformed // nothing that a later answer is sure to mend
	}
	return Unavailable
}

// ended is why a context ended.
func ended(ctx context.Context) error { return fail(Unavailable, "%w", context.Cause(ctx)) }

// clip is for strings that are quoted with %q anyway.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
