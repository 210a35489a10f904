package podsapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/pod"
)

const (
	// manyMisses is how many pods must be asked about at a time, or soon, to be
	// worth a list of all.
	manyMisses = 8
	// How long a refusal by the kubelet's limiter is waited out, at first and at
	// most.
	minBackoff, maxBackoff = 50 * time.Millisecond, time.Second
)

// listing is one list of all pods on its way.
type listing struct {
	taken    time.Time
	sequence uint64
	// since is since when the kubelet that is asked is there.
	since time.Time
	// aboard are the flights that it may answer.
	aboard []*flight

	builder *pod.Builder
	records map[string]*record
	kept    int
	count   int
}

func newListing(taken time.Time, sequence uint64, size int) *listing {
	return &listing{taken: taken, sequence: sequence, builder: pod.NewBuilder(taken, size), records: make(map[string]*record, size)}
}

// enqueue puts a flight where it will be served: on the list that is on its way
// if that is new enough, or into the queue. Only with mu.
func (c *Client) enqueue(f *flight, newerThan time.Time) {
	if l := c.listing; l != nil && !f.listed && newerThan.Before(l.taken) &&
		f.entry.taken.Before(l.taken) && max(f.entry.changed, c.renewed) <= l.sequence {
		l.aboard = append(l.aboard, f)
		return
	}
	c.queue = append(c.queue, f)
	if !c.dispatching {
		c.dispatching = true
		c.spawn(c.dispatch)
	}
}

// dispatch serves the queue until it is empty: in turn, so that a pod that
// changes all the time is asked about no more often than the others.
func (c *Client) dispatch() {
	for c.launch() {
		// Never ends with an error: nobody may leave the queue behind.
		_ = c.limiter.wait(context.Background())
		c.slots <- struct{}{}
		if !c.serve() {
			<-c.slots
		}
	}
}

// launch starts a list where one is due, and says whether more is to be done.
func (c *Client) launch() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweep()
	if c.listDue() {
		c.list()
	}
	if !slices.ContainsFunc(c.queue, func(f *flight) bool { return f.entry != c.all }) {
		// A list that waits for the one on its way is launched after that.
		c.dispatching = false
		c.rest()
		return false
	}
	return true
}

// sweep drops the flights that everyone has left. Only with mu.
func (c *Client) sweep() {
	c.queue = slices.DeleteFunc(c.queue, func(f *flight) bool {
		if f.waiters > 0 {
			return false
		}
		f.entry.flight = nil
		return true
	})
}

// listDue is whether to ask for all pods now. Only with mu.
func (c *Client) listDue() bool {
	if c.listing != nil {
		return false
	}
	misses := 0
	for _, f := range c.queue {
		if f.entry == c.all {
			return true
		}
		if !f.listed {
			misses++
		}
	}
	if misses == 0 || time.Since(c.listed) < c.cfg.Interval {
		return false
	}
	return misses >= manyMisses || c.limiter.exhausted(time.Now()) && c.manyOutdated()
}

// manyOutdated is whether many pods that were asked about have to be confirmed
// again soon. Callers who take turns have one question at a time, and each would
// wait for its place; one list answers those that will be asked next. That a pod
// is halfway there counts: while everyone waits for a place, as many are confirmed
// as become outdated, and few are outdated at a time. Only with mu.
func (c *Client) manyOutdated() bool {
	outdated := 0
	for _, e := range c.entries {
		if e.record != nil && time.Since(e.taken) >= c.cfg.TTL/2 {
			if outdated++; outdated >= manyMisses {
				return true
			}
		}
	}
	return false
}

// serve starts the call for the first flight of the queue that is one pod's.
func (c *Client) serve() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweep()
	i := slices.IndexFunc(c.queue, func(f *flight) bool { return f.entry != c.all })
	if i < 0 || c.listDue() {
		return false
	}
	f := c.queue[i]
	c.queue = slices.Delete(c.queue, i, i+1)
	c.flying++
	c.spawn(func() { c.get(f) })
	return true
}

// get is the goroutine of one flight: its callers wait for it.
func (c *Client) get(f *flight) {
	c.mu.Lock()
	taken, sequence := c.stamp()
	c.mu.Unlock()

	var r *record
	var since time.Time
	err := guard.Do(func() (err error) {
		r, since, err = c.call(f.entry)
		return err
	})
	<-c.slots
	explained := c.explain(err)
	c.trouble.after(calls, explained)
	if status.Code(err) == codes.ResourceExhausted {
		c.again(f)
		return
	}

	if err == nil {
		defer c.tellAnswer(f.entry.uid, r, taken) // when mu is free again
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noted(explained)
	if err == nil {
		c.confirm(f.entry, r, taken, since, sequence)
		f.index = indexOf(f.entry.uid, r, taken, since)
		if f.entry.taken.Equal(taken) {
			f.entry.index = f.index
		}
	} else {
		c.fail(f, explained)
	}
	c.settle(f)
	c.flying--
	c.rest()
}

// call asks about one pod. The record is nil where there is none; since is since
// when the kubelet that was asked is there.
func (c *Client) call(e *entry) (r *record, since time.Time, err error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), requestTimeout, errTimeout)
	defer cancel()
	s, err := c.link.session(ctx)
	if err != nil {
		return nil, time.Time{}, err
	}
	_, err = s.getPod(ctx, e.uid, func(b []byte) { r = c.read(e, b) })
	c.dropAfter(s, err)
	return r, s.since, err
}

