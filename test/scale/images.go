package main

import "time"

// What pkg/verify, pkg/registry and pkg/trustroot have: for how long a verdict counts,
// between which ages it is renewed by who asks, at random, how soon a refusal is looked at again, and
// when a container is looked at that nobody has asked about; what a registry is sent
// by one node, of which one namespace has half; the time that a call has for images;
// how often the mirror of a trust root is asked, and how much earlier it may be.
const (
	verdictTTL  = time.Hour
	renewFrom   = verdictTTL / 2
	renewUntil  = verdictTTL / 4 * 3
	negativeTTL = 30 * time.Second
	aheadDelay  = 500 * time.Millisecond

	registryPerSecond = 50
	registryBurst     = 200
	imageBudget       = 10 * time.Second

	mirrorRefresh = 24 * time.Hour
	mirrorSpread  = mirrorRefresh / 10
)

// imageID names an image of a node: from 0 to imagesPerNode-1 what its pods run, and
// the others what a rollout brings.
type imageID int

const (
	newImage imageID = imagesPerNode + iota
	unsignedImage
)

// history is what a node knows of its images when a simulation begins.
type history int

const (
	// nothingKnown is a node without agent so far, or one that kept nothing.
	nothingKnown history = iota
	// longAgo is that what has a digest was kept, and that the lists are too old: the
	// workloads have called once, and stream since.
	longAgo
	// lately is that all was asked about at any time and is not to be renewed yet, and
	// due that it was at once, renewFrom ago.
	lately
	due
)

// images is what a node finds out about images: pkg/verify, with its cache and its
// store. A conversation with the registry takes no time here, but requests wait for
// what the registry is sent by the node.
type images struct {
	s *simulation
	m *imagesMeasured
	// due is from when on who asks has the list of an image fetched anew.
	due map[imageID]time.Duration
	// slot is when the next request would start if they were evenly spread.
	slot time.Duration
}

// imagesMeasured is what a simulation counts about images.
type imagesMeasured struct {
	conversations, requests int
	// lists are those of the requests that a mirror can't answer by what it has for
	// good, windows is how many requests begin in each window.
	lists   int
	windows []int
	// slowest is the longest that a conversation took because of what the registry is
	// sent by a node.
	slowest time.Duration
}

func newImages(s *simulation, h history, m *imagesMeasured) *images {
	i := &images{s: s, m: m, due: map[imageID]time.Duration{}, slot: never}
	for id := range imageID(imagesPerNode) {
		switch h {
		case longAgo:
			i.due[id] = never
		case lately:
			i.due[id] = s.upTo(i.renewal())
		case due:
			i.due[id] = i.renewal() - renewFrom
		}
	}
	return i
}

// renewal is after what time a list is fetched anew.
func (i *images) renewal() time.Duration { return renewFrom + i.s.upTo(renewUntil-renewFrom) }

// look is somebody who asks about an image, or a look ahead.
func (i *images) look(id imageID) {
	if i == nil {
		return
	}
	asked := typical
	if id == unsignedImage {
		asked = unsigned
	}
	due, known := i.due[id]
	switch {
	case !known:
		i.converse(asked.first, asked.again)
	case i.s.now >= due:
		i.converse(asked.again, asked.again)
	default:
		return
	}
	i.due[id] = i.s.now + negativeTTL
	if id != unsignedImage {
		i.due[id] = i.s.now + i.renewal()
	}
}

// forget is a restart without cache.dir.
func (i *images) forget() {
	if i != nil {
		clear(i.due)
	}
}

// converse sends requests to the registry, at most as many as it is sent by one node.
func (i *images) converse(requests, lists int) {
	i.m.conversations++
	i.m.requests += requests
	i.m.lists += lists
	const gap = time.Second / registryPerSecond
	for range requests {
		at := max(i.slot, i.s.now-(registryBurst-1)*gap)
		i.slot = at + gap
		at = max(at, i.s.now)
		i.m.slowest = max(i.m.slowest, at-i.s.now)
		if w := int(at / window); w < len(i.m.windows) {
			i.m.windows[w]++
		}
	}
}
