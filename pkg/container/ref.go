package container

import (
	"fmt"
	"slices"
	"strings"
)

// Ref says which container a process is in. The zero Ref is "in no pod". Only
// this package makes others, and only from what the kernel says.
type Ref struct {
	podUID, containerID, likelyPodUID string
}

// PodUID is the UID of the container's pod, empty where the cgroup does not
// tell: then the pod is the one that the container's ID is found in.
func (r Ref) PodUID() string { return r.podUID }

// LikelyPodUID is, where PodUID is empty, the UID of the agent's own pod if that
// is known. The container is beside the agent's, and so in that pod, save where
// the kubelet makes no pod cgroups: there it can be in any.
func (r Ref) LikelyPodUID() string { return r.likelyPodUID }

// ContainerID is the runtime's ID of the container, 64 hexadecimal digits.
func (r Ref) ContainerID() string { return r.containerID }

// IsZero is whether the process is in no pod.
func (r Ref) IsZero() bool { return r == Ref{} }

// own is what the agent's own cgroups are.
type own struct {
	lines []line
	// outer are the cgroups of the first process that the agent can see, which
	// is not in the agent's container. A path of it that leads out of the
	// agent's namespace ("/..") tells that the namespace is a private one.
	outer []line
	// podUID is the UID of the agent's own pod where the configuration says it.
	podUID string
}

// nested is whether the agent's namespace of the hierarchy is its container's.
func (o own) nested(hierarchy string) bool {
	path, _ := pathOf(o.outer, hierarchy)
	return strings.HasPrefix(path, "/..")
}

// verdict is what one line of a cgroup file says.
type verdict struct {
	line
	agent  string // the agent's own path of the hierarchy
	nested bool   // see own.nested
	place  place
	found
	err error
}

// resolve combines what the lines of a process's cgroup file say. An error of a
// line ends it; the verdicts reach as far as it got.
func resolve(process []line, o own, root []string) (Ref, []verdict, error) {
	verdicts := make([]verdict, 0, len(process))
	for _, l := range process {
		v := o.judge(l, root, verdicts)
		verdicts = append(verdicts, v)
		if v.err != nil {
			return Ref{}, verdicts, v.err
		}
	}
	ref, err := combine(verdicts, o.podUID)
	return ref, verdicts, err
}

// judge says what a line means. before are the verdicts of the lines before it:
// most hierarchies of version 1 have the same paths, which then mean the same. None
// of them is an error.
func (o own) judge(l line, root []string, before []verdict) verdict {
	v := verdict{line: l}
	var ok bool
	if v.agent, ok = pathOf(o.lines, l.hierarchy); !ok {
		v.err = fmt.Errorf("%w: hierarchy %q is not in the agent's own cgroup file", ErrMalformed, l.hierarchy)
		return v
	}
	v.nested = o.nested(l.hierarchy)
	for _, b := range before {
		if b.path == v.path && b.agent == v.agent && b.nested == v.nested {
			v.place, v.found = b.place, b.found
			return v
		}
	}
	if v.place, v.err = relate(v.agent, l.path, v.nested); v.err == nil {
		v.found, v.err = locate(v.place, root)
	}
	return v
}

// combine is the one answer of all lines, or an error where there are two.
func combine(verdicts []verdict, ownPodUID string) (Ref, error) {
	answers := make([]*verdict, 0, len(verdicts))
	for i := range verdicts {
		if verdicts[i].containerID != "" {
			answers = append(answers, &verdicts[i])
		}
	}
	// A line that names the pod outweighs one that does not.
	if slices.ContainsFunc(answers, func(v *verdict) bool { return v.podUID != "" }) {
		answers = slices.DeleteFunc(answers, func(v *verdict) bool { return v.podUID == "" })
	}
	if len(answers) == 0 {
		return Ref{}, nil
	}

	first := answers[0]
	for _, v := range answers[1:] {
		if v.podUID != first.podUID {
			return Ref{}, &ConflictError{"pod UIDs", first.podUID, v.podUID}
		}
		if v.containerID != first.containerID {
			return Ref{}, &ConflictError{"container IDs", first.containerID, v.containerID}
		}
	}

	// Users are handed parts of the name=systemd and the v2 hierarchy, in which
	// they choose the names. Where the runtime uses v1 controllers, which nobody
	// is handed a part of, those have to say the same.
	resource := slices.ContainsFunc(verdicts, func(v verdict) bool { return v.isResource() })
	if resource && !slices.ContainsFunc(answers, func(v *verdict) bool { return v.isResource() }) {
		return Ref{}, nil
	}

	ref := Ref{podUID: first.podUID, containerID: first.containerID}
	switch {
	case ref.podUID != "":
	case first.scope:
		ref.likelyPodUID = ownPodUID
	default:
		ref.podUID = ownPodUID
	}
	return ref, nil
}
