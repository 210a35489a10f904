//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/test/cgrouptree"
	"github.com/podseal/podseal/test/realstack/spirestack"
)

// victim is a pod with an identity that others are after.
type victim struct {
	id        string
	uid       string
	container string
	selectors []string
}

// cgroup is the victim's, as the kubelet and containerd made it.
func (v victim) cgroup() string { return "/kubepods/besteffort/pod" + v.uid + "/" + v.container }

func (w *world) runVictim(t *testing.T, namespace string) victim {
	t.Helper()
	w.namespace(t, namespace)
	id := w.containerEntry(t, namespace, "victim", "victim")
	pod := w.run(t, newPod(namespace, "victim"))
	w.awaitID(t, pod, "victim", id, sockets...)
	pid := w.pidOf(t, processName(namespace, "victim", "victim"))
	v := victim{
		id:        id,
		uid:       string(pod.UID),
		container: strings.TrimPrefix(pod.Status.ContainerStatuses[0].ContainerID, "containerd://"),
		selectors: w.sameSelectors(t, pid),
	}
	cgroups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(cgroups), ":"+v.cgroup()+"\n") {
		t.Fatalf("the victim is not in %s:\n%s", v.cgroup(), cgroups)
	}
	return v
}

func (v victim) isImitated(a answer) bool { return a.ID == v.id }

// TestProcessesOfTheNode are in no pod, whoever runs them.
func TestProcessesOfTheNode(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	workload, within := programs(t)
	tree, err := cgrouptree.New()
	if err != nil {
		t.Fatal(err)
	}
	const service = "/system.slice/other.service"
	if err := tree.Make(service); err != nil {
		t.Fatal(err)
	}
	for name, start := range map[string]func(t *testing.T, command []string) process{
		"root": func(t *testing.T, command []string) process { return w.start(t, 0, command...) },
		"user": func(t *testing.T, command []string) process { return w.start(t, 1000, command...) },
		"in-service": func(t *testing.T, command []string) process {
			return w.start(t, 0, append([]string{within, "cgroup", service, "1000"}, command...)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, append([]string{workload, "-name", "node/" + name}, sockets...))
			w.wantNobody(t, p, p.pid)
			w.awaitAnswers(t, p, func(a answer) bool { return a.Code == "PermissionDenied" }, builtInSocket)
			w.sameSelectors(t, p.pid)
		})
	}
}

// TestForgedMounts has a process show another pod's cgroups in its mounts, which
// any user can do in a user namespace.
func TestForgedMounts(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	const ns = "forged-mounts"
	v := w.runVictim(t, ns)
	wantForged := func(t *testing.T, pid int) {
		t.Helper()
		mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
		if err != nil {
			t.Fatal(err)
		}
		// 36 35 98:0 /root /mount/point ..., proc_pid_mountinfo(5)
		if !strings.Contains(string(mounts), " "+v.cgroup()+" /sys/fs/cgroup/memory ") {
			t.Fatalf("process %d does not show the victim's cgroups:\n%s", pid, mounts)
		}
	}

	// What is in no pod is taken by the built-in attestor for what its mounts say.
	t.Run("in no pod", func(t *testing.T) {
		t.Parallel()
		workload, within := programs(t)
		name := ns + "/node"
		p := w.start(t, 1000, append([]string{within, "forged-mounts", "/sys/fs/cgroup", v.cgroup(), workload, "-name", name}, sockets...)...)
		pid := w.pidOf(t, name)
		wantForged(t, pid)
		w.wantNobody(t, p, pid)
		w.awaitAnswers(t, p, v.isImitated, builtInSocket)
		w.builtInSays(t, pid, withoutAdded(v.selectors))
	})
	t.Run("in a pod", func(t *testing.T) {
		t.Parallel()
		pod := newPod(ns, "forger")
		// A pod does not see the cgroups of others unless it is shown them.
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "cgroups", VolumeSource: corev1.VolumeSource{
			HostPath: &corev1.HostPathVolumeSource{Path: "/sys/fs/cgroup"},
		}})
		own := &pod.Spec.Containers[0]
		own.VolumeMounts = append(own.VolumeMounts, corev1.VolumeMount{Name: "cgroups", MountPath: "/cgroups", ReadOnly: true})
		own.Image = privateImage
		own.Args = append([]string{"forged-mounts", "/cgroups", v.cgroup(), "/workload"}, own.Args...)
		id := w.containerEntry(t, ns, "forger", "forger")
		pod = w.run(t, pod)
		pid := w.pidOf(t, processName(ns, "forger", "forger"))
		wantForged(t, pid)
		w.awaitID(t, pod, "forger", id, sockets...)
		selectors := w.sameSelectors(t, pid)
		if want := "k8s:pod-uid:" + string(pod.UID); !slices.Contains(selectors, want) {
			t.Errorf("%s is not among %q", want, selectors)
		}
	})
}

