package container

import (
	"errors"
	"fmt"
	"strings"
)

// maxCgroupFile bounds what is read of a cgroup file: a dozen hierarchies with
// paths of at most PATH_MAX bytes each.
const maxCgroupFile = 256 << 10

// line is one line of /proc/<pid>/cgroup, cgroups(7).
type line struct {
	// hierarchy names the hierarchy as it does in every process's file: the
	// controllers of a v1 hierarchy ("cpu,cpuacct", "name=systemd"), nothing
	// for v2.
	hierarchy string
	path      string
}

// parseCgroup reads a cgroup file.
func parseCgroup(text string) ([]line, error) {
	lines := make([]line, 0, strings.Count(text, "\n"))
	for l := range strings.Lines(text) {
		l, ended := strings.CutSuffix(l, "\n")
		if !ended {
			return nil, fmt.Errorf("%w: line %d is cut off", ErrMalformed, len(lines)+1)
		}
		_, rest, ok := strings.Cut(l, ":")
		hierarchy, path, ok2 := strings.Cut(rest, ":")
		if !ok || !ok2 {
			return nil, fmt.Errorf("%w: line %q is not of the form ID:controllers:path", ErrMalformed, l)
		}
		lines = append(lines, line{hierarchy, path})
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("%w: the file is empty", ErrMalformed)
	}
	return lines, nil
}

// pathOf returns the path of a hierarchy.
func pathOf(lines []line, hierarchy string) (string, bool) {
	for _, l := range lines {
		if l.hierarchy == hierarchy {
			return l.path, true
		}
	}
	return "", false
}

// isResource is whether the line is that of a v1 hierarchy with one of the
// controllers that container runtimes put every container into and that no user
// can be given a part of. name=systemd and v2 are handed to users by systemd.
func (l line) isResource() bool {
	for c := range strings.SplitSeq(l.hierarchy, ",") {
		switch c {
		case "cpu", "memory", "pids", "devices", "freezer":
			return true
		}
	}
	return false
}

// segments splits a path into its names. The root has none.
func segments(path string) ([]string, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("%w: path %q does not begin with /", ErrMalformed, path)
	}
	// The kernel says so of a cgroup that was removed under the process. Which
	// pod that had been is for nobody to say: a new one may have its name.
	if strings.HasSuffix(path, " (deleted)") {
		return nil, fmt.Errorf("%w: the process's cgroup %q was removed", ErrMalformed, path)
	}
	if path == "/" {
		return nil, nil
	}
	names := strings.Split(path[1:], "/")
	for _, name := range names {
		if name == "" {
			return nil, fmt.Errorf("%w: path %q has an empty segment", ErrMalformed, path)
		}
	}
	return names, nil
}

// place is where a path lies as seen from the agent's own cgroup.
type place struct {
	// own is whether the path is the agent's own cgroup or lies below it.
	own bool
	// outside is whether the path leads out of the agent's own cgroup. It does
	// not for what lies below a node's root that the agent is at itself.
	outside bool
	// shared are the names that path and agent have in common. They are known
	// only where the agent sees them, outside a private cgroup namespace.
	shared []string
	// sharedKnown is whether shared is known.
	sharedKnown bool
	// rest are the names below what is shared.
	rest []string
}

// relate reads a path relative to the agent's own cgroup of the same hierarchy.
// Nobody but the kubelet, and root on the node, makes cgroups beside the ones
// that lead to the agent; that is what makes the first name of the rest evidence.
//
// nested says that the agent's namespace is rooted below the node's: then every
// path that does not lead out of it ("/..") is the agent's own container.
func relate(agent, path string, nested bool) (place, error) {
	names, err := segments(path)
	if err != nil {
		return place{}, err
	}
	if len(names) > 0 && names[0] == ".." {
		for len(names) > 0 && names[0] == ".." {
			names = names[1:]
		}
		for _, name := range names {
			if name == ".." {
				return place{}, fmt.Errorf("%w: path %q has \"..\" in the middle", ErrMalformed, path)
			}
		}
		return place{outside: true, rest: names}, nil
	}
	for _, name := range names {
		if name == ".." {
			return place{}, fmt.Errorf("%w: path %q has \"..\" in the middle", ErrMalformed, path)
		}
	}

	own, err := segments(agent)
	if err != nil {
		return place{}, fmt.Errorf("the agent's own cgroup: %w", err)
	}
	if len(own) > 0 && own[0] == ".." {
		return place{}, errors.New("the agent's own cgroup lies outside its cgroup namespace: start the agent again")
	}
	n := 0
	for n < len(own) && n < len(names) && own[n] == names[n] {
		n++
	}
	p := place{outside: n < len(own), shared: names[:n], sharedKnown: true, rest: names[n:]}
	// At "/" the agent is either at the node's root, below which all pods are,
	// or at the root of its container's namespace.
	p.own = n == len(own) && (n > 0 || nested || len(names) == 0)
	return p, nil
}
