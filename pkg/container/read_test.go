package container_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/container/containertest"
)

// Not parallel: it counts the descriptors of this process.
func TestNoDescriptorIsLeftOpen(t *testing.T) {
	proc := containertest.NewProc(t)
	proc.Start(42, inPod)
	proc.Start(43, inPod)
	proc.Write(43, "stat", containertest.Stat("Z", 7))
	l := proc.Locator()
	before := descriptors(t)
	for range 50 {
		p, err := l.Open(42)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Ref(); err != nil {
			t.Error(err)
		}
		if err := p.Check(); err != nil {
			t.Error(err)
		}
		p.Close()
		p.Close()
		for _, refused := range []int32{43, 44} {
			if _, err := l.Open(refused); err == nil {
				t.Errorf("Open(%d) = nil, want an error", refused)
			}
		}
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors are open, %d before", after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

func TestFilesOfAProcessAreNoSymbolicLinks(t *testing.T) {
	t.Parallel()
	proc := containertest.NewProc(t)
	proc.Start(42, inPod)
	proc.Start(43, inPod)
	proc.Remove(42, "cgroup")
	if err := os.Symlink(filepath.Join(proc.Dir, strconv.Itoa(43), "cgroup"), filepath.Join(proc.Dir, strconv.Itoa(42), "cgroup")); err != nil {
		t.Fatal(err)
	}
	if _, err := proc.Locator().Open(42); !errors.Is(err, container.ErrMalformed) {
		t.Errorf("Open = %v, want ErrMalformed", err)
	}
}
