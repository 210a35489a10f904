package attest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/pod"
)

// find waits for the container to appear in its pod, until it can't appear any
// more, the attempts are used up or the time is over. The container is nil where
// it is unknown and need not be known.
func (a *Attestor) find(ctx context.Context, ref container.Ref, arrival time.Time) (*pod.Pod, *pod.Container, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, a.Timeout, errTimeout)
	defer cancel()

	var newerThan time.Time
	var last error // why the last attempt found nothing
	for attempt := 1; ; attempt++ {
		index, err := a.Pods.Next(ctx, newerThan)
		switch {
		case err == nil:
			newerThan = index.Taken
			p, c, err := a.match(index, ref, arrival)
			absent, wait := errors.AsType[*absentError](err)
			if !wait {
				return p, c, err
			}
			last = absent
		case ctx.Err() != nil && last != nil && errors.Is(context.Cause(ctx), errTimeout):
			// The time was over while the next answer was waited for: what the
			// attempts before it said is the better reason.
			return nil, nil, errorAtEnd(last)
		case ctx.Err() != nil || isFinal(err):
			return nil, nil, sourceError(ctx, err)
		default:
			last = &SourceError{err}
		}
		if attempt >= a.MaxPollAttempts {
			return nil, nil, errorAtEnd(last)
		}
	}
}

// absentError says that an index does not have the container and a later one
// may.
type absentError struct{ why error }

func (e *absentError) Error() string { return e.why.Error() }

func absent(format string, args ...any) *absentError {
	return &absentError{fmt.Errorf(format, args...)}
}

// match looks for the container in one index. An error other than *absentError
// is final.
func (a *Attestor) match(index *pod.Index, ref container.Ref, arrival time.Time) (*pod.Pod, *pod.Container, error) {
	p, err := a.podOf(index, ref)
	if err != nil {
		return nil, nil, err
	}
	if c, ok := p.ContainerByID(ref.ContainerID()); ok {
		switch {
		case c.Type == pod.Ephemeral && !a.Ephemeral:
			return nil, nil, fmt.Errorf("container %q of pod %q: %w", c.Name, p.Namespace+"/"+p.Name, ErrEphemeral)
		case c.Terminated:
			return nil, nil, fmt.Errorf("container %q of pod %q: %w", c.Name, p.Namespace+"/"+p.Name, ErrEnded)
		}
		return p, c, nil
	}
	if c, ok := p.ContainerByLastID(ref.ContainerID()); ok {
		return nil, nil, fmt.Errorf("container %q of pod %q was started again since: %w", c.Name, p.Namespace+"/"+p.Name, ErrEnded)
	}
	if p.Terminal {
		return nil, nil, fmt.Errorf("pod %q has succeeded or failed: %w", p.Namespace+"/"+p.Name, ErrEnded)
	}
	if a.WithoutContainer && !index.Taken.Before(arrival) && !awaitsEphemeral(p) {
		return p, nil, nil
	}
	return nil, nil, absent("pod %q is listed but not its container %s", p.Namespace+"/"+p.Name, ref.ContainerID())
}

// podOf returns the one pod that the process can be in.
func (a *Attestor) podOf(index *pod.Index, ref container.Ref) (*pod.Pod, error) {
	if ref.PodUID() != "" {
		p, err := index.ByUID(ref.PodUID())
		switch {
		case err != nil:
			return nil, err
		case p != nil:
			return p, nil
		case index.Unattributed() != nil:
			return nil, &absentError{index.Unattributed()}
		}
		return nil, absent("pod UID %q is not listed", ref.PodUID())
	}
	if likely, _ := index.ByUID(ref.LikelyPodUID()); likely != nil {
		if _, ok := likely.ContainerByID(ref.ContainerID()); ok {
			return likely, nil
		}
	}
	switch pods := index.ByContainerID(ref.ContainerID()); {
	case len(pods) == 1:
		return pods[0], nil
	case len(pods) > 1:
		return nil, fmt.Errorf("%w: pod UIDs %q and %q", ErrTwoPods, pods[0].UID, pods[1].UID)
	case index.AnyFault() != nil:
		return nil, &absentError{index.AnyFault()}
	}
	return nil, absent("container %s is in no listed pod", ref.ContainerID())
}

// awaitsEphemeral is whether an unknown container of the pod may be an ephemeral
// one. The kubelet lists those before it starts them, so an index that was taken
// after the call came in tells; they never are attested for their pod alone.
func awaitsEphemeral(p *pod.Pod) bool {
	for c := range p.OfType(pod.Ephemeral) {
		if c.ID == "" {
			return true
		}
	}
	return false
}

// errorAtEnd is the reason of an attestation that waited as long as it could.
func errorAtEnd(last error) error {
	absent, ok := errors.AsType[*absentError](last)
	switch {
	case !ok:
		return last
	case errors.Is(absent.why, pod.ErrUndecodable):
		return absent.why
	}
	return fmt.Errorf("%w: %w", ErrNotSeen, absent.why)
}

// isFinal is whether a source says that asking again can't help.
func isFinal(err error) bool {
	final, ok := errors.AsType[interface {
		error
		Final() bool
	}](err)
	return ok && final.Final()
}
