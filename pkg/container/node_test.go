package container_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/container/containertest"
)

// machine is a proc file system with the cgroup files of the agent and of the
// first process.
func machine(t *testing.T, agent, first string) *containertest.Proc {
	t.Helper()
	proc := containertest.NewProc(t)
	proc.Write(os.Getpid(), "cgroup", agent)
	proc.Write(1, "cgroup", first)
	return proc
}

// TestHostPID has the places where agents live of LOCATING's table, each with
// what process 1 is there with the node's processes in sight and without.
func TestHostPID(t *testing.T) {
	t.Parallel()
	sandbox := func(agent string) string {
		return strings.Replace(agent, idA, idC, 1)
	}
	kindFS := "/docker/" + idC + "/kubelet/kubepods/besteffort/pod" + uidV + "/" + idA
	inner := "/kubepods/burstable/pod" + uidU + "/" + idB
	for _, test := range []struct {
		name         string
		agent, first string
		visible      bool
		why          string
	}{
		{"on the host", v2(onHost), v2("/init.scope"), true, `"/init.scope", outside the agent's container and pod`},
		{"on the host, process 1 at the root", v2(onHost), v2("/"), true, `outside`},
		{"on the host, in a session", v2("/user.slice/user-0.slice/session-1.scope"), v2("/init.scope"), true, `outside`},
		{"at the node's root", v2("/"), v2("/init.scope"), true, `outside`},

		{"in a pod, cgroupfs, hostPID", v2(inPodFS), v2("/init.scope"), true, `outside`},
		{"in a pod, cgroupfs, hostPID, process 1 at the root", v2(inPodFS), v2("/"), true, `outside`},
		{"in a pod, cgroupfs", v2(inPodFS), v2(inPodFS), false, `the agent's own`},
		{"in a pod, cgroupfs, below its container", v2(inPodFS + "/agent"), v2(inPodFS + "/init"), false, `in the agent's own pod`},
		{"in a pod, cgroupfs, process 1 below its container", v2(inPodFS), v2(inPodFS + "/init"), false, `in the agent's own pod`},
		{"in a pod, cgroupfs, shareProcessNamespace", v2(inPodFS), v2(sandbox(inPodFS)), false, `in the agent's own pod`},
		{"in a guaranteed pod, shareProcessNamespace", v2("/kubepods/pod" + uidV + "/" + idA), v2("/kubepods/pod" + uidV + "/" + idC), false, `in the agent's own pod`},
		{"in a static pod, shareProcessNamespace", v2("/kubepods/burstable/podea3829ffc6f7ad7d688ac2b0380d39c1/" + idA), v2("/kubepods/burstable/podea3829ffc6f7ad7d688ac2b0380d39c1/" + idC), false, `in the agent's own pod`},
		{"in a pod, systemd, hostPID", v2(inPodSD), v2("/init.scope"), true, `outside`},
		{"in a pod, systemd", v2(inPodSD), v2(inPodSD), false, `the agent's own`},
		{"in a pod, systemd, shareProcessNamespace", v2(inPodSD), v2(sandbox(inPodSD)), false, `in the agent's own pod`},
		{"in a pod, CRI-O, hostPID", v2(inPodCRIO), v2("/init.scope"), true, `outside`},
		{"in a pod, CRI-O", v2(inPodCRIO), v2(inPodCRIO), false, `the agent's own`},
		{"in a pod, CRI-O, shareProcessNamespace", v2(inPodCRIO), v2(sandbox(inPodCRIO)), false, `in the agent's own pod`},

		{"private namespace, hostPID", v2("/"), v2("/../../../../init.scope"), true, `outside`},
		{"private namespace, hostPID, process 1 at the root", v2("/"), v2("/../../../.."), true, `outside`},
		{"private namespace", v2("/"), v2("/"), false, `"/", the agent's own`},
		{"private namespace, shareProcessNamespace, cgroupfs", v2("/"), v2("/../" + idC), false, `in the agent's own pod`},
		{"private namespace, shareProcessNamespace, systemd", v2("/"), v2("/../cri-containerd-" + idC + ".scope"), false, `in the agent's own pod`},
		{"private namespace, shareProcessNamespace, CRI-O", v2("/"), v2("/../../crio-" + idC + ".scope/container"), false, `in the agent's own pod`},

		{"own cgroup root, hostPID", v2("/reviewsec/kubepods/burstable/pod" + uidV + "/" + idA), v2("/init.scope"), true, `outside`},
		{"own cgroup root", v2("/reviewsec/kubepods/burstable/pod" + uidV + "/" + idA), v2("/reviewsec/kubepods/burstable/pod" + uidV + "/" + idC), false, `in the agent's own pod`},

		{"kind, in the node", v2("/system.slice/spire-agent.service"), v2("/init.scope"), true, `outside`},
		{"kind, in the node, by hand", v2("/"), v2("/init.scope"), true, `outside`},
		{"kind, in a pod, private namespace, hostPID", v2("/"), v2("/../../../../../init.scope"), true, `outside`},
		{"kind on v1, in a pod, hostPID", v2(kindFS), v2("/docker/" + idC + "/init.scope"), true, `outside`},
		{"kind on v1, in a pod, hostPID, process 1 in the node's cgroup", v2(kindFS), v2("/docker/" + idC), true, `outside`},
		{"kind on v1, in a pod", v2(kindFS), v2(kindFS), false, `the agent's own`},
		{"kind on v1, in the node, by hand", v2("/docker/" + idC), v2("/docker/" + idC + "/init.scope"), true, `outside`},
		{"a kubelet in a pod, inner agent, hostPID", v2(inner + "/kubelet/kubepods/pod" + uidV + "/" + idA), v2(inner + "/init.scope"), true, `outside`},
		{"a kubelet in a pod, inner agent, shareProcessNamespace", v2(inner + "/kubelet/kubepods/pod" + uidV + "/" + idA), v2(inner + "/kubelet/kubepods/pod" + uidV + "/" + idC), false, `in the agent's own pod`},

		{"in a container without Kubernetes", v2("/docker/" + idC), v2("/docker/" + idC), false, `the agent's own`},
		{"hybrid, on the host", hierarchies("pids", onHost, "cpu,cpuacct", "/", "name=systemd", onHost, "", "/"), hierarchies("pids", "/", "cpu,cpuacct", "/", "name=systemd", "/init.scope", "", "/"), true, `outside`},
		{"hybrid, in a pod", hierarchies("", "/", "pids", inPodFS, "perf_event", "/"), hierarchies("", "/", "pids", inPodFS, "perf_event", "/"), false, inPodFS},
		{"hybrid, in a pod, shareProcessNamespace", hierarchies("", "/", "pids", inPodFS), hierarchies("", "/", "pids", sandbox(inPodFS)), false, `in the agent's own pod`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := machine(t, test.agent, test.first).Locator().HostPID(t.Context())
			if err != nil || got.Visible != test.visible || !strings.Contains(got.Why(), test.why) {
				t.Errorf("HostPID = %t, %q, %v, want %t, %q", got.Visible, got.Why(), err, test.visible, test.why)
			}
		})
	}
}

