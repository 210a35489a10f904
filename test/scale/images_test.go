package main

import (
	"testing"
	"time"
)

// verifies is a node on which images are verified.
func verifies(known history, lasts time.Duration) (*node, *imagesMeasured) {
	s := newSimulation(1)
	m := &measured{windows: make([]int, lasts/window+1)}
	m.images.windows = make([]int, lasts/window+1)
	set := defaults
	set.verifies, set.known = true, known
	return newNode(s, overTLS, set, m), &m.images
}

func TestAnImageCostsOnceHoweverManyAskAndNothingWhileNobodyDoes(t *testing.T) {
	t.Parallel()
	n, m := verifies(nothingKnown, 4*time.Hour)
	for at, want := range map[time.Duration]int{
		0: typical.first, renewFrom - time.Second: 0, renewUntil: typical.again, 3 * time.Hour: typical.again,
	} {
		n.s.at(at, func() {
			m.requests = 0
			for range 100 {
				n.images.look(0)
			}
			if m.requests != want {
				t.Errorf("%d requests after %v, want %d", m.requests, at, want)
			}
		})
	}
	n.s.run(4 * time.Hour)
}

func TestARefusalIsLookedAtAgainOnlyWhenItIsOver(t *testing.T) {
	t.Parallel()
	n, m := verifies(nothingKnown, time.Hour)
	for at := time.Duration(0); at < time.Hour; at += time.Second {
		n.s.at(at, func() { n.images.look(unsignedImage) })
	}
	n.s.run(time.Hour)
	if want := int(time.Hour / negativeTTL); m.conversations != want || m.requests != unsigned.first+(want-1)*unsigned.again {
		t.Errorf("%d requests in %d conversations, %d are due", m.requests, m.conversations, want)
	}
}

func TestWhatANodeKnowsOutlivesItsAgentWithACacheDir(t *testing.T) {
	t.Parallel()
	for _, cacheDir := range []bool{false, true} {
		n, m := verifies(lately, time.Hour)
		n.settings.cacheDir = cacheDir
		n.s.at(0, n.storm)
		n.s.run(time.Hour)
		want := imagesPerNode * typical.first
		if cacheDir {
			want = 0
		}
		if m.requests != want {
			t.Errorf("%d requests, want %d (cache.dir %t)", m.requests, want, cacheDir)
		}
	}
}

// One that never calls is looked at all the same, and one that calls not twice.
func TestContainersAreLookedAtAheadOfTheirFirstCall(t *testing.T) {
	t.Parallel()
	for _, calls := range []bool{false, true} {
		n, m := verifies(longAgo, time.Hour)
		n.s.at(0, func() {
			if calls {
				n.start(0, newImage)
			} else {
				n.startPod(0, newImage)
			}
		})
		n.s.run(time.Hour)
		if m.conversations != 1 {
			t.Errorf("%d conversations (calls: %t)", m.conversations, calls)
		}
	}
}

// What 40 images took pkg/verify itself, measured once: docs/scale.md.
func TestOneNodeSendsARegistryNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	n, m := verifies(nothingKnown, time.Minute)
	n.s.at(0, n.storm)
	n.s.run(time.Minute)
	all := imagesPerNode * typical.first
	if want := time.Duration(all-registryBurst) * time.Second / registryPerSecond; m.slowest != want {
		t.Errorf("the last of %d requests waited %v, want %v", all, m.slowest, want)
	}
	for w, requests := range m.windows {
		if most := registryBurst + registryPerSecond*int(window.Seconds()); requests > most {
			t.Errorf("%d requests in window %d, more than %d", requests, w, most)
		}
	}
}
