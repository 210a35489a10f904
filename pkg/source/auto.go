// Package source chooses between two pod sources while podseal runs: the Pods API
// where it answers, and the kubelet's port meanwhile and wherever it does not.
package source

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/pod"
)

// Pods is a pod source; see attest.Pods.
type Pods interface {
	Next(ctx context.Context, uid string, newerThan time.Time) (*pod.Index, error)
}

// API is the source that is preferred.
type API interface {
	Pods
	// Probe asks once, whatever went wrong before, and returns why there was no
	// answer.
	Probe(ctx context.Context) error
}

// probeInterval is the least time between two looks at an API that is not used.
const probeInterval = 5 * time.Second

// Auto is a pod source that gives the API's answers while there are any, and the
// port's otherwise. Nobody waits for an API that has not answered before: it is
// looked at on the side while the port is asked, and only when somebody asks.
type Auto struct {
	api  API
	port Pods
	log  *slog.Logger

	// mu guards the fields below for an assignment.
	mu sync.Mutex
	// using is whether the API is used, why the reason that it is not, nil while
	// nobody looked.
	using bool
	why   error
	// probed is when the API was last looked at, probing whether it is now.
	probed  time.Time
	probing bool
}

// NewAuto returns a source that asks nobody until it is asked.
func NewAuto(api API, port Pods, log *slog.Logger) *Auto {
	return &Auto{api: api, port: port, log: log}
}

// Using is whether the API is used now, and else why not; neither before the
// first look at it.
func (a *Auto) Using() (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.using, a.why
}

// Next implements attest.Pods. A failure of the API is not the caller's: he gets
// the port's answer.
func (a *Auto) Next(ctx context.Context, uid string, newerThan time.Time) (*pod.Index, error) {
	if a.uses() {
		index, err := a.api.Next(ctx, uid, newerThan)
		if err == nil || ctx.Err() != nil {
			return index, err
		}
		a.lost(err)
	}
	return a.port.Next(ctx, uid, newerThan)
}

// Probe looks at the API and returns when it is known whether it is used: for
// those who ask once and want the better answer.
func (a *Auto) Probe(ctx context.Context) {
	a.mu.Lock()
	a.probing, a.probed = true, time.Now()
	a.mu.Unlock()
	a.probe(ctx)
}

// uses is whether the API is used. If it is not and it is time, a look at it
// begins.
func (a *Auto) uses() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.using && !a.probing && (a.probed.IsZero() || time.Since(a.probed) >= probeInterval) {
		a.probing, a.probed = true, time.Now()
		// It is nobody's in particular, so no caller's context bounds it; it ends
		// by itself.
		go a.probe(context.Background())
	}
	return a.using
}

func (a *Auto) probe(ctx context.Context) {
	err := guard.Do(func() error { return a.api.Probe(ctx) })
	a.mu.Lock()
	defer a.mu.Unlock()
	first := a.why == nil
	a.probing, a.using, a.why = false, err == nil, err
	switch {
	case err == nil:
		a.log.Info("pods are known from the kubelet's Pods API from now on")
	case first:
		a.log.Info("pods are known from the kubelet's port, as its Pods API does not answer", "error", err)
	}
}

// lost goes back to the port. Many callers may say so at once.
func (a *Auto) lost(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.using {
		return
	}
	a.using, a.why, a.probed = false, err, time.Now()
	a.log.Warn("the kubelet's Pods API does not answer any more, pods are known from the kubelet's port meanwhile", "error", err)
}
