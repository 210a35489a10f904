package main

import "time"

// The bounds that pkg/podsapi has: its limiter, and from how many questions on a
// list of all pods is cheaper.
const (
	requestsPerSecond = 50
	requestsAtOnce    = 5
	manyMisses        = 8
)

// podsAPI is the source that asks for one pod at a time, is told of changes by a
// watch, and asks for all pods where many are wanted at once. It is pkg/podsapi.
type podsAPI struct {
	s             *simulation
	interval, ttl time.Duration
	took, listing time.Duration
	// all are the node's pods now.
	all func() []*pod
	// requested and answered are told of calls, listed of lists.
	requested, answered, listed func()

	entries     map[*pod]*entry
	queue       []*entry
	dispatching bool
	// slot is when the next call would start if they were evenly spread, lists
	// when the last list began.
	slot, lists time.Duration
	// inList is whether a list is on its way, aboard who waits for it.
	inList bool
	aboard []*entry
}

// entry is what is known of one pod.
type entry struct {
	// taken is when the last answer was asked for.
	taken time.Duration
	// asked is whether an answer is waited for, waiting who does.
	asked   bool
	waiting []func()
}

func newPodsAPI(n *node) *podsAPI {
	return &podsAPI{
		s: n.s, interval: n.settings.interval, ttl: n.settings.ttl,
		took: n.kind.figures.fetch.ms(), listing: n.kind.figures.listTook.ms(),
		all:       func() []*pod { return n.pods },
		requested: n.requested, answered: n.answered, listed: n.listed,
		entries: map[*pod]*entry{}, slot: never, lists: never,
	}
}

func (a *podsAPI) next(p *pod, newerThan time.Duration, got func(time.Duration)) {
	e := a.entry(p)
	now := a.s.now
	changed := e.taken < p.inKubelet && p.inKubelet <= now
	if e.taken > newerThan && now-e.taken < a.ttl && !changed {
		got(e.taken)
		return
	}
	again := func() { a.next(p, newerThan, got) }
	if ready := e.taken + a.interval; !e.asked && !changed && e.taken == newerThan && ready > now {
		// It was asked for in vain. The watch says when that has changed.
		if p.inKubelet > now {
			ready = min(ready, p.inKubelet)
		}
		a.s.at(ready, again)
		return
	}
	e.waiting = append(e.waiting, again)
	if e.asked {
		return
	}
	e.asked = true
	changedSince := a.lists < p.inKubelet && p.inKubelet <= now
	if a.inList && newerThan < a.lists && !changedSince {
		a.aboard = append(a.aboard, e)
		return
	}
	a.queue = append(a.queue, e)
	if !a.dispatching {
		a.dispatching = true
		a.s.after(0, a.dispatch)
	}
}

func (a *podsAPI) entry(p *pod) *entry {
	e := a.entries[p]
	if e == nil {
		e = &entry{taken: never}
		a.entries[p] = e
	}
	return e
}

// dispatch serves the queue until it is empty.
func (a *podsAPI) dispatch() {
	a.list()
	if len(a.queue) == 0 {
		a.dispatching = false
		return
	}
	const gap = time.Second / requestsPerSecond
	at := max(a.slot, a.s.now-(requestsAtOnce-1)*gap)
	a.slot = at + gap
	a.s.at(at, func() {
		a.list()
		if len(a.queue) > 0 {
			e := a.queue[0]
			a.queue = a.queue[1:]
			a.get(e)
		}
		a.dispatch()
	})
}

func (a *podsAPI) get(e *entry) {
	taken := a.s.now
	a.requested()
	a.s.after(a.took, func() {
		a.answered()
		a.confirm(e, taken)
	})
}

// list asks for all pods if so many are waited for that it is due.
func (a *podsAPI) list() {
	if a.inList || len(a.queue) < manyMisses || a.s.now-a.lists < a.interval {
		return
	}
	taken := a.s.now
	a.queue, a.aboard, a.inList, a.lists = nil, a.queue, true, taken
	a.listed()
	a.s.after(a.listing, func() {
		aboard := a.aboard
		a.inList, a.aboard = false, nil
		for _, p := range a.all() {
			e := a.entry(p)
			e.taken = max(e.taken, taken)
		}
		for _, e := range aboard {
			a.confirm(e, taken)
		}
	})
}

// confirm makes an answer known, and has who waits for it look at it.
func (a *podsAPI) confirm(e *entry, taken time.Duration) {
	e.taken, e.asked = max(e.taken, taken), false
	waiting := e.waiting
	e.waiting = nil
	for _, again := range waiting {
		again()
	}
}

// published is when the kubelet itself shows the container.
func (a *podsAPI) published(p *pod) time.Duration { return p.inKubelet }
