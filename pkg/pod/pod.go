// Package pod holds what podseal keeps of a Kubernetes pod: a small immutable
// record of the fields that selectors are made of, and an index of the pods of
// this node. Where the records come from is the business of the pod sources;
// what they mean is that of package selector. It knows no network, no JSON and
// no configuration.
package pod

import (
	"iter"
	"slices"
	"sync"
)

// Pod is one pod as its source described it at one time. A Pod is never changed
// after its source handed it out, so that any number of calls may share it.
type Pod struct {
	// UID is the kubelet's name for the pod, the one that stands in its
	// cgroups. For a static pod it is not the API server's, and it may be free
	// text from the manifest.
	UID string
	// Name and Namespace are those of metadata.
	Name, Namespace string
	// NodeName and ServiceAccount are those of spec.
	NodeName, ServiceAccount string
	// Terminal is whether the pod's phase is Succeeded or Failed: none of its
	// containers will start again.
	Terminal bool
	// Completed is whether it is terminal and nothing of it runs: no process can be
	// in it any more, and it has nothing but UID, Name and Namespace; see Kept.
	Completed bool
	// Labels are those of metadata, sorted by key.
	Labels []Label
	// Owners are the owner references of metadata, in their order.
	Owners []Owner
	// Containers are the regular, init, sidecar and ephemeral containers that
	// the spec names or the status reports.
	Containers []Container
	// ImageVolumes are the references of the volumes of spec that are images, as
	// the pod's author wrote them, in their order.
	ImageVolumes []string

	memo struct {
		once  sync.Once
		value any
	}
}

// Label is one label of a pod.
type Label struct{ Key, Value string }

// Owner is one owner reference of a pod. Whoever may write the pod chooses it:
// the API server checks neither that the owner exists nor what it is called.
type Owner struct{ Kind, Name, UID string }

// Type says which list of the pod a container is in.
type Type string

// The types, with the names that selectors use.
const (
	Regular   Type = "regular"
	Init      Type = "init"
	Sidecar   Type = "sidecar" // an init container whose restartPolicy is Always
	Ephemeral Type = "ephemeral"
)

// Container is one container of a pod: what the spec asks for and what the
// status reports about it.
type Container struct {
	// Name is unique in the pod, over all types.
	Name string
	Type Type
	// SpecImage is the image as the pod's author wrote it, empty for a status
	// without a container in the spec.
	SpecImage string

	// HasStatus is whether the status reports the container at all. The fields
	// below are empty where it does not.
	HasStatus bool
	// ID is the runtime's ID without its scheme ("containerd://"), empty as
	// long as the container was not started.
	ID string
	// Runtime is that scheme: the name of the runtime that the container is of.
	Runtime string
	// LastID is the ID of the run before this one, from lastState.
	LastID string
	// Image and ImageID are the runtime's names for the image, raw.
	Image, ImageID string
	// Running and Terminated are what the status says of the container's state.
	// Neither is waiting: to be started, or to be started again.
	Running, Terminated bool
}

// State is what a container does, for people.
type State string

// The states.
const (
	NotReported State = "not reported" // the status does not have the container yet
	Waiting     State = "waiting"
	Running     State = "running"
	Terminated  State = "terminated"
)

// State returns what the status says that the container does.
func (c *Container) State() State {
	switch {
	case !c.HasStatus:
		return NotReported
	case c.Terminated:
		return Terminated
	case c.Running:
		return Running
	}
	return Waiting
}

// Ended is whether the run with ID has ended. While a container waits to be
// started again its status goes on naming the run before, in lastState too.
func (c *Container) Ended() bool {
	return c.Terminated || (c.ID != "" && c.ID == c.LastID)
}

// ContainerByID returns the container whose current run has that ID.
func (p *Pod) ContainerByID(id string) (*Container, bool) {
	i := slices.IndexFunc(p.Containers, func(c Container) bool { return c.ID == id })
	if id == "" || i < 0 {
		return nil, false
	}
	return &p.Containers[i], true
}

// ContainerByLastID returns the container whose previous run had that ID.
func (p *Pod) ContainerByLastID(id string) (*Container, bool) {
	i := slices.IndexFunc(p.Containers, func(c Container) bool { return c.LastID == id })
	if id == "" || i < 0 {
		return nil, false
	}
	return &p.Containers[i], true
}

// OfType yields the containers of the given types, in their order.
func (p *Pod) OfType(types ...Type) iter.Seq[*Container] {
	return func(yield func(*Container) bool) {
		for i := range p.Containers {
			if slices.Contains(types, p.Containers[i].Type) && !yield(&p.Containers[i]) {
				return
			}
		}
	}
}

// Memo returns render's value for the pod, computed at the first call and kept
// as long as the record: sources keep the record of a pod that did not change,
// so that its selectors are rendered once for each version of a pod and not at
// all for pods that nobody asks about. render must depend on the pod alone, and
// every caller must give the same one.
func (p *Pod) Memo(render func(*Pod) any) any {
	p.memo.once.Do(func() { p.memo.value = render(p) })
	return p.memo.value
}
