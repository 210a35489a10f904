//go:build e2e

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/podseal/podseal/test/cgrouptree"
	"github.com/podseal/podseal/test/realstack"
	"github.com/podseal/podseal/test/testenv"
)

// kept is a folder and the built program for it.
type kept struct {
	folder  folder
	program string
}

// upLimit is for everything from the start to a cluster that is up, with tools that
// are built already. Less than a minute is usual.
const upLimit = 15 * time.Minute

func newKept(t *testing.T) kept {
	t.Helper()
	testenv.RequireRoot(t)
	// So that no compiler runs against the limits.
	if _, err := realstack.Build(t.Context(), t.Output(), "kubectl"); err != nil {
		t.Fatal(err)
	}
	k := kept{newFolder(t), filepath.Join(t.TempDir(), "keep")}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", k.program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if holder, err := k.folder.holder(); holder != 0 || err != nil {
			t.Errorf("process %d keeps a cluster when the test is over (%v)", holder, err)
			out, err := k.command(context.Background(), "down").CombinedOutput()
			t.Logf("down: %s, %v", out, err)
		}
	})
	return k
}

// command is of the program; it is asked to end when ctx is done.
func (k kept) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, k.program, append([]string{"-state", string(k.folder)}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	return cmd
}

func (k kept) run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), upLimit)
	defer cancel()
	out, err := k.command(ctx, args...).CombinedOutput()
	t.Logf("%v:\n%s", args, out)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return string(out)
}

// check fails the test unless the text has those words.
func check(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%s has no %q:\n%s", what, word, text)
		}
	}
}

// nothingIsLeft looks for what a keeper and its machine could leave.
func (k kept) nothingIsLeft(t *testing.T, keeper int) {
	t.Helper()
	if holder, err := k.folder.holder(); holder != 0 || err != nil {
		t.Errorf("the lock is held by %d, %v", holder, err)
	}
	hierarchies, err := cgrouptree.Hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("podseal-test-%d-", keeper)
	places := []string{os.TempDir()}
	for _, h := range hierarchies {
		places = append(places, h.Mount)
	}
	for _, place := range places {
		if left, err := filepath.Glob(filepath.Join(place, name+"*")); len(left) > 0 || err != nil {
			t.Errorf("left: %q, %v", left, err)
		}
	}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil || bytes.Contains(mounts, []byte(name)) {
		t.Errorf("a mount is left (%v):\n%s", err, mounts)
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lines {
		if line, err := os.ReadFile(path); err == nil && (bytes.Contains(line, []byte(name)) || bytes.HasPrefix(line, []byte(k.program+"\x00"))) {
			t.Errorf("left: %s %q", path, line)
		}
	}
	files, err := os.ReadDir(string(k.folder))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains([]string{"lock", "log"}, f.Name()) {
			t.Errorf("left: %s", f.Name())
		}
	}
}

