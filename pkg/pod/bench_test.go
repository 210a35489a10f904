package pod_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/pod"
)

func records(n int) []*pod.Pod {
	all := make([]*pod.Pod, n)
	for i := range all {
		all[i] = &pod.Pod{
			UID: fmt.Sprintf("%08d-0000-4000-a000-000000000000", i), Namespace: fmt.Sprintf("team-%d", i%12), Name: fmt.Sprintf("web-%d", i),
			Containers: []pod.Container{
				{Name: "setup", Type: pod.Init, ID: fmt.Sprintf("%064x", 3*i), Terminated: true},
				{Name: "app", Type: pod.Regular, ID: fmt.Sprintf("%064x", 3*i+1), Running: true},
				{Name: "metrics", Type: pod.Regular, ID: fmt.Sprintf("%064x", 3*i+2), Running: true},
			},
		}
	}
	return all
}

// BenchmarkIndex is an index of pods that are decoded already.
func BenchmarkIndex(b *testing.B) {
	for _, pods := range []int{110, 500} {
		all := records(pods)
		b.Run(fmt.Sprintf("pods=%d", pods), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if x := index(all...).Index(); x.Len() != pods {
					b.Fatal(x.Len())
				}
			}
		})
	}
}

// BenchmarkLookup is what finds a process's pod: by the UID of its cgroup, or by
// the container's ID where the cgroup has no UID.
func BenchmarkLookup(b *testing.B) {
	all := records(500)
	builder := pod.NewBuilder(time.Time{}, len(all))
	for _, p := range all {
		builder.Add(p)
	}
	x, wanted := builder.Index(), all[250]
	b.Run("UID", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if p, err := x.ByUID(wanted.UID); p != wanted || err != nil {
				b.Fatal(p, err)
			}
		}
	})
	b.Run("container ID", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if found := x.ByContainerID(wanted.Containers[1].ID); len(found) != 1 {
				b.Fatal(len(found))
			}
		}
	})
}
