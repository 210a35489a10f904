package plugin

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/podseal/podseal/pkg/attest"
	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/verify"
)

// statuses is what each kind of error is to the agent. The first row that fits
// counts. Where the built-in attestor has the situation the code is the same.
var statuses = []struct {
	is   func(error) bool
	code codes.Code
}{
	{isType[*guard.PanicError], codes.Internal},

	// Before the caller's own end: a request to a registry or to the kubelet has a
	// deadline too, whose error looks like that.
	{isPolicy(verify.NotVerified), codes.PermissionDenied},
	{isPolicy(verify.Limit), codes.ResourceExhausted},
	{isPolicy(verify.Unavailable), codes.Unavailable},
	{isType[*verify.Error], codes.Internal}, // of SPIRE's own block, whatever it is
	{is(pod.ErrUndecodable), codes.Unavailable},
	{isType[*attest.SourceError], codes.Unavailable},

	{is(attest.ErrSelectors), codes.ResourceExhausted},

	{is(context.Canceled), codes.Canceled},
	{is(context.DeadlineExceeded), codes.DeadlineExceeded},

	{is(container.ErrMalformed), codes.Internal},
	{is(container.ErrNotVisible), codes.FailedPrecondition},
	{is(container.ErrNoContainer), codes.FailedPrecondition},
	{is(container.ErrChanged), codes.FailedPrecondition},
	{isType[*container.ConflictError], codes.FailedPrecondition},
	{is(container.ErrTooManyCalls), codes.ResourceExhausted},

	{is(attest.ErrTwoPods), codes.Internal},
	{is(attest.ErrEnded), codes.FailedPrecondition},
	{is(attest.ErrEphemeral), codes.FailedPrecondition},
	{is(attest.ErrNotSeen), codes.DeadlineExceeded},
	{isType[*attest.PodNotFoundError], codes.NotFound},
}

// toStatus gives an error of an attestation its code.
func toStatus(err error) error {
	if panicked, ok := errors.AsType[*guard.PanicError](err); ok {
		return panicked // reported where the RPC ends
	}
	return status.Error(codeOf(err), err.Error())
}

func codeOf(err error) codes.Code {
	for _, s := range statuses {
		if s.is(err) {
			return s.code
		}
	}
	return codes.Internal
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func isType[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// isPolicy is for image policies that don't hold, without SPIRE's block among them.
func isPolicy(kind verify.Kind) func(error) bool {
	return func(err error) bool {
		e, ok := errors.AsType[*verify.Error](err)
		return ok && e.Kind() == kind && !e.ByBlock()
	}
}
