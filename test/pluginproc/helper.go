package pluginproc

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The roles of helper processes.
const (
	// waits until its standard input ends, as it does with the test binary.
	roleWait = "wait"
	// mounts a file over another in the mount namespace of a process.
	roleCover = "cover"
	// runs podseal's command line with a /proc of the process's own namespace.
	roleAlone = "alone"
)

func play(role string, args []string) error {
	switch role {
	case roleWait:
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	case roleCover:
		return cover(args[0], args[1], args[2])
	case roleAlone:
		return alone(args)
	}
	return fmt.Errorf("no role %q", role)
}

func helper(role string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	return cmd
}

// Cover makes the plugin, which has PrivateMounts, see a content of the test's
// in place of a file's.
func (p *Process) Cover(t testing.TB, file, content string) {
	t.Helper()
	with := t.TempDir() + "/content"
	if err := os.WriteFile(with, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := helper(roleCover, fmt.Sprintf("/proc/%d/ns/mnt", p.PID()), with, file).CombinedOutput(); err != nil {
		t.Fatalf("covering %s: %v: %s", file, err, out)
	}
}

func cover(namespace, with, file string) error {
	// A mount namespace is the thread's; nothing else runs in this process.
	runtime.LockOSThread()
	ns, err := os.Open(namespace)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	if err := unix.Mount(with, file, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	return nil
}

// WithoutHostPID returns a command that runs podseal as in a pod without
// hostPID, in a PID namespace of its own. It begins once it reads a line from its
// standard input; see Node.Start.
func WithoutHostPID(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := helper(roleAlone, append([]string{Binary(t)}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func alone(command []string) error {
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	// What is mounted here must not be seen outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	return unix.Exec(command[0], command, os.Environ()) // #nosec G204 -- the test's own binary
}
