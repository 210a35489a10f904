//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podseal/podseal/test/realstack/machine"
	"github.com/podseal/podseal/test/realstack/spirestack"
)

// The tests of this file are about processes that are there longer than what
// identifies them.

// A pod that is being deleted is what it was while its processes end.
func TestATerminatingPodKeepsItsIdentity(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	const ns, name = "terminating", "slow"
	w.namespace(t, ns)
	id := w.containerEntry(t, ns, name, name)
	pod := newPod(ns, name)
	pod.Spec.TerminationGracePeriodSeconds = new(int64(600))
	pod.Spec.Containers[0].Args = append([]string{"-stay"}, pod.Spec.Containers[0].Args...)
	pod = w.run(t, pod)
	w.awaitID(t, pod, name, id, sockets...)
	pid := w.pidOf(t, processName(ns, name, name))
	before := w.sameSelectors(t, pid)

	remove := func(ctx context.Context, grace *int64) {
		if err := w.Client.CoreV1().Pods(ns).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: grace}); err != nil {
			t.Error(err)
		}
	}
	remove(t.Context(), nil)
	t.Cleanup(func() { remove(context.WithoutCancel(t.Context()), new(int64(1))) })
	w.awaitPod(t, ns, name, func(p *corev1.Pod) error {
		if p.DeletionTimestamp == nil {
			return errors.New("it is not being deleted yet")
		}
		return nil
	})
	deleted := time.Now()
	w.awaitEach(t, pod, name, func(a answer) bool { return a.Asked.After(deleted) && a.ID == id }, sockets...)
	if diff := cmp.Diff(before, w.sameSelectors(t, pid)); diff != "" {
		t.Errorf("selectors (-before it was deleted +while it ends):\n%s", diff)
	}
}

// A pod that was deleted by force is forgotten by the kubelet at once, while its
// process may live on: here, because what would kill it is stopped.
func TestAForceDeletedPodsProcessIsNobody(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	const ns, name = "force-deleted", "survivor"
	w.namespace(t, ns)
	id := w.containerEntry(t, ns, name, name)
	spec := newPod(ns, name)
	answers := answersTo(t, spec)
	pod := w.run(t, spec)
	pid := w.pidOf(t, processName(ns, name, name))
	p := process{pid, answers}
	w.awaitAnswers(t, p, func(a answer) bool { return a.ID == id }, sockets...)

	shim, _, err := stat(pid)
	if err != nil {
		t.Fatal(err)
	}
	if command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", shim)); err != nil || !bytes.Contains(command, []byte("containerd-shim")) {
		t.Fatalf("process %d is no shim: %q, %v", shim, command, err)
	}
	proceed := func() { _ = syscall.Kill(shim, syscall.SIGCONT) }
	t.Cleanup(proceed)
	if err := syscall.Kill(shim, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Kubectl(t.Context(), "", "delete", "pod", "--namespace", ns, name, "--force", "--grace-period=0", "--wait=false"); err != nil {
		t.Fatal(err)
	}
	w.await(t, func(ctx context.Context) error {
		known, err := w.Node.Pod(ctx, ns, name)
		if err == nil && known != nil {
			err = errors.New("the kubelet still knows the pod")
		}
		return err
	})
	// What was read of the kubelet is good for half a second.
	forgotten := time.Now().Add(time.Second)
	w.awaitAnswers(t, p, func(a answer) bool { return a.Asked.After(forgotten) && a.Code == "Unavailable" }, sockets...)
	p.wantNoID(t, forgotten, sockets...)
	w.awaitLogged(t, failedCall(pid, "no selectors found after max poll attempts"), append(withPodseal, builtIn)...)
	w.awaitLogged(t, failedPod(string(pod.UID), "no selectors found after max poll attempts"), withPodseal...)

	proceed()
	w.await(t, func(context.Context) error {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("process %d is still there: %w", pid, err)
		}
		return nil
	})
	pod = w.run(t, newPod(ns, name))
	w.awaitID(t, pod, name, id, sockets...)
	w.sameSelectors(t, w.pidOf(t, processName(ns, name, name)))
}

