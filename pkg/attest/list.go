package attest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/podseal/podseal/pkg/pod"
)

// Listing is the containers of the node as one answer of the pod source had
// them.
type Listing struct {
	// Taken is when the source was asked; List takes it for a newer one.
	Taken time.Time
	// Workloads are sorted by namespace, pod, UID and the container's type, init
	// containers first, and name; pods that could not be read come last, by UID.
	Workloads []Workload
}

// Workload is a container and what a process in it would get.
type Workload struct {
	// PodUID is the pod's UID; empty for pods of which not even that could be
	// read.
	PodUID string
	// Pod and Container are nil for a pod that could not be read.
	Pod       *pod.Pod
	Container *pod.Container
	// Selectors are what Attest gives to a process in it, without those of its
	// image: no image is verified for a list. The slice is shared and must not be
	// changed.
	Selectors []string
	// Err is why there are none: what Attest answers to a process in it,
	// ErrNotStarted where there can't be any yet, or the fault of the pod.
	Err error
}

// List returns all containers that an answer of the pod source newer than
// newerThan has, the next one that there is where that is zero. It waits for the
// answer as long as an attestation would. Its errors are those of the pod source.
//
// A process whose cgroup does not name its pod, as beside an agent in a cgroup
// namespace of its own, is refused when another pod reports its container's ID
// too. That is not shown.
func (a *Attestor) List(ctx context.Context, newerThan time.Time) (*Listing, error) {
	index, err := a.next(ctx, "", newerThan)
	if err != nil {
		return nil, err
	}
	l := &Listing{Taken: index.Taken}
	for p := range index.All() {
		first := len(l.Workloads)
		for i := range p.Containers {
			l.Workloads = append(l.Workloads, a.workload(index, p, &p.Containers[i]))
		}
		slices.SortStableFunc(l.Workloads[first:], func(a, b Workload) int {
			return cmp.Or(cmp.Compare(rank(a.Container.Type), rank(b.Container.Type)), cmp.Compare(a.Container.Name, b.Container.Name))
		})
	}
	for uid, fault := range index.Faults() {
		l.Workloads = append(l.Workloads, Workload{PodUID: uid, Err: fault})
	}
	return l, nil
}

// workload says what a process in the container would get, as an attestation of
// it does.
func (a *Attestor) workload(index *pod.Index, p *pod.Pod, c *pod.Container) Workload {
	w := Workload{PodUID: p.UID, Pod: p, Container: c}
	if c.ID == "" {
		w.Err = cmp.Or(a.refusal(p, c), ended(p), fmt.Errorf("container %q of pod %q: %w", c.Name, p.Namespace+"/"+p.Name, ErrNotStarted))
		return w
	}
	found, container, err := a.match(index, target{podUID: p.UID, containerID: c.ID}, time.Time{})
	if err != nil {
		w.Err = err
		return w
	}
	w.Selectors = a.selectors(found, container)
	return w
}

// rank orders types as they start.
func rank(t pod.Type) int {
	return slices.Index([]pod.Type{pod.Init, pod.Sidecar, pod.Regular, pod.Ephemeral}, t)
}
