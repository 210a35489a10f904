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
func (a *Attestor) find(ctx context.Context, t target, arrival time.Time, explain *Explanation) (*pod.Pod, *pod.Container, error) {
	ctx, cancel := withLateTimeout(ctx, a.Timeout)
	defer cancel()

	var newerThan time.Time
	var last error // why the last attempt found nothing
	begin := time.Now()
	for attempt := 1; ; attempt++ {
		began := time.Now()
		index, err := a.Pods.Next(ctx, t.podUID, newerThan)
		took := time.Since(began)
		if err != nil {
			explain.attempt(took, nil, err)
		}
		switch {
		case err == nil:
			newerThan = index.Taken
			if index.Watched {
				// Every change of the pod brings an answer, however many there are:
				// its author must not be able to use up the attempts.
				attempt = 1 + int(time.Since(begin)/a.PollRetryInterval)
			}
			p, c, err := a.match(index, t, arrival)
			explain.attempt(took, index, err)
			absent, wait := errors.AsType[*absentError](err)
			if !wait {
				return p, c, err
			}
			last = absent
		case ctx.Err() != nil && last != nil && errors.Is(context.Cause(ctx), errTimeout):
			// The time was over while the next answer was waited for: what the
			// attempts before it said is the better reason.
			return nil, nil, errorAtEnd(last)
		case ctx.Err() != nil && last != nil:
			// As text: the code is that of the caller's end.
			return nil, nil, fmt.Errorf("%w; until then: %v", sourceError(ctx, err), last)
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

// target is the container that is looked for.
type target struct {
	podUID       string // empty where it is not known
	likelyPodUID string // the pod to look into first then
	containerID  string
}

func targetOf(ref container.Ref) target {
	return target{ref.PodUID(), ref.LikelyPodUID(), ref.ContainerID()}
}

// match looks for the container in one index. An error other than *absentError
// is final.
func (a *Attestor) match(index *pod.Index, t target, arrival time.Time) (*pod.Pod, *pod.Container, error) {
	p, err := podOf(index, t)
	if err != nil {
		return nil, nil, err
	}
	if c, ok := p.ContainerByID(t.containerID); ok {
		if err := a.refusal(p, c); err != nil {
			return nil, nil, err
		}
		return p, c, nil
	}
	if c, ok := p.ContainerByLastID(t.containerID); ok {
		return nil, nil, fmt.Errorf("container %q of pod %q was started again since: %w", c.Name, p.Namespace+"/"+p.Name, ErrEnded)
	}
	if err := ended(p); err != nil {
		return nil, nil, err
	}
	if a.WithoutContainer && !index.Taken.Before(arrival) && !awaitsEphemeral(p) && (a.Images == nil || !a.Images.Concerns(p)) {
		return p, nil, nil
	}
	return nil, nil, absent("pod %q is listed but not its container %s", p.Namespace+"/"+p.Name, t.containerID)
}

// refusal is why no process in the container is attested; nil where one is.
func (a *Attestor) refusal(p *pod.Pod, c *pod.Container) error {
	switch {
	case c.Type == pod.Ephemeral && !a.Ephemeral:
		return fmt.Errorf("container %q of pod %q: %w", c.Name, p.Namespace+"/"+p.Name, ErrEphemeral)
	case c.Ended():
		return fmt.Errorf("container %q of pod %q: %w", c.Name, p.Namespace+"/"+p.Name, ErrEnded)
	}
	return nil
}

// ended is why nothing of the pod starts any more; nil where something may.
func ended(p *pod.Pod) error {
	if !p.Terminal {
		return nil
	}
	return fmt.Errorf("pod %q has succeeded or failed: %w", p.Namespace+"/"+p.Name, ErrEnded)
}

// podOf returns the one pod that the process can be in.
func podOf(index *pod.Index, t target) (*pod.Pod, error) {
	if t.podUID != "" {
		p, err := index.ByUID(t.podUID)
		switch {
		case err != nil:
			return nil, err
		case p != nil:
			return p, nil
		case index.Unattributed() != nil:
			return nil, &absentError{index.Unattributed()}
		}
		return nil, absent("pod UID %q is not listed", t.podUID)
	}
	if likely, _ := index.ByUID(t.likelyPodUID); likely != nil {
		if _, ok := likely.ContainerByID(t.containerID); ok {
			return likely, nil
		}
	}
	switch pods := index.ByContainerID(t.containerID); {
	case len(pods) == 1:
		return pods[0], nil
	case len(pods) > 1:
		return nil, fmt.Errorf("%w: pod UIDs %q and %q", ErrTwoPods, pods[0].UID, pods[1].UID)
	case index.AnyFault() != nil:
		return nil, &absentError{index.AnyFault()}
	}
	return nil, absent("container %s is in no listed pod", t.containerID)
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
