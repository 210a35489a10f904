// Package machine gives a program, mostly a test binary, a machine of its own: its own process IDs,
// mounts, network (loopback only), host name and cgroup tree, all of them the
// kernel's namespaces on this machine. A kubelet there can't meet other users of
// the machine (it ends processes in pod cgroups that it doesn't know), no port is
// taken, and when the first process of the machine ends, for whatever reason, the
// kernel ends all others and takes down their mounts. What is left are a folder
// and empty cgroups; those are removed by the process outside, and if that one was
// killed, by the next run.
//
// A test package uses it like this; m.Run is called inside:
//
//	func TestMain(m *testing.M) { os.Exit(machine.Main(m.Run, prepare)) }
//
// Any other program does the same in its main function. It is started again inside
// with the same arguments, and must come to Main before it does anything else.
package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/podseal/podseal/test/cgrouptree"
	"github.com/podseal/podseal/test/testenv"
)

const (
	roleVar = "PODSEAL_TEST_MACHINE_ROLE" // empty outside
	dirVar  = "PODSEAL_TEST_MACHINE_DIR"
	treeVar = "PODSEAL_TEST_MACHINE_CGROUP"

	roleInit = "init"
	roleTest = "test"

	// prefix begins the name of the folder and of the cgroup, which are the same;
	// the PID of the process outside follows.
	prefix = "podseal-test-"
)

// Prepare is called before the machine starts, outside of it: there the network
// is, and so what has to be fetched or built. dir is the machine's Dir; what
// Prepare returns is added to the environment inside. When ctx is done, everything
// is taken down.
type Prepare func(ctx context.Context, dir string) (env []string, err error)

// Main calls run in a machine of its own and returns, outside, the exit status.
// Without root there is no such machine: it calls run here, and each test says so
// through Require.
func Main(run func() int, prepare Prepare) int {
	switch os.Getenv(roleVar) {
	case roleTest:
		return run()
	case roleInit:
		return report(inside())
	}
	if os.Geteuid() != 0 {
		return run()
	}
	// ^C reaches this process and the inner ones together; this one stays to clean up.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return report(outside(ctx, prepare))
}

func report(code int, err error) int {
	if err == nil {
		return code
	}
	fmt.Fprintln(os.Stderr, "test machine:", err)
	return max(code, 1)
}

// Require stops the test unless it runs in a machine of its own.
func Require(t testing.TB) {
	t.Helper()
	testenv.Require(t, os.Getenv(roleVar) == roleTest, "needs root for a machine of its own (namespaces and cgroups)")
}

// HostName is the machine's name; it resolves to Address there.
const HostName = "podseal-node"

// Address is the machine's own (RFC 5737, section 3: nobody else has it).
const Address = "192.0.2.1"

// Dir is a folder with a short path, on disk, that is removed with the machine.
func Dir() string { return os.Getenv(dirVar) }

// outside starts the machine, waits for its end and removes what is left.
func outside(ctx context.Context, prepare Prepare) (code int, err error) {
	hierarchies, err := cgrouptree.Hierarchies()
	if err != nil {
		return 0, err
	}
	sweep(hierarchies)
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", prefix, os.Getpid()))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	env, err := prepare(ctx, dir)
	if err != nil {
		return 0, err
	}
	tree := filepath.Base(dir)
	defer func() { err = errors.Join(err, removeTrees(hierarchies, tree)) }()
	if err := makeTrees(tree); err != nil {
		return 0, err
	}

	// The kernel ends the machine with the thread that started it: keep that thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	first := exec.Command("/proc/self/exe", os.Args[1:]...)
	first.Args[0] = os.Args[0]
	first.Env = append(append(os.Environ(), env...), roleVar+"="+roleInit, dirVar+"="+dir, treeVar+"="+tree)
	first.Stdin, first.Stdout, first.Stderr = nil, os.Stdout, os.Stderr
	first.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := first.Start(); err != nil {
		return 0, fmt.Errorf("new namespaces: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = first.Process.Kill() })()
	// Returns when the last process of the machine is gone, not only the first.
	err = first.Wait()
	if ctx.Err() != nil {
		return 130, errors.New("interrupted; everything was taken down")
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// inside is the machine's first process: it sets the machine up, starts the tests
// and takes in the orphans until they end.
func inside() (code int, err error) {
	runtime.LockOSThread() // the cgroup namespace is this thread's and its children's
	if err := enterTrees(os.Getenv(treeVar)); err != nil {
		return 0, fmt.Errorf("cgroups: %w", err)
	}
	if err := furnish(); err != nil {
		return 0, err
	}
	env := []string{roleVar + "=" + roleTest}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, roleVar+"=") {
			env = append(env, v)
		}
	}
	tests, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{Env: env, Files: []uintptr{0, 1, 2}})
	if err != nil {
		return 0, err
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case pid == tests && status.Exited():
			return status.ExitStatus(), nil
		case pid == tests && status.Signaled():
			return 0, fmt.Errorf("the tests ended by signal: %s", status.Signal())
		}
	}
}

// retry calls f until it succeeds, for ten seconds: the kernel takes a moment to
// notice that a cgroup has become empty.
func retry(f func() error) error {
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if err := f(); err == nil || time.Since(begin) > 10*time.Second {
			return err
		}
	}
}
