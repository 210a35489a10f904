//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/podseal/podseal/test/e2e/stack"
	"github.com/podseal/podseal/test/realstack/spirestack"
)

// A container beside an agent is a container like any other, for its own agent as
// for the others.
func TestContainersOfTheAgentsPods(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	for _, a := range []*stack.Agent{w.private, w.builtIn} {
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			id := w.agentEntry(t, a, beside)
			w.awaitID(t, a.Pod(), beside, id, sockets...)
			w.sameSelectors(t, w.pidOf(t, processName(stack.Namespace, a.Name, beside)))
		})
	}
}

// Nobody who gets into an agent's own container is given an identity by podseal,
// not even where there is an entry for that container. The built-in attestor does
// where it sees the agent's cgroup: without a private cgroup namespace.
func TestProcessesOfAnAgentsOwnContainer(t *testing.T) {
	w := inWorld(t)
	// One after the other: they have the same command line.
	for _, c := range []struct {
		agent *stack.Agent
		known bool
	}{{w.podseal, false}, {w.private, false}, {w.builtIn, true}} {
		t.Run(c.agent.Name, func(t *testing.T) {
			pod := c.agent.Pod()
			own := pod.Spec.Containers[0].Name
			id := w.agentEntry(t, c.agent, own)
			argv := []string{"/opt/spire/bin/spire-agent", "api", "watch", "-socketPath", "/run/spire/sockets/agent.sock"}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = w.Kubectl(ctx, "", append([]string{"exec", "--namespace", stack.Namespace, pod.Name, "--container", own, "--"}, argv...)...)
			}()
			pid := w.pidOfCommand(t, argv)
			defer func() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
				stop()
				<-ended
			}()

			w.await(t, func(context.Context) error {
				log, err := c.agent.Log()
				if err != nil {
					return err
				}
				var given, refused bool
				for _, r := range spirestack.ReadLog(log) {
					if r.Text("pid") != strconv.Itoa(pid) {
						continue
					}
					given = given || r.Text("spiffe_id") == id
					refused = refused || r.Message == "No identity issued"
				}
				if given && !c.known {
					t.Errorf("process %d got %s", pid, id)
				}
				if given != c.known || !given && !refused {
					return fmt.Errorf("process %d: given an ID: %t, refused: %t", pid, given, refused)
				}
				return nil
			})
			selectors, err := last(c.agent, pid)
			if err != nil {
				t.Fatal(err)
			}
			if !c.known && len(selectors) > 0 {
				t.Errorf("process %d has the selectors %q, want none", pid, selectors)
			}
			if want := "k8s:container-name:" + own; c.known && !slices.Contains(selectors, want) {
				t.Errorf("%s is not among %q", want, selectors)
			}
		})
	}
}

// agentEntry is containerEntry for a container of an agent's pod. SPIRE keeps IDs
// that begin with the name of its namespace to itself.
func (w *world) agentEntry(t *testing.T, a *stack.Agent, container string) string {
	t.Helper()
	path := "/agents/" + a.Name + "/" + container
	w.entry(t, path, "k8s:ns:"+stack.Namespace, "k8s:pod-name:"+a.Pod().Name, "k8s:container-name:"+container)
	return w.Server.ID(path)
}

// pidOfCommand is the process with exactly this command line, once there is one.
func (w *world) pidOfCommand(t *testing.T, argv []string) (pid int) {
	t.Helper()
	want := strings.Join(argv, "\x00") + "\x00"
	w.await(t, func(context.Context) error {
		processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			return err
		}
		for _, path := range processes {
			if text, err := os.ReadFile(path); err == nil && string(text) == want {
				pid, err = strconv.Atoi(filepath.Base(filepath.Dir(path)))
				return err
			}
		}
		return errors.New("no process was started by " + strings.Join(argv, " "))
	})
	return pid
}
