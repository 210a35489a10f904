package container_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/container"
)

// fakeProc is a directory with the few files of procfs that a Locator reads.
type fakeProc struct {
	t   *testing.T
	dir string
}

func newFakeProc(t *testing.T) fakeProc {
	p := fakeProc{t, t.TempDir()}
	p.process(os.Getpid(), v2(onHost), stat("S", 1))
	p.process(1, v2("/init.scope"), stat("S", 1))
	if err := os.Symlink(strconv.Itoa(os.Getpid()), filepath.Join(p.dir, "self")); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p fakeProc) write(pid int, name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, strconv.Itoa(pid), name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p fakeProc) process(pid int, cgroup, stat string) {
	p.t.Helper()
	if err := os.MkdirAll(filepath.Join(p.dir, strconv.Itoa(pid)), 0o700); err != nil {
		p.t.Fatal(err)
	}
	p.write(pid, "cgroup", cgroup)
	p.write(pid, "stat", stat)
}

func (p fakeProc) locator() *container.Locator {
	p.t.Helper()
	l, err := container.NewLocator(container.Options{Proc: p.dir})
	if err != nil {
		p.t.Fatal(err)
	}
	return l
}

// stat is a /proc/<pid>/stat of a process that chose a nasty name.
func stat(state string, start int) string {
	return fmt.Sprintf("42 (evil) Z 1 (\n) %s 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 %d 1000 100 18446744073709551615\n", state, start)
}

func inPod() string { return v2("/kubepods/pod" + uidU + "/" + idB) }

func TestAProcessIsLocatedAndChecked(t *testing.T) {
	t.Parallel()
	proc := newFakeProc(t)
	proc.process(42, inPod(), stat("S", 7))
	p, err := proc.locator().Open(42)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ref, err := p.Ref()
	if err != nil || ref.PodUID() != uidU || ref.ContainerID() != idB {
		t.Fatalf("Ref = %v, %v", ref, err)
	}
	if err := p.Check(); err != nil {
		t.Errorf("Check = %v, want nil", err)
	}
}

func TestAProcessThatIsNoMoreTheOneThatCalled(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(fakeProc)
		want   string
	}{
		{"moved", func(p fakeProc) { p.write(42, "cgroup", v2("/kubepods/pod"+uidV+"/"+idB)) }, "moved to another cgroup"},
		{"another one with its ID", func(p fakeProc) { p.write(42, "stat", stat("S", 8)) }, "was reused"},
		{"zombie", func(p fakeProc) { p.write(42, "stat", stat("Z", 7)) }, "has ended (state Z)"},
		{"dead", func(p fakeProc) { p.write(42, "stat", stat("X", 7)) }, "has ended (state X)"},
		{"gone", func(p fakeProc) { os.Remove(filepath.Join(p.dir, "42", "stat")) }, "process 42 ended"},
		{"gone a moment later", func(p fakeProc) { os.Remove(filepath.Join(p.dir, "42", "cgroup")) }, "process 42 ended"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			proc := newFakeProc(t)
			proc.process(42, inPod(), stat("S", 7))
			p, err := proc.locator().Open(42)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			test.change(proc)
			err = p.Check()
			if !errors.Is(err, container.ErrChanged) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Check = %v, want %q", err, test.want)
			}
		})
	}
}

func TestOpenRefusesWhatIsNotACaller(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		pid  int32
		stat string
		want error
	}{
		{"no such process", 43, stat("S", 7), container.ErrNotExist},
		{"a process of another PID namespace", 0, stat("S", 7), container.ErrNotVisible},
		{"a negative ID", -42, stat("S", 7), container.ErrNotVisible},
		{"zombie", 42, stat("Z", 7), container.ErrChanged},
		{"dead", 42, stat("x", 7), container.ErrChanged},
		{"started after the call", 42, stat("S", 1<<60), container.ErrChanged},
		{"no stat", 42, "", container.ErrMalformed},
		{"a stat that is cut off", 42, "42 (x) S 1 2 3", container.ErrMalformed},
		{"a start time that is none", 42, strings.Replace(stat("S", 7), " 7 ", " x ", 1), container.ErrMalformed},
		{"an endless stat", 42, stat("S", 7) + strings.Repeat(" ", 4<<10), container.ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			proc := newFakeProc(t)
			proc.process(42, inPod(), test.stat)
			p, err := proc.locator().Open(test.pid)
			if !errors.Is(err, test.want) {
				t.Errorf("Open = %v, want %v", err, test.want)
			}
			if p != nil {
				t.Error("Open returned a process with its error")
			}
		})
	}
}

func TestAnEndlessCgroupFileIsAnError(t *testing.T) {
	t.Parallel()
	proc := newFakeProc(t)
	proc.process(42, strings.Repeat("0::/\n", 100_000), stat("S", 7))
	if _, err := proc.locator().Open(42); !errors.Is(err, container.ErrMalformed) {
		t.Errorf("Open = %v, want ErrMalformed", err)
	}
}

func TestAForgedPlaceIsIgnoredAndNamed(t *testing.T) {
	t.Parallel()
	proc := newFakeProc(t)
	forged := "/user.slice/user-1000.slice/user@1000.service/kubepods/pod" + uidU + "/" + idB
	proc.process(42, v2(forged), stat("S", 7))
	p, err := proc.locator().Open(42)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ref, err := p.Ref()
	if err != nil || !ref.IsZero() {
		t.Errorf("Ref = %v, %v, want none", ref, err)
	}
	if got := p.Ignored(); len(got) != 1 || got[0] != forged {
		t.Errorf("Ignored = %q, want the forged path", got)
	}
}

// Without the host's PID namespace every process ID means another process, and
// every workload would silently be in no pod.
func TestALocatorNeedsTheHostsProcesses(t *testing.T) {
	t.Parallel()
	proc := newFakeProc(t)
	self := filepath.Join(proc.dir, "self")
	os.Remove(self)
	if err := os.Symlink("1", self); err != nil {
		t.Fatal(err)
	}
	_, err := container.NewLocator(container.Options{Proc: proc.dir})
	if err == nil || !strings.Contains(err.Error(), "hostPID") {
		t.Errorf("error = %v, want one that names hostPID", err)
	}
	_, err = container.NewLocator(container.Options{Proc: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "is not the proc file system") {
		t.Errorf("error = %v, want one about the proc file system", err)
	}
}

func TestACgroupRootIsAPath(t *testing.T) {
	t.Parallel()
	_, err := container.NewLocator(container.Options{CgroupRoot: "reviewsec"})
	if err == nil || !strings.Contains(err.Error(), "cgroup_root") {
		t.Errorf("error = %v, want one that names cgroup_root", err)
	}
}
