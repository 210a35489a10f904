//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/test/realstack/spirestack"
)

// TestACallBeforeTheKubeletListsTheContainer has workloads that ask as the first
// thing they do, when the kubelet's list lacks their containers: that call waits,
// and is answered.
func TestACallBeforeTheKubeletListsTheContainer(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	const ns, label = "early", "early-bird"
	w.namespace(t, ns)
	w.entry(t, "/early/bird", "k8s:ns:"+ns, "k8s:pod-label:app:"+label)
	id := w.Server.ID("/early/bird")
	bird := func(name string) *corev1.Pod {
		pod := newPod(ns, name)
		pod.Labels["app"] = label
		return pod
	}
	// With this one's SVID the entry is known to all agents.
	w.awaitID(t, w.run(t, bird("scout")), "scout", id, sockets...)

	names := []string{"bird-0", "bird-1", "bird-2", "bird-3", "bird-4"}
	for _, name := range names {
		w.create(t, bird(name))
	}
	unlisted := w.lastUnlisted(t, ns, names)
	early := map[string]int{}
	for _, name := range names {
		pod := w.running(t, ns, name)
		for _, socket := range sockets {
			first := w.awaitAnswer(t, pod, name, socket, func(answer) bool { return true })
			if first.ID != id {
				t.Errorf("pod %s, the first answer: %+v", name, first)
			}
			if first.Asked.Before(unlisted[name]) {
				early[socket]++
			}
		}
		pid := w.pidOf(t, processName(ns, name, name))
		want := w.sameSelectors(t, pid)
		for _, a := range []agent{w.podseal, w.private, w.host} {
			calls, err := a.Attested(pid)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, calls[0]); diff != "" {
				t.Errorf("pod %s, selectors (-the last call +the first):\n%s", name, diff)
			}
		}
	}
	for _, socket := range sockets {
		if early[socket] == 0 {
			t.Errorf("%s: no pod asked before the kubelet listed its container", socket)
		}
	}
	t.Logf("of %d pods, asked before they were listed: %v", len(names), early)
}

// lastUnlisted waits until the kubelet lists the containers of these pods, and
// returns for each when it last was asked and answered without: a call before that
// moment was made by a container that was not listed.
func (w *world) lastUnlisted(t *testing.T, namespace string, pods []string) map[string]time.Time {
	t.Helper()
	unlisted := map[string]time.Time{}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for waiting := slices.Clone(pods); len(waiting) > 0; time.Sleep(20 * time.Millisecond) {
		begin := time.Now()
		list, err := w.Node.Pods(ctx)
		if err != nil {
			t.Fatal(err)
		}
		waiting = slices.DeleteFunc(waiting, func(name string) bool {
			return slices.ContainsFunc(list, func(p corev1.Pod) bool {
				return p.Namespace == namespace && p.Name == name &&
					len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].ContainerID != ""
			})
		})
		for _, name := range waiting {
			unlisted[name] = begin
		}
	}
	return unlisted
}

// TestAContainerThatIsStartedAgain kills a container's process, and kills the next
// one while its first call may still wait.
func TestAContainerThatIsStartedAgain(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	const ns, name = "again", "phoenix"
	w.namespace(t, ns)
	id := w.containerEntry(t, ns, name, name)
	pod := w.run(t, newPod(ns, name))
	w.awaitID(t, pod, name, id, sockets...)
	pid := w.containerPID(t, pod, 0)
	before := w.sameSelectors(t, pid)

	end(t, pid)
	var second int
	w.await(t, func(context.Context) (err error) {
		if second, err = findProcess(processName(ns, name, name)); err == nil && second == pid {
			err = errors.New("the killed process is still there")
		}
		return err
	})
	end(t, second)
	killed := time.Now()

	again := w.awaitPod(t, ns, name, func(p *corev1.Pod) error {
		s := p.Status.ContainerStatuses[0]
		if s.RestartCount != 2 || s.State.Running == nil {
			return fmt.Errorf("restarted %d times: %+v", s.RestartCount, s.State)
		}
		return nil
	})
	last := again.Status.ContainerStatuses[0].LastTerminationState.Terminated
	if last == nil || last.ExitCode != 128+int32(syscall.SIGKILL) {
		t.Errorf("the run before ended by %+v", last)
	}
	if old, now := pod.Status.ContainerStatuses[0].ContainerID, again.Status.ContainerStatuses[0].ContainerID; old == now {
		t.Errorf("container %s is still the same", now)
	}
	for _, socket := range sockets {
		first := w.awaitAnswer(t, again, name, socket, func(a answer) bool { return a.Asked.After(killed) })
		if first.ID != id {
			t.Errorf("the first answer of the third run: %+v", first)
		}
	}
	after := w.sameSelectors(t, w.containerPID(t, again, 0))
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("selectors (-of the first run +of the third):\n%s", diff)
	}
	for agent, log := range w.logsOfPodseal(t) {
		for _, reason := range failures(log, pod) {
			if !strings.Contains(reason, "context canceled") && !strings.Contains(reason, "ended") {
				t.Errorf("podseal %s logged %q", agent, reason)
			}
			t.Logf("podseal %s: %s", agent, reason)
		}
	}
}

