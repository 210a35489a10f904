package container

import "context"

// Resolve is what Ref does, from the texts of the cgroup files of the process,
// the agent and the first process, without a proc file system.
func Resolve(process, agent, outer, root, ownPodUID string) (Ref, error) {
	lines, err := parseCgroup(process)
	if err != nil {
		return Ref{}, err
	}
	o := own{podUID: ownPodUID}
	if o.lines, err = parseCgroup(agent); err != nil {
		return Ref{}, err
	}
	if outer != "" {
		if o.outer, err = parseCgroup(outer); err != nil {
			return Ref{}, err
		}
	}
	var names []string
	if root != "" {
		if names, err = segments(root); err != nil {
			return Ref{}, err
		}
	}
	ref, _, err := resolve(lines, o, names)
	return ref, err
}

// ParseStat is parseStat.
var ParseStat = parseStat

// CountProcesses surveys at most limit processes and returns how many live.
func (l *Locator) CountProcesses(ctx context.Context, limit int) (int, error) {
	n := 0
	err := l.survey(ctx, limit, func(Located) bool { n++; return true })
	return n, err
}
