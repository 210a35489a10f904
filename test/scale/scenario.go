package main

import "time"

// What is assumed of the cluster and its workloads. The table of assumptions has
// these values.
const (
	clusterNodes = 10_000
	podsPerNode  = 110
	// imagesPerNode is how many images the pods of a node run, all of one registry.
	imagesPerNode = 40
	// cores is how many the attestor may use.
	cores = 2
	// firstCall is how long after its start a workload calls.
	firstCall = 100 * time.Millisecond
	// agentDown is how long a node is without an agent when it is replaced, at
	// least, and agentDownMore how much longer it may be; agentReady how long it
	// takes to count as there then.
	agentDown, agentDownMore = 20 * time.Second, 10 * time.Second
	agentReady               = 10 * time.Second
	agentTime                = agentDown + agentDownMore + agentReady
)

// cluster is a part of the nodes of a cluster.
type cluster struct {
	s     *simulation
	nodes []*node
}

// scenario is what happens to a cluster for a time.
type scenario struct {
	name string
	// nodes are simulated and stand for so many.
	nodes, of int
	lasts     time.Duration
	settings  settings
	load      func(*cluster)
}

var scenarios = []scenario{
	{name: "a day: each pod is replaced once", nodes: 100, of: clusterNodes, lasts: 24 * time.Hour, settings: defaults, load: churn(24 * time.Hour)},
	{name: "10 min: rollout of a Deployment with 5,000 pods", nodes: clusterNodes, of: clusterNodes, lasts: 10 * time.Minute, settings: defaults, load: rollout(5000, 595*time.Second)},
	{name: "an agent restarts: its 110 pods call at once", nodes: 100, of: 1, lasts: time.Minute, settings: defaults, load: storm},
	{name: "a node restarts: 110 containers start in 2 min", nodes: 100, of: 1, lasts: 3 * time.Minute, settings: defaults, load: boot(2 * time.Minute)},
	{name: "an hour: each pod fetches anew every 30 s", nodes: 10, of: clusterNodes, lasts: time.Hour, settings: defaults, load: fetching(30 * time.Second)},
	{name: "10 s: a pod calls without end from 1,000 processes, the others fetch every 30 s", nodes: 1, of: 1, lasts: 10 * time.Second, settings: defaults, load: hostile(1, 1000)},
	{name: "10 s: ten pods do so whose containers are not listed, from 100 processes each", nodes: 1, of: 1, lasts: 10 * time.Second, settings: defaults, load: unlisted(10, 100)},
}

// agentRollouts are of the agents of all nodes.
var agentRollouts = []scenario{
	agentRollout("1 %", 400, 4),
	agentRollout("10 %", 400, 40),
	agentRollout("all at once", 400, 400),
}

// agentRollout replaces the agents of all nodes, so many of the simulated at a
// time.
func agentRollout(name string, nodes, atOnce int) scenario {
	lasts := time.Duration((nodes+atOnce-1)/atOnce)*agentTime + time.Minute
	return scenario{name: name, nodes: nodes, of: clusterNodes, lasts: lasts, settings: defaults, load: agents(atOnce)}
}

// delays are how long statuses may take through the API server.
var delays = []time.Duration{100 * time.Millisecond, 5 * time.Second, 20 * time.Second, 31 * time.Second, time.Minute}

// delayed is a node that restarts while the API server is so slow.
func delayed(by time.Duration, attempts int) scenario {
	s := scenario{nodes: 5, of: 1, lasts: 5 * time.Minute, settings: defaults, load: boot(2 * time.Minute)}
	s.settings.throughAPI, s.settings.attempts = by, attempts
	s.settings.timeout = time.Duration(attempts) * s.settings.interval
	return s
}

// variations show what settings move.
var variations = []scenario{
	vary("fetching every 30 s: the defaults", func(*settings) {}),
	vary("`poll_retry_interval` 2 s", func(s *settings) { s.interval, s.ttl = 2*time.Second, 2*time.Second }),
	vary("`poll_retry_interval` 5 s", func(s *settings) { s.interval, s.ttl = 5*time.Second, 5*time.Second }),
	vary("`pod_cache_ttl` 2 s", func(s *settings) { s.ttl = 2 * time.Second }),
	vary("`pod_cache_ttl` 5 s", func(s *settings) { s.ttl = 5 * time.Second }),
	vary("kubelet's `authentication.webhook.cacheTTL` 10 min", func(s *settings) { s.authenticationTTL = 10 * time.Minute }),
	vary("the same, and `authorization.webhook.cacheAuthorizedTTL` 30 min", func(s *settings) {
		s.authenticationTTL, s.authorizedTTL = 10*time.Minute, 30*time.Minute
	}),
	vary("a role with `nodes/proxy` only, kubelet 1.33 and later", func(s *settings) { s.proxyRole = true }),
}

func vary(name string, change func(*settings)) scenario {
	s := scenario{name: name, nodes: 3, of: clusterNodes, lasts: time.Hour, settings: defaults, load: fetching(30 * time.Second)}
	change(&s.settings)
	return s
}

