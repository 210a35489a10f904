package podsapi

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/podseal/podseal/pkg/guard"
)

const (
	// How long after the end of a watch the next one begins, at least and at
	// most.
	minRewatch, maxRewatch = 50 * time.Millisecond, 5 * time.Second
	// persistence is how long a watch that was there is tried for again while
	// nobody asks for anything.
	persistence = time.Minute
)

// watchState is about the goroutine that watches. Client.mu guards it.
type watchState struct {
	// running is whether there is one, synced whether its watch has had its
	// initial list.
	running, synced bool
	// seen is when the last watch was there.
	seen time.Time
	// at is when the next may begin, backoff the time since the last.
	at      time.Time
	backoff time.Duration
}

// Start makes sure that the pods are watched, or that it is tried again soon. It
// returns at once. Next does the same.
func (c *Client) Start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.startWatch()
}

// startWatch is Start. Only with mu.
func (c *Client) startWatch() {
	if c.watch.running || c.ctx.Err() != nil || time.Now().Before(c.watch.at) {
		return
	}
	c.watch.running = true
	c.spawn(c.keepWatching)
}

// keepWatching watches, and begins again when a watch has ended, as long as
// somebody waits for an answer or the watch has gone just now.
func (c *Client) keepWatching() {
	for {
		err := guard.Do(c.watchOnce)
		if !c.rewatch(c.explain(err)) {
			return
		}
		if sleepUntil(c.ctx, c.watch.at) != nil {
			return
		}
	}
}

// rewatch takes note of a watch's end and says whether to begin another.
func (c *Client) rewatch(err error) bool {
	if c.ctx.Err() == nil {
		c.trouble.after(stream, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &c.watch
	if c.ctx.Err() != nil {
		w.running, w.synced = false, false
		return false
	}
	now := time.Now()
	w.backoff = min(2*w.backoff, maxRewatch)
	if w.synced {
		w.seen, w.backoff = now, minRewatch
	}
	w.backoff = max(w.backoff, minRewatch)
	w.synced, w.at = false, now.Add(w.backoff)

	if isDown(err) {
		c.down = err
	}
	w.running = c.asking > 0 || now.Sub(w.seen) < persistence
	return w.running
}

// watchOnce watches until the stream breaks.
func (c *Client) watchOnce() error {
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	late := time.AfterFunc(requestTimeout, func() { cancel(errTimeout) })
	defer late.Stop()

	s, err := c.link.session(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	begun, synced := false, false
	err = s.watch(ctx, func(t eventType, b []byte) error {
		if !begun {
			begun = true
			c.renew()
		}
		switch {
		case t == eventSync:
			synced = true
			late.Stop()
			c.synced()
			c.roster.Whole(began)
			return nil
		case synced:
			c.mark(t, findUID(b))
		}
		c.tell(t, b)
		return nil
	})
	if cause := context.Cause(ctx); errors.Is(cause, errTimeout) {
		err = status.FromContextError(context.DeadlineExceeded).Err()
	}
	c.dropAfter(s, err)
	return err
}

// renew is for the first event of a watch: what changed before it was not
// reported, and what changes from now on will be.
func (c *Client) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sequence++
	c.renewed = c.sequence
	c.up()
	for _, e := range c.entries {
		e.rouse()
	}
	c.all.rouse()
}

// synced is for the end of a watch's initial list.
func (c *Client) synced() {
	c.trouble.after(stream, nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch.synced = true
}

// mark takes note of a change. What it was is asked for when somebody wants to
// know: events come late and out of order, and say neither that labels changed
// nor, for certain, that a pod is gone.
func (c *Client) mark(t eventType, uid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sequence++
	c.all.changed = c.sequence
	c.all.rouse()
	e, ok := c.entries[uid]
	switch {
	case !ok:
	case t == eventDeleted && e.idle():
		c.forget(e)
	default:
		e.changed = c.sequence
		e.rouse()
	}
}

// noted keeps whether the kubelet can be asked. Only with mu.
func (c *Client) noted(err error) {
	switch {
	case err == nil:
		c.up()
	case isDown(err):
		c.down, c.retryAt = err, time.Now().Add(c.cfg.Interval)
	}
}

// up is for an answer of the kubelet. Only with mu.
func (c *Client) up() { c.down, c.retryAt = nil, time.Time{} }

// dropAfter gives a connection up that does not do any more.
func (c *Client) dropAfter(s *session, err error) {
	switch code := status.Code(err); {
	case code == codes.DeadlineExceeded && s.grpc.GetState() == connectivity.Ready:
		// It may do for other questions.
	case code == codes.DeadlineExceeded, code == codes.Unavailable, errors.Is(err, io.EOF):
		c.link.drop(s)
	}
}
