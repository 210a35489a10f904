package container_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/container/containertest"
)

// lines are those of process 42 in such cgroups.
func lines(t *testing.T, agent, process string, o container.Options) ([]container.Line, *container.Process, error) {
	t.Helper()
	proc := machine(t, agent, v2("/init.scope"))
	proc.Start(42, "/")
	proc.Write(42, "cgroup", process)
	o.Proc = proc.Dir
	l, err := container.NewLocator(o)
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.Open(42)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	_, err = p.Ref()
	return p.Lines(), p, err
}

func TestTheKubeletsRootAsSeenFromHere(t *testing.T) {
	t.Parallel()
	slice := "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + escU + ".slice/cri-containerd-" + idB + ".scope"
	for _, test := range []struct{ name, agent, path, root, want string }{
		{name: "cgroupfs", agent: onHost, path: "/kubepods/burstable/pod" + uidU + "/" + idB, want: "/kubepods"},
		{name: "cgroupfs, guaranteed", agent: onHost, path: "/kubepods/pod" + uidU + "/" + idB, want: "/kubepods"},
		{name: "cgroupfs, agent in a pod of the same class", agent: inPodFS, path: "/kubepods/burstable/pod" + uidU + "/" + idB, want: "/kubepods"},
		{name: "cgroupfs, agent in a pod of another class", agent: inPodFS, path: "/kubepods/besteffort/pod" + uidU + "/" + idB, want: "/kubepods"},
		{name: "cgroupfs, the agent's own pod", agent: inPodFS, path: "/kubepods/burstable/pod" + uidV + "/" + idB, want: "/kubepods"},
		{name: "systemd", agent: onHost, path: slice, want: "/kubepods.slice"},
		{name: "systemd, agent in a pod", agent: inPodSD, path: slice, want: "/kubepods.slice"},
		{name: "systemd, the agent's own pod", agent: inPodSD, path: strings.Replace(inPodSD, idA, idB, 1), want: "/kubepods.slice"},
		{name: "private namespace, another class", agent: "/", path: "/../../../besteffort/pod" + uidU + "/" + idB, want: "/../../.."},
		{name: "private namespace, guaranteed", agent: "/", path: "/../../../pod" + uidU + "/" + idB, want: "/../../.."},
		{name: "private namespace, systemd, another class", agent: "/", path: "/../../../kubepods-besteffort.slice/kubepods-besteffort-pod" + escU + ".slice/cri-containerd-" + idB + ".scope", want: "/../../.."},
		{name: "private namespace, the same class hides it", agent: "/", path: "/../../pod" + uidU + "/" + idB, want: "/../.."},
		{name: "private namespace, the agent's own pod", agent: "/", path: "/../" + idB},
		{name: "own cgroup root", agent: onHost, path: "/reviewsec/kubepods/besteffort/pod" + uidU + "/" + idB, root: "/reviewsec", want: "/reviewsec/kubepods"},
		{name: "kind", agent: onHost, path: "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" + escU + ".slice/cri-containerd-" + idB + ".scope", want: "/kubelet.slice/kubelet-kubepods.slice"},
		{name: "kind on v1", agent: "/docker/" + idC + "/kubelet/kubepods/besteffort/pod" + uidV + "/" + idA, path: "/docker/" + idC + "/kubelet/kubepods/burstable/pod" + uidU + "/" + idB, want: "/docker/" + idC + "/kubelet/kubepods"},
		{name: "what is below the container does not matter", agent: onHost, path: "/kubepods/pod" + uidU + "/" + idB + "/kubepods/burstable/pod" + uidV + "/" + idD, want: "/kubepods"},
		{name: "a helper of the runtime", agent: onHost, path: "/kubepods/besteffort/pod" + uidU + "/crio-conmon-" + idB + ".scope", want: "/kubepods"},
		{name: "colon form", agent: onHost, path: "/system.slice/containerd.service/kubepods-besteffort-pod" + escU + ".slice:cri-containerd:" + idB},
		{name: "a forged place", agent: onHost, path: "/user.slice/user@1000.service/kubepods/pod" + uidU + "/" + idB},
		{name: "the host", agent: onHost, path: "/"},
		{name: "an error", agent: onHost, path: "/kubepods//x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, _, _ := lines(t, v2(test.agent), v2(test.path), container.Options{CgroupRoot: test.root})
			if len(got) != 1 || got[0].KubeletRoot != test.want {
				t.Errorf("the kubelet's root is %q, want %q", got[0].KubeletRoot, test.want)
			}
		})
	}
}

