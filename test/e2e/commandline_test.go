//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/e2e/stack"
	"github.com/podseal/podseal/test/realstack/machine"
	"github.com/podseal/podseal/test/realstack/spirestack"
)

// The parts of podseal's documents that the tests look at; see docs/cli.md.
type (
	diagnosis struct {
		Checks []check
		Failed int
	}
	check struct {
		Name, Status, Finding, Remedy string
		Details                       []string
	}
	attestation struct {
		Outcome     string
		Selectors   []string
		Error       struct{ Cause, Remedy string }
		Explanation struct {
			Attempts []struct{ Missing string }
			Entry    struct{ Command string }
		}
	}
	containerList struct {
		Containers []struct {
			Namespace, Pod, Container, State string
			ContainerID                      string `json:"container_id"`
			Selectors                        []string
		}
	}
)

// of is the check of that name.
func (d diagnosis) of(t *testing.T, name string) check {
	t.Helper()
	i := slices.IndexFunc(d.Checks, func(c check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no check %s among %+v", name, d.Checks)
	}
	return d.Checks[i]
}

// podsealCommand runs podseal's command line on the node. The error is the exit
// code's.
func (w *world) podsealCommand(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, stack.Program("podseal"), args...)
	var out, diagnostics bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diagnostics
	err = cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("podseal %v: %v: %s", args, context.Cause(ctx), diagnostics.String())
	}
	return out.String(), diagnostics.String(), err
}

// podsealJSON runs a command that writes a document. Its exit code is returned: 1
// says that something is wrong with what was looked at.
func (w *world) podsealJSON(t *testing.T, into any, args ...string) (code int) {
	t.Helper()
	out, diagnostics, err := w.podsealCommand(t, append(args, "-o", "json")...)
	if exit, is := errors.AsType[*exec.ExitError](err); is {
		code, err = exit.ExitCode(), nil
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("podseal %v: exit code %d: %v: %q, %s", args, code, err, out, diagnostics)
	}
	return code
}

