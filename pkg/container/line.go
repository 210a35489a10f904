package container

import (
	"context"
	"log/slog"
	"slices"
	"strings"
)

// Line is what one line of a process's cgroup file says, for people. Nothing is
// decided by it.
type Line struct {
	// Hierarchy is its name in the file: the controllers of a v1 hierarchy
	// ("cpu,cpuacct", "name=systemd"), nothing for v2.
	Hierarchy string
	// Path is the process's cgroup, and AgentPath the agent's own one of the
	// same hierarchy, both as seen from the agent's cgroup namespace.
	Path, AgentPath string
	// Meaning is what the path means.
	Meaning Meaning
	// PodUID and ContainerID are what the path names where only the kubelet can
	// have made it. PodUID is empty for a container whose pod the path does not
	// tell, ContainerID where Meaning is MeansNothing.
	PodUID, ContainerID string
	// KubeletRoot is the cgroup below which the kubelet makes its pods, as seen
	// from here: what is before the QoS class and the pod, such as
	// "/kubepods.slice" or "/../../..". In a private cgroup namespace a pod of
	// the agent's own QoS class does not show whether there is such a class in
	// between: then it is the cgroup that the pod is in. It is empty where the
	// path does not show it.
	KubeletRoot string
	// Err is why the line makes the process's container unknown; with
	// MeansNothing only.
	Err error

	below, beside bool // more about MeansOwn and MeansHost
}

// Meaning is what a line of a cgroup file means. Its values are for programs
// too.
type Meaning string

// The meanings.
const (
	// MeansContainer: the process is in that container.
	MeansContainer Meaning = "container"
	// MeansOwn: the process is in the agent's own cgroup or below.
	MeansOwn Meaning = "own"
	// MeansHost: nothing in the path is a pod's.
	MeansHost Meaning = "host"
	// MeansMisplaced: a name in the path looks like a pod's, but stands where
	// anybody could have made it or below a --cgroup-root that is not known.
	MeansMisplaced Meaning = "misplaced"
	// MeansUndecided: the path is a pod's, but of a hierarchy that users may
	// be handed a part of, and no v1 controller's line says the same.
	MeansUndecided Meaning = "undecided"
	// MeansOutweighed: the path names a container without its pod, and another
	// line names one with it.
	MeansOutweighed Meaning = "outweighed"
	// MeansNothing: the line is an error, see Line.Err.
	MeansNothing Meaning = "error"
)

// HierarchyName is Hierarchy with a name for v2.
func (l Line) HierarchyName() string {
	if l.Hierarchy == "" {
		return "v2"
	}
	return l.Hierarchy
}

// Ignored is whether the path looks like a pod's but proves nothing.
func (l Line) Ignored() bool { return l.Meaning == MeansMisplaced || l.Meaning == MeansUndecided }

// Why says in words what Meaning says.
func (l Line) Why() string {
	switch l.Meaning {
	case MeansContainer:
		return "a container of a pod"
	case MeansOwn:
		if l.below {
			return "below the agent's own cgroup"
		}
		return "the agent's own cgroup"
	case MeansHost:
		if l.beside {
			return "a container beside the agent, which is in no pod itself"
		}
		return "a process of the host"
	case MeansMisplaced:
		return "named like a pod's, but not where this node's kubelet makes them"
	case MeansUndecided:
		return "a pod's, but users may be given cgroups of this hierarchy, and no v1 controller's line says the same"
	case MeansOutweighed:
		return "a container, but another line names the pod too"
	case MeansNothing:
		return l.Err.Error()
	}
	return ""
}

// Lines returns, after Ref, what each line of the process's cgroup file said, in
// the file's order; after an error of Ref those that were read until then.
func (p *Process) Lines() []Line {
	undecided := p.ref.IsZero() && p.refErr == nil
	withPod := slices.ContainsFunc(p.verdicts, func(v verdict) bool { return v.containerID != "" && v.podUID != "" })
	lines := make([]Line, len(p.verdicts))
	for i, v := range p.verdicts {
		l := Line{
			Hierarchy: v.hierarchy, Path: v.path, AgentPath: v.agent,
			PodUID: v.podUID, ContainerID: v.containerID, KubeletRoot: v.kubeletRoot(),
			Err: v.err, below: len(v.place.rest) > 0, beside: v.beside,
		}
		switch {
		case v.err != nil:
			l.Meaning = MeansNothing
		case v.containerID != "" && undecided:
			l.Meaning = MeansUndecided
		case v.containerID != "" && v.podUID == "" && withPod:
			l.Meaning = MeansOutweighed
		case v.containerID != "":
			l.Meaning = MeansContainer
		case v.ignored:
			l.Meaning = MeansMisplaced
		case v.place.own:
			l.Meaning = MeansOwn
		default:
			l.Meaning = MeansHost
		}
		lines[i] = l
	}
	return lines
}

// Ignored returns, after Ref found no pod, the process's cgroup paths that look
// like a pod's but prove nothing: a name stands where anybody could have made
// it, or below a --cgroup-root that is not configured.
func (p *Process) Ignored() []string {
	if !p.ref.IsZero() || p.refErr != nil {
		return nil
	}
	var paths []string
	for _, v := range p.verdicts {
		if v.ignored || v.containerID != "" {
			paths = append(paths, v.path)
		}
	}
	return paths
}

// Own is whether, as Ref found, all of the process's cgroups are the agent's own
// or below.
func (p *Process) Own() bool {
	return len(p.verdicts) > 0 && !slices.ContainsFunc(p.verdicts, func(v verdict) bool { return !v.place.own })
}

func (p *Process) logLines() {
	for _, l := range p.Lines() {
		p.locator.log.LogAttrs(context.Background(), slog.LevelDebug, "cgroup line", slog.Int("pid", int(p.pid)), slog.String("hierarchy", l.Hierarchy),
			slog.String("path", l.Path), slog.String("pod_uid", l.PodUID), slog.String("container_id", l.ContainerID),
			slog.Bool("ignored", l.Ignored()), slog.String("why", l.Why()))
	}
}

// kubeletRoot is Line.KubeletRoot.
func (v verdict) kubeletRoot() string {
	var above []string // the names before the pod's
	names := strings.Split(strings.TrimPrefix(v.path, "/"), "/")
	switch {
	case v.pod > 0:
		above = names[:len(names)-len(v.place.rest)+v.pod-1]
	case v.podUID != "" && ownPod(v.place) == v.podUID:
		above = v.place.shared[:len(v.place.shared)-1]
	default:
		return ""
	}
	if n := len(above); n > 0 && isQoS(above[n-1]) {
		above = above[:n-1]
	}
	return "/" + strings.Join(above, "/")
}

// isQoS is whether a name before a pod's is that of a QoS class.
func isQoS(name string) bool {
	for _, class := range qosClasses {
		if parent, ok := strings.CutSuffix(name, "-"+class+".slice"); name == class || (ok && kubepods.MatchString(parent)) {
			return true
		}
	}
	return false
}
