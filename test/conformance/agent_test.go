package conformance_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
	"github.com/podseal/podseal/test/realstack"
	"github.com/podseal/podseal/test/realstack/proc"
	"github.com/podseal/podseal/test/realstack/spirestack"
)

// workloadEnv makes the test binary a workload: for every address of a Workload
// API that it reads it says, in one line, which identity it got.
const workloadEnv = "PODSEAL_CONFORMANCE_WORKLOAD"

func workload() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		svid, err := workloadapi.FetchX509SVID(ctx, workloadapi.WithAddr(in.Text()))
		cancel()
		if err != nil {
			fmt.Println(strings.ReplaceAll(err.Error(), "\n", " "))
			continue
		}
		fmt.Println(svid.ID)
	}
}

// realSPIRE is a server, and the programs "spire-agent" and "spire-server".
func realSPIRE(t *testing.T) (server *spirestack.Server, programs map[string]string) {
	t.Helper()
	tools, err := realstack.Build(t.Context(), t.Output(), "spire-agent", "spire-server")
	if err != nil {
		t.Fatal(err)
	}
	server, err = spirestack.StartServer(t.Context(), spirestack.ServerConfig{Binary: tools["spire-server"]})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server, tools
}

// The agent loads podseal by its checksum, hands it the configuration, gives out
// identities for its selectors and reconfigures it by SIGUSR1.
func TestARealAgentLoadsAndReconfiguresPodseal(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	p := app("app")
	if err := node.Kubelet.AddPod(p.Build()); err != nil {
		t.Fatal(err)
	}
	server, programs := realSPIRE(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	createSuggestedEntry(t, server, programs["spire-server"], node, p)
	withContainer, withoutContainer := node.Settings(), node.Settings().With(settings{"disable_container_selectors": true})

	for name, live := range map[string]bool{"plugin_data": false, "plugin_data_file": true} {
		t.Run(name, func(t *testing.T) {
			agent, err := server.StartAgent(ctx, spirestack.AgentConfig{
				Binary: programs["spire-agent"],
				Plugin: spirestack.Plugin{Command: pluginproc.Binary(t), Data: withContainer.HCL(), Live: live},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := agent.Stop(); err != nil {
					t.Error(err)
				}
			}()
			ask := asker(t, node, p, agent)

			ask(appSelectors("app"))
			if !live {
				return
			}
			if err := agent.Reconfigure(ctx, withoutContainer.HCL()); err != nil {
				t.Fatal(agent.Explain(err))
			}
			ask(appPodSelectors("app"))
			err = agent.Reconfigure(ctx, withContainer.With(settings{"unknown": 1}).HCL())
			if !errors.Is(err, spirestack.ErrReconfigure) || !strings.Contains(err.Error(), "unknown configurations detected: unknown") {
				t.Errorf("a configuration that is refused: %v", err)
			}
			ask(appPodSelectors("app"))
			if err := agent.Reconfigure(ctx, withContainer.HCL()); err != nil {
				t.Fatal(agent.Explain(err))
			}
			ask(appSelectors("app"))
		})
	}
}

// createSuggestedEntry creates the registration entry that podseal suggests for a
// process in the pod, by running the command as it is in a shell.
func createSuggestedEntry(t *testing.T, server *spirestack.Server, serverBinary string, node *pluginproc.Node, p kubelettest.Pod) {
	t.Helper()
	dir := t.TempDir()
	config, wrapper := filepath.Join(dir, "podseal.conf"), filepath.Join(dir, "spire-server")
	for path, text := range map[string]string{
		config: node.Settings().HCL(),
		// A server's usual socket needs no flag; this one is elsewhere.
		wrapper: fmt.Sprintf("#!/bin/sh\na=$1 b=$2\nshift 2\nexec '%s' \"$a\" \"$b\" -socketPath '%s' \"$@\"\n", serverBinary, server.Socket()),
	} {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	pid := node.Process(pluginproc.ContainerPath(p.UID, p.Containers[0].ID))
	out, err := exec.CommandContext(t.Context(), pluginproc.Binary(t), "attest", "--pid", strconv.Itoa(pid), "--explain", "-o", "json", "--config", config,
		"--trust-domain", server.TrustDomain(), "--parent-id", server.ParentID(), "--spiffe-id", server.ID("/app")).Output()
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Explanation struct{ Entry struct{ Command string } }
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", answer.Explanation.Entry.Command)
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", answer.Explanation.Entry.Command, err, out)
	}
}

// asker starts a workload in the pod. The func that is returned has it ask the
// agent for its identity, and compares the selectors that the agent got for it.
func asker(t *testing.T, node *pluginproc.Node, p kubelettest.Pod, agent *spirestack.Agent) func(want []string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), workloadEnv+"=yes")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, answers, asked := node.Start(pluginproc.ContainerPath(p.UID, p.Containers[0].ID), cmd), bufio.NewReader(out), 0
	return func(want []string) {
		t.Helper()
		answer := ""
		pluginproc.Eventually(t, "the entry reaches the agent", func() bool {
			if _, err := io.WriteString(in, "unix:"+agent.Socket()+"\n"); err != nil {
				t.Fatal(err)
			}
			var err error
			if answer, err = answers.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			return !strings.Contains(answer, "no identity issued")
		})
		if strings.TrimSpace(answer) != "spiffe://example.org/app" {
			t.Errorf("the workload was given %q", answer)
		}
		attested, err := agent.Attested(cmd.Process.Pid)
		if err != nil || len(attested) <= asked {
			t.Fatal(agent.Explain(fmt.Errorf("the agent attested %q, %w", attested, err)))
		}
		asked = len(attested)
		for i, s := range want {
			want[i] = "k8s:" + s
		}
		if diff := cmp.Diff(sorted(want), sorted(attested[asked-1])); diff != "" {
			t.Errorf("the agent's selectors (-want +got):\n%s", diff)
		}
	}
}

// The file changes after its checksum was taken, before the agent starts.
func TestARealAgentRefusesAnotherBinaryThanTheChecksumSays(t *testing.T) {
	t.Parallel()
	server, programs := realSPIRE(t)
	program, err := os.ReadFile(pluginproc.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	replaced := filepath.Join(t.TempDir(), "podseal")
	if err := os.WriteFile(replaced, program, 0o700); err != nil {
		t.Fatal(err)
	}
	agent, err := server.StartAgent(t.Context(), spirestack.AgentConfig{
		Binary: programs["spire-agent"],
		Wrap:   []string{"/bin/sh", "-c", "printf x >> '" + replaced + "' && exec \"$@\"", "sh"},
		Plugin: spirestack.Plugin{Command: replaced, Data: "skip_kubelet_verification = true\nuse_anonymous_authentication = true"},
	})
	if err == nil {
		_ = agent.Stop()
	}
	exit, ok := errors.AsType[*proc.ExitError](err)
	if !ok || !strings.Contains(exit.Tail, "checksums did not match") {
		t.Errorf("StartAgent: %v", err)
	}
}