// TestDelegatedCgroups has a user name a cgroup like another pod's, in a subtree
// that he was given as systemd gives one to each user.
func TestDelegatedCgroups(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	const ns = "delegated"
	v := w.runVictim(t, ns)
	workload, within := programs(t)
	const given = "/user.slice/user-1000.slice/user@1000.service"
	tree, err := cgrouptree.New()
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Make(given); err != nil {
		t.Fatal(err)
	}
	for _, dir := range tree.Dirs(given) {
		for _, file := range []string{"", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"} {
			if err := os.Chown(filepath.Join(dir, file), 1000, 1000); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	start := func(t *testing.T, forged, name string) process {
		t.Helper()
		return w.start(t, 0, append([]string{within, "cgroup", given, "1000", within, "made-cgroup", given, forged, workload, "-name", ns + "/" + name}, sockets...)...)
	}
	escaped := strings.ReplaceAll(v.uid, "-", "_")
	for name, forged := range map[string]string{
		"cgroupfs": v.cgroup(),
		"systemd":  "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + escaped + ".slice/cri-containerd-" + v.container + ".scope",
		"colon":    "/kubepods-besteffort-pod" + escaped + ".slice:cri-containerd:" + v.container,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, forged, name)
			w.wantNobody(t, p, p.pid)
			cgroups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.pid))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(cgroups), ":memory:"+given+forged+"\n") {
				t.Errorf("the user is not where he meant to be:\n%s", cgroups)
			}
			w.awaitAnswers(t, p, v.isImitated, builtInSocket)
			w.builtInSays(t, p.pid, withoutAdded(v.selectors))
		})
	}
	// Whoever does so, there is one line in the log; the next comes a minute later.
	t.Run("warning", func(t *testing.T) {
		t.Parallel()
		start(t, v.cgroup(), "warned-of")
		w.awaitLogged(t, func(r spirestack.Record) bool {
			path := r.Text("path")
			return r.Level == "warning" && strings.Contains(r.Message, "named like a pod's") && strings.Contains(path, "/user@1000.service/kubepods") && strings.Contains(path, v.container)
		}, withPodseal...)
	})
}

// TestACgroupBelowOnesOwn has a container that may make cgroups below its own name
// one like another pod's.
func TestACgroupBelowOnesOwn(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	const ns = "below"
	v := w.runVictim(t, ns)
	forged := "/pod" + v.uid + "/" + v.container
	pod := newPod(ns, "nested")
	pod.Spec.SecurityContext = nil
	own := &pod.Spec.Containers[0]
	own.Image = privateImage
	own.SecurityContext = &corev1.SecurityContext{Privileged: new(true)} // its cgroups are writable then
	own.Args = append([]string{"made-cgroup", "/", forged, "/workload"}, own.Args...)
	id := w.containerEntry(t, ns, "nested", "nested")
	pod = w.run(t, pod)
	pid := w.pidOf(t, processName(ns, "nested", "nested"))
	cgroups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, before, ok := strings.Cut(string(cgroups), "\n0::")
	if !ok || !strings.Contains(before, string(pod.UID)) || !strings.Contains(string(cgroups), string(pod.UID)+"/") || !strings.Contains(string(cgroups), forged+"\n") {
		t.Fatalf("it is not where it meant to be:\n%s", cgroups)
	}
	// In a hybrid machine the container has no v2 hierarchy to do the same in, and
	// the built-in attestor finds two answers. Elsewhere it has.
	v2 := filepath.Join("/sys/fs/cgroup/unified", strings.TrimSpace(before), forged)
	if err := errors.Join(os.MkdirAll(v2, 0o755), os.WriteFile(filepath.Join(v2, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)); err != nil {
		t.Fatal(err)
	}
	w.awaitID(t, pod, "nested", id, podsealSockets...)
	// The built-in attestor reads paths from their end.
	w.awaitID(t, pod, "nested", v.id, builtInSocket)
	w.builtInSays(t, pid, withoutAdded(v.selectors))
	selectors, err := last(w.podseal, pid)
	if err != nil {
		t.Fatal(err)
	}
	if want := "k8s:pod-uid:" + string(pod.UID); !slices.Contains(selectors, want) {
		t.Errorf("%s is not among %q", want, selectors)
	}
	w.wantSelectors(t, pid, selectors)
}
