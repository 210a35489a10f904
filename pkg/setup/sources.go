package setup

import (
	"context"
	"fmt"
	"time"

	"github.com/podseal/podseal/pkg/attest"
	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/podsapi"
	"github.com/podseal/podseal/pkg/source"
)

// sources are where pods are known from.
type sources struct {
	// pods is the one that is asked.
	pods attest.Pods
	// port and api are what it stands on, auto what chooses between them: those
	// that pod_source asks for, the others nil.
	port *kubelet.Client
	api  *podsapi.Client
	auto *source.Auto
}

func (p *Process) sources(cfg *config.Config, locator *container.Locator, previous *Parts) (s sources, err error) {
	if cfg.PodSource != config.FromPodsAPI {
		if s.port, err = p.port(cfg, previous); err != nil {
			return s, err
		}
		s.pods = whole{s.port}
	}
	if cfg.PodSource != config.KubeletPort {
		if s.api, err = p.api(cfg, locator, previous); err != nil {
			return s, fmt.Errorf("pods_api_socket: %w", err)
		}
		s.pods = watched{s.api}
	}
	if cfg.PodSource != config.Auto {
		return s, nil
	}
	if previous != nil && previous.auto != nil && previous.port == s.port && previous.api == s.api {
		s.auto = previous.auto
	} else {
		s.auto = source.NewAuto(watched{s.api}, whole{s.port}, p.log)
	}
	s.pods = s.auto
	return s, nil
}

func (p *Process) port(cfg *config.Config, previous *Parts) (*kubelet.Client, error) {
	if previous != nil && previous.port != nil && previous.Config.Kubelet == cfg.Kubelet && p.rosterFor(previous.Config) == p.rosterFor(cfg) {
		return previous.port, previous.port.Reload()
	}
	c, err := p.Kubelet(cfg)
	if err != nil {
		return nil, err
	}
	c.Tell(p.rosterFor(cfg))
	return c, nil
}

func (p *Process) api(cfg *config.Config, locator *container.Locator, previous *Parts) (*podsapi.Client, error) {
	// Who may listen on the socket depends on where pods are.
	if previous != nil && previous.api != nil && previous.Config.PodsAPI == cfg.PodsAPI && previous.Config.CgroupRoot == cfg.CgroupRoot &&
		p.rosterFor(previous.Config) == p.rosterFor(cfg) {
		return previous.api, nil
	}
	c, err := p.PodsAPI(cfg, locator)
	if err != nil {
		return nil, err
	}
	c.Tell(p.rosterFor(cfg))
	return c, nil
}

// Settle looks at the Pods API where it is only used when it answers, and returns
// when that is known: for a command that asks once and ends.
func (s sources) Settle(ctx context.Context) {
	if s.auto != nil {
		s.auto.Probe(ctx)
	}
}

// whole is the kubelet's port, which gives all pods or none.
type whole struct{ *kubelet.Client }

func (w whole) Next(ctx context.Context, _ string, newerThan time.Time) (*pod.Index, error) {
	return w.Client.Next(ctx, newerThan)
}

// watched is the Pods API.
type watched struct{ *podsapi.Client }

// Probe implements source.API.
func (w watched) Probe(ctx context.Context) error {
	_, err := w.Inspect(ctx)
	return err
}

// inPod is whether a process is in a pod, or may be: then it is not the kubelet.
func inPod(locator *container.Locator) podsapi.InPod {
	return func(pid int32) (bool, error) {
		process, err := locator.Open(pid)
		if err != nil {
			return false, err
		}
		defer process.Close()
		ref, err := process.Ref()
		if err != nil {
			return false, err
		}
		return !ref.IsZero(), process.Check()
	}
}
