package container

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The grammar of what is below the part of a path that is shared with the agent:
//
//	rest  := [K] [Q] POD CTR tail | CTR tail (agent's own pod) | COLON tail
//	K     := [cgroup_root | kubelet] /kubepods  |  [kubelet.slice] /<prefix->kubepods.slice
//	Q     := burstable | besteffort | <K>-burstable.slice | <K>-besteffort.slice
//	POD   := "pod" UID  |  <name of the parent slice>"-pod" UID ".slice"
//	CTR   := HEX64 | (cri-containerd|crio|docker|libpod)-HEX64[.scope]
//	COLON := <K[-qos]>-pod<UID>.slice:<runtime>:HEX64   at the start, or after [system.slice/]<runtime>.service
//
// The tail was made by the container's own processes and is never read.

// found is what one path says.
type found struct {
	podUID      string // empty where the path does not tell
	containerID string // empty: in no pod
	// scope is whether the container's name is a systemd scope directly below
	// what is shared with the agent, as where the kubelet makes no pod cgroups.
	scope bool
	// ignored is the path where a name further down looks like a pod's.
	ignored bool
	// beside is the path of a container beside an agent that is in no pod.
	beside bool
	// pod is how many names of the rest end with the pod's; 0 where the rest
	// has no name that is the pod's alone.
	pod int
}

var (
	hex64     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	kubepods  = regexp.MustCompile(`^(?:[a-z0-9_]+-)*kubepods$`)
	qosOrRoot = regexp.MustCompile(`^(?:[a-z0-9_]+-)*kubepods(?:-burstable|-besteffort)?$`)
	colonForm = regexp.MustCompile(`^(?:[a-z0-9_]+-)*kubepods(?:-burstable|-besteffort)?-pod([A-Za-z0-9_.]+)\.slice:(?:cri-containerd|crio|docker):([0-9a-f]{64})$`)

	// podLike finds what somebody may have meant as a pod's name, for the
	// warning only.
	podLike = regexp.MustCompile(`(?:^|-)pod(?:[0-9a-fA-F]{8}[-_](?:[0-9a-fA-F]{4}[-_]){3}[0-9a-fA-F]{12}|[0-9a-f]{32})(?:\.slice(?::|$)|$)`)
)

// qosClasses are those with a cgroup of their own: guaranteed pods are in the
// kubelet's root itself.
var qosClasses = []string{"burstable", "besteffort"}

// runtimeServices are the units below which runtimes with the cgroupfs driver
// put containers of a kubelet with the systemd driver. Other services may be
// delegated to users, who then choose the names below them.
var runtimeServices = []string{"containerd.service", "crio.service", "docker.service"}

// locate says what the path means. root is the kubelet's --cgroup-root as names.
// With an error the answer holds what was read of it, for people.
func locate(p place, root []string) (found, error) {
	if p.own || len(p.rest) == 0 {
		return found{}, nil
	}
	if f, ok := locateColon(p.rest); ok {
		return f, nil
	}
	s := &scanner{rest: p.rest}
	s.start(p)
	s.kubeletRoot(root)
	s.qos()
	above := len(p.rest) - len(s.rest)
	f, inPod, err := s.pod()
	if inPod || err != nil {
		f.pod = above + 1
		return f, err
	}
	id, scope, beside := containerName(p.rest[0])
	beside = beside && p.outside
	if beside {
		uid := ownPod(p)
		// Where the agent sees that it is in no pod itself, a container beside
		// it is in none either, save where the kubelet makes no pod cgroups.
		if uid != "" || scope || !p.sharedKnown {
			return found{podUID: uid, containerID: id, scope: scope}, nil
		}
	}
	return found{ignored: slices.ContainsFunc(p.rest, podLike.MatchString), beside: beside}, nil
}

// locateColon reads the form "slice:runtime:container".
func locateColon(rest []string) (found, bool) {
	if len(rest) > 1 && rest[0] == "system.slice" {
		rest = rest[1:]
		if !slices.Contains(runtimeServices, rest[0]) {
			return found{}, false
		}
	}
	if len(rest) > 1 && slices.Contains(runtimeServices, rest[0]) {
		rest = rest[1:]
	}
	m := colonForm.FindStringSubmatch(rest[0])
	if m == nil {
		return found{}, false
	}
	return found{podUID: canonicalUID(m[1]), containerID: m[2]}, true
}

// scanner reads [K] [Q] POD CTR from the left. Every step either takes a name
// or leaves the scanner as it was.
type scanner struct {
	rest []string

	// A slice's name begins with its parent's. slice is the name, without the
	// suffix, of the slice that rest[0] is in: "" at the root of a tree of
	// slices. It means nothing while unknown, which is so when the agent is in
	// a private namespace and until the first name was taken.
	slice   string
	unknown bool
	// fs is the name of the directory that rest[0] is in where that is one of
	// the cgroupfs driver's.
	fs string
}

// start says where the scanner stands before it took any name.
func (s *scanner) start(p place) {
	if !p.sharedKnown {
		s.unknown = true
		return
	}
	s.enter(p.shared)
}

// enter moves the scanner below the last of the names.
func (s *scanner) enter(names []string) {
	s.unknown, s.slice, s.fs = false, "", ""
	if len(names) == 0 {
		return
	}
	last := names[len(names)-1]
	if name, ok := strings.CutSuffix(last, ".slice"); ok {
		s.slice = name
		return
	}
	s.fs = last
}

