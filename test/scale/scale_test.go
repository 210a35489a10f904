package main

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTheDocumentHasWhatTheCommandPrints(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/scale.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tables, _, err := split(text)
	if err != nil {
		t.Fatal(err)
	}
	// Not report: there is nothing to race, and the race detector makes it ten
	// times as slow.
	printed, err := exec.Command("go", "run", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(printed), string(tables)); diff != "" {
		t.Errorf("run `go generate ./test/scale` (-printed +document):\n%s", diff)
	}
}

// watched is a source that is looked at.
type watched struct {
	source
	t *testing.T
	n *node
}

func (w watched) next(p *pod, newerThan time.Duration, got func(time.Duration)) {
	if w.n.kind.bounded && (p.calls > maxCallsPerPod || w.n.calls > maxCalls) {
		w.t.Errorf("%d calls in flight of a pod, %d in all", p.calls, w.n.calls)
	}
	w.source.next(p, newerThan, func(taken time.Duration) {
		if now := w.n.s.now; taken <= newerThan || taken > now || now-taken > w.n.settings.ttl+w.n.kind.figures.first.ms() {
			w.t.Errorf("at %v an answer of %v for who wants one after %v", now, taken, newerThan)
		}
		got(taken)
	})
}

// mixed is a node on which everything happens at once, by chance.
func mixed(t *testing.T, k kind, seed uint64, requested func(*node)) (*node, *measured) {
	s := newSimulation(seed)
	m := &measured{windows: make([]int, 60)}
	set := defaults
	set.interval = s.upTo(2*time.Second) + time.Millisecond
	set.ttl = set.interval + s.upTo(time.Second)
	n := newNode(s, k, set, m)
	switch src := n.source.(type) {
	case *https:
		src.requested = func() { n.requested(); requested(n) }
	case *podsAPI:
		src.requested = func() { n.requested(); requested(n) }
	}
	n.source = watched{n.source, t, n}
	for i := range 300 {
		s.at(s.upTo(time.Minute), func() {
			if i%3 == 0 {
				n.start(i%podsPerNode, 0)
			} else {
				n.call(n.pods[i%podsPerNode])
			}
		})
	}
	s.at(30*time.Second, func() {
		for range 2000 {
			n.attest(n.pods[s.rand.IntN(40)], func(outcome) {})
		}
	})
	s.run(5 * time.Minute)
	return n, m
}

func eachSeed(t *testing.T, is func(kind) bool, f func(*testing.T, kind, uint64)) {
	t.Parallel()
	for _, k := range kinds {
		if !is(k) {
			continue
		}
		for seed := range uint64(20) {
			t.Run(fmt.Sprintf("%s, %d", k.name, seed), func(t *testing.T) {
				t.Parallel()
				f(t, k, seed)
			})
		}
	}
}

func TestOneRequestIsInFlightAndStartsAreSpaced(t *testing.T) {
	// The Pods API has a limiter instead.
	eachSeed(t, func(k kind) bool { return !k.viaPodsAPI }, func(t *testing.T, k kind, seed uint64) {
		last := never
		n, m := mixed(t, k, seed, func(n *node) {
			if n.s.now-last < n.settings.interval {
				t.Errorf("a request at %v after one at %v, %v apart at least", n.s.now, last, n.settings.interval)
			}
			last = n.s.now
		})
		if m.inFlight != 1 || n.flights != 0 {
			t.Errorf("%d requests were in flight at a time, and %d at the end", m.inFlight, n.flights)
		}
	})
}

func TestTheKubeletsLimiterRefusesNothing(t *testing.T) {
	eachSeed(t, func(k kind) bool { return k.viaPodsAPI }, func(t *testing.T, k kind, seed uint64) {
		tokens, last := float64(serverAtOnce), time.Duration(0)
		mixed(t, k, seed, func(n *node) {
			tokens = min(serverAtOnce, tokens+(n.s.now-last).Seconds()*serverPerSecond) - 1
			last = n.s.now
			if tokens < 0 {
				t.Errorf("more calls at %v than the kubelet answers", n.s.now)
			}
		})
	})
}

