package container_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/container"
)

// BenchmarkLocate is everything that an attestation reads of /proc, for this
// process.
func BenchmarkLocate(b *testing.B) {
	l, err := container.NewLocator(container.Options{})
	if err != nil {
		b.Fatal(err)
	}
	pid := int32(os.Getpid()) // #nosec G115 -- a process ID
	b.ReportAllocs()
	for b.Loop() {
		p, err := l.Open(pid)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Ref(); err != nil {
			b.Fatal(err)
		}
		if err := p.Check(); err != nil {
			b.Fatal(err)
		}
		p.Close()
	}
}

// BenchmarkResolve is what is made of a container's cgroup file with the many
// hierarchies of version 1.
func BenchmarkResolve(b *testing.B) {
	var process, agent strings.Builder
	for i, hierarchy := range []string{"cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "net_cls", "perf_event", "hugetlb", "pids", "name=systemd"} {
		fmt.Fprintf(&process, "%d:%s:/kubepods/burstable/pod%s/%s\n", i+1, hierarchy, uidU, idA)
		fmt.Fprintf(&agent, "%d:%s:/kubepods/besteffort/pod%s/%s\n", i+1, hierarchy, uidV, idB)
	}
	b.ReportAllocs()
	for b.Loop() {
		if ref, err := container.Resolve(process.String(), agent.String(), "", "", ""); err != nil || ref.PodUID() != uidU {
			b.Fatal(ref, err)
		}
	}
}