// read makes the record of a pod's description that was asked for.
func (c *Client) read(e *entry, b []byte) *record {
	print := fingerprintOf(c.seed, b)
	if r := c.known(e.uid, print); r != nil {
		return r
	}
	r := newRecord(b, print)
	if r.fault == nil && r.uid != e.uid {
		return &record{uid: e.uid, fault: newUndecodable(fmt.Errorf("the kubelet described the pod UID %q in its place", clip(r.uid))), size: 1 << 10, print: print}
	}
	return r
}

// known is the record of a pod that has not changed, nil where it has.
func (c *Client) known(uid string, print fingerprint) *record {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[uid]; ok && e.record != nil && e.record.print == print {
		return e.record
	}
	return nil
}

// again puts a flight that the kubelet's limiter refused back into the queue,
// after a while and if anybody still waits for it.
func (c *Client) again(f *flight) {
	c.mu.Lock()
	f.backoff = min(max(minBackoff, 2*f.backoff), maxBackoff)
	wait := f.backoff
	c.mu.Unlock()
	time.Sleep(wait)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flying--
	c.enqueue(f, time.Now())
}

// fail gives a flight an error. If that is about this question alone, so is the
// pause before it is asked again. Only with mu.
func (c *Client) fail(f *flight, err error) {
	f.err = err
	if !isDown(err) {
		f.entry.retryAt = time.Now().Add(c.cfg.Interval)
	}
}

// settle ends a flight. Only with mu.
func (c *Client) settle(f *flight) {
	if f.entry.flight == f {
		f.entry.flight = nil
	}
	close(f.done)
}

// list starts a list of all pods, with everyone in the queue aboard whom it may
// answer. Only with mu.
func (c *Client) list() {
	taken, sequence := c.stamp()
	l := newListing(taken, sequence, len(c.entries))
	c.listing, c.listed = l, l.taken
	c.flying++
	c.queue = slices.DeleteFunc(c.queue, func(f *flight) bool {
		if f.listed {
			return false
		}
		l.aboard = append(l.aboard, f)
		return true
	})
	c.spawn(func() { c.finish(l) })
}

// finish is the goroutine of one list.
func (c *Client) finish(l *listing) {
	err := guard.Do(func() error { return c.listAll(l) })
	explained := c.explain(err)
	c.trouble.after(calls, explained)
	index := l.builder.Index()
	index.Watched, index.Since = true, l.since

	if err == nil {
		defer c.roster.List(index) // when mu is free again
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listing = nil
	c.noted(explained)
	if err == nil {
		c.take(l, index)
	}
	for _, f := range l.aboard {
		switch {
		case f.entry == c.all && err == nil:
			f.index = index
		case f.entry == c.all, c.down != nil:
			c.fail(f, explained)
		case err == nil && l.records[f.entry.uid] != nil:
			f.index = indexOf(f.entry.uid, l.records[f.entry.uid], l.taken, l.since)
		default:
			// That a pod is not in a list, or that there is no list, says
			// nothing about the pod.
			f.listed = true
			c.enqueue(f, time.Now())
			continue
		}
		c.settle(f)
	}
	if len(c.queue) > 0 && !c.dispatching {
		c.dispatching = true
		c.spawn(c.dispatch)
	}
	c.flying--
	c.rest()
}

// take makes what a list says what is known. Only with mu.
func (c *Client) take(l *listing, index *pod.Index) {
	c.all.taken, c.all.since, c.all.sequence, c.all.index = l.taken, l.since, l.sequence, index
	for uid, r := range l.records {
		if p, _ := index.ByUID(uid); p == nil && r.fault == nil {
			r = &record{uid: uid, fault: errTwice, size: 1 << 10}
			l.records[uid] = r
		}
		c.confirm(c.entryOf(uid), r, l.taken, l.since, l.sequence)
	}
	for uid, e := range c.entries {
		if e.idle() && l.records[uid] == nil && e.taken.Before(l.taken) {
			c.forget(e)
		}
	}
}

func (c *Client) listAll(l *listing) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), requestTimeout, errTimeout)
	defer cancel()
	s, err := c.link.session(ctx)
	if err != nil {
		return err
	}
	l.since = s.since
	err = c.fetch(ctx, s, l)
	c.dropAfter(s, err)
	return err
}

// fetch asks for all pods. It does so with a watch of its own, which it leaves
// after the initial list: ListPods gives the same in one message, whose length
// grows with the node and with every pod that somebody makes large, and the
// kubelet's limiter may refuse it.
func (c *Client) fetch(ctx context.Context, s *session, l *listing) error {
	return s.watch(ctx, func(t eventType, b []byte) error {
		switch t {
		case eventAdded:
			return c.add(l, b)
		case eventSync:
			return errEnough
		}
		return nil
	})
}

var (
	errTwice   = errors.New("its UID is listed twice")
	errTooMany = fmt.Errorf("%w: more than %d pods", ErrLimit, maxPods)
	errTooMuch = fmt.Errorf("%w: more than 64 MiB of names, labels and images", ErrLimit)
)

// add takes one pod of a list.
func (c *Client) add(l *listing, b []byte) error {
	if l.count++; l.count > maxPods {
		return errTooMany
	}
	print := fingerprintOf(c.seed, b)
	uid := findUID(b)
	r := c.known(uid, print)
	if r == nil {
		r = newRecord(b, print)
	}
	if l.kept += r.size; l.kept > maxKept {
		return errTooMuch
	}
	if r.fault != nil {
		l.builder.Fault(r.uid, r.fault)
	} else {
		l.builder.Add(r.pod)
	}
	if r.uid != "" {
		l.records[r.uid] = r
	}
	return nil
}
