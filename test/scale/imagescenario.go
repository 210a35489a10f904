package main

import "time"

// imageScenarios are those with the image of every container verified.
var imageScenarios = []scenario{
	withImages(longAgo, scenario{name: "a day: each pod is replaced once", nodes: 100, lasts: 24 * time.Hour, load: churn(24 * time.Hour)}),
	withImages(lately, scenario{name: "an hour: each pod fetches anew every 30 s", nodes: 30, lasts: time.Hour, load: fetching(30 * time.Second)}),
	withImages(due, scenario{name: "15 min of it, half an hour after all nodes had verified all images at once", nodes: 100, lasts: 15 * time.Minute, load: fetching(30 * time.Second)}),
	withImages(longAgo, scenario{name: "an hour: 5,000 pods in a crash loop, whose image nobody has signed", nodes: clusterNodes, lasts: time.Hour, load: unsignedPods(5000, (*node).crash)}),
	withImages(longAgo, scenario{name: "the same pods, whose processes stay and ask again", nodes: clusterNodes, lasts: time.Hour, load: unsignedPods(5000, (*node).insist)}),
}

// imageRollouts are rollouts of one image that no node has had before.
var imageRollouts = []scenario{
	withImages(longAgo, scenario{name: "a Deployment with 5,000 pods, in 10 min", nodes: clusterNodes, lasts: 10 * time.Minute, load: rollout(5000, 595*time.Second)}),
	withImages(longAgo, scenario{name: "a DaemonSet, in an hour", nodes: clusterNodes, lasts: time.Hour, load: everywhere(time.Hour - 5*time.Second)}),
	withImages(longAgo, scenario{name: "the DaemonSet, in 10 min", nodes: clusterNodes, lasts: 10 * time.Minute, load: everywhere(595 * time.Second)}),
	withImages(longAgo, scenario{name: "the same, in a minute", nodes: clusterNodes, lasts: time.Minute, load: everywhere(55 * time.Second)}),
}

// agentRestarts are the rollouts of the agent, with and without cache.dir.
func agentRestarts(cacheDir bool) []scenario {
	var all []scenario
	for _, sc := range agentRollouts {
		sc = withImages(longAgo, sc)
		sc.settings.cacheDir = cacheDir
		all = append(all, sc)
	}
	return all
}

func withImages(known history, sc scenario) scenario {
	sc.of, sc.settings = clusterNodes, defaults
	sc.settings.verifies, sc.settings.known = true, known
	return sc
}

// everywhere has one pod of each node replaced, one after the other.
func everywhere(over time.Duration) func(*cluster) {
	return func(c *cluster) {
		for i, n := range c.nodes {
			n.s.at(over*time.Duration(i)/time.Duration(len(c.nodes)), func() { n.start(0, newImage) })
		}
	}
}

// unsignedPods has so many pods anywhere that get no identity.
func unsignedPods(pods int, do func(n *node, i int)) func(*cluster) {
	return func(c *cluster) {
		for range pods {
			n := c.nodes[c.s.rand.IntN(len(c.nodes))]
			i := n.s.rand.IntN(podsPerNode)
			n.s.after(n.s.upTo(time.Minute), func() { do(n, i) })
		}
	}
}

// crash has a container end as soon as it has no identity, and started again as the
// kubelet does.
func (n *node) crash(i int) {
	pause := firstPause
	var again func()
	again = func() {
		n.start(i, unsignedImage)
		n.s.after(firstCall+pause, again)
		pause = min(2*pause, lastPause)
	}
	again()
}

// insist has a container's process ask again as go-spiffe does.
func (n *node) insist(i int) {
	p := n.startPod(i, unsignedImage)
	pause := time.Second
	var again func()
	again = func() {
		n.call(p)
		n.s.after(pause, again)
		pause = min(pause+time.Second, 30*time.Second)
	}
	n.s.after(firstCall, again)
}
