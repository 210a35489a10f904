//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/test/realstack/spirestack"
)

// The kubelet restarts while eight pods ask all agents all the time, with podseal at
// the kubelet's port, with its Pods API, and with whichever of them answers. Nobody is
// taken for another or for less than he is, and nobody goes without.
func TestAKubeletThatRestarts(t *testing.T) {
	w := inWorld(t)
	const ns = "restart"
	asked := append(slices.Clone(sockets), bothSocket)
	w.namespace(t, ns)
	pods, ids := map[string]*corev1.Pod{}, map[string]string{}
	for i := range 8 {
		name := fmt.Sprint("steady-", i)
		ids[name] = w.containerEntry(t, ns, name, name)
		pods[name] = newPod(ns, name)
		own := &pods[name].Spec.Containers[0]
		own.Args = slices.Concat([]string{"-every", "250ms"}, own.Args, []string{bothSocket})
		w.create(t, pods[name])
	}
	for name := range pods {
		pods[name] = w.running(t, ns, name)
		w.awaitID(t, pods[name], name, ids[name], asked...)
	}
	const found, lost = "known from the kubelet's Pods API from now on", "the kubelet's Pods API does not answer any more"
	w.await(t, func(context.Context) error { return w.bothSaid(t, 0, found, 1) })
	before, switched := len(w.records(t)), len(w.recordsOfBoth(t))

	begin := time.Now()
	if err := w.Node.StopKubelet(); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	w.awaitLog(t, before, "connection refused")
	if err := w.Node.StartKubelet(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	t.Logf("the kubelet was away for %.1f s", time.Since(stopped).Seconds())
	end := time.Now()
	w.await(t, func(context.Context) error { return w.bothSaid(t, switched, found, 1) })

	answers, attested := 0, 0
	for name, pod := range pods {
		w.stillServed(t, pod, ids[name], begin, end, asked...)
		for _, a := range w.answersOf(t, pod, name) {
			if a.Asked.After(begin) && a.Asked.Before(end) {
				answers++
			}
		}
		pid := w.pidOf(t, processName(ns, name, name))
		attested += w.alwaysSame(t, pid, w.sameSelectors(t, pid))
	}
	t.Logf("%d calls were made meanwhile; podseal answered %d in all", answers, attested)
	for words, times := range map[string]int{found: 1, lost: 1} {
		if err := w.bothSaid(t, switched, words, times); err != nil {
			t.Error(err)
		}
	}
}

// alwaysSame finds that podseal, wherever it is and whatever it asks, has never said
// anything else of the process. It returns how often it has said it.
func (w *world) alwaysSame(t *testing.T, pid int, want []string) (times int) {
	t.Helper()
	for name, a := range map[string]agent{"at the port": w.podseal, "with the Pods API": w.private, "with both": w.both, "on the host": w.host} {
		calls, err := a.Attested(pid)
		if err != nil || len(calls) == 0 {
			t.Errorf("podseal %s: %d answers about process %d, %v", name, len(calls), pid, err)
		}
		for i, got := range calls {
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("podseal %s, process %d, call %d of %d (-want +got):\n%s", name, pid, i+1, len(calls), diff)
			}
		}
		times += len(calls)
	}
	return times
}

// bothSaid is nil when the agent with both sources has said these words so often, since
// it had written so many records.
func (w *world) bothSaid(t *testing.T, since int, words string, times int) error {
	t.Helper()
	said := 0
	for _, r := range w.recordsOfBoth(t)[since:] {
		if strings.Contains(r.Message, words) {
			said++
		}
	}
	if said != times {
		return fmt.Errorf("the agent with both sources said %q %d times, want %d", words, said, times)
	}
	return nil
}

func (w *world) recordsOfBoth(t *testing.T) []spirestack.Record {
	t.Helper()
	log, err := w.both.Log()
	if err != nil {
		t.Fatal(err)
	}
	return spirestack.ReadLog(log)
}
