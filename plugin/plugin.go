// Package plugin serves podseal to SPIRE Agent: the WorkloadAttestor and the
// Config service. Everything about gRPC, its codes and SPIRE's plugin interface
// is here; what an attestation is, is package attest's.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	workloadattestorv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/plugin/agent/workloadattestor/v1"
	configv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/service/common/config/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/setup"
)

// Plugin is the plugin. New makes it.
type Plugin struct {
	workloadattestorv1.UnimplementedWorkloadAttestorServer
	configv1.UnimplementedConfigServer

	log      *slog.Logger
	handler  *hclogHandler
	failures failureLog
	process  *setup.Process

	// parts is what calls work with, nil before the first Configure. A call
	// loads it once.
	parts atomic.Pointer[setup.Parts]
	// configuring is held by a Configure from its first look at parts to the
	// exchange, so that two don't build on the same predecessor. Calls don't
	// take it.
	configuring sync.Mutex
}

// New returns a plugin that waits for its configuration.
func New() *Plugin {
	p := &Plugin{handler: newHCLogHandler()}
	p.log = slog.New(p.handler)
	p.failures.log = p.log
	p.process = setup.NewProcess(p.log)
	return p
}

// SetLogger is called by the SDK before anything is served.
func (p *Plugin) SetLogger(log hclog.Logger) { p.handler.set(log) }

// Close is called by the SDK when the agent unloads the plugin.
func (p *Plugin) Close() error {
	p.configuring.Lock()
	defer p.configuring.Unlock()
	if parts := p.parts.Swap(nil); parts != nil {
		parts.CloseUnlessIn(nil)
	}
	return nil
}

// Configure takes up a configuration. Its error is the first problem of it; the
// previous configuration then stays. Somebody else who is away is no problem of the
// configuration: trust roots that are new are waited for, not for long, and not
// insisted on.
func (p *Plugin) Configure(ctx context.Context, req *configv1.ConfigureRequest) (*configv1.ConfigureResponse, error) {
	err := p.rpc("Configure", func() error {
		result, answers := parse(req)
		if len(answers) > 0 {
			return status.Error(codes.InvalidArgument, answers[0])
		}
		p.configuring.Lock()
		defer p.configuring.Unlock()
		previous := p.parts.Load()
		parts, err := p.process.Build(result.Config, previous)
		if err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
		// Until it is over calls are answered by the previous configuration.
		settling, cancel := context.WithTimeout(ctx, setup.SettleTime)
		defer cancel()
		doubts := parts.SettleRoots(settling)
		p.parts.Store(parts)
		if previous != nil {
			previous.CloseUnlessIn(parts)
		}
		for _, warning := range result.Warnings {
			p.log.Warn(warning.Message)
		}
		for _, warning := range doubts {
			p.log.Warn(warning)
		}
		return nil
	})
	return &configv1.ConfigureResponse{}, err
}

// Validate says what is wrong with a configuration, and what is doubtful. It
// opens no file and no connection.
func (p *Plugin) Validate(_ context.Context, req *configv1.ValidateRequest) (*configv1.ValidateResponse, error) {
	resp := &configv1.ValidateResponse{}
	err := p.rpc("Validate", func() error {
		result, answers := parse(req)
		resp.Valid = len(answers) == 0
		resp.Notes = answers
		if result.Config == nil {
			return nil
		}
		for _, warning := range result.Warnings {
			resp.Notes = append(resp.Notes, warning.Message)
		}
		return nil
	})
	return resp, err
}

// request is what Configure and Validate are asked.
type request interface {
	GetCoreConfiguration() *configv1.CoreConfiguration
	GetHclConfiguration() string
}

// parse returns what the configuration comes to and, as sentences, everything that is
// wrong with the request.
func parse(req request) (config.Result, []string) {
	result := config.Parse(req.GetHclConfiguration(), os.Getenv)
	if err := checkCore(req.GetCoreConfiguration()); err != nil {
		return result, append([]string{err.Error()}, result.Answers...)
	}
	return result, result.Answers
}

// rpc runs the work of one RPC. A panic in it, or in a goroutine that it waited
// for, is logged with its stack and answered as Internal: SPIRE Agent does not
// start a plugin again that died.
func (p *Plugin) rpc(name string, work func() error) error {
	err := guard.Do(work)
	panicked, ok := errors.AsType[*guard.PanicError](err)
	if !ok {
		return bounded(err)
	}
	if panicked.FirstReport() {
		p.log.Error("recovered from a panic: please report this", "rpc", name, "panic", fmt.Sprint(panicked.Value), "stack", string(panicked.Stack))
	}
	return status.Error(codes.Internal, "internal error: recovered from a panic, see the log of the agent")
}

// bounded cuts a message that quotes somebody at great length: it travels in a
// header of HTTP/2, and one that is too long for that would be an error of the
// connection in place of the answer.
func bounded(err error) error {
	s := status.Convert(err)
	if err == nil || len(s.Message()) <= maxLogValue {
		return err
	}
	return status.Error(s.Code(), clip(s.Message()))
}
