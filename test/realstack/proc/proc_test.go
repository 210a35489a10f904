package proc_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/podseal/podseal/test/realstack/proc"
)

// family is a program with a child that ignores SIGTERM; it prints the child's PID.
const family = `sh -c 'trap "" TERM; echo $$; while :; do sleep 1; done' & wait`

func command(t *testing.T, script string) proc.Command {
	return proc.Command{
		Name: "thing", Argv: []string{"/bin/sh", "-c", script},
		Log: filepath.Join(t.TempDir(), "log"), Wait: 10 * time.Second,
	}
}

func start(t *testing.T, ctx context.Context, c proc.Command) *proc.Process {
	t.Helper()
	p, err := proc.Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop() })
	return p
}

// childOf waits for the PID that family prints.
func childOf(t *testing.T, log string) int {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(log)
		if err != nil || len(text) == 0 {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	t.Fatal("the child did not start")
	return 0
}

func mustGo(t *testing.T, pid int) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(10 * time.Millisecond) {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
	}
	t.Errorf("process %d is still there", pid)
}

func TestStopTakesDescendantsAlong(t *testing.T) {
	t.Parallel()
	c := command(t, family)
	p := start(t, t.Context(), c)
	child := childOf(t, c.Log)
	if err := p.Stop(); err != nil {
		t.Errorf("Stop: %v", err)
	}
	mustGo(t, child)
	if err := p.Err(); err != nil {
		t.Errorf("a stopped program is no error: %v", err)
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Signal after the end: %v", err)
	}
}

func TestTheContextEndsIt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	c := command(t, family)
	p := start(t, ctx, c)
	child := childOf(t, c.Log)
	cancel()
	<-p.Exited()
	mustGo(t, child)
}

func TestWhatIgnoresSIGTERMIsKilledAndSaid(t *testing.T) {
	t.Parallel()
	c := command(t, `trap "" TERM; echo $$; while :; do sleep 1; done`)
	c.Wait = 100 * time.Millisecond
	p := start(t, t.Context(), c)
	childOf(t, c.Log)
	if err := p.Stop(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Stop: %v", err)
	}
}

func TestAnEarlyEndShowsTheLog(t *testing.T) {
	t.Parallel()
	c := command(t, `printf 'no such port\033[31m\n'; exit 3`)
	p := start(t, t.Context(), c)
	err := p.Until(t.Context(), func(context.Context) error { return errors.New("not yet") })
	exit, ok := errors.AsType[*proc.ExitError](err)
	if !ok || exit.Name != "thing" || !strings.Contains(exit.Tail, `no such port\u001b[31m`) {
		t.Errorf("Until: %v", err)
	}
}

func TestUntilGivesUpWithTheContext(t *testing.T) {
	t.Parallel()
	c := command(t, `sleep 1000`)
	p := start(t, t.Context(), c)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	reason := errors.New("no socket")
	err := p.Until(ctx, func(context.Context) error { return reason })
	if !errors.Is(err, reason) && !strings.Contains(err.Error(), "no socket") {
		t.Errorf("Until: %v", err)
	}
}

// TestAKilledParentLeavesNothing runs this test again as a process that is killed
// without warning after it has started a family.
func TestAKilledParentLeavesNothing(t *testing.T) {
	const marker = "PROC_TEST_LOG"
	if log := os.Getenv(marker); log != "" {
		c := command(t, family)
		c.Log = log
		start(t, context.Background(), c)
		select {}
	}
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	parent := exec.Command(os.Args[0], "-test.run=^TestAKilledParentLeavesNothing$")
	parent.Env = append(os.Environ(), marker+"="+log)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	child := childOf(t, log)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	mustGo(t, child)
}
