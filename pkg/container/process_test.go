package container_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/container/containertest"
)

var inPod = "/kubepods/pod" + uidU + "/" + idB

func TestAProcessIsLocatedAndChecked(t *testing.T) {
	t.Parallel()
	proc := containertest.NewProc(t)
	proc.Start(42, inPod)
	p, err := proc.Locator().Open(42)
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
		change func(*containertest.Proc)
		want   string
	}{
		{"moved", func(p *containertest.Proc) { p.Write(42, "cgroup", v2("/kubepods/pod"+uidV+"/"+idB)) }, "moved to another cgroup"},
		{"another one with its ID", func(p *containertest.Proc) { p.Write(42, "stat", containertest.Stat("S", 8)) }, "was reused"},
		{"zombie", func(p *containertest.Proc) { p.Write(42, "stat", containertest.Stat("Z", 7)) }, "has ended (state Z)"},
		{"dead", func(p *containertest.Proc) { p.Write(42, "stat", containertest.Stat("X", 7)) }, "has ended (state X)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			proc := containertest.NewProc(t)
			proc.Start(42, inPod)
			p, err := proc.Locator().Open(42)
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
		{"no such process", 43, containertest.Stat("S", 7), container.ErrNotExist},
		{"a process of another PID namespace", 0, containertest.Stat("S", 7), container.ErrNotVisible},
		{"a negative ID", -42, containertest.Stat("S", 7), container.ErrNotVisible},
		{"zombie", 42, containertest.Stat("Z", 7), container.ErrChanged},
		{"dead", 42, containertest.Stat("x", 7), container.ErrChanged},
		{"started after the call", 42, containertest.Stat("S", 1<<60), container.ErrChanged},
		{"no stat", 42, "", container.ErrMalformed},
		{"a stat that is cut off", 42, "42 (x) S 1 2 3", container.ErrMalformed},
		{"a start time that is none", 42, strings.Replace(containertest.Stat("S", 7), " 7 ", " x ", 1), container.ErrMalformed},
		{"an endless stat", 42, containertest.Stat("S", 7) + strings.Repeat(" ", 4<<10), container.ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			proc := containertest.NewProc(t)
			proc.Start(42, inPod)
			proc.Write(42, "stat", test.stat)
			p, err := proc.Locator().Open(test.pid)
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
	proc := containertest.NewProc(t)
	proc.Start(42, "/")
	proc.Write(42, "cgroup", strings.Repeat("0::/\n", 100_000))
	if _, err := proc.Locator().Open(42); !errors.Is(err, container.ErrMalformed) {
		t.Errorf("Open = %v, want ErrMalformed", err)
	}
}

func TestAForgedPlaceIsIgnoredAndNamed(t *testing.T) {
	t.Parallel()
	proc := containertest.NewProc(t)
	forged := "/user.slice/user-1000.slice/user@1000.service/kubepods/pod" + uidU + "/" + idB
	proc.Start(42, forged)
	p, err := proc.Locator().Open(42)
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
	proc := containertest.NewProc(t)
	self := filepath.Join(proc.Dir, "self")
	os.Remove(self)
	if err := os.Symlink("1", self); err != nil {
		t.Fatal(err)
	}
	_, err := container.NewLocator(container.Options{Proc: proc.Dir})
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
