package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/printable"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/rekor"
)

// Kind is what an Error means to who asked.
type Kind string

// The kinds, the weightiest first: an Error has that of its weightiest failure.
const (
	// NotVerified: all that there is was looked at, and the policy does not hold.
	NotVerified Kind = "not verified"
	// Limit: one of our bounds was hit before that could be told.
	Limit Kind = "limit"
	// Unavailable: it could not be told, because somebody did not answer or would
	// not.
	Unavailable Kind = "unavailable"
)

// errBudget is the cause of the end of the time for images.
var errBudget = errors.New("the time for the verification of images is over (limits.image_budget)")

// errNoRoot says that there is nothing yet to judge by.
var errNoRoot = errors.New("there is no trust root yet")

// Error says that image policies don't hold, and why. What strangers wrote is
// escaped in its text.
type Error struct {
	// Failures are one for each policy that does not hold and each image that it
	// does not hold for, in the order of the Result's verdicts; at least one.
	Failures []Failure
}

// Failure is a policy that does not hold for an image.
type Failure struct {
	Kind Kind
	// Mode is what follows from it.
	Mode policy.Mode
	// Unavailable is whether the only reason is that registries or logs which the
	// operator has named do not answer.
	Unavailable bool
	// Dialect says whether it is an image_policy, and else which block.
	Dialect Dialect
	// Policy is the name of the image_policy, empty for a block.
	Policy string
	// Container is the container's name, Image what the pod's author called its
	// image and ImageID what the runtime does. They are empty where it is the pod as
	// a whole.
	Container, Image, ImageID string
	// Reasons are why, one for each candidate and each authority, in their order.
	// There are at most maxReasons, and then one that says how many more there are.
	Reasons []error
}

// fails is whether it fails the attestation.
func (f Failure) fails() bool { return f.Mode != policy.Withhold && f.Mode != policy.Audit }

// maxReasons bounds the reasons of a failure: a registry may have anything at all.
// maxReason is their length in a text, in bytes, and maxKept that of all of them where
// they are kept with a verdict: there may be thousands.
const maxReasons, maxReason, maxKept = 16, 1 << 10, 4 << 10

// Kind returns the weightiest kind of the failures.
func (e *Error) Kind() Kind {
	kinds := map[Kind]bool{}
	for _, f := range e.Failures {
		kinds[f.Kind] = true
	}
	return weightiest(kinds)
}

// Unwrap returns the reasons.
func (e *Error) Unwrap() []error {
	var reasons []error
	for _, f := range e.Failures {
		reasons = append(reasons, f.Reasons...)
	}
	return reasons
}

// ByBlock is whether SPIRE's own block is among what does not hold.
func (e *Error) ByBlock() bool {
	for _, f := range e.Failures {
		if f.Dialect == DialectSigstore || f.Dialect == DialectOlder {
			return true
		}
	}
	return false
}

// kindOfAll is what several reasons come to: a bound before somebody who does not
// answer.
func kindOfAll(reasons []error) Kind {
	kinds := map[Kind]bool{}
	for _, err := range reasons {
		kinds[kindOf(err)] = true
	}
	return weightiest(kinds)
}

func weightiest(kinds map[Kind]bool) Kind {
	for _, k := range []Kind{NotVerified, Limit, Unavailable} {
		if kinds[k] {
			return k
		}
	}
	return Unavailable
}

func (e *Error) Error() string {
	texts := make([]string, len(e.Failures))
	for i, f := range e.Failures {
		texts[i] = f.String()
	}
	return strings.Join(texts, "; ")
}

// String says it in a sentence. That of a block is the built-in attestor's.
func (f Failure) String() string {
	subject := fmt.Sprintf("image policy %q does not hold", f.Policy)
	switch f.Dialect {
	case DialectSigstore:
		subject = "error verifying sigstore image signature"
	case DialectOlder:
		subject = "error retrieving signature payload"
	}
	switch {
	case f.Container == "":
		subject += " for the pod"
	case f.Dialect == DialectSigstore || f.Dialect == DialectOlder:
		subject += " for imageID " + plain(clip(f.ImageID))
	default:
		subject += fmt.Sprintf(" for image %q (imageID %q) of container %q", clip(f.Image), clip(f.ImageID), f.Container)
	}
	reasons := make([]string, len(f.Reasons))
	for i, r := range f.Reasons {
		reasons[i] = printable.Line(r.Error(), maxReason)
	}
	return subject + ": " + strings.Join(reasons, "; ")
}

// clip is for names, of which a pod's author may write a million bytes.
func clip(s string) string {
	if len(s) <= maxReason {
		return s
	}
	return s[:maxReason] + "... (cut)"
}

// plain quotes a string only where it needs it.
func plain(s string) string {
	if quoted := fmt.Sprintf("%q", s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}

// bounded keeps the first reasons.
func bounded(reasons []error) []error { return head(reasons, maxReasons) }

// head is the first n reasons, and how many more there are.
func head(reasons []error, n int) []error {
	if more := len(reasons) - n; more > 0 {
		return append(reasons[:n:n], fmt.Errorf("and %d more reasons", more))
	}
	return reasons
}

// kept are the first reasons as texts, with room for so many bytes.
func kept(reasons []error, room int) []error {
	texts := written(reasons[:min(len(reasons), maxReasons)])
	n := 0
	for n < len(texts) && len(texts[n].Error()) <= room {
		room -= len(texts[n].Error())
		n++
	}
	return append(texts[:n:n], head(reasons, n)[n:]...)
}

// kindOf is what a problem with an image or its evidence means.
func kindOf(err error) Kind {
	if errors.Is(err, errBudget) {
		return Limit // whatever could not be asked in what was left of it
	}
	if e, ok := errors.AsType[*registry.Error](err); ok {
		return kindOfRegistry(e.Kind)
	}
	if e, ok := errors.AsType[*rekor.Error](err); ok {
		return kindOfLog(e.Kind)
	}
	switch {
	case errors.Is(err, image.ErrLimit):
		return Limit
	case errors.Is(err, fair.ErrFull):
		return Limit
	case errors.Is(err, errNoRoot):
		return Unavailable
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Unavailable
	}
	if _, ok := errors.AsType[*guard.PanicError](err); ok {
		return Unavailable
	}
	return NotVerified
}

func kindOfRegistry(k registry.Kind) Kind {
	switch k {
	case registry.Limit:
		return Limit
	case registry.NotAllowed, registry.Malformed, registry.NotFound:
		return NotVerified // asking again gives the same
	}
	return Unavailable
}

// kindOfLog is what it means that a log does not say whether it has an entry. It has
// not said that there is none.
func kindOfLog(k rekor.Kind) Kind {
	if k == rekor.Limit {
		return Limit
	}
	return Unavailable
}

// kindOfStatus is what it means that nobody says what a container runs.
func kindOfStatus(err error) Kind {
	switch {
	case errors.Is(err, ErrContradiction):
		return NotVerified
	case errors.Is(err, errBudget):
		return Limit
	}
	return Unavailable
}
