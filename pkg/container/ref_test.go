package container_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/container"
)

const (
	uidU = "11111111-2222-3333-4444-555555555555"
	uidV = "99999999-2222-3333-4444-555555555555"

	// escU and escV are the same as the systemd driver writes them.
	escU = "11111111_2222_3333_4444_555555555555"
	escV = "99999999_2222_3333_4444_555555555555"
)

var (
	idA = strings.Repeat("a", 64)
	idB = strings.Repeat("b", 64)
	idC = strings.Repeat("c", 64)
	idD = strings.Repeat("d", 64)
)

// Where agents live.
var (
	onHost    = "/system.slice/spire-agent.service"
	inPodFS   = "/kubepods/burstable/pod" + uidV + "/" + idA
	inPodSD   = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + escV + ".slice/cri-containerd-" + idA + ".scope"
	inPodCRIO = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + escV + ".slice/crio-" + idA + ".scope/container"
)

// v2 is a cgroup file with one line.
func v2(path string) string { return "0::" + path + "\n" }

// TestPaths is the table of LOCATING.md and of its prototype, a path a line.
func TestPaths(t *testing.T) {
	t.Parallel()
	slice := "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + escU + ".slice/"
	kind := "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" + escU + ".slice/"
	for _, test := range []struct {
		name        string
		agent, path string
		root        string
		uid, id     string // both empty: in no pod
		err         error
	}{
		{name: "cgroupfs, burstable", agent: onHost, path: "/kubepods/burstable/pod" + uidU + "/" + idB, uid: uidU, id: idB},
		{name: "cgroupfs, guaranteed", agent: onHost, path: "/kubepods/pod" + uidU + "/" + idB, uid: uidU, id: idB},
		{name: "cgroupfs, agent at the node's root", agent: "/", path: "/kubepods/pod" + uidU + "/" + idB, uid: uidU, id: idB},
		{name: "cgroupfs, agent in a pod of the host's namespace", agent: inPodFS, path: "/kubepods/besteffort/pod" + uidU + "/" + idB, uid: uidU, id: idB},
		{name: "cgroupfs, the same QoS class", agent: inPodFS, path: "/kubepods/burstable/pod" + uidU + "/" + idB, uid: uidU, id: idB},
		{name: "private namespace, the same QoS class", agent: "/", path: "/../../pod" + uidU + "/" + idB, uid: uidU, id: idB},
		{name: "private namespace, another QoS class", agent: "/", path: "/../../../besteffort/pod" + uidU + "/" + idB, uid: uidU, id: idB},
		{name: "private namespace, guaranteed", agent: "/", path: "/../../../pod" + uidU + "/" + idB, uid: uidU, id: idB},

		{name: "the agent's own pod, private namespace", agent: "/", path: "/../" + idB, id: idB},
		{name: "the agent's own pod, host's namespace", agent: inPodFS, path: "/kubepods/burstable/pod" + uidV + "/" + idB + "/docker/" + idD, uid: uidV, id: idB},
		{name: "the agent's own pod, systemd, host's namespace", agent: inPodSD, path: inPodSD[:strings.LastIndex(inPodSD, "/")] + "/cri-containerd-" + idB + ".scope", uid: uidV, id: idB},
		{name: "the agent's own pod, CRI-O, private namespace", agent: "/", path: "/../../crio-" + idB + ".scope/container", id: idB},
		{name: "the agent's own pod, CRI-O, host's namespace", agent: inPodCRIO, path: strings.Replace(inPodCRIO, idA, idB, 1), uid: uidV, id: idB},
		{name: "the agent's own container", agent: "/", path: "/"},
		{name: "the agent's own container, host's namespace", agent: inPodFS, path: inPodFS},
		{name: "below the agent's own container", agent: inPodFS, path: inPodFS + "/x/pod" + uidU + "/" + idB},

		{name: "systemd, burstable", agent: onHost, path: "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + escU + ".slice/cri-containerd-" + idB + ".scope", uid: uidU, id: idB},
		{name: "systemd, guaranteed, docker", agent: onHost, path: "/kubepods.slice/kubepods-pod" + escU + ".slice/docker-" + idB + ".scope", uid: uidU, id: idB},
		{name: "systemd, podman", agent: onHost, path: slice + "libpod-" + idB + ".scope/container", uid: uidU, id: idB},
		{name: "systemd, from a pod of another class", agent: inPodSD, path: slice + "cri-containerd-" + idB + ".scope", uid: uidU, id: idB},
		{name: "systemd, from a pod, guaranteed", agent: inPodSD, path: "/kubepods.slice/kubepods-pod" + escU + ".slice/cri-containerd-" + idB + ".scope", uid: uidU, id: idB},
		{name: "CRI-O with container below", agent: onHost, path: slice + "crio-" + idB + ".scope/container", uid: uidU, id: idB},
		{name: "CRI-O, private namespace", agent: "/", path: "/../../../kubepods-besteffort-pod" + escU + ".slice/crio-" + idB + ".scope/container", uid: uidU, id: idB},
		{name: "CRI-O with the cgroupfs driver", agent: onHost, path: "/kubepods/pod" + uidU + "/crio-" + idB, uid: uidU, id: idB},
		{name: "systemd inside the container", agent: onHost, path: slice + "cri-containerd-" + idB + ".scope/init.scope", uid: uidU, id: idB},
		{name: "an engine inside the container", agent: inPodFS, path: "/kubepods/burstable/pod" + uidU + "/" + idB + "/docker/" + idD, uid: uidU, id: idB},
		{name: "KubeEdge with CRI-O", agent: "/", path: "/../crio-" + idB + ".scope", id: idB},

		{name: "kind, systemd, from the node", agent: onHost, path: kind + "cri-containerd-" + idB + ".scope", uid: uidU, id: idB},
		{name: "kind, systemd, private namespace", agent: "/", path: "/../../kubelet-kubepods-besteffort-pod" + escU + ".slice/cri-containerd-" + idB + ".scope", uid: uidU, id: idB},
		{name: "kind, systemd, private namespace, another class", agent: "/", path: "/../../../kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod" + escU + ".slice/cri-containerd-" + idB + ".scope", uid: uidU, id: idB},
		{name: "kind, cgroupfs, from the node", agent: onHost, path: "/kubelet/kubepods/besteffort/pod" + uidU + "/" + idB, uid: uidU, id: idB},
		{name: "kind on v1, agent in a pod", agent: "/docker/" + idC + "/kubelet/kubepods/besteffort/pod" + uidV + "/" + idA, path: "/docker/" + idC + "/kubelet/kubepods/burstable/pod" + uidU + "/" + idB, uid: uidU, id: idB},
		{name: "kind on v1, agent in the node", agent: "/docker/" + idC + "/system.slice/spire.service", path: "/docker/" + idC + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + escU + ".slice/cri-containerd-" + idB + ".scope", uid: uidU, id: idB},
		{name: "kind on v1, agent on the host of the node", agent: onHost, path: "/docker/" + idC + "/kubelet/kubepods/burstable/pod" + uidU + "/" + idB},
		{name: "kind on v1, agent on the host of the node, told so", agent: onHost, path: "/docker/" + idC + "/kubelet/kubepods/burstable/pod" + uidU + "/" + idB, root: "/docker/" + idC + "/kubelet", uid: uidU, id: idB},
		{name: "a service of the kind node", agent: "/docker/" + idC + "/kubelet/kubepods/besteffort/pod" + uidV + "/" + idA, path: "/docker/" + idC + "/system.slice/containerd.service"},

		{name: "a kubelet in a pod, outer agent", agent: inPodFS, path: "/kubepods/burstable/pod" + uidU + "/" + idB + "/kubepods/burstable/pod" + uidV + "/" + idD, uid: uidU, id: idB},
		{name: "a kubelet in a pod, inner agent", agent: "/kubepods/burstable/pod" + uidV + "/" + idC + "/docker/" + idD + "/kubelet/kubepods/besteffort/pod" + uidV + "/" + idA,
			path: "/kubepods/burstable/pod" + uidV + "/" + idC + "/docker/" + idD + "/kubelet/kubepods/burstable/pod" + uidU + "/" + idB, uid: uidU, id: idB},

		{name: "colon form", agent: onHost, path: "/system.slice/containerd.service/kubepods-besteffort-pod" + escU + ".slice:cri-containerd:" + idB, uid: uidU, id: idB},
		{name: "colon form, from a pod", agent: inPodFS, path: "/system.slice/crio.service/kubepods-besteffort-pod" + escU + ".slice:crio:" + idB, uid: uidU, id: idB},
		{name: "colon form at the top", agent: onHost, path: "/kubepods-besteffort-pod" + escU + ".slice:cri-containerd:" + idB, uid: uidU, id: idB},
		{name: "colon form, private namespace", agent: "/", path: "/../kubepods-besteffort-pod" + escU + ".slice:cri-containerd:" + idB, uid: uidU, id: idB},

		{name: "static pod with the kubelet's digest", agent: onHost, path: "/kubepods/burstable/podea3829ffc6f7ad7d688ac2b0380d39c1/" + idB, uid: "ea3829ffc6f7ad7d688ac2b0380d39c1", id: idB},
		{name: "static pod with a UID of its manifest", agent: onHost, path: "/kubepods/besteffort/podmy-Static.uid-pod" + uidU + "/" + idB, uid: "my-Static.uid-pod" + uidU, id: idB},
		{name: "static pod with a UID of its manifest, systemd", agent: onHost, path: "/kubepods.slice/kubepods-podmy_Static.uid.slice/cri-containerd-" + idB + ".scope", uid: "my-Static.uid", id: idB},

		{name: "own cgroup root, agent on the host", agent: onHost, path: "/reviewsec/kubepods/besteffort/pod" + uidU + "/" + idB},
		{name: "own cgroup root, agent on the host, configured", agent: onHost, path: "/reviewsec/kubepods/besteffort/pod" + uidU + "/" + idB, root: "/reviewsec", uid: uidU, id: idB},
		{name: "own cgroup root of two names, systemd", agent: onHost, path: "/a.slice/a-b_c.slice/a-b_c-kubepods.slice/a-b_c-kubepods-pod" + escU + ".slice/docker-" + idB + ".scope", root: "/a/b-c", uid: uidU, id: idB},
		{name: "own cgroup root that is a slice, cgroupfs", agent: onHost, path: "/pods.slice/kubepods/pod" + uidU + "/" + idB, root: "/pods.slice", uid: uidU, id: idB},
		{name: "own cgroup root, agent in a pod", agent: "/reviewsec/kubepods/burstable/pod" + uidV + "/" + idA, path: "/reviewsec/kubepods/besteffort/pod" + uidU + "/" + idB, uid: uidU, id: idB},
		{name: "own cgroup root does not hide the usual one", agent: onHost, path: "/kubepods/pod" + uidU + "/" + idB, root: "/reviewsec", uid: uidU, id: idB},

		{name: "gVisor's sandbox", agent: onHost, path: "/kubepods/pod" + uidU + "/" + idC, uid: uidU, id: idC},
		{name: "Kata's overhead", agent: onHost, path: "/kata_overhead/" + idB},
		{name: "a service of the host", agent: "/", path: "/../../../../system.slice/sshd.service"},
		{name: "the host's root, private namespace", agent: "/", path: "/../../../.."},
		{name: "the host's root", agent: onHost, path: "/"},
		{name: "beside the agent", agent: onHost, path: "/system.slice/podman.service"},
		{name: "CRI-O's conmon of the system", agent: onHost, path: "/system.slice/crio-conmon-" + idB + ".scope"},
		{name: "docker, no Kubernetes", agent: onHost, path: "/docker/" + idB},
		{name: "docker at the root, no Kubernetes", agent: onHost, path: "/" + idB},
		{name: "a scope below the node's root that the agent is at", agent: "/", path: "/crio-" + idB + ".scope"},
		{name: "a QoS class alone", agent: onHost, path: "/kubepods/burstable"},

		{name: "attack: delegated slice", agent: onHost, path: "/user.slice/user-1000.slice/user@1000.service/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + escU + ".slice/cri-containerd-" + idB + ".scope"},
		{name: "attack: delegated slice, private namespace", agent: "/", path: "/../../../../user.slice/user-1000.slice/user@1000.service/kubepods/pod" + uidU + "/" + idB},
		{name: "attack: delegated slice, colon form", agent: onHost, path: "/user.slice/user-1000.slice/user@1000.service/kubepods-pod" + escU + ".slice:cri-containerd:" + idB},
		{name: "attack: delegated service, colon form", agent: onHost, path: "/system.slice/foo.service/kubepods-pod" + escU + ".slice:cri-containerd:" + idB},
		{name: "attack: delegated service beside the agent", agent: onHost, path: "/system.slice/foo.service/kubepods/pod" + uidU + "/" + idB},
		{name: "attack: in a docker container", agent: onHost, path: "/docker/" + idC + "/kubepods/pod" + uidU + "/" + idB},
		{name: "attack: in a podman container", agent: onHost, path: "/machine.slice/libpod-" + idC + ".scope/container/pod" + uidU + "/" + idB},
		{name: "attack: another pod below one's own", agent: onHost, path: "/kubepods/burstable/pod" + uidU + "/" + idB + "/pod" + uidV + "/" + idD, uid: uidU, id: idB},
		{name: "attack: colon form below one's own", agent: onHost, path: "/kubepods/burstable/pod" + uidU + "/" + idB + "/kubepods-besteffort-pod" + escV + ".slice:cri-containerd:" + idD, uid: uidU, id: idB},
		{name: "attack: a pod below the agent's service", agent: onHost, path: onHost + "/kubepods/pod" + uidU + "/" + idB},
		{name: "attack: a slice whose name is not its parent's", agent: onHost, path: "/kubepods.slice/kubepods-burstable.slice/kubepods-besteffort-pod" + escU + ".slice/cri-containerd-" + idB + ".scope"},
		{name: "attack: a slice in the agent's slice", agent: onHost, path: "/system.slice/kubepods-pod" + escU + ".slice/cri-containerd-" + idB + ".scope"},
		{name: "attack: a pod without the kubelet's root", agent: onHost, path: "/pod" + uidU + "/" + idB},
		{name: "attack: another root before the kubelet's", agent: onHost, path: "/evil/kubepods/pod" + uidU + "/" + idB},

		{name: "CRI-O's conmon in the pod", agent: onHost, path: slice + "crio-conmon-" + idB + ".scope", err: container.ErrNoContainer},
		{name: "in the pod's own cgroup", agent: onHost, path: "/kubepods/pod" + uidU, err: container.ErrNoContainer},
		{name: "a container's ID in upper case", agent: onHost, path: "/kubepods/pod" + uidU + "/" + strings.ToUpper(idB), err: container.ErrNoContainer},
		{name: "a container's ID with more behind it", agent: onHost, path: "/kubepods/pod" + uidU + "/" + idB + "0", err: container.ErrNoContainer},
		{name: "a bare ID as a scope", agent: onHost, path: "/kubepods/pod" + uidU + "/" + idB + ".scope", err: container.ErrNoContainer},
		{name: "a pod without a UID", agent: onHost, path: "/kubepods/pod/" + idB, err: container.ErrMalformed},
		{name: "a removed cgroup", agent: onHost, path: "/kubepods/burstable/pod" + uidU + "/" + idB + " (deleted)", err: container.ErrMalformed},
		{name: "up in the middle", agent: onHost, path: "/kubepods/../pod" + uidU + "/" + idB, err: container.ErrMalformed},
		{name: "up in the middle, private namespace", agent: "/", path: "/../../x/../pod" + uidU + "/" + idB, err: container.ErrMalformed},
		{name: "an empty name", agent: onHost, path: "/kubepods//pod" + uidU + "/" + idB, err: container.ErrMalformed},
		{name: "a slash at the end", agent: onHost, path: "/kubepods/pod" + uidU + "/" + idB + "/", err: container.ErrMalformed},
		{name: "no slash at the beginning", agent: onHost, path: "kubepods/pod" + uidU + "/" + idB, err: container.ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ref, err := container.Resolve(v2(test.path), v2(test.agent), "", test.root, "")
			if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
				t.Fatalf("error = %v, want %v", err, test.err)
			}
			if ref.PodUID() != test.uid || ref.ContainerID() != test.id {
				t.Errorf("got pod %q container %.8q, want pod %q container %.8q", ref.PodUID(), ref.ContainerID(), test.uid, test.id)
			}
		})
	}
}

