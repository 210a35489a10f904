package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/podseal/podseal/pkg/attest"
	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/verify"
)

// TestEveryErrorHasACode is section 2 of the parity table, a kind of error a row.
func TestEveryErrorHasACode(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want codes.Code
	}{
		{context.Canceled, codes.Canceled},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{container.ErrMalformed, codes.Internal},
		{container.ErrNotVisible, codes.FailedPrecondition},
		{container.ErrNoContainer, codes.FailedPrecondition},
		{container.ErrChanged, codes.FailedPrecondition},
		{&container.ConflictError{What: "pod UIDs", A: "a", B: "b"}, codes.FailedPrecondition},
		{container.ErrTooManyCalls, codes.ResourceExhausted},
		{attest.ErrTwoPods, codes.Internal},
		{attest.ErrEnded, codes.FailedPrecondition},
		{attest.ErrEphemeral, codes.FailedPrecondition},
		{attest.ErrNotSeen, codes.DeadlineExceeded},
		{&attest.PodNotFoundError{}, codes.NotFound},
		{pod.ErrUndecodable, codes.Unavailable},
		{&attest.SourceError{Err: errors.New("down")}, codes.Unavailable},
		{&attest.SourceError{Err: context.DeadlineExceeded}, codes.Unavailable}, // the request's deadline, not the caller's
		{&verify.Error{Failures: []verify.Failure{{Kind: verify.NotVerified}}}, codes.PermissionDenied},
		{&verify.Error{Failures: []verify.Failure{{Kind: verify.Limit, Reasons: []error{context.DeadlineExceeded}}}}, codes.ResourceExhausted},
		{&verify.Error{Failures: []verify.Failure{{Kind: verify.Unavailable, Reasons: []error{context.Canceled}}}}, codes.Unavailable}, // the registry's end, not the caller's
		{&verify.Error{Failures: []verify.Failure{{Kind: verify.Unavailable}, {Kind: verify.NotVerified}}}, codes.PermissionDenied},
		{&verify.Error{Failures: []verify.Failure{{Kind: verify.Unavailable, Dialect: verify.DialectSigstore}}}, codes.Internal},
		{&verify.Error{Failures: []verify.Failure{{Kind: verify.NotVerified, Dialect: verify.DialectPolicy}, {Kind: verify.NotVerified, Dialect: verify.DialectOlder}}}, codes.Internal},
		{attest.ErrSelectors, codes.ResourceExhausted},
		{errors.New("something else"), codes.Internal},
	} {
		wrapped := fmt.Errorf("somewhere: %w", test.err)
		got := status.Convert(toStatus(wrapped))
		if got.Code() != test.want || got.Message() != wrapped.Error() {
			t.Errorf("%T %v is %s %q, want %s with the error's text", test.err, test.err, got.Code(), got.Message(), test.want)
		}
	}
	panicked := &guard.PanicError{Value: "secret"}
	if err := toStatus(&attest.SourceError{Err: panicked}); !errors.Is(err, panicked) {
		t.Errorf("a panic of a source became %v", err)
	}
}

func TestARecoveredPanicIsLoggedOnceAndTellsTheCallerNothing(t *testing.T) {
	t.Parallel()
	p, log := logged(t)
	shared := guard.Do(func() error { panic("secret") })
	for range 3 {
		err := p.rpc("Attest", func() error { return toStatus(&attest.SourceError{Err: shared}) })
		if got := status.Convert(err); got.Code() != codes.Internal || strings.Contains(got.Message(), "secret") {
			t.Errorf("the caller was told %s %q", got.Code(), got.Message())
		}
	}
	if err := p.rpc("Validate", func() error { panic("another") }); status.Code(err) != codes.Internal {
		t.Errorf("a panic in the RPC itself is %v", err)
	}
	if n := strings.Count(log.String(), "recovered from a panic"); n != 2 {
		t.Errorf("two panics were logged %d times:\n%s", n, log.String())
	}
	if !strings.Contains(log.String(), "secret") || !strings.Contains(log.String(), "guard.Do") {
		t.Errorf("the log has not the panic with its stack:\n%s", log.String())
	}
}

func TestAMessageThatQuotesSomebodyIsBoundedAndEscaped(t *testing.T) {
	t.Parallel()
	p := New()
	err := p.rpc("Attest", func() error { return status.Error(codes.NotFound, strings.Repeat("x", 1<<20)) })
	if got := status.Convert(err); got.Code() != codes.NotFound || len(got.Message()) > maxLogValue+100 {
		t.Errorf("got %s with %d bytes", got.Code(), len(got.Message()))
	}
	_, err = p.attestReference(t.Context(), nil, &anypb.Any{TypeUrl: "a\n\x1b[31m\"b\""})
	if got, want := status.Convert(err).Message(), `unsupported reference type: a\n\x1b[31m\"b\"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
