package main

import "time"

// The bounds that pkg/podsapi has: its limiter, and of how many pods there must
// be something to ask for a list of all to be cheaper; and how far apart lists are
// for a container that may be in any pod, which is not simulated.
const (
	requestsPerSecond = 50
	requestsAtOnce    = 5
	manyMisses        = 8
	relist            = 100 * time.Millisecond
)

// podsAPI is the source that asks for one pod at a time, is told of changes by a
// watch, and asks for all pods where many are wanted at once, or soon. It is
// pkg/podsapi.
type podsAPI struct {
	s             *simulation
	interval, ttl time.Duration
	took, listing time.Duration
	// all are the node's pods now.
	all func() []*pod
	// requested and answered are told of calls, listed of lists.
	requested, answered, listed func()

	// watching is whether there was a caller, with whom the watch begins.
	watching    bool
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
	pod *pod
	// taken is when the last answer was asked for.
	taken time.Duration
	// asked is whether an answer is waited for, waiting who does, listed whether a
	// list was looked at in vain meanwhile.
	asked   bool
	waiting []func()
	listed  bool
}

// newPodsAPI is one that was just started, or else watches.
func newPodsAPI(n *node, started bool) *podsAPI {
	return &podsAPI{
		s: n.s, interval: n.settings.interval, ttl: n.settings.ttl,
		took: n.kind.figures.fetch.ms(), listing: n.kind.figures.listTook.ms(),
		all:       func() []*pod { return n.pods },
		requested: n.requested, answered: n.answered, listed: n.listed,
		watching: !started, entries: map[*pod]*entry{}, slot: never, lists: never,
	}
}

func (a *podsAPI) next(p *pod, newerThan time.Duration, got func(time.Duration)) {
	a.watch()
	e := a.entry(p)
	now := a.s.now
	changed := e.taken < p.inKubelet && p.inKubelet <= now
	if e.taken > newerThan && now-e.taken < a.ttl && !changed {
		got(e.taken)
		return
	}
	again := func() { a.next(p, newerThan, got) }
	inVain := e.taken <= newerThan || p.gone
	if ready := e.taken + a.interval; !e.asked && !changed && inVain && ready > now {
		// The watch says when there is something to ask for.
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
	if a.inList && max(newerThan, e.taken) < a.lists && !changedSince {
		a.aboard = append(a.aboard, e)
		return
	}
	a.enqueue(e)
}

// watch begins the watch if there is none: with a list of all pods.
func (a *podsAPI) watch() {
	if !a.watching {
		a.watching = true
		a.listed()
	}
}

func (a *podsAPI) entry(p *pod) *entry {
	e := a.entries[p]
	if e == nil {
		e = &entry{pod: p, taken: never}
		a.entries[p] = e
	}
	return e
}

func (a *podsAPI) enqueue(e *entry) {
	a.queue = append(a.queue, e)
	if !a.dispatching {
		a.dispatching = true
		a.s.after(0, a.dispatch)
	}
}

// dispatch serves the queue until it is empty.
func (a *podsAPI) dispatch() {
	if a.listDue() {
		a.list()
	}
	if len(a.queue) == 0 {
		a.dispatching = false
		return
	}
	const gap = time.Second / requestsPerSecond
	at := max(a.slot, a.s.now-(requestsAtOnce-1)*gap)
	a.slot = at + gap
	a.s.at(at, func() {
		if len(a.queue) > 0 && !a.listDue() {
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

// listDue is whether to ask for all pods now: many are waited for, or one that
// would have to wait for the limiter when many would soon.
func (a *podsAPI) listDue() bool {
	if a.inList || a.s.now-a.lists < a.interval {
		return false
	}
	misses := 0
	for _, e := range a.queue {
		if !e.listed {
			misses++
		}
	}
	return misses >= manyMisses || misses > 0 && a.slot > a.s.now && a.manyOutdated()
}

// manyOutdated is whether many pods that were asked about have to be confirmed
// again soon.
func (a *podsAPI) manyOutdated() bool {
	outdated := 0
	for _, p := range a.all() {
		if e := a.entries[p]; e != nil && !p.gone && e.taken != never && a.s.now-e.taken >= a.ttl/2 {
			outdated++
		}
	}
	return outdated >= manyMisses
}

// list asks for all pods, with everyone aboard who was not in a list before.
func (a *podsAPI) list() {
	taken := a.s.now
	a.inList, a.lists = true, taken
	var rest []*entry
	for _, e := range a.queue {
		if e.listed {
			rest = append(rest, e)
		} else {
			a.aboard = append(a.aboard, e)
		}
	}
	a.queue = rest
	a.listed()
	a.s.after(a.listing, func() {
		aboard := a.aboard
		a.inList, a.aboard = false, nil
		for _, p := range a.all() {
			if !p.gone {
				e := a.entry(p)
				e.taken = max(e.taken, taken)
			}
		}
		for _, e := range aboard {
			if e.pod.gone {
				e.listed = true // which says nothing about the pod
				a.enqueue(e)
				continue
			}
			a.confirm(e, taken)
		}
	})
}

// confirm makes an answer known, and has who waits for it look at it.
func (a *podsAPI) confirm(e *entry, taken time.Duration) {
	e.taken, e.asked, e.listed = max(e.taken, taken), false, false
	waiting := e.waiting
	e.waiting = nil
	for _, again := range waiting {
		again()
	}
}

// published is when the kubelet itself shows the container.
func (a *podsAPI) published(p *pod) time.Duration { return p.inKubelet }