func TestAPersonUsesTheClusterFromOutsideAndEndsIt(t *testing.T) {
	k := newKept(t)
	check(t, "up", k.run(t, "up"), "containerd and kubelet: ready", "The cluster is up:",
		"payments/reports gets spiffe://example.org/payments/reports", "payments/stranger is refused: PermissionDenied", k.folder.kubeconfig())
	check(t, "up again", k.run(t, "up"), "The cluster is up already", k.folder.kubeconfig())
	keeper, err := k.folder.holder()
	if err != nil {
		t.Fatal(err)
	}
	if session, _, err := syscall.RawSyscall(syscall.SYS_GETSID, uintptr(keeper), 0, 0); err != 0 || int(session) != keeper {
		t.Errorf("the keeper is in session %d, %v", session, err)
	}
	r, err := k.folder.running(keeper)
	if err != nil || r == nil {
		t.Fatalf("what runs: %v, %v", r, err)
	}
	kubectl := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, filepath.Join(r.Kubectl, "kubectl"), args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+k.folder.kubeconfig(), "HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("kubectl %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	check(t, "get pods", kubectl("get", "pods", "--all-namespaces"), "reports-", "stranger-", "spire-agent-")
	check(t, "logs", kubectl("-n", "payments", "logs", "deploy/reports", "--tail=1"), `"id":"spiffe://example.org/payments/reports"`)
	check(t, "exec", kubectl("-n", "spire", "exec", "ds/spire-agent", "--", "/opt/podseal/podseal", "list"), "reports-", "stranger-")

	check(t, "list inside", k.run(t, "shell", "podseal", "list", "-o", "json"), `"ContainerList"`, "reports-")
	check(t, "cgroups inside", k.run(t, "shell", "cat", "/proc/self/cgroup"), ":/node\n")
	check(t, "entries", k.run(t, "shell", "sh", "-c", `spire-server entry show -socketPath "$SPIRE_SERVER_SOCKET"`), "spiffe://example.org/payments/reports")
	check(t, "containers", k.run(t, "shell", "ctr", "containers", "list"), "ghcr.io/podseal/workload:1")
	if err := k.command(t.Context(), "shell", "sh", "-c", "exit 7").Run(); err == nil || err.Error() != "exit status 7" {
		t.Errorf("a status of 7 became %v", err)
	}

	check(t, "down", k.run(t, "down"), "the cluster is down")
	k.nothingIsLeft(t, keeper)
	check(t, "down again", k.run(t, "down"), "the cluster is not up")
	if out, err := k.command(t.Context(), "shell", "true").CombinedOutput(); err == nil || !strings.Contains(string(out), "make e2e-up") {
		t.Errorf("shell without a cluster: %s, %v", out, err)
	}
}

// begin starts the cluster and returns when its first parts are ready.
func (k kept) begin(t *testing.T) (up *exec.Cmd, keeper int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), upLimit)
	t.Cleanup(cancel)
	up = k.command(ctx, "up")
	up.Stdout, up.Stderr = t.Output(), t.Output()
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	for ctx.Err() == nil {
		pid, err := k.folder.holder()
		if err != nil {
			t.Fatal(err)
		}
		log, _ := os.ReadFile(k.folder.log())
		if pid != 0 && bytes.Contains(log, []byte("etcd: ready")) {
			return up, pid
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("etcd is not ready")
	return nil, 0
}

func TestAnInterruptedUpTakesEverythingDown(t *testing.T) {
	k := newKept(t)
	up, keeper := k.begin(t)
	if err := up.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := up.Wait(); err == nil || up.ProcessState.ExitCode() != 130 {
		t.Errorf("up: %v", err)
	}
	k.nothingIsLeft(t, keeper)
}

func TestAnUpThatFailsSaysWhyAndLeavesNothing(t *testing.T) {
	k := newKept(t)
	ctx, cancel := context.WithTimeout(t.Context(), upLimit)
	defer cancel()
	up := k.command(ctx, "up")
	up.Env = append(os.Environ(), "GOFLAGS=-no-such-flag") // no podseal can be built
	out, err := up.CombinedOutput()
	t.Logf("up:\n%s", out)
	if err == nil || up.ProcessState.ExitCode() != 1 {
		t.Errorf("up: %v", err)
	}
	check(t, "up", string(out), "-no-such-flag", "it did not come up", k.folder.log())
	k.nothingIsLeft(t, -1)
}

func TestWhatAKilledKeeperLeavesIsRemoved(t *testing.T) {
	k := newKept(t)
	up, keeper := k.begin(t)
	if err := syscall.Kill(keeper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := up.Wait(); err == nil || up.ProcessState.ExitCode() != 1 {
		t.Errorf("up: %v", err)
	}
	k.nothingIsLeft(t, keeper)

	// The same with nobody there to watch it.
	up, keeper = k.begin(t)
	if err := up.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = up.Wait()
	if err := syscall.Kill(keeper, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	check(t, "down", k.run(t, "down"), "removed what a killed run left", "the cluster is not up")
	k.nothingIsLeft(t, keeper)
}