// TestAContainerThatCrashLoops has each run end when it has its SVIDs.
func TestAContainerThatCrashLoops(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	const ns, name = "loops", "mayfly"
	w.namespace(t, ns)
	w.containerEntry(t, ns, name, name)
	pod := newPod(ns, name)
	own := &pod.Spec.Containers[0]
	own.Args = slices.Insert(own.Args, 2, "-once")
	w.create(t, pod)
	// It ends only when all agents have given it one.
	w.sameSelectors(t, w.pidOf(t, processName(ns, name, name)))
	looped := w.awaitPod(t, ns, name, func(p *corev1.Pod) error {
		if len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].RestartCount < 3 {
			return fmt.Errorf("restarted fewer than 3 times: %+v", p.Status.ContainerStatuses)
		}
		return nil
	})
	if last := looped.Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.ExitCode != 0 {
		t.Errorf("a run ended by %+v", last)
	}
	for agent, log := range w.logsOfPodseal(t) {
		if reasons := failures(log, looped); len(reasons) > 0 {
			t.Errorf("podseal %s logged %q", agent, reasons)
		}
	}
}

func TestExecIntoAContainer(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	const ns, name, second = "exec", "host", "second"
	w.namespace(t, ns)
	ids := map[string]string{name: w.containerEntry(t, ns, name, name), second: w.containerEntry(t, ns, name, second)}
	pod := newPod(ns, name)
	pod.Spec.Containers = append(pod.Spec.Containers, container(ns, name, second))
	pod = w.run(t, pod)
	for container, id := range ids {
		w.awaitID(t, pod, container, id, sockets...)
		process := processName(ns, name, "exec-into-"+container)
		command := append([]string{"exec", "--namespace", ns, name, "--container", container, "--", "/workload", "-name", process, "-tries", "3"}, sockets...)
		type result struct {
			out string
			err error
		}
		ended := make(chan result, 1)
		go func() {
			out, err := w.Kubectl(t.Context(), "", command...)
			ended <- result{out, err}
		}()
		pid := w.pidOf(t, process)
		r := <-ended
		if r.err != nil {
			t.Fatal(r.err)
		}
		answers, err := readAnswers(strings.Split(strings.TrimSpace(r.out), "\n"))
		if err != nil || len(answers) != 3*len(sockets) {
			t.Errorf("%d answers, %v", len(answers), err)
		}
		for _, a := range answers {
			if a.ID != id {
				t.Errorf("exec into container %s: %+v", container, a)
			}
		}
		own := w.sameSelectors(t, w.pidOf(t, processName(ns, name, container)))
		if diff := cmp.Diff(own, w.sameSelectors(t, pid)); diff != "" {
			t.Errorf("selectors (-of container %s's process +of the one that was started in it):\n%s", container, diff)
		}
	}
}

// TestLabelsOfARunningPod changes nothing else of the pod.
func TestLabelsOfARunningPod(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	const ns, name = "labels", "changeling"
	w.namespace(t, ns)
	w.entry(t, "/labels/gold", "k8s:ns:"+ns, "k8s:pod-label:tier:gold")
	pod := w.run(t, newPod(ns, name))
	pid := w.pidOf(t, processName(ns, name, name))
	before := w.sameSelectors(t, pid)
	w.wantRefused(t, pod, name, sockets...)

	for _, tier := range []string{"gold", "lead"} {
		if _, err := w.Kubectl(t.Context(), "", "label", "--overwrite", "--namespace", ns, "pod/"+name, "tier="+tier); err != nil {
			t.Fatal(err)
		}
		changed := time.Now()
		w.awaitEach(t, pod, name, func(a answer) bool {
			if tier == "gold" {
				return a.ID == w.Server.ID("/labels/gold")
			}
			return a.Asked.After(changed) && a.Code == "PermissionDenied"
		}, sockets...)
		want := slices.Sorted(slices.Values(append(slices.Clone(before), "k8s:pod-label:tier:"+tier)))
		if diff := cmp.Diff(want, w.sameSelectors(t, pid)); diff != "" {
			t.Errorf("selectors with tier %s (-want +got):\n%s", tier, diff)
		}
	}
}

// containerPID is the first process of the pod's container of that index.
func (w *world) containerPID(t *testing.T, pod *corev1.Pod, container int) int {
	t.Helper()
	id := strings.TrimPrefix(pod.Status.ContainerStatuses[container].ContainerID, "containerd://")
	pid, err := w.Node.PID(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// end kills a process of a pod.
func end(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// logsOfPodseal are the logs of the agents with podseal.
func (w *world) logsOfPodseal(t *testing.T) map[string][]spirestack.Record {
	t.Helper()
	inPod, err := w.podseal.Log()
	private, err2 := w.private.Log()
	host, err3 := w.host.Records()
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	return map[string][]spirestack.Record{
		"in a pod": spirestack.ReadLog(inPod), "in a cgroup namespace": spirestack.ReadLog(private), "on the host": host,
	}
}

// failures are the reasons that podseal logged for not attesting processes of the pod.
func failures(log []spirestack.Record, pod *corev1.Pod) (reasons []string) {
	for _, r := range log {
		if r.Message == "attestation failed" && r.Text("pod_uid") == string(pod.UID) {
			reasons = append(reasons, r.Text("reason"))
		}
	}
	return reasons
}
