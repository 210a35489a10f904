package pluginproc

import (
	"context"
	"testing"

	workloadattestorv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/plugin/agent/workloadattestor/v1"
	configv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/service/common/config/v1"
)

// Core is what the agent says of itself.
func Core() *configv1.CoreConfiguration {
	return &configv1.CoreConfiguration{TrustDomain: "example.org"}
}

// Configure gives the plugin a configuration.
func (p *Process) Configure(ctx context.Context, text string) error {
	_, err := p.Config.Configure(ctx, &configv1.ConfigureRequest{CoreConfiguration: Core(), HclConfiguration: text})
	return err
}

// MustConfigure gives the plugin settings that it has to take, in HCL.
func (p *Process) MustConfigure(t testing.TB, s Settings) {
	t.Helper()
	if err := p.Configure(t.Context(), s.HCL()); err != nil {
		t.Fatalf("Configure: %v\n%s", err, s.HCL())
	}
}

// Selectors attests a process.
func (p *Process) Selectors(ctx context.Context, pid int) ([]string, error) {
	resp, err := p.Attest(ctx, &workloadattestorv1.AttestRequest{Pid: int32(pid)})
	return resp.GetSelectorValues(), err
}
