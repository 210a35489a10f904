package stack

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/podseal/podseal/test/realstack/machine"
	"github.com/podseal/podseal/test/realstack/proc"
)

const controllerManager = "spire-controller-manager"

// StartControllerManager starts the SPIRE controller manager beside the server, for
// the agents of Install, and returns when its resources can be applied. It looks at
// pods in these namespaces and no others: the example's resources are for nearly
// all. It may be started once.
func (s *Stack) StartControllerManager(ctx context.Context, namespaces ...string) (*proc.Process, error) {
	if _, err := s.Kubectl(ctx, "", "apply", "--filename", os.Getenv(crdsVar)); err != nil {
		return nil, err
	}
	if _, err := s.Kubectl(ctx, "", "wait", "--for=condition=Established", "crd/clusterspiffeids.spire.spiffe.io", "--timeout=60s"); err != nil {
		return nil, err
	}
	cached := map[string]any{}
	for _, name := range namespaces {
		cached[name] = map[string]any{}
	}
	config, err := json.Marshal(map[string]any{ // which is YAML, too
		"apiVersion": "spire.spiffe.io/v1alpha1",
		"kind":       "ControllerManagerConfig",
		"className":  "spire",
		// The parent of a pod's entry is made of both, and of the node's UID.
		"trustDomain": s.Server.TrustDomain(),
		"clusterName": psatCluster,
		// Every entry that does not begin so stays as it is: without it there are none
		// but the controller manager's, who deletes all others.
		"entryIDPrefix":         psatCluster,
		"clusterDomain":         "cluster.local",
		"spireServerSocketPath": s.Server.Socket(),
		"cacheNamespaces":       cached,
		"metrics":               map[string]any{"bindAddress": "0"},
		"health":                map[string]any{"healthProbeBindAddress": "0"},
	})
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(machine.Dir(), controllerManager)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		return nil, err
	}
	return proc.Start(ctx, proc.Command{
		Name: controllerManager,
		Argv: []string{Tool(controllerManager), "-config", path},
		// The webhook only refuses early what is refused anyhow, and needs a service.
		Env: []string{"KUBECONFIG=" + s.Kubeconfig(), "ENABLE_WEBHOOKS=false"},
		Log: filepath.Join(dir, controllerManager+".log"),
	})
}
