package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/pod"
)

// maxIgnored is how many paths are kept that look like a pod's: users make as
// many as they like.
const maxIgnored = 10

// survey looks at all processes, as attestations of them would.
func (x *examination) survey(ctx context.Context) []Check {
	if x.blind != "" {
		return []Check{skipped(KubeletRoot, x.blind), skipped(Containers, x.blind)}
	}
	f := surveyFacts{version: x.version, cgroupRoot: x.Settings.CgroupRoot, pods: x.index != nil}
	f.processes(ctx, x.Locator)
	if x.index != nil && f.err == nil {
		f.running = running(x.index)
		x.confirm(ctx, &f)
		f.leaveOutOwn(x.Settings.OwnPodUID)
	}
	return []Check{judgeRoot(f), judgeContainers(f)}
}

// confirm leaves out the containers that were not found and that the kubelet does
// not list as running any more: they ended meanwhile.
func (x *examination) confirm(ctx context.Context, f *surveyFacts) {
	if len(f.missing()) == 0 {
		return
	}
	later, err := x.list(ctx, x.index.Taken)
	if err != nil {
		return // what is known already will do
	}
	still := running(later)
	for _, id := range f.missing() {
		if _, is := still[id]; !is {
			delete(f.running, id)
		}
	}
}

// listed is a container of the kubelet's list.
type listed struct {
	podUID string
	name   string // for people
}

// running are the containers that the kubelet reports as running, by ID.
func running(index *pod.Index) map[string]listed {
	found := make(map[string]listed)
	for p := range index.All() {
		for _, c := range p.Containers {
			if c.ID != "" && c.Running && !p.Terminal {
				found[c.ID] = listed{p.UID, fmt.Sprintf("%s/%s container %s", p.Namespace, p.Name, c.Name)}
			}
		}
	}
	return found
}

// surveyFacts is what the processes show, and what the kubelet lists.
type surveyFacts struct {
	version    container.CgroupVersion
	cgroupRoot string

	// looked is how many processes were looked at; err is why not at all.
	looked int
	err    error
	// roots are the kubelet's roots as seen from here, located the containers
	// with a process, ignored some of the paths that look like a pod's but prove
	// nothing, unclear why some processes' containers are unknown.
	roots, located, ignored map[string]bool
	unclear                 map[string]bool

	// agent are the agent's own cgroups; private is whether they are those of a
	// namespace of its own, which does not show its container's ID.
	agent   map[string]bool
	private bool

	// pods is whether the kubelet's list is known, running what is in it.
	pods    bool
	running map[string]listed
	// own is the name of the container that was taken for the agent's.
	own string
}

func (f *surveyFacts) processes(ctx context.Context, l *container.Locator) {
	f.roots, f.located, f.ignored, f.unclear, f.agent = map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	for p, err := range l.Processes(ctx) {
		if err != nil {
			f.err = err
			return
		}
		f.looked++
		for _, path := range p.Ignored() {
			if len(f.ignored) < maxIgnored {
				f.ignored[path] = true
			}
		}
		switch {
		case p.Err != nil && len(f.unclear) < maxIgnored:
			f.unclear[fmt.Sprintf("process %d: %v", p.PID, p.Err)] = true
		case !p.Ref.IsZero():
			f.located[p.Ref.ContainerID()] = true
		}
		for _, line := range p.Lines {
			f.agent[line.AgentPath] = true
			f.private = f.private || strings.HasPrefix(line.Path, "/..")
			if line.Meaning == container.MeansContainer && line.KubeletRoot != "" {
				f.roots[line.KubeletRoot] = true
			}
		}
	}
}

