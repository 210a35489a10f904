package rekor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/printable"
)

// ErrNoEntry is what a log answers that does not have the entry.
var ErrNoEntry = errors.New("the log has no entry of it")

// Kind says what a failure means for whoever has to decide something.
type Kind int

// The kinds.
const (
	// Unavailable is a log that did not answer, not in time or with an error of its
	// own: asking later may help.
	Unavailable Kind = iota
	// Limit is an answer or a number of requests beyond one of our bounds.
	Limit
	// Malformed is an answer that is not one to what was asked.
	Malformed
)

// kinds are what they are called, and what to do about each.
var kinds = diagnosis.Kinds{
	Unavailable: {"unavailable", "see that this node reaches the log that rekor_url names, or sign so that the signature has the log entry with it, as cosign does where it is not told otherwise"},
	Limit:       {"limit", "see what rekor_url names, if the answer is too long; if requests are too many, sign so that the signatures have their log entries with them, or let the images be verified by a policy without online_rekor"},
	Malformed:   {"malformed", "see that rekor_url names a Rekor v1 log, without a path below its API, and that no proxy answers in its place"},
}

func (k Kind) String() string { return kinds.Name(int(k)) }

// Error is why a log could not be asked.
type Error struct {
	// Host is the log's, with its port where that is not the usual one.
	Host string
	Kind Kind
	Err  error
}

// Error names the log, in one printable line.
func (e *Error) Error() string {
	return fmt.Sprintf("log %s: %s", e.Host, printable.Line(e.Err.Error(), 1<<10))
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Diagnosis says what to do about it.
func (e *Error) Diagnosis() diagnosis.Diagnosis { return kinds.Diagnose(int(e.Kind), e.Error()) }

// failure is an Error before it is known of which log.
type failure struct {
	kind Kind
	err  error
	// pause is for how long nobody else is to ask.
	pause time.Duration
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(kind Kind, format string, args ...any) *failure {
	return &failure{kind: kind, err: fmt.Errorf(format, args...)}
}

// ended is why the caller's context ended.
func ended(ctx context.Context) *failure { return fail(Unavailable, "%w", context.Cause(ctx)) }

// queued is why it was not somebody's turn in time. How often the log is asked is ours
// to say, and how long others' requests take is not.
func queued(ctx context.Context, err error) *failure {
	late, ok := errors.AsType[*fair.LateError](err)
	switch {
	case !ok && ctx.Err() != nil:
		return ended(ctx)
	case ok && (late.Bound == fair.Slots || late.Bound == fair.TenantSlots):
		return fail(Unavailable, "others were asking it: %w", err)
	}
	return fail(Limit, "it is asked %v times a second: %w", limits.Rate, err)
}
