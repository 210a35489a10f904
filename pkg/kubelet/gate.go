package kubelet

import (
	"context"
	"time"
)

// Gate lets one request to the kubelet through at a time and keeps their starts
// apart. One Gate serves the whole process, over all clients and
// reconfigurations: a kubelet is asked no more often because somebody changes
// settings.
type Gate struct {
	// slot holds a token for whoever is at the gate or beyond it.
	slot chan struct{}
	// last is when the last request started. It belongs to the slot's holder.
	last time.Time
}

// NewGate returns an open gate.
func NewGate() *Gate { return &Gate{slot: make(chan struct{}, 1)} }

// enter waits until no other request is in flight and the last one started at
// least interval ago. After a nil error the caller must leave.
func (g *Gate) enter(ctx context.Context, interval time.Duration) error {
	select {
	case g.slot <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := sleepUntil(ctx, g.last.Add(interval)); err != nil {
		g.leave()
		return err
	}
	return nil
}

// start records that the request starts now, and returns the time. Only for who
// entered.
func (g *Gate) start() time.Time {
	g.last = time.Now()
	return g.last
}

func (g *Gate) leave() { <-g.slot }

func sleepUntil(ctx context.Context, t time.Time) error {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