func TestWhatEachLineMeans(t *testing.T) {
	t.Parallel()
	u := "/kubepods/pod" + uidU + "/" + idB
	conmon := "/kubepods/pod" + uidU + "/crio-conmon-" + idB + ".scope"
	beside := "/machine.slice/" + idC
	delegated := "/user.slice/user-1000.slice/user@1000.service" + u
	agent := hierarchies("cpu,cpuacct", onHost, "memory", inPodFS, "name=systemd", "/machine.slice/vm", "", onHost)
	for _, test := range []struct {
		name, process string
		want          []container.Line
		why           []string
		ignored       []string
		err           error
	}{
		{
			name:    "a container, what the host has, the agent's own",
			process: hierarchies("cpu,cpuacct", u, "memory", inPodFS, "", onHost+"/x", "name=systemd", beside),
			want: []container.Line{
				{Hierarchy: "cpu,cpuacct", Path: u, AgentPath: onHost, Meaning: container.MeansContainer, PodUID: uidU, ContainerID: idB, KubeletRoot: "/kubepods"},
				{Hierarchy: "memory", Path: inPodFS, AgentPath: inPodFS, Meaning: container.MeansOwn},
				{Path: onHost + "/x", AgentPath: onHost, Meaning: container.MeansOwn},
				{Hierarchy: "name=systemd", Path: beside, AgentPath: "/machine.slice/vm", Meaning: container.MeansHost},
			},
			why: []string{"a container of a pod", "the agent's own cgroup", "below the agent's own cgroup", "a container beside the agent, which is in no pod itself"},
		},
		{
			name:    "a misplaced name and the host",
			process: hierarchies("cpu,cpuacct", delegated, "", "/init.scope"),
			want: []container.Line{
				{Hierarchy: "cpu,cpuacct", Path: delegated, AgentPath: onHost, Meaning: container.MeansMisplaced},
				{Path: "/init.scope", AgentPath: onHost, Meaning: container.MeansHost},
			},
			why:     []string{"named like a pod's, but not where this node's kubelet makes them", "a process of the host"},
			ignored: []string{delegated},
		},
		{
			name:    "a delegated hierarchy can't decide",
			process: hierarchies("cpu,cpuacct", "/", "", u),
			want: []container.Line{
				{Hierarchy: "cpu,cpuacct", Path: "/", AgentPath: onHost, Meaning: container.MeansHost},
				{Path: u, AgentPath: onHost, Meaning: container.MeansUndecided, PodUID: uidU, ContainerID: idB, KubeletRoot: "/kubepods"},
			},
			why:     []string{"a process of the host", "a pod's, but users may be given cgroups of this hierarchy, and no v1 controller's line says the same"},
			ignored: []string{u},
		},
		{
			name:    "a line without the pod is outweighed",
			process: hierarchies("cpu,cpuacct", "/system.slice/crio-"+idC+".scope", "memory", u),
			want: []container.Line{
				{Hierarchy: "cpu,cpuacct", Path: "/system.slice/crio-" + idC + ".scope", AgentPath: onHost, Meaning: container.MeansOutweighed, ContainerID: idC},
				{Hierarchy: "memory", Path: u, AgentPath: inPodFS, Meaning: container.MeansContainer, PodUID: uidU, ContainerID: idB, KubeletRoot: "/kubepods"},
			},
			why: []string{"a container, but another line names the pod too", "a container of a pod"},
		},
		{
			name:    "an error ends it",
			process: hierarchies("cpu,cpuacct", "/", "memory", conmon, "", u),
			want: []container.Line{
				{Hierarchy: "cpu,cpuacct", Path: "/", AgentPath: onHost, Meaning: container.MeansHost},
				{Hierarchy: "memory", Path: conmon, AgentPath: inPodFS, Meaning: container.MeansNothing, PodUID: uidU, KubeletRoot: "/kubepods", Err: container.ErrNoContainer},
			},
			why: []string{"a process of the host", container.ErrNoContainer.Error() + `: pod UID "` + uidU + `", cgroup "crio-conmon-` + idB + `.scope"`},
			err: container.ErrNoContainer,
		},
		{
			name:    "two answers are both shown",
			process: hierarchies("cpu,cpuacct", u, "memory", "/kubepods/pod"+uidV+"/"+idC),
			want: []container.Line{
				{Hierarchy: "cpu,cpuacct", Path: u, AgentPath: onHost, Meaning: container.MeansContainer, PodUID: uidU, ContainerID: idB, KubeletRoot: "/kubepods"},
				{Hierarchy: "memory", Path: "/kubepods/pod" + uidV + "/" + idC, AgentPath: inPodFS, Meaning: container.MeansContainer, PodUID: uidV, ContainerID: idC, KubeletRoot: "/kubepods"},
			},
			why: []string{"a container of a pod", "a container of a pod"},
			err: &container.ConflictError{},
		},
		{
			name:    "a hierarchy that the agent is not in",
			process: hierarchies("pids", u),
			want:    []container.Line{{Hierarchy: "pids", Path: u, Meaning: container.MeansNothing, Err: container.ErrMalformed}},
			why:     []string{`unable to obtain cgroups: hierarchy "pids" is not in the agent's own cgroup file`},
			err:     container.ErrMalformed,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, p, err := lines(t, agent, test.process, container.Options{})
			_, conflict := errors.AsType[*container.ConflictError](err)
			_, wantConflict := errors.AsType[*container.ConflictError](test.err)
			if conflict != wantConflict || (!conflict && !errors.Is(err, test.err)) || (err == nil) != (test.err == nil) {
				t.Errorf("error = %v, want %v", err, test.err)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.IgnoreUnexported(container.Line{}), cmpopts.EquateErrors()); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			var why []string
			for _, l := range got {
				why = append(why, l.Why())
			}
			if diff := cmp.Diff(test.why, why); diff != "" {
				t.Errorf("why (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.ignored, p.Ignored()); diff != "" {
				t.Errorf("ignored (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHierarchiesHaveANameToPrint(t *testing.T) {
	t.Parallel()
	if got := (container.Line{}).HierarchyName(); got != "v2" {
		t.Errorf("name of v2 = %q", got)
	}
	if got := (container.Line{Hierarchy: "name=systemd"}).HierarchyName(); got != "name=systemd" {
		t.Errorf("name = %q", got)
	}
}

func TestVerboseLogsTheSameLines(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	u := "/kubepods/pod" + uidU + "/" + idB
	_, _, err := lines(t, hierarchies("memory", onHost, "", onHost), hierarchies("memory", u, "", "/x"), container.Options{
		Verbose: true,
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `level=DEBUG msg="cgroup line" pid=42 hierarchy=memory path=` + u + ` pod_uid=` + uidU + ` container_id=` + idB + ` ignored=false why="a container of a pod"
level=DEBUG msg="cgroup line" pid=42 hierarchy="" path=/x pod_uid="" container_id="" ignored=false why="a process of the host"
`
	if diff := cmp.Diff(want, log.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestTheFactsOfAProcess(t *testing.T) {
	t.Parallel()
	l, err := container.NewLocator(container.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.Open(int32(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	started, err := p.Started()
	// The race detector's start-up and a slow machine are generously within.
	if age := time.Since(started); err != nil || age < 0 || age > time.Hour {
		t.Errorf("this process started %s ago, %v", age, err)
	}
	if p.PID() != int32(os.Getpid()) || !strings.Contains("RSD", p.State()) {
		t.Errorf("PID %d in state %q, want %d, running or sleeping", p.PID(), p.State(), os.Getpid())
	}
}

func TestTheFilesThatWereReadAreNamed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, agent string
		want        []string
	}{
		{"agent on the host", onHost, []string{"42/stat", "42/cgroup", "self/cgroup"}},
		{"agent at a root", "/", []string{"42/stat", "42/cgroup", "self/cgroup", "1/cgroup"}},
	} {
		proc := machine(t, v2(test.agent), v2("/init.scope"))
		proc.Start(42, inPod)
		p, err := proc.Locator().Open(42)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if got := relative(t, proc, p.Files()); len(got) != 2 {
			t.Errorf("%s: before Ref %q were read", test.name, got)
		}
		if _, err := p.Ref(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, relative(t, proc, p.Files())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func relative(t *testing.T, proc *containertest.Proc, files []string) []string {
	t.Helper()
	var names []string
	for _, f := range files {
		name, err := filepath.Rel(proc.Dir, f)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}