// In a private namespace "/" is the agent's own container, and what its
// processes make below it is not the kubelet's. At the node's root it is.
func TestBelowTheRootOfAPrivateNamespaceIsTheAgentsContainer(t *testing.T) {
	t.Parallel()
	path := v2("/kubepods/pod" + uidU + "/" + idB)
	ref, err := container.Resolve(path, v2("/"), v2("/../../../../init.scope"), "", "")
	if err != nil || !ref.IsZero() {
		t.Errorf("in a private namespace: %v, %v, want no pod", ref, err)
	}
	ref, err = container.Resolve(path, v2("/"), v2("/init.scope"), "", "")
	if err != nil || ref.PodUID() != uidU {
		t.Errorf("at the node's root: %v, %v, want pod %s", ref, err, uidU)
	}
}

func TestTheAgentsOwnPodIsTheOneOfTheDownwardAPI(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, path, uid, likely string }{
		{"a sibling", "/../" + idB, uidV, ""},
		{"a scope may be any pod's where the kubelet makes no pod cgroups", "/../crio-" + idB + ".scope", "", uidV},
		{"another pod keeps its own", "/../../pod" + uidU + "/" + idB, uidU, ""},
	} {
		ref, err := container.Resolve(v2(test.path), v2("/"), "", "", uidV)
		if err != nil || ref.PodUID() != test.uid || ref.LikelyPodUID() != test.likely || ref.ContainerID() != idB {
			t.Errorf("%s: got %v, %v, want pod %q, likely %q", test.name, ref, err, test.uid, test.likely)
		}
	}
}

