package pluginproc

import (
	"testing"

	configv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/service/common/config/v1"

	"github.com/podseal/podseal/test/pluginproc/host"
)

// Core is what the agent says of itself.
func Core() *configv1.CoreConfiguration { return host.Core() }

// MustConfigure gives the plugin settings that it has to take, in HCL.
func (p *Process) MustConfigure(t testing.TB, s Settings) {
	t.Helper()
	if err := p.Configure(t.Context(), s.HCL()); err != nil {
		t.Fatalf("Configure: %v\n%s", err, s.HCL())
	}
}
