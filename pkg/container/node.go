package container

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// CgroupVersion is which kind of cgroups decides where a process is.
type CgroupVersion string

// The versions.
const (
	CgroupV1 CgroupVersion = "v1" // v1 hierarchies alone
	CgroupV2 CgroupVersion = "v2" // the v2 hierarchy, perhaps with v1 ones that no runtime needs
	// CgroupHybrid is v1 hierarchies that containers are put into, with the v2
	// one beside them.
	CgroupHybrid CgroupVersion = "hybrid"
)

// CgroupVersion returns what the agent's own cgroup file shows.
func (l *Locator) CgroupVersion() (CgroupVersion, error) {
	lines, err := l.cgroupOf("self", nil)
	if err != nil {
		return "", err
	}
	_, v2 := pathOf(lines, "")
	switch resource := slices.ContainsFunc(lines, line.isResource); {
	case resource && v2:
		return CgroupHybrid, nil
	case v2:
		return CgroupV2, nil
	}
	return CgroupV1, nil
}

// HostPID is whether the processes of the node can be seen, and what told.
type HostPID struct {
	// Visible is whether they can. Where they can't, every caller is process
	// 0, and none is ever found in a pod.
	Visible bool
	// Hierarchy, First and Agent are the line that told and the paths of
	// process 1 and of the agent in it; empty where KernelThread told.
	Hierarchy, First, Agent string
	// KernelThread is whether process 2 is the kernel's, as in the PID
	// namespace of the machine alone.
	KernelThread bool
	// OtherPod is a process in another pod than the agent's, where process 1
	// alone would tell that there are none; 0 else.
	OtherPod int32

	pod bool
}

// Why says in words what told.
func (h HostPID) Why() string {
	switch {
	case h.KernelThread:
		return "process 2 is the kernel's own: this is the machine's PID namespace"
	case h.OtherPod != 0:
		return fmt.Sprintf("process %d is in another pod than the agent", h.OtherPod)
	case h.Visible:
		return fmt.Sprintf("process 1 is in cgroup %q, outside the agent's container and pod", h.First)
	case h.pod:
		return fmt.Sprintf("process 1 is in cgroup %q, in the agent's own pod", h.First)
	}
	return fmt.Sprintf("process 1 is in cgroup %q, the agent's own", h.First)
}

// HostPID finds out whether the processes of the node can be seen. Without
// hostPID: true procfs is consistent too, but shows the processes of the agent's
// own container, or pod, alone: the first of them tells, or else one that is in
// another pod.
//
// What it can't tell is an agent whose image has an init system that makes
// cgroups in a private namespace: that looks as a node does.
func (l *Locator) HostPID(ctx context.Context) (HostPID, error) {
	agent, err := l.cgroupOf("self", nil)
	if err != nil {
		return HostPID{}, err
	}
	first, err := l.cgroupOf("1", nil)
	if err != nil {
		return HostPID{}, err
	}
	// On a machine without systemd the agent and process 1 may be in the same
	// cgroups, as in a container.
	if l.seesKernelThreads() {
		return HostPID{Visible: true, KernelThread: true}, nil
	}
	var best HostPID
	found := false
	for _, f := range first {
		own, ok := pathOf(agent, f.hierarchy)
		if !ok {
			continue
		}
		near, err := nearness(own, f.path)
		if err != nil {
			return HostPID{}, err
		}
		h := HostPID{Visible: near == elsewhere, Hierarchy: f.hierarchy, First: f.path, Agent: own, pod: near == inOwnPod}
		if h.Visible {
			return h, nil
		}
		// A path that names the pod says more than "/".
		if !found || (h.pod && !best.pod) || (best.First == "/" && !best.pod) {
			best, found = h, true
		}
	}
	if !found {
		return HostPID{}, fmt.Errorf("%w: process 1 is in no cgroup hierarchy that the agent is in", ErrMalformed)
	}
	// A node that is a container itself, without systemd, may have the agent and
	// process 1 in one cgroup too.
	best.OtherPod, err = l.otherPod(ctx, best.Agent)
	best.Visible = best.OtherPod != 0
	return best, err
}

// otherPod is the first process that is in another pod than the agent, whose
// cgroup is given; 0 where there is none.
func (l *Locator) otherPod(ctx context.Context, agent string) (int32, error) {
	names, err := segments(agent)
	if err != nil {
		return 0, err
	}
	own := l.ownPodUID
	if uid, _, ok := lastPod(names); ok {
		own = uid
	}
	for p, err := range l.Processes(ctx) {
		if err != nil {
			return 0, err
		}
		if uid := p.Ref.PodUID(); uid != "" && uid != own {
			return p.PID, nil
		}
	}
	return 0, nil
}

// near is where process 1 is as seen from the agent.
type near int

const (
	elsewhere near = iota
	inOwnPod
	inOwnContainer
)

// nearness says where process 1 is. The agent's own paths are nobody's evidence
// but its own, so a pod's name is believed wherever it stands in them.
func nearness(agent, first string) (near, error) {
	p, err := relate(agent, first, false)
	if err != nil {
		return elsewhere, err
	}
	if p.own && len(p.rest) == 0 {
		return inOwnContainer, nil
	}
	if !p.sharedKnown {
		// Out of a private namespace: beside the agent there are only its own
		// pod's containers, one of which may be the sandbox, whose process is
		// the first where the pod shares its process namespace.
		if len(p.rest) > 0 {
			if _, _, ok := containerName(p.rest[0]); ok {
				return inOwnPod, nil
			}
		}
		return elsewhere, nil
	}
	own, err := segments(agent)
	if err != nil {
		return elsewhere, err
	}
	if _, i, ok := lastPod(own); ok && i < len(p.shared) {
		return inOwnPod, nil
	}
	return elsewhere, nil
}

// lastPod finds the agent's pod in its own path: the last one, for others are
// around the node where that is a container in a pod.
func lastPod(own []string) (uid string, at int, ok bool) {
	for i := len(own) - 1; i >= 0; i-- {
		above := &scanner{}
		above.enter(own[:i])
		if uid, ok := above.podUID(own[i]); ok {
			return uid, i, true
		}
	}
	return "", 0, false
}

// seesKernelThreads is whether process 2 is the kernel's kthreadd, which it is in
// the machine's own PID namespace and in no other. The flag is the kernel's; no
// process can set it.
func (l *Locator) seesKernelThreads() bool {
	stat, err := readAt(atCWD, l.proc+"/2/stat", maxStat, nil)
	if err != nil || !strings.HasPrefix(string(stat), "2 (") {
		return false
	}
	fields, err := statFields(string(stat))
	if err != nil {
		return false
	}
	const kthread = 0x00200000 // PF_KTHREAD, include/linux/sched.h
	flags, err := strconv.ParseUint(fields[6], 10, 64)
	return err == nil && flags&kthread != 0
}