func TestEveryCallerIsAnswered(t *testing.T) {
	eachSeed(t, func(kind) bool { return true }, func(t *testing.T, k kind, seed uint64) {
		n, m := mixed(t, k, seed, func(*node) {})
		if m.calls != 2300 || m.ended != m.calls || n.calls != 0 {
			t.Errorf("of %d calls %d ended, and %d are in flight", m.calls, m.ended, n.calls)
		}
		if m.notSeen > 0 {
			t.Errorf("%d calls of containers that are published were not answered", m.notSeen)
		}
		if refused := m.refused > 0; refused != k.bounded {
			t.Errorf("%d calls were refused", m.refused)
		}
	})
}

func TestTheAPIServerIsAskedOnceForAsLongAsTheKubeletRemembers(t *testing.T) {
	t.Parallel()
	s := newSimulation(1)
	var all, now reviews
	k := newKubelet(s, defaults, func(r reviews) {
		all.tokens, all.access, all.issued = all.tokens+r.tokens, all.access+r.access, all.issued+r.issued
		now = r
	})
	lastToken, lastAccess, used := never, never, 0
	var list func()
	list = func() {
		k.admit()
		fresh := k.used != used
		if asked := now.tokens > 0; asked != (fresh || s.now-lastToken >= authenticationTTL) {
			t.Errorf("at %v, TokenReview %v", s.now, asked)
		}
		if asked := now.access > 0; asked != (fresh || s.now-lastAccess >= authorizedTTL) {
			t.Errorf("at %v, SubjectAccessReview %v", s.now, asked)
		}
		if now.tokens > 0 {
			lastToken = s.now
		}
		if now.access > 0 {
			lastAccess = s.now
		}
		used = k.used
		s.after(s.upTo(time.Minute), list)
	}
	s.after(0, list)
	s.run(24 * time.Hour)
	// A token is renewed when 80 % of its time are over, at the next look.
	if all.issued < 28 || all.issued > 30 {
		t.Errorf("%d tokens in a day", all.issued)
	}
	if most := 24*60/2 + all.issued + 1; all.tokens > most {
		t.Errorf("%d TokenReviews in a day, %d at most", all.tokens, most)
	}
}

// One caller after the other, each of another pod, ask more than the kubelet may be
// asked pod by pod: lists answer them, as pkg/podsapi's own tests find.
func TestCallersWhoTakeTurnsAreAnsweredByLists(t *testing.T) {
	t.Parallel()
	for _, pods := range []int{10, 30, 100} {
		s := newSimulation(1)
		m := &measured{windows: make([]int, 2)}
		n := newNode(s, overPods, defaults, m)
		turn := 0
		var again func(outcome)
		again = func(outcome) {
			turn++
			s.after(time.Millisecond, func() { n.attest(n.pods[turn%pods], again) })
		}
		again(attested)
		s.run(10 * time.Second)
		if most := int(10/n.settings.interval.Seconds()) + 1; m.lists > most || (m.lists > 0) != (pods > 25) || m.calls < 4000 {
			t.Errorf("%d pods: %d calls, %d lists of %d at most", pods, m.calls, m.lists, most)
		}
	}
}

// The tables show what the API server is asked once, for both that list over
// HTTPS.
func TestTheAttestorsAskTheAPIServerAlike(t *testing.T) {
	t.Parallel()
	for _, sc := range scenarios {
		if sc.of != clusterNodes || sc.lasts >= time.Hour {
			continue
		}
		theirs, ours, none := sc.simulate(builtIn).reviews, sc.simulate(overTLS).reviews, sc.simulate(overPods).reviews
		if a, b := theirs.sum(), ours.sum(); a*100 < b*99 || b*100 < a*99 {
			t.Errorf("%s: built-in %+v, podseal %+v", sc.name, theirs, ours)
		}
		if none.sum() != 0 {
			t.Errorf("%s: %+v for the Pods API", sc.name, none)
		}
	}
}

func TestGoSpiffeComesBackAfterTheAgent(t *testing.T) {
	t.Parallel()
	for down, want := range map[time.Duration]time.Duration{
		0: 0, time.Second: time.Second, 20 * time.Second: 21 * time.Second, 21500 * time.Millisecond: 28 * time.Second,
	} {
		if got := retryAfter(down); got != want {
			t.Errorf("after %v: %v, want %v", down, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", 110: "110", 13200: "13200", 1.25: "1.25", 0.34912: "0.349", 11: "11", 61.94: "61.9", 100.04: "100"} {
		if got := number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}