// churn has pods replaced by chance, each once in that time on average. Its
// workload opens a stream, which lasts.
func churn(every time.Duration) func(*cluster) {
	return func(c *cluster) {
		for _, n := range c.nodes {
			var next func()
			next = func() {
				i := n.s.rand.IntN(podsPerNode)
				n.start(i, n.pods[i].image)
				n.s.after(n.s.poisson(every/podsPerNode), next)
			}
			n.s.after(n.s.poisson(every/podsPerNode), next)
		}
	}
}

// start is a container that starts and calls.
func (n *node) start(i int, runs imageID) {
	p := n.startPod(i, runs)
	n.s.after(firstCall, func() { n.call(p) })
}

// rollout has so many pods replaced anywhere, one after the other.
func rollout(pods int, over time.Duration) func(*cluster) {
	return func(c *cluster) {
		for i := range pods {
			n := c.nodes[c.s.rand.IntN(len(c.nodes))]
			n.s.at(over*time.Duration(i)/time.Duration(pods), func() { n.start(n.s.rand.IntN(podsPerNode), newImage) })
		}
	}
}

// storm is an agent that is there again when all workloads call.
func storm(c *cluster) {
	for _, n := range c.nodes {
		n.s.after(n.s.upTo(time.Second), n.storm)
	}
}

func (n *node) storm() {
	n.open(true)
	if !n.settings.cacheDir {
		n.images.forget()
	}
	for _, p := range n.pods {
		n.call(p)
	}
}

// boot is a node whose containers start evenly over a time.
func boot(over time.Duration) func(*cluster) {
	return func(c *cluster) {
		for _, n := range c.nodes {
			for i := range n.pods {
				n.s.after(over*time.Duration(i)/podsPerNode, func() { n.start(i, n.pods[i].image) })
			}
		}
	}
}

// agents replaces the agent of all nodes, so many at a time, each with its 110
// open streams. go-spiffe tries again 1, 3, 6, 10, 15, 21, 28, ... seconds after
// a stream broke, so that all workloads of a node come back at once.
func agents(atOnce int) func(*cluster) {
	return func(c *cluster) {
		waiting := c.nodes
		var replace func()
		replace = func() {
			if len(waiting) == 0 {
				return
			}
			n := waiting[0]
			waiting = waiting[1:]
			down := agentDown + n.s.upTo(agentDownMore)
			n.s.after(down, n.kubelet.restarted)
			n.s.after(retryAfter(down), n.storm)
			n.s.after(down+agentReady, replace)
		}
		for range atOnce {
			replace()
		}
	}
}

// retryAfter is the first time that go-spiffe tries again after an agent was
// away for so long.
func retryAfter(down time.Duration) time.Duration {
	at := time.Duration(0)
	for pause := time.Second; at < down; pause = min(pause+time.Second, 30*time.Second) {
		at += pause
	}
	return at
}

// fetching has every pod call every so often, on a connection of its own each
// time.
func fetching(every time.Duration) func(*cluster) {
	return func(c *cluster) {
		for _, n := range c.nodes {
			for _, p := range n.pods {
				n.fetch(p, every)
			}
		}
	}
}

func (n *node) fetch(p *pod, every time.Duration) {
	var next func()
	next = func() {
		n.call(p)
		n.s.after(every, next)
	}
	n.s.after(n.s.upTo(every), next)
}

// hostile has so many pods call from so many processes each, which call again
// when they have an answer.
func hostile(pods, processes int) func(*cluster) {
	return func(c *cluster) {
		for _, n := range c.nodes {
			for i, p := range n.pods {
				if i >= pods {
					n.fetch(p, 30*time.Second)
					continue
				}
				for range processes {
					var again func(outcome)
					again = func(outcome) { n.attest(p, again) }
					n.s.after(0, func() { n.attest(p, again) })
				}
			}
		}
	}
}

// unlisted is the same of pods that were deleted by force while their processes
// live on: no answer ever shows them.
func unlisted(pods, processes int) func(*cluster) {
	return func(c *cluster) {
		for _, n := range c.nodes {
			for i := range pods {
				n.pods[i].inKubelet, n.pods[i].inAPI, n.pods[i].gone = -never, -never, true
			}
		}
		hostile(pods, processes)(c)
	}
}

// window is the time over which the most that the API server is asked is taken.
const window = 10 * time.Second

// measured is what a simulation counts.
type measured struct {
	// calls were made, the last at last, and so many ended; of them refused by
	// the bound on calls in flight, and notSeen because no answer showed the
	// container. failed are those of these two whose wait would have counted,
	// in waits.
	calls, refused, notSeen, failed, ended int
	last                                   time.Duration
	waits                                  []time.Duration
	cpu                                    time.Duration
	// fetches are requests to the kubelet, lists those for all pods where
	// fetches are about one, busiest the most on one node in a second, inFlight
	// the most at a time.
	fetches, lists, busiest, inFlight int
	reviews                           reviews
	// windows is all that the API server was asked in each window.
	windows []int
	images  imagesMeasured
}

// simulate has the scenario happen to a cluster with such an attestor.
func (sc scenario) simulate(k kind) *measured {
	s := newSimulation(1)
	m := &measured{windows: make([]int, sc.lasts/window+1)}
	m.images.windows = make([]int, sc.lasts/window+1)
	c := &cluster{s: s}
	for range sc.nodes {
		c.nodes = append(c.nodes, newNode(s, k, sc.settings, m))
	}
	sc.load(c)
	s.run(sc.lasts)
	return m
}
