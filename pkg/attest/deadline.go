package attest

import (
	"context"
	"sync"
	"time"
)

// lateTimeout is a context that ends after a time, and makes the timer for that
// when somebody waits for its end: nearly every call is answered from what is
// known, and a timer that nobody waits for costs a wakeup of the runtime's poller,
// more than the whole look-up.
type lateTimeout struct {
	context.Context // the caller's
	deadline        time.Time

	mu     sync.Mutex
	timed  context.Context // nil until it is needed; guarded by mu
	cancel context.CancelFunc
}

// withLateTimeout returns a context whose Cause after timeout is errTimeout. The
// CancelFunc must be called.
func withLateTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	c := &lateTimeout{Context: ctx, deadline: time.Now().Add(timeout)}
	return c, c.stop
}

// Deadline is when the context ends at the latest.
func (c *lateTimeout) Deadline() (time.Time, bool) {
	if callers, ok := c.Context.Deadline(); ok && callers.Before(c.deadline) {
		return callers, true
	}
	return c.deadline, true
}

// Done makes the timer.
func (c *lateTimeout) Done() <-chan struct{} { return c.withTimer().Done() }

// Err is why the context has ended; nil as long as it has not.
func (c *lateTimeout) Err() error {
	if !time.Now().Before(c.deadline) {
		return c.withTimer().Err()
	}
	return c.current().Err()
}

// Value is where context.Cause looks too.
func (c *lateTimeout) Value(key any) any { return c.current().Value(key) }

func (c *lateTimeout) withTimer() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.cancel = context.WithDeadlineCause(c.Context, c.deadline, errTimeout)
	}
	return c.timed
}

func (c *lateTimeout) current() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		return c.Context
	}
	return c.timed
}

func (c *lateTimeout) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
	}
}
