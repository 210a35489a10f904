package main

import "time"

// https is a source that lists all pods over HTTPS: one request in flight,
// starts at least the interval apart, an answer for everybody for a time, none
// without a caller. It is the gate of pkg/kubelet, and the built-in attestor's
// podlistfetcher.go too.
type https struct {
	s             *simulation
	kubelet       *kubelet
	interval, ttl time.Duration
	took, first   time.Duration
	// requested is told of every request at its start, answered at its end.
	requested, answered func()

	taken   time.Duration // when the last answer was asked for
	started time.Duration // when the last request was
	waiting []func()
	busy    bool // a request is in flight or will start
	cold    bool // the next request is the first after a start
}

// newHTTPS is one that was just started, or else has listed the pods before.
func newHTTPS(n *node, started bool) *https {
	return &https{
		s: n.s, kubelet: n.kubelet, interval: n.settings.interval, ttl: n.settings.ttl,
		took: n.kind.figures.fetch.ms(), first: n.kind.figures.first.ms(), requested: n.requested, answered: n.answered,
		taken: never, started: never, cold: started,
	}
}

func (h *https) next(p *pod, newerThan time.Duration, got func(time.Duration)) {
	if h.taken > newerThan && h.s.now-h.taken < h.ttl {
		got(h.taken)
		return
	}
	h.waiting = append(h.waiting, func() { h.next(p, newerThan, got) })
	if !h.busy {
		h.busy = true
		h.s.at(h.started+h.interval, h.start)
	}
}

func (h *https) start() {
	h.started = h.s.now
	h.requested()
	h.kubelet.admit()
	took := h.took
	if h.cold {
		took = h.first
	}
	h.cold = false
	h.s.after(took, h.finish)
}

func (h *https) finish() {
	h.answered()
	h.busy, h.taken = false, h.started
	waiting := h.waiting
	h.waiting = nil
	for _, again := range waiting {
		again()
	}
}

// published is when a list shows the container: the kubelet takes a pod's status
// from the API server, where it has put it itself before
// (pkg/kubelet/kubelet_getters.go).
func (h *https) published(p *pod) time.Duration { return p.inAPI }