// A process that outlives its container's restart is in a container that the
// kubelet knows to have ended. The runtime ends the processes that it finds in the
// container's cgroup of one hierarchy; root took this one out of there.
func TestAProcessOfAnEarlierContainerIsNobody(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	const ns, name = "restarted", "again"
	w.namespace(t, ns)
	id := w.containerEntry(t, ns, name, name)
	spec := newPod(ns, name)
	spec.Spec.ShareProcessNamespace = new(true) // or the kernel would end it
	own := &spec.Spec.Containers[0]
	args := own.Args
	answers := answersTo(t, spec)
	left := append(own.Args[:3:3], container(ns, name, "left").Args...)
	own.Image = privateImage
	own.Args = slices.Concat([]string{"left-behind", "/workload"}, left, []string{"--", "/workload"}, args)
	pod := w.run(t, spec)
	w.awaitID(t, pod, name, id, sockets...)
	p := process{w.pidOf(t, processName(ns, name, "left")), answers}
	w.awaitAnswers(t, p, func(a answer) bool { return a.ID == id }, sockets...)
	before := w.sameSelectors(t, p.pid)

	t.Cleanup(func() { _ = syscall.Kill(p.pid, syscall.SIGKILL) })
	if err := os.WriteFile("/sys/fs/cgroup/devices/cgroup.procs", []byte(strconv.Itoa(p.pid)), 0); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(w.pidOf(t, processName(ns, name, name)), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	pod = w.awaitPod(t, ns, name, func(p *corev1.Pod) error {
		s := p.Status.ContainerStatuses[0]
		if s.RestartCount != 1 || s.State.Running == nil {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	restarted := time.Now().Add(time.Second)
	w.awaitAnswers(t, p, func(a answer) bool { return a.Asked.After(restarted) && a.Code == "Unavailable" }, sockets...)
	p.wantNoID(t, restarted, sockets...)
	w.awaitLogged(t, failedCall(p.pid, "no selectors found after max poll attempts"), builtIn)
	// podseal need not wait: this container can't come any more.
	w.awaitLogged(t, failedCall(p.pid, `container "again" of pod "restarted/again" was started again since`), withPodseal...)
	// The new container is what the old one was.
	w.awaitEach(t, pod, name, func(a answer) bool { return a.Asked.After(restarted) && a.ID == id }, sockets...)
	after := w.sameSelectors(t, w.pidOf(t, processName(ns, name, name)))
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("selectors (-before the restart +after it):\n%s", diff)
	}
}

// A process can call when its main thread has ended, and so can others on its
// connections when all of it has. The kernel still shows its cgroups then, until
// somebody waits for it, and its ID may be another's a moment later.
func TestAProcessThatHasEndedIsNobody(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	const ns = "ended"
	w.namespace(t, ns)
	for _, how := range []string{"headless", "zombie"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			spec := newPod(ns, how)
			spec.Spec.Containers[0].Args = append([]string{"-" + how}, spec.Spec.Containers[0].Args...)
			id := w.containerEntry(t, ns, how, how)
			pod := w.run(t, spec)
			pid, err := w.Node.PID(t.Context(), strings.TrimPrefix(pod.Status.ContainerStatuses[0].ContainerID, "containerd://"))
			if err != nil {
				t.Fatal(err)
			}
			if how == "zombie" {
				pid = endedChild(t, w, pid)
			}
			if _, state, err := stat(pid); err != nil || state != "Z" {
				t.Errorf("process %d is in state %q, %v, want Z", pid, state, err)
			}
			w.awaitID(t, pod, how, id, builtInSocket)
			known := time.Now()
			w.awaitEach(t, pod, how, func(a answer) bool { return a.Asked.After(known) && a.Code == "Unavailable" }, podsealSockets...)
			wantNoID(t, how, w.answersOf(t, pod, how), time.Time{}, podsealSockets...)
			w.awaitLogged(t, failedCall(pid, "has ended (state Z)"), withPodseal...)
		})
	}
}

// answersTo has the pod's only container write its answers to a file of the node's,
// whose path is returned, and go on after SIGTERM.
func answersTo(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	dir, err := os.MkdirTemp(machine.Dir(), "answers-")
	if err == nil {
		err = os.Chmod(dir, 0o777) // whoever the pod's user is
	}
	if err != nil {
		t.Fatal(err)
	}
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "answers", VolumeSource: corev1.VolumeSource{
		HostPath: &corev1.HostPathVolumeSource{Path: dir},
	}})
	c := &pod.Spec.Containers[0]
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "answers", MountPath: "/answers"})
	c.Args = append([]string{"-to", "/answers/answers", "-stay"}, c.Args...)
	return filepath.Join(dir, "answers")
}

// failedCall is the agent's line about its failed attestor and a process.
func failedCall(pid int, reason string) func(spirestack.Record) bool {
	return func(r spirestack.Record) bool {
		return r.Message == `workload attestor "k8s" failed` && r.Text("pid") == strconv.Itoa(pid) && strings.Contains(r.Text("error"), reason)
	}
}

// failedPod is podseal's own line about processes of the pod.
func failedPod(uid, reason string) func(spirestack.Record) bool {
	return func(r spirestack.Record) bool {
		return r.Message == "attestation failed" && r.Text("pod_uid") == uid && strings.Contains(r.Text("reason"), reason)
	}
}

func stat(pid int) (parent int, state string, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, "", err
	}
	// 42 (the name, which may have anything in it) S 1 ..., proc_pid_stat(5)
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	parent, err = strconv.Atoi(fields[1])
	return parent, fields[0], err
}

// endedChild waits for a child of the process that has ended.
func endedChild(t *testing.T, w *world, of int) (child int) {
	t.Helper()
	w.await(t, func(context.Context) error {
		processes, err := filepath.Glob("/proc/[0-9]*/stat")
		if err != nil {
			return err
		}
		for _, path := range processes {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				return err
			}
			if parent, state, err := stat(pid); err == nil && parent == of && state == "Z" {
				child = pid
				return nil
			}
		}
		return fmt.Errorf("no child of process %d has ended", of)
	})
	return child
}
