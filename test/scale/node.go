package main

import "time"

// never is before everything.
const never = -1000 * time.Hour

// The bounds of pkg/container's Admission.
const (
	maxCallsPerPod = 32
	maxCalls       = 1024
)

// kind is one of the attestors that are compared.
type kind struct {
	name    string
	figures figures
	// bounded is whether calls in flight are.
	bounded bool
	// viaPodsAPI is whether the kubelet is asked through its Pods API.
	viaPodsAPI bool
}

var (
	builtIn  = kind{name: "built-in", figures: builtInFigures}
	overTLS  = kind{name: "podseal, HTTPS", figures: httpsFigures, bounded: true}
	overPods = kind{name: "podseal, Pods API", figures: podsAPIFigures, bounded: true, viaPodsAPI: true}

	kinds = []kind{builtIn, overTLS, overPods}
)

// source is where a node's pods are known.
type source interface {
	// next gives, at once or later, the time at which an answer was asked for
	// that tells of the pod and was asked for after newerThan.
	next(p *pod, newerThan time.Duration, got func(taken time.Duration))
	// published is from when on answers show the pod's container.
	published(p *pod) time.Duration
}

// settings are podseal's and the kubelet's.
type settings struct {
	// interval is poll_retry_interval, ttl pod_cache_ttl, reload
	// reload_interval.
	interval, ttl, reload time.Duration
	// attempts is max_poll_attempts, timeout attest_timeout.
	attempts int
	timeout  time.Duration
	// The kubelet's webhook caches.
	authenticationTTL, authorizedTTL time.Duration
	// throughAPI is how long a status takes from the kubelet to the API server
	// and back.
	throughAPI time.Duration
	// proxyRole is whether the agent may only get nodes/proxy, which a kubelet
	// from 1.33 on asks about second.
	proxyRole bool
	// verifies is whether the image of every container is verified, known what is
	// known of them at first, and cacheDir whether that outlives the agent.
	verifies, cacheDir bool
	known              history
}

var defaults = settings{
	interval: 500 * time.Millisecond, ttl: 500 * time.Millisecond, reload: time.Minute,
	attempts: 60, timeout: 30 * time.Second,
	authenticationTTL: authenticationTTL, authorizedTTL: authorizedTTL,
	throughAPI: 100 * time.Millisecond,
}

// pod is one with one container.
type pod struct {
	// inKubelet is when the kubelet shows the container, inAPI when the API
	// server does.
	inKubelet, inAPI time.Duration
	// gone is whether the kubelet knows it no more, or never did.
	gone bool
	// image is what the container runs.
	image imageID
	// calls counts those in flight.
	calls int
}

// node is one with an attestor and a kubelet. Nodes don't meet but in what they
// ask the API server.
type node struct {
	s        *simulation
	kind     kind
	settings settings
	kubelet  *kubelet
	source   source
	// images is nil where none are verified.
	images *images
	pods   []*pod
	// free is when each core that the attestor has is free.
	free [cores]time.Duration
	// calls counts those in flight, flights the requests.
	calls, flights int
	m              *measured
	// busiest is the most requests to the kubelet in a second, this in the
	// current one.
	second, this int
}

func newNode(s *simulation, k kind, set settings, m *measured) *node {
	n := &node{s: s, kind: k, settings: set, m: m}
	n.kubelet = newKubelet(s, set, n.reviewed)
	if set.verifies {
		n.images = newImages(s, set.known, &m.images)
	}
	for i := range podsPerNode {
		n.pods = append(n.pods, &pod{inKubelet: never, inAPI: never, image: imageID(i % imagesPerNode)})
	}
	n.open(false)
	return n
}

// open makes the node's source: of an attestor that was just started, or of one
// that has been there for long.
func (n *node) open(started bool) {
	if n.kind.viaPodsAPI {
		n.source = newPodsAPI(n, started)
	} else {
		n.source = newHTTPS(n, started)
	}
}

// startPod is a container that starts now, of a pod in the place of another.
func (n *node) startPod(i int, runs imageID) *pod {
	n.pods[i].gone = true
	seen := n.s.now + n.s.upTo(relistPeriod)
	p := &pod{inKubelet: seen, inAPI: seen + n.settings.throughAPI, image: runs}
	n.pods[i] = p
	if n.images != nil {
		n.s.at(n.source.published(p)+aheadDelay, func() { n.images.look(p.image) })
	}
	return p
}

// outcome is what a call ended with.
type outcome int

const (
	attested outcome = iota
	refused
	notSeen
)

// attest is a call from the pod. done is told how it ended. A call takes the CPU
// time that a process in no pod takes; then it is admitted, or not; then its
// pod is sought; then it takes what CPU time is left.
func (n *node) attest(p *pod, done func(outcome)) {
	arrival := n.s.now
	n.m.calls++
	n.m.last = arrival
	n.work(n.kind.figures.empty.ms(), func() {
		if n.kind.bounded && (p.calls >= maxCallsPerPod || n.calls >= maxCalls) {
			n.m.refused++
			n.m.ended++
			done(refused)
			return
		}
		p.calls++
		n.calls++
		n.find(p, arrival, 1, never, func(found bool) {
			end := func(o outcome) {
				p.calls--
				n.calls--
				n.m.ended++
				done(o)
			}
			if !found {
				n.m.notSeen++
				end(notSeen)
				return
			}
			n.images.look(p.image)
			n.work(n.kind.figures.call.ms()-n.kind.figures.empty.ms(), func() { end(attested) })
		})
	})
}

// find looks for the pod's container until an answer shows it, or the attempts
// or the time are over.
func (n *node) find(p *pod, arrival time.Duration, attempt int, newerThan time.Duration, done func(bool)) {
	n.source.next(p, newerThan, func(taken time.Duration) {
		switch {
		case taken >= n.source.published(p):
			done(true)
		case attempt >= n.settings.attempts, n.kind.bounded && n.s.now-arrival >= n.settings.timeout:
			done(false)
		default:
			n.find(p, arrival, attempt+1, taken, done)
		}
	})
}

// work takes CPU time of the core that is free first.
func (n *node) work(d time.Duration, then func()) {
	first := 0
	for i := range n.free {
		if n.free[i] < n.free[first] {
			first = i
		}
	}
	n.free[first] = max(n.free[first], n.s.now) + d
	n.m.cpu += d
	n.s.at(n.free[first], then)
}

// call is one whose wait counts: from when it came and could be answered.
func (n *node) call(p *pod) {
	arrival := n.s.now
	n.attest(p, func(o outcome) {
		if o == attested {
			n.m.waits = append(n.m.waits, n.s.now-max(arrival, n.source.published(p)))
		} else {
			n.m.failed++
		}
	})
}

func (n *node) requested() {
	n.flights++
	n.m.inFlight = max(n.m.inFlight, n.flights)
	n.m.fetches++
	n.tick()
}

func (n *node) answered() { n.flights-- }

// listed is a list of all pods where others are about one.
func (n *node) listed() {
	n.m.lists++
	n.tick()
}

func (n *node) tick() {
	if second := int(n.s.now / time.Second); second != n.second {
		n.second, n.this = second, 0
	}
	n.this++
	n.m.busiest = max(n.m.busiest, n.this)
}

// reviewed is what the kubelet asked the API server. Who uses the Pods API needs
// no token, whatever the agent is given for other things.
func (n *node) reviewed(r reviews) {
	if n.kind.viaPodsAPI {
		return
	}
	n.m.reviews.tokens += r.tokens
	n.m.reviews.access += r.access
	n.m.reviews.issued += r.issued
	n.m.windows[n.s.now/window] += r.sum()
}
