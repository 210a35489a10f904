package kubelet

import (
	"context"
	"errors"
	"time"

	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/pod"
)

// flight is one request on its way, with everyone who waits for it.
type flight struct {
	// done is closed when index and err are set. They don't change after that.
	done  chan struct{}
	index *pod.Index
	err   error

	// abandon ends the wait at the gate.
	abandon context.CancelFunc
	// waiters and started are guarded by Client.mu. A flight without waiters
	// that has not started never will.
	waiters int
	started bool
}

// Next returns an index that was taken after newerThan (any, when that is zero)
// and not longer than Config.TTL ago, or else waits for the request in
// flight or a new one. All callers share it: who leaves cancels nothing for the
// others, a failure goes to everyone who waits and is not kept, and without a
// caller there is no request. A request ends after 10 s.
//
// An answer to a request that started before newerThan is not returned; the
// caller waits for the next. When ctx ends the error is its cause. Other errors
// are *RequestError, *StatusError or *ResponseError, perhaps with a *FileError;
// an error with Final() true in its chain will be the same for the next request.
func (c *Client) Next(ctx context.Context, newerThan time.Time) (*pod.Index, error) {
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		index, f := c.board(newerThan)
		if index != nil {
			return index, nil
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			c.alight(f)
			return nil, context.Cause(ctx)
		}
		if f.err != nil {
			return nil, f.err
		}
		if f.index.Taken.After(newerThan) {
			return f.index, nil
		}
	}
}

// board returns the latest index if it will do, and else the flight to wait
// for.
func (c *Client) board(newerThan time.Time) (*pod.Index, *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x := c.latest; x != nil && x.Taken.After(newerThan) && time.Since(x.Taken) < c.cfg.TTL {
		return x, nil
	}
	if c.flight == nil {
		ctx, cancel := context.WithCancel(context.Background())
		c.flight = &flight{done: make(chan struct{}), abandon: cancel}
		go c.fly(ctx, c.flight)
	}
	c.flight.waiters++
	return nil, c.flight
}

// alight takes a caller off the flight before its end. The last one off before
// the request has started ends it, so that nothing polls without a caller.
func (c *Client) alight(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.waiters--
	if f.waiters == 0 && !f.started {
		f.abandon()
		if c.flight == f {
			c.flight = nil
		}
	}
}

// fly is the goroutine of one flight: its callers wait for it.
func (c *Client) fly(ctx context.Context, f *flight) {
	defer f.abandon()
	f.err = guard.Do(func() (err error) {
		if err := c.gate.enter(ctx, c.cfg.Interval); err != nil {
			return err
		}
		defer c.gate.leave()
		if !c.takeOff(f) {
			return context.Canceled
		}
		f.index, err = c.fetch(c.gate.start())
		c.trouble.after(err)
		return err
	})
	c.land(f)
	if f.err != nil {
		return
	}
	err := guard.Do(func() error { c.roster.List(f.index); return nil })
	if p, ok := errors.AsType[*guard.PanicError](err); ok {
		c.log.Error("panic after an answer of the kubelet", "error", p, "stack", string(p.Stack))
	}
}

// land gives the flight's answer to those who wait for it.
func (c *Client) land(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.err == nil {
		c.latest = f.index
	}
	if c.flight == f {
		c.flight = nil
	}
	close(f.done)
}

// takeOff marks the flight as started unless everyone has left it.
func (c *Client) takeOff(f *flight) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.started = f.waiters > 0
	return f.started
}
