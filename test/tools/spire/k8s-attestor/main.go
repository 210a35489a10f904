// Command k8s-attestor is SPIRE's built-in attestor "k8s", unchanged, as an
// external plugin: podseal is measured against it in a process of its own.
package main

import (
	"github.com/spiffe/spire-plugin-sdk/pluginmain"
	workloadattestorv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/plugin/agent/workloadattestor/v1"
	configv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/service/common/config/v1"
	"github.com/spiffe/spire/pkg/agent/plugin/workloadattestor/k8s"
)

func main() {
	attestor := k8s.New()
	pluginmain.Serve(
		workloadattestorv1.WorkloadAttestorPluginServer(attestor),
		configv1.ConfigServiceServer(attestor),
	)
}