// configFile is a file with that plugin_data.
func configFile(t *testing.T, data string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin_data.hcl")
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// hostConfig is the configuration of the agent on the host.
func (w *world) hostConfig() string { return filepath.Join(machine.Dir(), "host-agent", "agent.conf") }

// TestCommandLine compares what podseal tells a person with what it told real
// agents.
func TestCommandLine(t *testing.T) {
	w := inWorld(t)
	const ns = "commands"
	w.namespace(t, ns)
	w.serviceAccount(t, ns, "worker")
	pair := newPod(ns, "pair")
	pair.Spec.ServiceAccountName = "worker"
	proxy := container(ns, pair.Name, "proxy")
	proxy.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	pair.Spec.InitContainers = []corev1.Container{proxy}
	pair.Spec.Containers = append(pair.Spec.Containers, container(ns, pair.Name, "second"))
	pair = w.run(t, pair)
	w.runStatic(t, newPod(ns, "fixed"))
	pids := map[string]int{}
	for _, name := range []string{"pair/pair", "pair/second", "pair/proxy", "fixed/fixed"} {
		pids[ns+"/"+name] = w.pidOf(t, ns+"/"+name)
	}

	t.Run("list shows the selectors that the agent got", func(t *testing.T) {
		var list containerList
		if code := w.podsealJSON(t, &list, "list", "--config", w.hostConfig()); code != 0 {
			t.Errorf("exit code %d", code)
		}
		compared := 0
		for _, c := range list.Containers {
			if c.State != "running" || c.Namespace != ns && c.Container != beside {
				continue
			}
			pid, err := w.Node.PID(t.Context(), c.ContainerID)
			if err != nil {
				t.Fatal(err)
			}
			var told []string
			w.await(t, func(context.Context) (err error) {
				told, err = last(w.podseal, pid)
				return err
			})
			if diff := cmp.Diff(told, c.Selectors); diff != "" {
				t.Errorf("%s/%s %s: selectors (-agent +list):\n%s", c.Namespace, c.Pod, c.Container, diff)
			}
			compared++
		}
		if want := len(pids) + 2; compared != want {
			t.Errorf("%d containers were compared, want %d: %+v", compared, want, list.Containers)
		}
	})
	t.Run("attest shows the selectors that the agent got", func(t *testing.T) {
		for name, pid := range pids {
			var a attestation
			if code := w.podsealJSON(t, &a, "attest", "--pid", fmt.Sprint(pid), "--explain", "--config", w.hostConfig()); code != 0 {
				t.Errorf("%s: exit code %d", name, code)
			}
			if diff := cmp.Diff(w.sameSelectors(t, pid), a.Selectors); diff != "" {
				t.Errorf("%s: selectors (-agents +attest):\n%s", name, diff)
			}
		}
	})
	t.Run("the entry that attest suggests gives the workload its ID", func(t *testing.T) {
		var a attestation
		w.podsealJSON(t, &a, "attest", "--pid", fmt.Sprint(pids[ns+"/pair/pair"]), "--explain", "--parent-id", w.Server.ParentID(), "--config", w.hostConfig())
		want := "spire-server entry create -parentID " + w.Server.ParentID() + " -spiffeID " + w.Server.ID("/ns/commands/sa/worker") + " -selector k8s:ns:commands -selector k8s:sa:worker"
		if command := a.Explanation.Entry.Command; command != want {
			t.Fatalf("the command is %s, want %s", command, want)
		}
		// As a person pastes it into a shell, but for the server's socket.
		shell := exec.CommandContext(t.Context(), "/bin/sh", "-c", a.Explanation.Entry.Command+" -socketPath "+w.Server.Socket())
		shell.Env = append(os.Environ(), "PATH="+filepath.Dir(stack.Tool("spire-server")))
		if out, err := shell.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, container := range []string{"pair", "second", "proxy"} {
			w.awaitID(t, pair, container, w.Server.ID("/ns/commands/sa/worker"), sockets...)
		}
	})
	t.Run("doctor finds the node and its agent well", func(t *testing.T) {
		var d diagnosis
		if code := w.podsealJSON(t, &d, "doctor", "--config", w.hostConfig()); code != 0 {
			t.Errorf("exit code %d", code)
		}
		wantWell(t, d)
	})
	t.Run("doctor in the agent's pod, as docs/operations.md has it", func(t *testing.T) {
		out, err := w.Kubectl(t.Context(), "", "exec", "--namespace", "spire", "daemonset/spire-agent", "--", "/opt/podseal/podseal", "doctor", "-o", "json")
		if err != nil {
			t.Fatal(err, out)
		}
		var d diagnosis
		if err := json.Unmarshal([]byte(out), &d); err != nil {
			t.Fatal(err)
		}
		wantWell(t, d)
		out, err = w.Kubectl(t.Context(), "", "exec", "--namespace", "spire", "daemonset/spire-agent", "--", "/opt/podseal/podseal", "list")
		if err != nil || !strings.Contains(out, "pair") {
			t.Errorf("list: %v, %s", err, out)
		}
	})
	t.Run("validate takes what examples/ and conf/ have", func(t *testing.T) {
		files, err := filepath.Glob(stack.Source("conf/*.conf"))
		if err != nil || len(files) == 0 {
			t.Fatal("conf/*.conf: ", err)
		}
		var config corev1.ConfigMap
		text, err := os.ReadFile(stack.Source("examples/kubernetes/agent-configmap.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(text, &config); err != nil {
			t.Fatal(err)
		}
		for _, path := range append(files, configFile(t, config.Data["agent.conf"])) {
			var v struct {
				Valid    bool
				Problems []any
				Warnings []struct{ Key, Message string }
			}
			if code := w.podsealJSON(t, &v, "validate", path); code != 0 || !v.Valid || len(v.Problems) > 0 {
				t.Errorf("%s: exit code %d, %+v", path, code, v)
			}
			t.Logf("%s: %+v", filepath.Base(path), v.Warnings)
		}
	})
}

// wantWell wants every check ok. The clock is the machine's business.
func wantWell(t *testing.T, d diagnosis) {
	t.Helper()
	for _, c := range d.Checks {
		t.Logf("%-8s %s: %s", c.Status, c.Name, c.Finding)
		if c.Status != "ok" && c.Name != "clock" {
			t.Errorf("%s is %s: %s: %q", c.Name, c.Status, c.Finding, c.Details)
		}
	}
	if d.Failed > 0 {
		t.Errorf("%d checks failed", d.Failed)
	}
}

// TestAWrongCAFileIsMendedWithoutARestart has an agent of its own.
func TestAWrongCAFileIsMendedWithoutARestart(t *testing.T) {
	t.Parallel()
	w := inWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	dir, sockets := filepath.Join(machine.Dir(), "wrong-ca"), stack.SocketsDir+"/wrong-ca"
	ca, err := kubelettest.NewCA("another-ca")
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other-ca.crt")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Mkdir(sockets, 0o755), os.WriteFile(other, ca.PEM(), 0o600)); err != nil {
		t.Fatal(err)
	}
	agent, err := w.Server.StartAgent(ctx, spirestack.AgentConfig{
		Binary:    stack.Tool("spire-agent"),
		Plugin:    spirestack.Plugin{Command: stack.Program("podseal"), Data: strings.Replace(w.hostData(), w.CA(), other, 1), Live: true},
		Dir:       dir,
		SocketDir: sockets,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := agent.Stop(); err != nil {
			t.Error(err)
		}
	})
	const ns = "wrong-ca"
	w.namespace(t, ns)
	id := w.containerEntry(t, ns, "api", "api")
	pod := newPod(ns, "api")
	pod.Spec.Containers[0].Args = append(pod.Spec.Containers[0].Args[:2:2], agent.Socket())
	pod = w.run(t, pod)

	record, err := agent.Await(ctx, 0, func(r spirestack.Record) bool {
		return strings.Contains(r.Line, "kubelet_ca_path") && (r.Level == "error" || r.Level == "warning")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the agent's log says: %s", record.Line)
	if !strings.Contains(record.Line, other) {
		t.Errorf("the file is not named: %s", record.Line)
	}
	if err := agent.Reconfigure(ctx, w.hostData()); err != nil {
		t.Fatal(err)
	}
	w.awaitID(t, pod, "api", id, agent.Socket())
}
