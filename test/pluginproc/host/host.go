// Package host is SPIRE Agent's side of a plugin: it starts the binary in a
// process of its own through go-plugin with the agent's handshake, initialises it
// through SPIRE's init service and talks to it over gRPC. It needs no testing.T,
// so that programs can use it as well as tests.
package host

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"syscall"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/spiffe/spire-plugin-sdk/pluginsdk"
	"github.com/spiffe/spire-plugin-sdk/private"
	workloadattestorv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/plugin/agent/workloadattestor/v1"
	configv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/service/common/config/v1"
	"google.golang.org/grpc"
)

// pluginType is the type in the agent's configuration, and the cookie.
const pluginType = "WorkloadAttestor"

// Options say what is started, and how.
type Options struct {
	// Path is the binary.
	Path string
	// Checksum is the plugin_checksum, a SHA-256; nothing is checked without one.
	Checksum []byte
	// Env is the whole environment of the plugin.
	Env []string
	// SysProcAttr may be nil. Its Pdeathsig is set: the plugin ends with this
	// process, however that ends.
	SysProcAttr *syscall.SysProcAttr
	// Log gets the lines of the plugin's log as go-plugin understood them, in
	// JSON, and Stderr what the plugin wrote.
	Log, Stderr io.Writer
}

// Plugin is a running plugin.
type Plugin struct {
	workloadattestorv1.WorkloadAttestorPluginClient
	Config configv1.ConfigServiceClient

	client *goplugin.Client
	pid    int
	host   *hostServices
	conn   *grpc.ClientConn
}

// Start starts the plugin, which runs until Stop. The error is go-plugin's where
// that refuses the binary.
func Start(ctx context.Context, o Options) (*Plugin, error) {
	cmd := exec.Command(o.Path)
	cmd.Env = o.Env
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if o.SysProcAttr != nil {
		*cmd.SysProcAttr = *o.SysProcAttr
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	p := &Plugin{host: new(hostServices)}
	config := &goplugin.ClientConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion:  1,
			MagicCookieKey:   pluginType,
			MagicCookieValue: pluginType,
		},
		Cmd:              cmd,
		SkipHostEnv:      true, // Env has it
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Plugins:          map[string]goplugin.Plugin{"k8s": p.host},
		Logger:           hclog.New(&hclog.LoggerOptions{Output: o.Log, Level: hclog.Trace, JSONFormat: true}),
		Stderr:           o.Stderr,
	}
	if o.Checksum != nil {
		config.SecureConfig = &goplugin.SecureConfig{Checksum: o.Checksum, Hash: sha256.New()}
	}
	p.client = goplugin.NewClient(config)
	if err := p.load(ctx, cmd); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// load is what the agent does before it uses a plugin.
func (p *Plugin) load(ctx context.Context, cmd *exec.Cmd) error {
	protocol, err := p.client.Client()
	if err != nil {
		return fmt.Errorf("failed to launch plugin: %w", err)
	}
	p.pid = cmd.Process.Pid
	raw, err := protocol.Dispense("k8s")
	if err != nil {
		return err
	}
	p.conn = raw.(*grpc.ClientConn)
	services, err := private.Init(ctx, p.conn, []string{p.host.metrics().GRPCServiceName()})
	if err != nil {
		return fmt.Errorf("initialising the plugin: %w", err)
	}
	for _, client := range []pluginsdk.ServiceClient{&p.WorkloadAttestorPluginClient, &p.Config} {
		if !slices.Contains(services, client.GRPCServiceName()) {
			return fmt.Errorf("the plugin has the services %q, not %s", services, client.GRPCServiceName())
		}
		client.InitClient(p.conn)
	}
	return nil
}

// PID is the plugin's process ID.
func (p *Plugin) PID() int { return p.pid }

// Core is what the agent says of itself.
func Core() *configv1.CoreConfiguration {
	return &configv1.CoreConfiguration{TrustDomain: "example.org"}
}

// Configure gives the plugin a configuration.
func (p *Plugin) Configure(ctx context.Context, text string) error {
	_, err := p.Config.Configure(ctx, &configv1.ConfigureRequest{CoreConfiguration: Core(), HclConfiguration: text})
	return err
}

// Selectors attests a process.
func (p *Plugin) Selectors(ctx context.Context, pid int) ([]string, error) {
	resp, err := p.Attest(ctx, &workloadattestorv1.AttestRequest{Pid: int32(pid)})
	return resp.GetSelectorValues(), err
}

// Stop unloads the plugin as the agent does. It may be called again.
func (p *Plugin) Stop() error {
	var problem error
	if p.conn != nil && !p.client.Exited() {
		if err := private.Deinit(context.Background(), p.conn); err != nil && !p.client.Exited() {
			problem = fmt.Errorf("unloading the plugin: %w", err)
		}
	}
	p.conn = nil
	p.client.Kill() // that one process
	p.host.stop()
	return problem
}
