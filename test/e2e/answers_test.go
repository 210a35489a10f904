//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/test/realstack/spirestack"
)

// answer is what a workload was told by the agent of a socket.
type answer struct {
	Asked                    time.Time
	Socket, ID, Code, Reason string
}

func readAnswers(lines []string) ([]answer, error) {
	var all []answer
	for _, line := range lines {
		var a answer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			return nil, fmt.Errorf("output %q: %w", line, err)
		}
		all = append(all, a)
	}
	return all, nil
}

// entry registers an ID for workloads with all of these selectors.
func (w *world) entry(t *testing.T, path string, selectors ...string) {
	t.Helper()
	if err := w.Server.CreateEntry(t.Context(), spirestack.Entry{Path: path, Selectors: selectors}); err != nil {
		t.Fatal(err)
	}
}

// containerEntry registers an ID for one container, by selectors that every
// attestor has. It returns the ID.
func (w *world) containerEntry(t *testing.T, namespace, pod, container string) string {
	t.Helper()
	path := "/" + processName(namespace, pod, container)
	w.entry(t, path, "k8s:ns:"+namespace, "k8s:pod-name:"+pod, "k8s:container-name:"+container)
	return w.Server.ID(path)
}

// answers are those that the container got so far.
func (w *world) answers(pod *corev1.Pod, container string) ([]answer, error) {
	lines, err := w.Node.Output(pod, container)
	if err != nil {
		return nil, err
	}
	return readAnswers(lines)
}

// answersOf is answers for a container that has run.
func (w *world) answersOf(t *testing.T, pod *corev1.Pod, container string) []answer {
	t.Helper()
	all, err := w.answers(pod, container)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// awaitAnswer waits for an answer of the agent of that socket that is accepted.
func (w *world) awaitAnswer(t *testing.T, pod *corev1.Pod, container, socket string, accept func(answer) bool) (found answer) {
	t.Helper()
	w.await(t, func(context.Context) error {
		all, err := w.answers(pod, container)
		if err != nil {
			return err
		}
		last := answer{Reason: "it was not asked"}
		for _, a := range all {
			if a.Socket != socket {
				continue
			}
			if accept(a) {
				found = a
				return nil
			}
			last = a
		}
		return fmt.Errorf("%s/%s, container %s, last answer of %s: %+v", pod.Namespace, pod.Name, container, socket, last)
	})
	return found
}

// awaitEach waits for such an answer of each of these agents.
func (w *world) awaitEach(t *testing.T, pod *corev1.Pod, container string, accept func(answer) bool, of ...string) {
	t.Helper()
	for _, socket := range of {
		w.awaitAnswer(t, pod, container, socket, accept)
	}
}

// awaitID waits until all of these agents give the container that ID.
func (w *world) awaitID(t *testing.T, pod *corev1.Pod, container, id string, of ...string) {
	t.Helper()
	w.awaitEach(t, pod, container, func(a answer) bool { return a.ID == id }, of...)
}

// wantRefused waits for a refusal after a time by which everything is known, and
// then finds that no agent of these ever gave the container an ID.
func (w *world) wantRefused(t *testing.T, pod *corev1.Pod, container string, of ...string) {
	t.Helper()
	settled := time.Now()
	w.awaitEach(t, pod, container, func(a answer) bool { return a.Asked.After(settled) && a.Code == "PermissionDenied" }, of...)
	wantNoID(t, processName(pod.Namespace, pod.Name, container), w.answersOf(t, pod, container), time.Time{}, of...)
}

// wantNoID finds no ID in those of the answers of these agents that were asked for
// after a time.
func wantNoID(t *testing.T, who string, answers []answer, after time.Time, of ...string) {
	t.Helper()
	for _, a := range answers {
		if a.ID != "" && a.Asked.After(after) && slices.Contains(of, a.Socket) {
			t.Errorf("%s got %s from %s", who, a.ID, a.Socket)
		}
	}
}

// sameSelectors waits until all agents say the same of the process: podseal in a
// pod, podseal in a cgroup namespace, podseal on the host, and the built-in
// attestor, which lacks what podseal adds. It returns podseal's.
func (w *world) sameSelectors(t *testing.T, pid int) []string {
	t.Helper()
	var selectors []string
	w.await(t, func(context.Context) (err error) {
		if selectors, err = last(w.podseal, pid); err != nil {
			return err
		}
		for name, other := range map[string]agent{"in a cgroup namespace": w.private, "on the host": w.host} {
			theirs, err := last(other, pid)
			if err != nil {
				return fmt.Errorf("podseal %s: %w", name, err)
			}
			if diff := cmp.Diff(selectors, theirs); diff != "" {
				return fmt.Errorf("process %d, selectors of podseal (-in a pod +%s):\n%s", pid, name, diff)
			}
		}
		theirs, err := last(w.builtIn, pid)
		if err != nil {
			return fmt.Errorf("the built-in attestor: %w", err)
		}
		if diff := cmp.Diff(theirs, slices.DeleteFunc(slices.Clone(selectors), isAdded)); diff != "" {
			return fmt.Errorf("process %d, selectors (-built-in +podseal):\n%s", pid, diff)
		}
		return nil
	})
	if len(selectors) > 0 && !slices.ContainsFunc(selectors, isAdded) {
		t.Errorf("process %d: podseal added nothing to %q", pid, selectors)
	}
	return selectors
}

// last is what an agent last said of a process, sorted.
func last(a agent, pid int) ([]string, error) {
	calls, err := a.Attested(pid)
	if err != nil {
		return nil, err
	}
	if len(calls) == 0 {
		return nil, errors.New("the agent was not asked about the process")
	}
	selectors := calls[len(calls)-1]
	slices.Sort(selectors) // the built-in attestor's are in no order
	return selectors, nil
}

// isAdded tells podseal's own selectors from those of the built-in attestor.
func isAdded(selector string) bool {
	return slices.ContainsFunc([]string{
		"k8s:container-type:", "k8s:container-image-digest:", "k8s:pod-image-digest:", "k8s:pod-spec-image:",
	}, func(prefix string) bool { return strings.HasPrefix(selector, prefix) })
}
