package spirestack_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/test/realstack"
	"github.com/podseal/podseal/test/realstack/proc"
	"github.com/podseal/podseal/test/realstack/spirestack"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func startServer(t *testing.T) (*spirestack.Server, string) {
	t.Helper()
	tools, err := realstack.Build(t.Context(), t.Output(), "spire-agent", "spire-server")
	if err != nil {
		t.Fatal(err)
	}
	server, err := spirestack.StartServer(t.Context(), spirestack.ServerConfig{Binary: tools["spire-server"]})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server, tools["spire-agent"]
}

// TestAgentWithTheBuiltInAttestor goes through everything that the other tests
// need of SPIRE, without podseal: a start, a reconfiguration that is refused and
// one that is not, a workload that is refused, an end.
func TestAgentWithTheBuiltInAttestor(t *testing.T) {
	t.Parallel()
	server, agentBinary := startServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := server.CreateEntry(ctx, spirestack.Entry{Path: "/pay/api", Selectors: []string{"k8s:ns:pay", "k8s:sa:api"}}); err != nil {
		t.Fatal(err)
	}
	agent, err := server.StartAgent(ctx, spirestack.AgentConfig{
		Binary: agentBinary,
		Wrap:   []string{"/usr/bin/env", "WRAPPED=yes"},
		Plugin: spirestack.Plugin{Data: `kubelet_read_only_port = 1`, Live: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := agent.Stop(); err != nil {
			t.Error(err)
		}
	})

	environment, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(agent.PID()), "environ"))
	if err != nil || !strings.Contains(string(environment), "WRAPPED=yes") {
		t.Errorf("the agent was not started through its wrapper: %v", err)
	}
	if err := agent.Reconfigure(ctx, "kubelet_read_only_port = 1\nmax_poll_attempts = 3"); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
	err = agent.Reconfigure(ctx, `poll_retry_interval = "soon"`)
	if !errors.Is(err, spirestack.ErrReconfigure) || !strings.Contains(err.Error(), "poll retry interval") {
		t.Errorf("a bad configuration: %v", err)
	}
	_, err = workloadapi.FetchX509SVID(ctx, workloadapi.WithAddr("unix:"+agent.Socket()))
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("a workload in no pod: %v", err)
	}
	attested, err := agent.Attested(os.Getpid())
	if err != nil || len(attested) == 0 || len(attested[0]) != 0 {
		t.Errorf("selectors of this process: %q, %v", attested, err)
	}
}

func TestAnAgentThatCannotStartShowsItsLog(t *testing.T) {
	t.Parallel()
	server, agentBinary := startServer(t)
	_, err := server.StartAgent(t.Context(), spirestack.AgentConfig{
		Binary: agentBinary,
		Plugin: spirestack.Plugin{Data: `poll_retry_interval = "soon"`},
	})
	exit, ok := errors.AsType[*proc.ExitError](err)
	if !ok || exit.Name != "spire-agent" || !strings.Contains(exit.Tail, "unable to parse poll retry interval") {
		t.Errorf("StartAgent: %v", err)
	}
}
