package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/podseal/podseal/test/e2e/stack"
	"github.com/podseal/podseal/test/realstack/machine"
)

// site is where things are, as the process inside the machine tells the keeper.
type site struct {
	// Kubeconfig is for kubectl outside. The keeper takes it out into a file.
	Kubeconfig []byte `json:"kubeconfig,omitempty"`
	// Kubectl is the folder of the cluster's kubectl, which works outside too.
	Kubectl string `json:"kubectl"`
	// Path are the folders of all programs.
	Path []string `json:"path"`
	// Env is for a shell inside: how the programs find each other.
	Env []string `json:"env"`
	// Answers is what the workloads got.
	Answers []answer `json:"answers"`
}

func siteFile(machineDir string) string { return filepath.Join(machineDir, "site.json") }

// inside is called in the machine.
func inside() int {
	if err := serve(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return 0
}

// serve starts the stack and lets kubectl in, for as long as the machine is there:
// what it started goes with it.
func serve(ctx context.Context) error {
	s, err := stack.Start(ctx, os.Stderr)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "spire-server: ready")
	begin := time.Now()
	agent, err := s.Install(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "SPIRE agent with podseal, from examples/: ready after %.1f s\n", time.Since(begin).Seconds())
	answers, err := runWorkloads(ctx, s)
	if err != nil {
		return err
	}
	if err := writeAgentConf(s); err != nil {
		return err
	}
	kubeconfig, err := s.KubeconfigFor(os.Getenv(urlVar))
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", apiSocket(machine.Dir()))
	if err != nil {
		return err
	}
	if err := os.Chmod(apiSocket(machine.Dir()), 0o600); err != nil {
		return err
	}
	if err := writeJSON(siteFile(machine.Dir()), site{
		Kubeconfig: kubeconfig,
		Kubectl:    filepath.Dir(stack.Tool("kubectl")),
		Path: []string{
			filepath.Dir(stack.Program("podseal")), filepath.Dir(stack.Tool("kubectl")), filepath.Dir(stack.Tool("ctr")),
			filepath.Dir(stack.Tool("spire-server")), filepath.Dir(stack.Tool("spire-agent")),
		},
		Env: []string{
			"KUBECONFIG=" + s.Kubeconfig(),
			"CONTAINERD_ADDRESS=" + s.Node.ContainerdSocket(), // ctr's
			"CONTAINERD_NAMESPACE=k8s.io",
			"SPIFFE_ENDPOINT_SOCKET=unix://" + agent.Socket,
			"SPIRE_SERVER_SOCKET=" + s.Server.Socket(),
		},
		Answers: answers,
	}); err != nil {
		return err
	}
	forward(ctx, listener, dialTo("tcp", s.Address()))
	return nil
}

// writeAgentConf puts a configuration where podseal looks for one, for the command
// line on the node: outside of the agent's pod there is no service account.
func writeAgentConf(s *stack.Stack) error {
	certificate, key := s.AdminCertificate()
	dir := "/run/spire/config"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "agent.conf"), fmt.Appendf(nil, `# For podseal's command line on the node. The agent's own is in its pod.
node_name        = %q
kubelet_ca_path  = %q
certificate_path = %q
private_key_path = %q
`, machine.HostName, s.CA(), certificate, key), 0o600)
}
