//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/test/e2e/stack"
	"github.com/podseal/podseal/test/realstack/machine"
	"github.com/podseal/podseal/test/realstack/spirestack"
)

// podsealSockets are those whose agents have podseal.
var podsealSockets = []string{podsealSocket, privateSocket, hostSocket}

// process is a workload that the test started on the node.
type process struct {
	// pid is that of what was started, which may have started the workload.
	pid    int
	output string
}

// start starts a program on the node as this user. It ends with the test.
func (w *world) start(t *testing.T, uid uint32, argv ...string) process {
	t.Helper()
	output, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = output, t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return process{cmd.Process.Pid, output.Name()}
}

// answers are those that the process got so far.
func (p process) answers() ([]answer, error) {
	text, err := os.ReadFile(p.output)
	if err != nil {
		return nil, err
	}
	complete := text[:bytes.LastIndexByte(text, '\n')+1]
	return readAnswers(slices.Collect(strings.Lines(string(complete))))
}

// wantNoID finds that none of these agents gave the process an ID that was asked for
// after a time.
func (p process) wantNoID(t *testing.T, after time.Time, of ...string) {
	t.Helper()
	answers, err := p.answers()
	if err != nil {
		t.Fatal(err)
	}
	wantNoID(t, fmt.Sprint("process ", p.pid), answers, after, of...)
}

// awaitAnswers waits until the process had such an answer from each of these
// agents since it began.
func (w *world) awaitAnswers(t *testing.T, p process, accept func(answer) bool, of ...string) {
	t.Helper()
	w.await(t, func(context.Context) error {
		answers, err := p.answers()
		if err != nil {
			return err
		}
		for _, socket := range of {
			if !slices.ContainsFunc(answers, func(a answer) bool { return a.Socket == socket && accept(a) }) {
				return fmt.Errorf("process %d: no such answer of %s among %+v", p.pid, socket, answers)
			}
		}
		return nil
	})
}

// wantNobody waits until podseal, wherever it is, has refused the process and had
// no selectors for it.
func (w *world) wantNobody(t *testing.T, p process, workload int) {
	t.Helper()
	settled := time.Now()
	w.awaitAnswers(t, p, func(a answer) bool { return a.Asked.After(settled) && a.Code == "PermissionDenied" }, podsealSockets...)
	p.wantNoID(t, time.Time{}, podsealSockets...)
	w.wantSelectors(t, workload, []string{})
}

// wantSelectors waits until podseal, wherever it is, has said this of a process.
func (w *world) wantSelectors(t *testing.T, pid int, want []string) {
	t.Helper()
	for name, a := range map[string]agent{"in a pod": w.podseal, "in a cgroup namespace": w.private, "on the host": w.host} {
		w.await(t, func(context.Context) error {
			got, err := last(a, pid)
			if diff := cmp.Diff(want, got); err == nil && diff != "" {
				err = fmt.Errorf("process %d, selectors (-want +got):\n%s", pid, diff)
			}
			if err != nil {
				return fmt.Errorf("podseal %s: %w", name, err)
			}
			return nil
		})
	}
}

// builtInSays waits until the built-in attestor has said this of a process.
func (w *world) builtInSays(t *testing.T, pid int, want []string) {
	t.Helper()
	w.await(t, func(context.Context) error {
		got, err := last(w.builtIn, pid)
		if diff := cmp.Diff(want, got); err == nil && diff != "" {
			err = fmt.Errorf("(-want +got):\n%s", diff)
		}
		if err != nil {
			return fmt.Errorf("the built-in attestor, process %d: %w", pid, err)
		}
		return nil
	})
}

// withoutAdded are the selectors that the built-in attestor has too.
func withoutAdded(selectors []string) []string {
	return slices.DeleteFunc(slices.Clone(selectors), isAdded)
}

// programs are the paths of the workload and of what puts it into places, which
// every user may run.
func programs(t *testing.T) (workload, within string) {
	t.Helper()
	if err := os.Chmod(machine.Dir(), 0o711); err != nil {
		t.Fatal(err)
	}
	return stack.Program("workload"), stack.Program("within")
}

// Names of the agents in awaitLogged.
const builtIn = "the built-in attestor"

var withPodseal = []string{"podseal in a pod", "podseal in a cgroup namespace", "podseal on the host"}

// awaitLogged waits until each of these agents has logged such a line.
func (w *world) awaitLogged(t *testing.T, match func(spirestack.Record) bool, agents ...string) {
	t.Helper()
	records := func(a *stack.Agent) func() ([]spirestack.Record, error) {
		return func() ([]spirestack.Record, error) {
			log, err := a.Log()
			return spirestack.ReadLog(log), err
		}
	}
	logs := map[string]func() ([]spirestack.Record, error){
		"podseal in a pod":              records(w.podseal),
		"podseal in a cgroup namespace": records(w.private),
		"podseal on the host":           w.host.Records,
		builtIn:                         records(w.builtIn),
	}
	for _, name := range agents {
		w.await(t, func(context.Context) error {
			all, err := logs[name]()
			if err == nil && !slices.ContainsFunc(all, match) {
				err = errors.New("there is no such line in the agent's log")
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
}
