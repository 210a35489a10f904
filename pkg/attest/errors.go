package attest

import (
	"context"
	"errors"
	"fmt"

	"github.com/podseal/podseal/pkg/selector"
)

var (
	// ErrNotSeen says that the container did not appear in time. Its text is
	// the built-in attestor's.
	ErrNotSeen = errors.New("no selectors found after max poll attempts")
	// ErrTwoPods says that two pods report the container. Its text is the
	// built-in attestor's.
	ErrTwoPods = errors.New("two pods found with same container Id")
	// ErrEnded says that the container, or its pod, has ended: a process that is
	// still there can't be told from a leftover.
	ErrEnded = errors.New("the container has ended")
	// ErrNotStarted says of a listed container that no process can be in it yet.
	ErrNotStarted = errors.New("the container has not started yet")
	// ErrEphemeral says that the process is in an ephemeral container, which are
	// not attested unless configured: whoever may debug a pod would else get
	// the pod's identity for a program of his choice.
	ErrEphemeral = errors.New("ephemeral containers (kubectl debug) are not attested: set ephemeral_containers = true to allow it")

	// ErrSelectors says that the selectors of image trust are too many, or one of
	// them is too long.
	ErrSelectors = selector.ErrLimit

	// errTimeout is the cause of an attestation's own deadline.
	errTimeout = errors.New("the time of this attestation is over")
)

// SourceError says that the node's pods could not be learnt.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return e.Err.Error() }

func (e *SourceError) Unwrap() error { return e.Err }

// PodNotFoundError says that a pod that was asked for by name or UID is not on
// this node, or is another one.
type PodNotFoundError struct{ text string }

func (e *PodNotFoundError) Error() string { return e.text }

// sourceError is what the end of a wait for an index means: the caller's own end
// as it is, the end of our time as ErrNotSeen, and else the source's failure.
func sourceError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() == nil:
		return &SourceError{err}
	case errors.Is(context.Cause(ctx), errTimeout):
		return fmt.Errorf("%w: %w (attest_timeout)", ErrNotSeen, errTimeout)
	}
	return fmt.Errorf("the caller left before it was answered: %w", ctx.Err())
}