// take takes n names.
func (s *scanner) take(n int) {
	s.enter(s.rest[:n])
	s.rest = s.rest[n:]
}

// kubeletRoot takes [cgroup_root | kubelet] kubepods, or the same as slices.
func (s *scanner) kubeletRoot(root []string) {
	was, literal := *s, false
	switch {
	case len(root) > 0 && hasPrefix(s.rest, root):
		s.take(len(root))
		literal = true
	case len(root) > 0 && hasPrefix(s.rest, asSlices(root)):
		s.take(len(root))
	case s.rest[0] == "kubelet", s.rest[0] == "kubelet.slice":
		s.take(1)
	}
	if len(s.rest) > 0 {
		if s.rest[0] == "kubepods" && (s.slice == "" || literal) {
			s.take(1)
			return
		}
		if name, ok := strings.CutSuffix(s.rest[0], ".slice"); ok && s.fits(name, kubepods, "kubepods") {
			s.take(1)
			return
		}
	}
	*s = was
}

// qos takes the name of a QoS class.
func (s *scanner) qos() {
	if len(s.rest) == 0 {
		return
	}
	for _, class := range qosClasses {
		if s.rest[0] == class && (s.unknown || s.fs == "kubepods") {
			s.take(1)
			return
		}
		parent, ok := strings.CutSuffix(s.rest[0], "-"+class+".slice")
		if ok && kubepods.MatchString(parent) && (s.unknown || s.slice == parent) {
			s.take(1)
			return
		}
	}
}

// pod takes the pod and its container. With an error it returns the pod's UID.
func (s *scanner) pod() (found, bool, error) {
	if len(s.rest) == 0 {
		return found{}, false, nil
	}
	uid, ok := s.podUID(s.rest[0])
	if !ok {
		return found{}, false, nil
	}
	if uid == "" {
		return found{}, false, fmt.Errorf("%w: the pod's cgroup %q has no UID", ErrMalformed, s.rest[0])
	}
	if len(s.rest) == 1 {
		return found{podUID: uid}, false, fmt.Errorf("%w: pod UID %q", ErrNoContainer, uid)
	}
	id, _, ok := containerName(s.rest[1])
	if !ok {
		// A helper of the runtime, such as CRI-O's conmon, is in the pod's
		// cgroup but is not the pod's workload.
		return found{podUID: uid}, false, fmt.Errorf("%w: pod UID %q, cgroup %q", ErrNoContainer, uid, s.rest[1])
	}
	return found{podUID: uid, containerID: id}, true, nil
}

// podUID returns the UID of a pod's name where one may stand.
func (s *scanner) podUID(name string) (string, bool) {
	if name, ok := strings.CutSuffix(name, ".slice"); ok {
		parent, uid, ok := cutLast(name, "-pod")
		if !ok || strings.Contains(uid, "-") || !qosOrRoot.MatchString(parent) {
			return "", false
		}
		return canonicalUID(uid), s.unknown || s.slice == parent
	}
	uid, ok := strings.CutPrefix(name, "pod")
	if !ok {
		return "", false
	}
	switch {
	case s.unknown, s.fs == "kubepods", s.fs == "burstable", s.fs == "besteffort":
		return canonicalUID(uid), true
	}
	return "", false
}

// fits is whether a slice may have that name here: the last word, with the
// parent's name before it.
func (s *scanner) fits(name string, pattern *regexp.Regexp, last string) bool {
	switch {
	case s.fs != "":
		// A tree of slices of its own begins below a directory that is no
		// slice: a node that is a container.
		return name == last
	case s.unknown:
		return pattern.MatchString(name)
	case s.slice == "":
		return name == last
	}
	return name == s.slice+"-"+last
}

// ownPod returns the UID of the agent's own pod where the shared part of the
// path shows it.
func ownPod(p place) string {
	if !p.sharedKnown || len(p.shared) == 0 {
		return ""
	}
	above := &scanner{}
	above.enter(p.shared[:len(p.shared)-1])
	uid, _ := above.podUID(p.shared[len(p.shared)-1])
	return uid
}

// containerName returns the ID that a container's cgroup is named after, and
// whether the name is that of a systemd scope.
func containerName(name string) (id string, scope, ok bool) {
	id, scope = strings.CutSuffix(name, ".scope")
	for _, runtime := range []string{"cri-containerd-", "crio-", "docker-", "libpod-"} {
		if bare, prefixed := strings.CutPrefix(id, runtime); prefixed {
			return bare, scope, hex64.MatchString(bare)
		}
	}
	return id, false, !scope && hex64.MatchString(id)
}

// canonicalUID undoes the escaping of the systemd driver. A UID with "_" is
// refused by the kubelet, so there is only one that it can stand for.
func canonicalUID(uid string) string { return strings.ReplaceAll(uid, "_", "-") }

// asSlices is how the kubelet's systemd driver spells a cgroup root: /a/b is
// a.slice/a-b.slice, and a "-" of a name is escaped as "_".
func asSlices(root []string) []string {
	slices := make([]string, len(root))
	name := ""
	for i, r := range root {
		if i > 0 {
			name += "-"
		}
		name += strings.ReplaceAll(r, "-", "_")
		slices[i] = name + ".slice"
	}
	return slices
}

func hasPrefix(names, prefix []string) bool {
	return len(names) >= len(prefix) && slices.Equal(names[:len(prefix)], prefix)
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
