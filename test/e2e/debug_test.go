//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/test/e2e/stack"
	"github.com/podseal/podseal/test/realstack/spirestack"
)

// TestKubectlDebug is about whoever may add a container to a pod that runs: he must
// not get the pod's identity for a program of his choice, unless an operator allows it.
func TestKubectlDebug(t *testing.T) {
	w := inWorld(t)
	const ns, name, debugger = "debug", "patient", "debugger"
	w.namespace(t, ns)
	id := w.containerEntry(t, ns, name, name)
	debuggerID := w.containerEntry(t, ns, name, debugger)
	pod := w.run(t, newPod(ns, name))
	w.awaitID(t, pod, name, id, sockets...)

	mounts := filepath.Join(t.TempDir(), "debugger.yaml")
	profile := fmt.Sprintf("volumeMounts: [{name: all-sockets, mountPath: %s}]\n", stack.SocketsDir)
	if err := os.WriteFile(mounts, []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Kubectl(t.Context(), "", append([]string{"debug", "--namespace", ns, "pod/" + name,
		"--image", stack.WorkloadImage, "--container", debugger, "--target", name,
		"--profile", "general", "--custom", mounts,
		"--arguments-only", "--", "-name", processName(ns, name, debugger)}, sockets...)...); err != nil {
		t.Fatal(err)
	}
	w.awaitPod(t, ns, name, func(p *corev1.Pod) error {
		if s := p.Status.EphemeralContainerStatuses; len(s) != 1 || s[0].State.Running == nil {
			return fmt.Errorf("the ephemeral container does not run: %+v", s)
		}
		return nil
	})

	// An agent that has no other attestor can't attest it at all.
	w.awaitEach(t, pod, debugger, func(a answer) bool { return a.Code == "Unavailable" }, podsealSockets...)
	refused := time.Now()
	const reason = `container "debugger" of pod "debug/patient": ephemeral containers (kubectl debug) are not attested: set ephemeral_containers = true to allow it`
	for agent, log := range w.logsOfPodseal(t) {
		if diff := cmp.Diff([]string{reason}, slices.Compact(failures(log, pod))); diff != "" {
			t.Errorf("podseal %s, failures in its log (-want +got):\n%s", agent, diff)
		}
	}
	w.awaitEach(t, pod, name, func(a answer) bool { return a.Asked.After(refused) && a.ID == id }, sockets...)

	if err := w.host.Reconfigure(t.Context(), w.hostData()+"ephemeral_containers = true\n"); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := w.host.Reconfigure(context.WithoutCancel(t.Context()), w.hostData()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(restore)
	w.awaitID(t, pod, debugger, debuggerID, hostSocket)
	pid := w.pidOf(t, processName(ns, name, debugger))
	got, err := last(w.host, pid)
	if err != nil {
		t.Fatal(err)
	}
	ofPod := func(selectors []string) []string {
		return slices.DeleteFunc(slices.Clone(selectors), func(s string) bool { return strings.HasPrefix(s, "k8s:container-") })
	}
	target := w.sameSelectors(t, w.pidOf(t, processName(ns, name, name)))
	if diff := cmp.Diff(ofPod(target), ofPod(got)); diff != "" {
		t.Errorf("selectors of the pod (-by its own container +by the ephemeral one):\n%s", diff)
	}
	for _, want := range []string{"k8s:container-name:" + debugger, "k8s:container-type:ephemeral"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not among %q", want, got)
		}
	}
	for _, never := range []string{"k8s:container-name:" + name, "k8s:container-type:regular"} {
		if slices.Contains(got, never) {
			t.Errorf("%s is among %q", never, got)
		}
	}

	// The built-in attestor does not know the container, and looks for it for half
	// a minute.
	w.awaitAnswer(t, pod, debugger, builtInSocket, func(a answer) bool { return a.Code == "Unavailable" })
	for who, a := range map[string]agent{"podseal, not configured for it": w.podseal, "the built-in attestor": w.builtIn} {
		if calls, err := a.Attested(pid); err != nil || len(calls) > 0 {
			t.Errorf("%s attested the debugger: %q, %v", who, calls, err)
		}
	}
	log, err := w.builtIn.Log()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(spirestack.ReadLog(log), func(r spirestack.Record) bool {
		return r.Text("pid") == fmt.Sprint(pid) && strings.Contains(r.Text("error"), "no selectors found after max poll attempts")
	}) {
		t.Error("the built-in attestor did not log that it found nothing")
	}

	restore()
	restored := time.Now()
	w.awaitAnswer(t, pod, debugger, hostSocket, func(a answer) bool { return a.Asked.After(restored) && a.Code == "Unavailable" })
	for _, a := range w.answersOf(t, pod, debugger) {
		if a.ID != "" && (a.Socket != hostSocket || a.ID != debuggerID) {
			t.Errorf("the debugger got %s from %s", a.ID, a.Socket)
		}
	}
}
