// Package stack is a cluster with SPIRE as its operators have it: the server beside
// the cluster, the agent with podseal installed from examples/kubernetes. The
// end-to-end test runs in it, and `make e2e-up` leaves a person with it. It belongs
// into a machine of its own (package machine).
package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/podseal/podseal/test/realstack/cluster"
	"github.com/podseal/podseal/test/realstack/image"
	"github.com/podseal/podseal/test/realstack/machine"
	"github.com/podseal/podseal/test/realstack/spirestack"
)

// Names that examples/ uses, and what stands for them here.
const (
	// WorkloadImage is of a program that asks for SVIDs; see test/e2e/workload.
	WorkloadImage = "ghcr.io/podseal/workload:1"

	// Namespace and ServiceAccount are the agent's.
	Namespace      = "spire"
	ServiceAccount = "spire-agent"

	agentImage   = "ghcr.io/spiffe/spire-agent:1.15.3"
	podsealImage = "ghcr.io/podseal/podseal:0.1.0"
	psatCluster  = "example" // what agent.conf calls the cluster
	serverName   = "spire-server"
	serverPort   = 8081
)

// Stack is a running cluster with SPIRE.
type Stack struct {
	*cluster.Cluster
	// Server is SPIRE's, with no entries but those of its agents.
	Server *spirestack.Server
}

// Start starts the cluster and the SPIRE server. Progress takes a line for each part.
// The variants are the names of other agents that are to be installed.
func Start(ctx context.Context, progress io.Writer, variants ...string) (_ *Stack, err error) {
	s := &Stack{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()
	// By this name the agents of the examples find the server.
	hosts := fmt.Sprintf("127.0.0.1 localhost %s\n%s %s\n", serverName, machine.Address, machine.HostName)
	if err := os.WriteFile("/etc/hosts", []byte(hosts), 0o644); err != nil {
		return nil, err
	}
	s.Cluster, err = cluster.Start(ctx, cluster.Config{
		Tool:     Tool,
		Dir:      filepath.Join(machine.Dir(), "cluster"),
		NodeName: machine.HostName,
		Address:  machine.Address,
		Pause:    image.Of("registry.k8s.io/pause:3.10", Program("pause")),
		Images: []image.Image{
			image.Of(WorkloadImage, Program("workload")),
			{Name: podsealImage, Files: map[string]string{"/podseal": Program("podseal")}, Entrypoint: []string{"/podseal"}},
			{Name: agentImage, Files: map[string]string{"/opt/spire/bin/spire-agent": Tool("spire-agent")}, Entrypoint: []string{"/opt/spire/bin/spire-agent", "run"}},
		},
		Progress: progress,
	})
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(machine.Dir(), serverName)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	s.Server, err = spirestack.StartServer(ctx, spirestack.ServerConfig{
		Binary: Tool("spire-server"),
		Dir:    dir,
		Port:   serverPort,
		Cluster: &spirestack.Cluster{
			Names:          append([]string{psatCluster}, variants...),
			Kubeconfig:     s.Kubeconfig(),
			Namespace:      Namespace,
			ServiceAccount: ServiceAccount,
		},
	})
	return s, err
}

// Stop ends everything.
func (s *Stack) Stop() error {
	var errs []error
	if s.Server != nil {
		errs = append(errs, s.Server.Stop())
	}
	if s.Cluster != nil {
		errs = append(errs, s.Cluster.Stop())
	}
	return errors.Join(errs...)
}
