package pod

import (
	"slices"
	"strings"
)

// What follows is for pod sources: what the kubelet describes is the same
// whichever way it comes, and must come to the same record.

// ContainerSpec is what a pod's spec says of one container.
type ContainerSpec struct{ Name, Image, RestartPolicy string }

// Join appends the containers of one of the pod's three lists, the regular, init
// or ephemeral ones: those that have a status in its order, then the others in the
// spec's. The kubelet's status comes sorted or in the spec's order; either way the
// result depends on nothing but the answer. Of statuses what the spec says is not
// looked at: Type, SpecImage and HasStatus.
func Join(to []Container, t Type, specs []ContainerSpec, statuses []Container) []Container {
	at := make(map[string]int, len(specs))
	for i, s := range specs {
		if _, twice := at[s.Name]; !twice {
			at[s.Name] = i
		}
	}
	reported := make([]bool, len(specs))
	for _, c := range statuses {
		c.Type, c.SpecImage, c.HasStatus = t, "", true
		if i, ok := at[c.Name]; ok {
			reported[i] = true
			c.Type, c.SpecImage = typeOf(t, specs[i]), specs[i].Image
		}
		to = append(to, c)
	}
	for i, s := range specs {
		if !reported[i] {
			to = append(to, Container{Name: s.Name, Type: typeOf(t, s), SpecImage: s.Image})
		}
	}
	return to
}

func typeOf(t Type, spec ContainerSpec) Type {
	if t == Init && spec.RestartPolicy == "Always" {
		return Sidecar
	}
	return t
}

// IsTerminal is what a pod's phase says of Pod.Terminal.
func IsTerminal(phase string) bool { return phase == "Succeeded" || phase == "Failed" }

// RuntimeID takes "containerd://<id>" apart. Without a scheme there is no ID, as the
// built-in attestor reads it.
func RuntimeID(containerID string) (runtime, id string) {
	runtime, id, found := strings.Cut(containerID, "://")
	if !found {
		return "", ""
	}
	return runtime, id
}

// RepeatedID returns an ID that two containers have. No kubelet reports that; who
// may write pods/status could, and would make an ephemeral container pass for a
// regular one.
func (p *Pod) RepeatedID() (string, bool) {
	seen := make(map[string]bool, len(p.Containers))
	for _, c := range p.Containers {
		if c.ID != "" && seen[c.ID] {
			return c.ID, true
		}
		seen[c.ID] = true
	}
	return "", false
}

// Kept is what a source keeps of the pod: of a completed one no more than names it.
// Kubernetes leaves the pods of jobs, and evicted ones, on the node's list for long.
// While something of a terminal pod still runs, as until the end of an eviction's
// grace period, it is a pod like others.
func (p *Pod) Kept() *Pod {
	if !p.Terminal || slices.ContainsFunc(p.Containers, func(c Container) bool { return c.Running }) {
		return p
	}
	return &Pod{UID: strings.Clone(p.UID), Name: strings.Clone(p.Name), Namespace: strings.Clone(p.Namespace), Terminal: true, Completed: true}
}

// Size is about how much memory the pod takes, in bytes: its strings, and
// something for each element.
func (p *Pod) Size() int {
	const perPod, perElement = 512, 160
	n := perPod + len(p.UID) + len(p.Name) + len(p.Namespace) + len(p.NodeName) + len(p.ServiceAccount)
	for _, l := range p.Labels {
		n += perElement/4 + len(l.Key) + len(l.Value)
	}
	for _, o := range p.Owners {
		n += perElement/2 + len(o.Kind) + len(o.Name) + len(o.UID)
	}
	for _, c := range p.Containers {
		n += perElement + len(c.Name) + len(c.SpecImage) + len(c.ID) + len(c.Runtime) + len(c.LastID) + len(c.Image) + len(c.ImageID)
	}
	for _, reference := range p.ImageVolumes {
		n += perElement/4 + len(reference)
	}
	return n
}
