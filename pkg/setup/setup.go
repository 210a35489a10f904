// Package setup puts the parts together: the only place where their concrete
// types meet.
package setup

import (
	"log/slog"

	"github.com/podseal/podseal/pkg/attest"
	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/kubelet"
)

// Process is what belongs to the process and outlives every configuration: the
// limits on what callers and the kubelet are asked to bear.
type Process struct {
	// Proc is where procfs is mounted; "/proc" when empty. It must not be changed
	// after the first Build.
	Proc string

	gate      *kubelet.Gate
	admission container.Admission
	log       *slog.Logger
}

// NewProcess returns a Process that logs to log.
func NewProcess(log *slog.Logger) *Process {
	return &Process{gate: kubelet.NewGate(), log: log}
}

// Parts are the parts of one configuration. They are immutable: a call that
// began with them ends with them.
type Parts struct {
	Config   *config.Config
	Attestor *attest.Attestor

	client *kubelet.Client
}

// Build makes the parts of a configuration. Where previous has the same kubelet
// settings its client, with connections and cached answers, is used again. Build
// reads files and connects to nothing. An error leaves previous as it was.
func (p *Process) Build(cfg *config.Config, previous *Parts) (*Parts, error) {
	locator, err := p.Locator(cfg)
	if err != nil {
		return nil, err
	}
	client, err := p.client(cfg, previous)
	if err != nil {
		return nil, err
	}
	return &Parts{
		Config: cfg,
		Attestor: &attest.Attestor{
			Locator:          locator,
			Admission:        &p.admission,
			Pods:             client,
			MaxPollAttempts:  cfg.MaxPollAttempts,
			Timeout:          cfg.AttestTimeout,
			WithoutContainer: cfg.DisableContainerSelectors,
			Ephemeral:        cfg.EphemeralContainers,
		},
		client: client,
	}, nil
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

// Kubelet makes the part that asks the kubelet. It must be closed.
func (p *Process) Kubelet(cfg *config.Config) (*kubelet.Client, error) {
	return kubelet.New(kubelet.Config(cfg.Kubelet), p.gate, p.log)
}

func (p *Process) client(cfg *config.Config, previous *Parts) (*kubelet.Client, error) {
	if previous != nil && previous.Config.Kubelet == cfg.Kubelet {
		return previous.client, previous.client.Reload()
	}
	return p.Kubelet(cfg)
}

// CloseUnlessIn closes what next does not use; a nil next uses nothing. Calls
// that are still in progress get their answers.
func (p *Parts) CloseUnlessIn(next *Parts) {
	if next == nil || next.client != p.client {
		p.client.Close()
	}
}
