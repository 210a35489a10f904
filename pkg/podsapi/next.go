package podsapi

import (
	"context"
	"time"

	"github.com/podseal/podseal/pkg/pod"
)

// relist is the least time between two lists where the watch reports changes
// and somebody waits for a container whose pod he does not know.
const relist = 100 * time.Millisecond

// flight is one question about one pod, or all, with everyone who waits for the
// answer.
type flight struct {
	entry *entry
	// done is closed when index or err is set. They don't change after that.
	done  chan struct{}
	index *pod.Index
	err   error

	// The rest is guarded by Client.mu. A flight without waiters leaves the queue
	// without a call.
	waiters int
	// listed is whether a list was looked at in vain already.
	listed bool
	// backoff is how long the last refusal by the kubelet's limiter was waited
	// out.
	backoff time.Duration
}

// Next returns an index with the pod of that UID as it was after newerThan (at
// any time, when that is zero), or without it where the kubelet said after
// newerThan that there is none. An empty UID stands for all pods.
//
// It answers at once from what was confirmed within Config.TTL, if the watch
// has not reported a change since; and waits otherwise for a call, which all
// who ask about the same pod share: who leaves cancels nothing for the others.
// When newerThan is the time of an index that did not have what is looked for,
// that call is made as soon as the watch reports a change of the pod, and after
// Config.Interval at the latest.
//
// A failure goes to everyone who waits and is not kept; but the kubelet is asked
// again only after Config.Interval, or when the watch has come back. When ctx
// ends the error is its cause. Others are *RequestError, *PeerError,
// *StatusError or *ResponseError.
func (c *Client) Next(ctx context.Context, uid string, newerThan time.Time) (*pod.Index, error) {
	c.ask()
	defer c.asked()
	for ctx.Err() == nil {
		s := c.step(uid, newerThan)
		switch {
		case s.index != nil:
			return s.index, nil
		case s.flight == nil:
			c.pause(ctx, s)
			continue
		}
		select {
		case <-s.flight.done:
		case <-ctx.Done():
			c.alight(s.flight)
			continue
		}
		if s.flight.err != nil {
			return nil, s.flight.err
		}
		if s.flight.index.Taken.After(newerThan) {
			return s.flight.index, nil
		}
	}
	return nil, context.Cause(ctx)
}

func (c *Client) ask() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asking++
}

func (c *Client) asked() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asking--
}

// step is what a caller does next: it returns the index, waits for the flight,
// or waits for the entry's next change and no longer than until a time.
type step struct {
	index  *pod.Index
	flight *flight

	entry *entry
	wake  <-chan struct{}
	until time.Time
}

func (c *Client) step(uid string, newerThan time.Time) step {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.startWatch()
	e := c.entryOf(uid)
	now := time.Now()
	if e.taken.After(newerThan) && now.Sub(e.taken) < c.cfg.TTL && (e == c.all || !c.stale(e)) {
		return step{index: e.answer()}
	}
	if at := c.readyAt(e, newerThan); e.flight == nil && at.After(now) {
		if e.wake == nil {
			e.wake = make(chan struct{})
		}
		e.waiting++
		return step{entry: e, wake: e.wake, until: at}
	}
	if e.flight == nil {
		e.flight = &flight{entry: e, done: make(chan struct{})}
		c.enqueue(e.flight, newerThan)
	}
	e.flight.waiters++
	return step{flight: e.flight}
}

// readyAt is when the kubelet may be asked about the pod. Only with mu.
func (c *Client) readyAt(e *entry, newerThan time.Time) time.Time {
	var at time.Time
	switch {
	case e.taken.IsZero():
	case e == c.all && c.stale(e):
		at = e.taken.Add(min(relist, c.cfg.Interval))
	case e != c.all && c.stale(e):
	case (e == c.all || e.record != nil) && e.taken.After(newerThan):
		// It has become too old to be used, but was not asked for in vain.
	default:
		at = e.taken.Add(c.cfg.Interval)
	}
	for _, other := range []time.Time{e.retryAt, c.retryAt} {
		if other.After(at) {
			at = other
		}
	}
	return at
}

// pause waits as the step says.
func (c *Client) pause(ctx context.Context, s step) {
	timer := time.NewTimer(time.Until(s.until))
	defer timer.Stop()
	select {
	case <-s.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.entry.waiting--
}

// alight takes a caller off a flight before its end.
func (c *Client) alight(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.waiters--
}

// rouse wakes who waits for the entry. Only with mu.
func (e *entry) rouse() {
	if e.wake != nil {
		close(e.wake)
		e.wake = nil
	}
}
