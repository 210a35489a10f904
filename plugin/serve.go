package plugin

import (
	"os"

	"github.com/spiffe/spire-plugin-sdk/pluginmain"
	workloadattestorv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/plugin/agent/workloadattestor/v1"
	configv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/service/common/config/v1"
)

// Started is whether SPIRE Agent started this process as a plugin: the handshake
// cookie is in the environment.
func Started() bool { return os.Getenv("WorkloadAttestor") == "WorkloadAttestor" }

// Serve serves the plugin until the agent ends it. Standard output belongs to
// the handshake from here on. It does not return.
func Serve() {
	p := New()
	pluginmain.Serve(workloadattestorv1.WorkloadAttestorPluginServer(p), configv1.ConfigServiceServer(p))
}