// leaveOutOwn leaves out the agent's own container, which is in no pod as far as
// attestation is concerned. It is the one whose ID is in the agent's cgroup; in a
// namespace that hides it, one of the agent's own pod, or the only one missing.
func (f *surveyFacts) leaveOutOwn(podUID string) {
	missing := f.missing()
	for _, id := range missing {
		own := podUID != "" && f.running[id].podUID == podUID
		for path := range f.agent {
			own = own || strings.Contains(path, id)
		}
		own = own || f.private && podUID == "" && len(missing) == 1
		if own {
			f.own = f.running[id].name
			delete(f.running, id)
		}
	}
}

// missing are the IDs of running containers without a process, sorted.
func (f *surveyFacts) missing() (ids []string) {
	for id := range f.running {
		if !f.located[id] {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// found is how many running containers have a process.
func (f *surveyFacts) found() int { return len(f.running) - len(f.missing()) }

func judgeRoot(f surveyFacts) Check {
	const (
		// No value to paste: whoever made the path may have made it for that.
		compare = "compare cgroupRoot (--cgroup-root) in the kubelet's own configuration with cgroup_root here: they must be the same for an agent outside of the kubelet's root; " +
			"take no value from a path that you found on the node"
		forged = "either somebody made a cgroup with a pod's name, to be taken for that pod, or the kubelet runs with --cgroup-root"
	)
	ignored := slices.Sorted(maps.Keys(f.ignored))
	switch {
	case f.err != nil:
		return failed(KubeletRoot, "the processes of this node can't be looked at: "+f.err.Error(), "mount procfs at /proc as the kernel gives it, and let podseal read it as root")
	case f.pods && len(f.running) > 0 && f.found() == 0:
		finding := fmt.Sprintf("the kubelet lists %s, but not one of the %d processes that are visible here is in one of them",
			count(len(f.running), "running container"), f.looked)
		if f.cgroupRoot != "" {
			finding += fmt.Sprintf("; cgroup_root is %q", f.cgroupRoot)
		}
		return failed(KubeletRoot, finding, "set hostPID: true in the agent's pod if it is not; otherwise "+compare, ignoredDetails(ignored)...)
	case len(ignored) > 0:
		return warning(KubeletRoot, fmt.Sprintf("the cgroup %q is named like a pod's, but is not where this node's kubelet makes them, and is not believed: %s", ignored[0], forged), compare, ignoredDetails(ignored)...)
	case len(f.roots) == 0:
		return skipped(KubeletRoot, "no process here is in a pod, so that nothing shows the kubelet's root")
	}
	return ok(KubeletRoot, fmt.Sprintf("cgroup %s; the kubelet's root is %s as seen from here", f.version, strings.Join(slices.Sorted(maps.Keys(f.roots)), " or ")))
}

func ignoredDetails(paths []string) (details []string) {
	for _, path := range paths {
		details = append(details, fmt.Sprintf("not believed: %q", path))
	}
	return details
}

func judgeContainers(f surveyFacts) Check {
	missing := f.missing()
	more := slices.Sorted(maps.Keys(f.unclear))
	if f.own != "" {
		more = append([]string{"taken for the agent's own, whose processes are not attested: " + f.own}, more...)
	}
	switch {
	case f.err != nil || f.pods && len(f.running) > 0 && f.found() == 0:
		return skipped(Containers, because(KubeletRoot))
	case !f.pods:
		return skipped(Containers, "not looked at, because the kubelet's list of pods is not known")
	case len(f.running) == 0:
		return skipped(Containers, "the kubelet lists no running container besides the agent's own")
	case len(missing) > 0:
		var details []string
		for _, id := range missing {
			details = append(details, fmt.Sprintf("no process found: %s (%s)", f.running[id].name, id))
		}
		slices.Sort(details)
		return warning(Containers, fmt.Sprintf("%d of %s have a process that was found here; not %s", f.found(), count(len(f.running), "running container"), f.running[missing[0]].name),
			"look at the containers that are named: those of a sandboxed runtime (gVisor, Kata) have no process on the node and can't be attested; others may be ending", append(details, more...)...)
	}
	return ok(Containers, fmt.Sprintf("a process of every one of %s was found here", count(len(f.running), "running container")), more...)
}
