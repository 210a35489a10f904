package podsapi

import (
	"context"
	"sync"
	"time"
)

// The kubelet answers 100 calls of GetPod and ListPods a second, 10 at once, of
// all its clients together; the others it refuses.
const (
	requestsPerSecond = 50
	requestsAtOnce    = 5
)

// Limiter keeps podseal below the kubelet's limit. One Limiter serves the whole
// process, over all clients and reconfigurations.
type Limiter struct {
	// mu guards next for an assignment.
	mu sync.Mutex
	// next is when the next request would start if they were evenly spread.
	next time.Time
}

// NewLimiter returns a Limiter that was not used yet.
func NewLimiter() *Limiter { return &Limiter{} }

// wait returns when a request may start. Who waits is served in turn.
func (l *Limiter) wait(ctx context.Context) error { return sleepUntil(ctx, l.reserve(time.Now())) }

// exhausted is whether a request would have to wait.
func (l *Limiter) exhausted(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next.After(now)
}

func (l *Limiter) reserve(now time.Time) time.Time {
	const gap = time.Second / requestsPerSecond
	l.mu.Lock()
	defer l.mu.Unlock()
	if earliest := now.Add(-(requestsAtOnce - 1) * gap); l.next.Before(earliest) {
		l.next = earliest
	}
	at := l.next
	l.next = at.Add(gap)
	return at
}

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
