// Package containertest is a proc file system of plain files, for tests of what
// stands on package container and needs processes in pods without any cgroup.
package containertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/podseal/podseal/pkg/container"
)

// Agent is the cgroup of the agent in a Proc.
const Agent = "/system.slice/spire-agent.service"

// Proc is a directory with the few files of procfs that a container.Locator
// reads. This process is in Agent.
type Proc struct {
	// Dir is the directory.
	Dir string

	t testing.TB
}

// NewProc makes a Proc without processes but the agent's and the first.
func NewProc(t testing.TB) *Proc {
	t.Helper()
	p := &Proc{t.TempDir(), t}
	p.Start(os.Getpid(), Agent)
	p.Start(1, "/init.scope")
	if err := os.Symlink(strconv.Itoa(os.Getpid()), filepath.Join(p.Dir, "self")); err != nil {
		t.Fatal(err)
	}
	return p
}

// Start makes a process in a cgroup of the v2 hierarchy.
func (p *Proc) Start(pid int, cgroup string) {
	p.t.Helper()
	if err := os.MkdirAll(filepath.Join(p.Dir, strconv.Itoa(pid)), 0o700); err != nil {
		p.t.Fatal(err)
	}
	p.Write(pid, "stat", Stat("S", 7))
	p.Write(pid, "cgroup", "0::"+cgroup+"\n")
}

// Write writes a file of a process, "stat" or "cgroup".
func (p *Proc) Write(pid int, name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.Dir, strconv.Itoa(pid), name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// Remove removes a file of a process.
func (p *Proc) Remove(pid int, name string) {
	p.t.Helper()
	if err := os.Remove(filepath.Join(p.Dir, strconv.Itoa(pid), name)); err != nil {
		p.t.Fatal(err)
	}
}

// Locator returns a Locator that reads the directory.
func (p *Proc) Locator() *container.Locator { return p.LocatorInPod("") }

// LocatorInPod returns a Locator that was told the UID of the agent's own pod.
func (p *Proc) LocatorInPod(uid string) *container.Locator {
	p.t.Helper()
	l, err := container.NewLocator(container.Options{Proc: p.Dir, OwnPodUID: uid})
	if err != nil {
		p.t.Fatal(err)
	}
	return l
}

// Stat is the stat file of a process in that state that started at that time, in
// clock ticks since boot, and chose a nasty name.
func Stat(state string, start int) string {
	return fmt.Sprintf("42 (evil) Z 1 (\n) %s 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 %d 1000 100 18446744073709551615\n", state, start)
}
