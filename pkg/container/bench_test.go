package container_test

import (
	"os"
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
