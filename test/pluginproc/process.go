package pluginproc

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/spiffe/spire-plugin-sdk/pluginsdk"
	"github.com/spiffe/spire-plugin-sdk/private"
	metricsv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/hostservice/common/metrics/v1"
	workloadattestorv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/plugin/agent/workloadattestor/v1"
	configv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/service/common/config/v1"
	"google.golang.org/grpc"
)

// pluginType is the type in the agent's configuration, and the cookie.
const pluginType = "WorkloadAttestor"

// Options say how the agent starts the plugin. The zero value is the usual way.
type Options struct {
	// Checksum is the plugin_checksum; that of the binary when nil.
	Checksum []byte
	// Env are variables of the agent's environment, which the plugin inherits,
	// in place of the test's of the same name.
	Env []string
	// PrivateMounts gives the plugin a mount namespace of its own, for Cover.
	PrivateMounts bool
	// PrivatePIDs starts the plugin in a PID namespace of its own, but with this
	// one's /proc: what it sees there are other processes' IDs.
	PrivatePIDs bool
}

// Process is a running plugin.
type Process struct {
	workloadattestorv1.WorkloadAttestorPluginClient
	Config configv1.ConfigServiceClient

	t      testing.TB
	client *goplugin.Client
	pid    int
	log    *collector
	host   *hostServices
	conn   *grpc.ClientConn
}

// Start starts the plugin until the test ends.
func Start(t testing.TB, o Options) *Process {
	t.Helper()
	p, err := Launch(t, o)
	if err != nil {
		t.Fatalf("%v\nlog of the plugin:\n%s", err, p.log.raw())
	}
	return p
}

// Launch is Start for a plugin that may refuse to start. The Process is then
// good for its log only.
func Launch(t testing.TB, o Options) (*Process, error) {
	t.Helper()
	p := &Process{t: t, log: new(collector), host: new(hostServices)}
	path := Binary(t)
	checksum := o.Checksum
	if checksum == nil {
		checksum = sum(t, path)
	}
	cmd := exec.Command(path)
	cmd.Env = environment(o.Env)
	// It ends with the test binary, however that ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if o.PrivateMounts {
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	}
	if o.PrivatePIDs {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
	}
	p.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion:  1,
			MagicCookieKey:   pluginType,
			MagicCookieValue: pluginType,
		},
		Cmd:              cmd,
		SkipHostEnv:      true, // environment has it
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Plugins:          map[string]goplugin.Plugin{"k8s": p.host},
		Logger:           hclog.New(&hclog.LoggerOptions{Output: &p.log.lines, Level: hclog.Trace, JSONFormat: true}),
		Stderr:           &p.log.stderr,
		SecureConfig:     &goplugin.SecureConfig{Checksum: checksum, Hash: sha256.New()},
	})
	t.Cleanup(p.Stop)
	return p, p.load(cmd)
}

func sum(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return h.Sum(nil)
}

// environment is the test's, without what would say something about a node,
// and with the given variables.
func environment(with []string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "MY_NODE_NAME=") || strings.HasPrefix(v, "MY_POD_UID=") || strings.HasPrefix(v, roleEnv+"=")
	})
	return append(env, with...)
}

// load is what the agent does before it uses a plugin.
func (p *Process) load(cmd *exec.Cmd) error {
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
	services, err := private.Init(p.t.Context(), p.conn, []string{p.host.metrics().GRPCServiceName()})
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
func (p *Process) PID() int { return p.pid }

// PeakMemory is the most resident memory that the plugin had so far, in bytes.
func (p *Process) PeakMemory() int64 {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return kib << 10
		}
	}
	p.t.Fatal("the process has no VmHWM: it has ended")
	return 0
}

// Stop unloads the plugin as the agent does. It may be called again.
func (p *Process) Stop() {
	if p.conn != nil && !p.client.Exited() {
		if err := private.Deinit(context.Background(), p.conn); err != nil && !p.client.Exited() {
			p.t.Errorf("unloading the plugin: %v", err)
		}
	}
	p.conn = nil
	p.client.Kill() // that one process
	p.host.stop()
}

// hostServices is what the agent offers to plugins: the metrics service.
type hostServices struct {
	goplugin.NetRPCUnsupportedPlugin
	metricsv1.UnimplementedMetricsServer

	server *grpc.Server
	served chan struct{}
}

func (h *hostServices) metrics() pluginsdk.ServiceServer { return metricsv1.MetricsServiceServer(h) }

// GRPCServer implements goplugin.GRPCPlugin.
func (h *hostServices) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("not implemented on the host's side")
}

// GRPCClient implements goplugin.GRPCPlugin.
func (h *hostServices) GRPCClient(_ context.Context, broker *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	listener, err := broker.Accept(private.HostServiceProviderID)
	if err != nil {
		return nil, err
	}
	h.server, h.served = grpc.NewServer(), make(chan struct{})
	h.metrics().RegisterServer(h.server)
	go func() {
		defer close(h.served)
		_ = h.server.Serve(listener) // until stop
	}()
	return conn, nil
}

func (h *hostServices) stop() {
	if h.server != nil {
		h.server.Stop()
		<-h.served
	}
}