// In a node that is a container without systemd the agent and process 1 are in
// one cgroup. Processes of other pods are to be seen with hostPID alone.
func TestAProcessInAnotherPodTellsTheNode(t *testing.T) {
	t.Parallel()
	proc := machine(t, v2("/"), v2("/"))
	if got, err := proc.Locator().HostPID(t.Context()); err != nil || got.Visible {
		t.Errorf("HostPID = %+v, %v, want invisible", got, err)
	}
	proc.Start(70, "/kubepods/burstable/pod"+uidU+"/"+idB)
	got, err := proc.Locator().HostPID(t.Context())
	if err != nil || !got.Visible || got.OtherPod != 70 || !strings.Contains(got.Why(), "process 70 is in another pod") {
		t.Errorf("HostPID = %+v, %q, %v, want process 70", got, got.Why(), err)
	}
	// The agent's own pod proves nothing.
	proc = machine(t, v2(inPodFS), v2(inPodFS))
	proc.Write(1, "cgroup", v2(inPodFS))
	proc.Start(70, strings.Replace(inPodFS, idA, idB, 1))
	if got, err := proc.Locator().HostPID(t.Context()); err != nil || got.Visible {
		t.Errorf("HostPID = %+v, %v, want invisible", got, err)
	}
}

// Without systemd the agent and process 1 may both be at the root, as in a
// container. The kernel's threads are to be seen on the machine alone.
func TestTheKernelsThreadsTellTheMachine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, stat string
		want       bool
	}{
		{"kthreadd", "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 3 0 0 20 0 1 0 31 0 0 0\n", true},
		{"a process that calls itself so", "2 (kthreadd) S 0 0 0 0 -1 4194560 0 0 0 0 0 3 0 0 20 0 1 0 31 0 0 0\n", false},
		{"a process whose name is a stat file", "2 (x) S 0 0 0 0 -1 2129984 0 (y) S 0 0 0 0 -1 4194560 0 0 0 0 0 3 0 0 20 0 1 0 31 0 0 0\n", false},
		{"not of process 2", "3 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 3 0 0 20 0 1 0 31 0 0 0\n", false},
		{"flags that are none", "2 (kthreadd) S 0 0 0 0 -1 x 0 0 0 0 0 3 0 0 20 0 1 0 31 0 0 0\n", false},
		{"cut off", "2 (kthreadd) S 0 0 0 0 -1 2129984", false},
	} {
		proc := machine(t, v2("/"), v2("/"))
		proc.Start(2, "/")
		proc.Write(2, "stat", test.stat)
		got, err := proc.Locator().HostPID(t.Context())
		if err != nil || got.Visible != test.want || got.KernelThread != test.want {
			t.Errorf("%s: HostPID = %+v, %v, want %t", test.name, got, err, test.want)
		}
	}
}

func TestHostPIDOfFilesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, agent, first string }{
		{"agent", "what\n", v2("/")},
		{"process 1", v2("/"), "what\n"},
		{"an agent outside its namespace", v2("/.."), v2("/")},
		{"no hierarchy in common", v2("/"), hierarchies("pids", "/")},
		{"up in the middle", v2("/"), v2("/a/../b")},
	} {
		if got, err := machine(t, test.agent, test.first).Locator().HostPID(t.Context()); err == nil || got.Visible {
			t.Errorf("%s: HostPID = %+v, %v, want an error", test.name, got, err)
		}
	}
	proc := machine(t, v2("/"), v2("/"))
	proc.Remove(1, "cgroup")
	if _, err := proc.Locator().HostPID(t.Context()); !errors.Is(err, container.ErrMalformed) {
		t.Errorf("error = %v, want ErrMalformed", err)
	}
}

func TestCgroupVersion(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, agent string
		want        container.CgroupVersion
	}{
		{"v2", v2(onHost), container.CgroupV2},
		{"v2 with a v1 hierarchy for old containers", hierarchies("name=systemd", "/", "", onHost), container.CgroupV2},
		{"v2 with a v1 controller that runtimes do without", hierarchies("net_cls,net_prio", "/", "", onHost), container.CgroupV2},
		{"v1", hierarchies("cpu,cpuacct", "/", "name=systemd", "/"), container.CgroupV1},
		{"hybrid", hierarchies("cpu,cpuacct", "/", "name=systemd", "/", "", "/"), container.CgroupHybrid},
	} {
		got, err := machine(t, test.agent, v2("/")).Locator().CgroupVersion()
		if err != nil || got != test.want {
			t.Errorf("%s: CgroupVersion = %q, %v, want %q", test.name, got, err, test.want)
		}
	}
	if _, err := machine(t, "", v2("/")).Locator().CgroupVersion(); !errors.Is(err, container.ErrMalformed) {
		t.Errorf("error = %v, want ErrMalformed", err)
	}
}
