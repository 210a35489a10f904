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
)

// Pods is where the pods of this node are known.
type Pods interface {
	// Next returns an index taken after newerThan, any when that is zero,
	// waiting for it as long as ctx lasts. An error with a method Final that
	// returns true says that asking again can't help.
	Next(ctx context.Context, newerThan time.Time) (*pod.Index, error)
}

// Attestor attests processes and pods. Its fields must not be changed once it
// is in use.
type Attestor struct {
	Locator   *container.Locator
	Admission *container.Admission
	Pods      Pods

	// MaxPollAttempts is how many indexes are looked at for a container; at
	// least 1.
	MaxPollAttempts int
	// Timeout bounds an attestation as a whole; positive.
	Timeout time.Duration
	// WithoutContainer leaves out the selectors of the container, and attests a
	// process of a known pod although its container is not known yet.
	WithoutContainer bool
	// Ephemeral attests processes of ephemeral containers too.
	Ephemeral bool
}

// Step is a step of an attestation.
type Step string

// The steps, in their order.
const (
	StepProcess   Step = "process"   // hold the process
	StepContainer Step = "container" // read its cgroups
	StepAdmission Step = "admission" // count the call
	StepPod       Step = "pod"       // find the pod and the container's status
	StepCheck     Step = "check"     // the process is still the same
	StepSelectors Step = "selectors" // render
)

// Report is an attestation as far as it got.
type Report struct {
	// Step is the last step that was begun.
	Step Step
	// Ref is where the process is; zero before StepAdmission and for a process
	// in no pod.
	Ref container.Ref
	// Ignored are cgroup paths that look like a pod's but prove nothing; see
	// container.Process.Ignored.
	Ignored []string
	// Pod is the pod, nil before StepCheck. Container is nil where it is not
	// known.
	Pod       *pod.Pod
	Container *pod.Container
	// Selectors are the selector values, sorted; none without a pod. The slice
	// is shared and must not be changed.
	Selectors []string
}

// Attest attests the process that called just now and has that ID. A process in
// no pod, and one that does not exist any more, has no selectors and is no error.
// The Report is there on errors too.
func (a *Attestor) Attest(ctx context.Context, pid int32) (*Report, error) {
	arrival := time.Now()
	r := &Report{Step: StepProcess}
	process, err := a.Locator.Open(pid)
	if errors.Is(err, container.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	defer process.Close()

	r.Step = StepContainer
	ref, err := process.Ref()
	if err != nil {
		return r, err
	}
	if ref.IsZero() {
		r.Ignored = process.Ignored()
		return r, nil
	}
	r.Ref = ref

	r.Step = StepAdmission
	leave, err := a.Admission.Enter(ref)
	if err != nil {
		return r, err
	}
	defer leave()

	r.Step = StepPod
	p, c, err := a.find(ctx, ref, arrival)
	if err != nil {
		return r, err
	}

	r.Step = StepCheck
	r.Pod, r.Container = p, c
	if err := process.Check(); err != nil {
		return r, err
	}

	r.Step = StepSelectors
	if c == nil || a.WithoutContainer {
		r.Selectors = selector.Pod(p)
	} else {
		r.Selectors = selector.Container(p, c)
	}
	return r, nil
}

// PodRef names a pod of this node: by namespace and name, by UID, or by both,
// which must then mean the same pod.
type PodRef struct{ Namespace, Name, UID string }

// AttestPod returns the selectors of a pod of this node, without those of any
// container. It waits for nothing to appear. Its errors are those of the pod
// source and *PodNotFoundError.
func (a *Attestor) AttestPod(ctx context.Context, ref PodRef) (*Report, error) {
	r := &Report{Step: StepPod}
	ctx, cancel := context.WithTimeoutCause(ctx, a.Timeout, errTimeout)
	defer cancel()
	index, err := a.Pods.Next(ctx, time.Time{})
	if err != nil {
		return r, sourceError(ctx, err)
	}
	p, err := ref.find(index)
	if err != nil {
		return r, err
	}
	r.Step = StepSelectors
	r.Pod, r.Selectors = p, selector.Pod(p)
	return r, nil
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
