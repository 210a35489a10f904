// Package attest says which Kubernetes pod and container a process is in, and
// what that makes it: the order of steps, in one straight line. Everything that
// it needs of the node comes through the parts that it is given.
package attest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/selector"
	"github.com/podseal/podseal/pkg/verify"
)

// Pods is where the pods of this node are known.
type Pods interface {
	// Next returns an index taken after newerThan, any when that is zero,
	// waiting for it as long as ctx lasts. It has at least the pod of that UID,
	// if there is one; all pods for an empty UID. An error with a method Final
	// that returns true says that asking again can't help.
	Next(ctx context.Context, uid string, newerThan time.Time) (*pod.Index, error)
}

// Attestor attests processes and pods. Its fields must not be changed once it
// is in use.
type Attestor struct {
	Locator   *container.Locator
	Admission *container.Admission
	Pods      Pods

	// MaxPollAttempts is how many indexes are looked at for a container; at
	// least 1. PollRetryInterval is the time between two of them, where a source
	// that is told of changes may have several in that time; positive.
	MaxPollAttempts   int
	PollRetryInterval time.Duration
	// Timeout bounds an attestation as a whole; positive.
	Timeout time.Duration
	// WithoutContainer leaves out the selectors of the container, and attests a
	// process of a known pod although its container is not known yet.
	WithoutContainer bool
	// Ephemeral attests processes of ephemeral containers too.
	Ephemeral bool
	// Images verifies images where that is configured; nil where it is not.
	Images *verify.Verifier

	// Explain asks for Report.Explanation, which costs memory and time that
	// only a person who waits has.
	Explain bool
}

// Attest attests the process that called just now and has that ID. A process in
// no pod, and one that does not exist any more, has no selectors and is no error.
// The Report is there on errors too.
func (a *Attestor) Attest(ctx context.Context, pid int32) (*Report, error) {
	r := a.newReport()
	err := a.attest(ctx, pid, r)
	r.end(err != nil || r.Empty != NotEmpty)
	return r, err
}

func (a *Attestor) attest(ctx context.Context, pid int32, r *Report) error {
	arrival := time.Now()
	r.begin(StepProcess)
	process, err := a.Locator.Open(pid)
	if errors.Is(err, container.ErrNotExist) {
		r.Empty = NoProcess
		return nil
	}
	if err != nil {
		return err
	}
	defer process.Close()

	r.begin(StepContainer)
	ref, err := process.Ref()
	r.Explanation.process(process)
	if err != nil {
		return err
	}
	if ref.IsZero() {
		r.Ignored = process.Ignored()
		r.Empty = emptiness(process, r.Ignored)
		return nil
	}
	r.Ref = ref

	r.begin(StepAdmission)
	leave, err := a.Admission.Enter(ref)
	if err != nil {
		return err
	}
	defer leave()

	r.begin(StepPod)
	p, c, err := a.find(ctx, targetOf(ref), arrival, r.Explanation)
	if err != nil {
		return err
	}
	r.Pod, r.Container = p, c

	if a.Images != nil {
		r.begin(StepImages)
		if err := a.verify(ctx, arrival, r); err != nil {
			return err
		}
	}

	r.begin(StepCheck)
	if err := process.Check(); err != nil {
		return err
	}

	r.begin(StepSelectors)
	return r.render(a.selectors(p, c))
}

// selectors are those of a process in the pod's container; c is nil where that
// is not known.
func (a *Attestor) selectors(p *pod.Pod, c *pod.Container) []string {
	if c == nil || a.WithoutContainer {
		return selector.Pod(p)
	}
	return selector.Container(p, c)
}

// PodRef names a pod of this node: by namespace and name, by UID, or by both,
// which must then mean the same pod.
type PodRef struct{ Namespace, Name, UID string }

// AttestPod returns the selectors of a pod of this node, without those of any
// container and of no signature. Where an image policy applies it must hold for
// every image of the pod. It waits for nothing to appear. Its errors are those of
// the pod source, *PodNotFoundError and those of Images.
func (a *Attestor) AttestPod(ctx context.Context, ref PodRef) (*Report, error) {
	r := a.newReport()
	err := a.attestPod(ctx, ref, r)
	r.end(err != nil)
	return r, err
}

func (a *Attestor) attestPod(ctx context.Context, ref PodRef, r *Report) error {
	arrival := time.Now()
	r.begin(StepPod)
	// Only the whole list tells that a name is nobody's.
	uid := ""
	if ref.Name == "" {
		uid = ref.UID
	}
	index, err := a.next(ctx, uid, time.Time{})
	if err != nil {
		return err
	}
	p, err := ref.find(index)
	if err != nil {
		return err
	}
	if p.Completed {
		return ended(p) // of which nothing is known that selectors are made of
	}
	r.Pod = p
	if a.Images != nil {
		r.begin(StepImages)
		if err := a.verify(ctx, arrival, r); err != nil {
			return err
		}
	}
	r.begin(StepSelectors)
	return r.render(selector.Pod(p))
}

// next is an index that was taken after newerThan, within the time that an
// attestation has.
func (a *Attestor) next(ctx context.Context, uid string, newerThan time.Time) (*pod.Index, error) {
	ctx, cancel := withLateTimeout(ctx, a.Timeout)
	defer cancel()
	index, err := a.Pods.Next(ctx, uid, newerThan)
	if err != nil {
		return nil, sourceError(ctx, err)
	}
	return index, nil
}

func (ref PodRef) find(index *pod.Index) (*pod.Pod, error) {
	if ref.Name == "" {
		p, err := index.ByUID(ref.UID)
		if p == nil && err == nil {
			err = &PodNotFoundError{fmt.Sprintf("pod with UID %q not found on agent node", ref.UID)}
		}
		return p, err
	}
	if ref.UID != "" {
		// Two pods of one name can be there while one replaces the other: the
		// UID says which is meant.
		if p, err := index.ByUID(ref.UID); err != nil {
			return nil, err
		} else if p != nil && p.Namespace == ref.Namespace && p.Name == ref.Name {
			return p, nil
		}
	}
	p := index.ByName(ref.Namespace, ref.Name)
	switch {
	case p == nil && index.AnyFault() != nil:
		return nil, index.AnyFault()
	case p == nil:
		return nil, &PodNotFoundError{fmt.Sprintf("pod %q not found on agent node", ref.Namespace+"/"+ref.Name)}
	case ref.UID != "":
		return nil, &PodNotFoundError{fmt.Sprintf("pod %q has UID %q, expected %q", ref.Namespace+"/"+ref.Name, p.UID, ref.UID)}
	}
	return p, nil
}