func TestAnAgentOutsideItsOwnNamespaceIsAnError(t *testing.T) {
	t.Parallel()
	_, err := container.Resolve(v2("/kubepods/pod"+uidU+"/"+idB), v2("/../x"), "", "", "")
	if err == nil || !strings.Contains(err.Error(), "outside its cgroup namespace") {
		t.Errorf("error = %v, want one about the agent's own cgroup", err)
	}
}

// hierarchies is a cgroup file of a hybrid machine. Its arguments come in pairs:
// a hierarchy and the path in it.
func hierarchies(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		b.WriteString("7:" + pairs[i] + ":" + pairs[i+1] + "\n")
	}
	return b.String()
}

func TestLinesOfOneFile(t *testing.T) {
	t.Parallel()
	u := "/kubepods/pod" + uidU + "/" + idB
	agent := hierarchies("cpu,cpuacct", onHost, "memory", onHost, "perf_event", onHost, "name=systemd", onHost, "", onHost)
	for _, test := range []struct {
		name    string
		process string
		uid, id string
		err     string
	}{
		{name: "all the same", process: hierarchies("cpu,cpuacct", u, "memory", u, "", u), uid: uidU, id: idB},
		{name: "lines without a pod are ignored", process: hierarchies("cpu,cpuacct", u, "memory", "/", "name=systemd", "/system.slice/x.service", "", "/"), uid: uidU, id: idB},
		{name: "two pods", process: hierarchies("cpu,cpuacct", u, "memory", "/kubepods/pod"+uidV+"/"+idB), err: `multiple pod UIDs found ("` + uidU + `", "` + uidV + `")`},
		{name: "two containers", process: hierarchies("cpu,cpuacct", u, "memory", "/kubepods/pod"+uidU+"/"+idC), err: `multiple container IDs found ("` + idB + `", "` + idC + `")`},
		{name: "a line with a UID outweighs one without", process: hierarchies("cpu,cpuacct", "/system.slice/crio-"+idC+".scope", "memory", u), uid: uidU, id: idB},
		{name: "a delegated v2 line can't decide alone", process: hierarchies("cpu,cpuacct", "/", "memory", "/", "", u)},
		{name: "a delegated systemd line can't decide alone", process: hierarchies("cpu,cpuacct", "/", "memory", "/", "name=systemd", u)},
		{name: "a controller that is not every container's can't decide alone", process: hierarchies("memory", "/", "perf_event", u)},
		{name: "a delegated line can't outvote a controller either", process: hierarchies("memory", u, "", "/kubepods/pod"+uidV+"/"+idD), err: "multiple pod UIDs found"},
		{name: "v2 alone decides where there is no controller", process: hierarchies("name=systemd", "/", "", u), uid: uidU, id: idB},
		{name: "one bad line is an error", process: hierarchies("memory", u, "", u+" (deleted)"), err: "unable to obtain cgroups"},
		{name: "a hierarchy that the agent is not in", process: hierarchies("memory", u, "net_cls", u), err: "unable to obtain cgroups"},
		{name: "no colons", process: "what\n", err: "unable to obtain cgroups"},
		{name: "cut off", process: "0::/kubepods/pod" + uidU, err: "unable to obtain cgroups"},
		{name: "empty", process: "", err: "unable to obtain cgroups"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ref, err := container.Resolve(test.process, agent, "", "", "")
			switch {
			case test.err == "" && err != nil:
				t.Fatalf("error = %v, want none", err)
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Fatalf("error = %v, want %q", err, test.err)
			}
			if ref.PodUID() != test.uid || ref.ContainerID() != test.id {
				t.Errorf("got pod %q container %.8q, want pod %q container %.8q", ref.PodUID(), ref.ContainerID(), test.uid, test.id)
			}
		})
	}
}
