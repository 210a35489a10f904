// Package setup puts the parts together: the only place where their concrete
// types meet.
package setup

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/podseal/podseal/pkg/attest"
	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/podsapi"
	"github.com/podseal/podseal/pkg/verify"
)

// Process is what belongs to the process and outlives every configuration: the
// limits on what callers and the kubelet are asked to bear.
type Process struct {
	// Proc is where procfs is mounted; "/proc" when empty. It must not be changed
	// after the first Build.
	Proc string
	// Beside is whether this is not the plugin but somebody beside it who wants to
	// know more: what the plugin keeps on disks is not changed then, and what is found
	// out about images is explained. It must not be changed after the first Build.
	Beside bool

	gate      *kubelet.Gate
	limiter   *podsapi.Limiter
	admission container.Admission
	log       *slog.Logger
	// roster is which pods are on this node, ahead what looks at their images before
	// anybody asks.
	roster *pod.Roster
	ahead  atomic.Pointer[verify.Ahead]
	// verifier is that of the latest Build, for who asks what is worth keeping.
	verifier atomic.Pointer[verify.Verifier]
	// mirrors is the way to TUF repositories, nil for the network. Tests set it.
	mirrors http.RoundTripper
}

// NewProcess returns a Process that logs to log.
func NewProcess(log *slog.Logger) *Process {
	p := &Process{gate: kubelet.NewGate(), limiter: podsapi.NewLimiter(), log: log}
	p.roster = pod.NewRoster(p.started)
	return p
}

// Parts are the parts of one configuration. They are immutable: a call that
// began with them ends with them.
type Parts struct {
	Config   *config.Config
	Attestor *attest.Attestor

	sources
	images images
}

// Build makes the parts of a configuration. Where previous has the same settings
// of a pod source, the registries or the runtime that part, with connections and
// cached answers, is used again. Build reads files and connects to nothing. An error leaves previous as
// it was.
func (p *Process) Build(cfg *config.Config, previous *Parts) (*Parts, error) {
	locator, err := p.Locator(cfg)
	if err != nil {
		return nil, err
	}
	parts := &Parts{
		Config: cfg,
		Attestor: &attest.Attestor{
			Locator:           locator,
			Admission:         &p.admission,
			MaxPollAttempts:   cfg.MaxPollAttempts,
			PollRetryInterval: cfg.PollRetryInterval,
			Timeout:           cfg.AttestTimeout,
			WithoutContainer:  cfg.DisableContainerSelectors,
			Ephemeral:         cfg.EphemeralContainers,
		},
	}
	if parts.sources, err = p.sources(cfg, locator, previous); err != nil {
		return nil, err
	}
	parts.Attestor.Pods = parts.pods
	if parts.images, err = p.images(cfg, locator, parts.sources, previous); err != nil {
		parts.CloseUnlessIn(previous)
		return nil, err
	}
	parts.Attestor.Images = parts.images.verifier
	if before := p.verifier.Load(); before != nil && parts.images.verifier != nil {
		parts.images.verifier.Succeed(before)
	}
	p.verifier.Store(parts.images.verifier)
	parts.images.ahead = p.lookAhead(parts.images.verifier)
	return parts, nil
}

// Locator makes the part that finds the containers of processes.
func (p *Process) Locator(cfg *config.Config) (*container.Locator, error) {
	return container.NewLocator(container.Options{
		Proc:       p.Proc,
		CgroupRoot: cfg.CgroupRoot,
		OwnPodUID:  cfg.OwnPodUID,
		Verbose:    cfg.VerboseContainerLocatorLogs,
		Log:        p.log,
	})
}

// Kubelet makes the part that asks the kubelet's port. It must be closed.
func (p *Process) Kubelet(cfg *config.Config) (*kubelet.Client, error) {
	return kubelet.New(kubelet.Config(cfg.Kubelet), p.gate, p.log)
}

// PodsAPI makes the part that asks the kubelet's Pods API. It must be closed.
func (p *Process) PodsAPI(cfg *config.Config, locator *container.Locator) (*podsapi.Client, error) {
	return podsapi.New(podsapi.Config{
		Socket:   cfg.PodsAPI.Socket,
		TTL:      cfg.PodsAPI.TTL,
		Interval: cfg.PodsAPI.Interval,
	}, p.limiter, inPod(locator), p.log)
}

// SettleRoots waits for trust roots that no earlier configuration had until each is
// there or ctx ends, and says in sentences what is doubtful about any of them then. The
// parts work all the same.
func (p *Parts) SettleRoots(ctx context.Context) (warnings []string) {
	return p.images.roots.settle(ctx)
}

// CloseUnlessIn closes what next does not use; a nil next uses nothing. Calls
// that are still in progress get their answers.
func (p *Parts) CloseUnlessIn(next *Parts) {
	var kept sources
	if next != nil {
		kept = next.sources
	}
	if p.port != nil && p.port != kept.port {
		p.port.Close()
	}
	if p.api != nil && p.api != kept.api {
		p.api.Close()
	}
	p.images.closeUnlessIn(partsImages(next))
}
