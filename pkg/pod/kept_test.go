package pod_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/podseal/podseal/pkg/pod"
)

func TestOfACompletedPodOnlyWhatNamesItIsKept(t *testing.T) {
	t.Parallel()
	of := func(terminal bool, containers ...pod.Container) *pod.Pod {
		return &pod.Pod{UID: "u", Name: "n", Namespace: "ns", NodeName: "node", ServiceAccount: "sa", Terminal: terminal,
			Labels: []pod.Label{{Key: "k", Value: "v"}}, Containers: containers}
	}
	running, ended := pod.Container{Name: "a", ID: "1", Running: true}, pod.Container{Name: "b", ID: "2", Terminated: true}
	named := &pod.Pod{UID: "u", Name: "n", Namespace: "ns", Terminal: true, Completed: true}
	for name, c := range map[string]struct{ of, want *pod.Pod }{
		"completed":                  {of(true, ended), named},
		"failed before it began":     {of(true), named},
		"running":                    {of(false, running, ended), of(false, running, ended)},
		"between two runs":           {of(false, ended), of(false, ended)},
		"evicted, and still running": {of(true, ended, running), of(true, ended, running)},
	} {
		if diff := cmp.Diff(c.want, c.of.Kept(), cmpopts.IgnoreUnexported(pod.Pod{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
