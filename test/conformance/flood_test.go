package conformance_test

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/test/pluginproc"
)

// resident starts a process in a container of the pod, of a program that is small: there
// are tests with a thousand of them. It ends with the test.
func resident(t *testing.T, node *pluginproc.Node, p kubelettest.Pod, container int) (pid int) {
	t.Helper()
	cmd := exec.Command("cat") // until its input ends
	node.Start(pluginproc.ContainerPath(p.UID, p.Containers[container].ID), cmd)
	return cmd.Process.Pid
}

// join adds the pod to the kubelet's, and nothing else of it.
func join(t *testing.T, node *pluginproc.Node, p kubelettest.Pod) kubelettest.Pod {
	t.Helper()
	if err := node.Kubelet.AddPod(p.Build()); err != nil {
		t.Fatal(err)
	}
	return p
}

// crowd is a pod of so many containers, each of which runs an image of its own.
func crowd(s *signing, namespace, name string, images []sigstoretest.Pushed) kubelettest.Pod {
	p := app(name)
	p.Namespace, p.Containers = namespace, nil
	for i, image := range images {
		c := s.pod(namespace, fmt.Sprint(name, "-", i), image).Containers[0]
		c.Name = fmt.Sprint("c", i)
		p.Containers = append(p.Containers, c)
	}
	return p
}

// times are how long calls took, for all who call.
type times struct {
	mu  sync.Mutex
	all []time.Duration // guarded by mu
}

func (ts *times) add(d time.Duration) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.all = append(ts.all, d)
}

func (ts *times) String() string {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return fmt.Sprintf("%d calls, p50 %s, p99 %s, max %s", len(ts.all), milliseconds(quantile(ts.all, 50)), milliseconds(quantile(ts.all, 99)), milliseconds(quantile(ts.all, 100)))
}

func (ts *times) quantile(percent int) time.Duration {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return quantile(ts.all, percent)
}

// ADVERSARIAL.md, row 45: the pods of one namespace run a thousand images that never
// verify and ask for them all the time, from the registry that all use; and those of
// another one have a registry that says nothing. Who is in a third namespace gets his
// selectors, for an image that is known and for one that nobody has asked for before.
func TestAThousandImagesThatNeverVerifyDelayNobodyElse(t *testing.T) {
	t.Parallel()
	const (
		images, perPod    = 1000, 50
		attackers, lost   = 64, 16
		neighbours, fresh = 8, 16
		attackPause       = 50 * time.Millisecond // of each, or the test would measure this machine
		settling, longest = 2 * time.Second, 10 * 100 * time.Millisecond
		neighbourPause    = 10 * time.Millisecond
		freshPause        = 400 * time.Millisecond
		silentBlock       = "registry %q {\ninsecure = true\n}\n"
	)
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	silent := newWire(t, s.registry.Host())
	silent.Silence()
	// A list of the kubelet's for each call would be most of what is measured.
	plugin := configured(t, node.Settings().With(settings{"pod_cache_ttl": "500ms"}), s.settings(policyOf("evil", "evil", "")+policyOf("lost", "lost", "")+policyOf("shop", "shop", "")+fmt.Sprintf(silentBlock, silent.host)))
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()

	known := node.Pod(s.pod("shop", "known", s.push("known", s.dev)))
	wantVerified(t, plugin, known, "shop")
	var evil, away, newcomers []int
	for i := range images / perPod {
		var in []sigstoretest.Pushed
		for j := range perPod {
			in = append(in, s.push(fmt.Sprint("evil-", i, "-", j), nil))
		}
		p := join(t, node, crowd(s, "evil", fmt.Sprint("evil-", i), in))
		for j := range in {
			evil = append(evil, resident(t, node, p, j))
		}
	}
	elsewhere := &signing{registry: s.registry, host: silent.host}
	for i := range lost {
		away = append(away, resident(t, node, join(t, node, elsewhere.pod("lost", fmt.Sprint("lost-", i), s.push(fmt.Sprint("lost-", i), s.dev))), 0))
	}
	var next []kubelettest.Pod
	for i := range fresh {
		next = append(next, s.pod("shop", fmt.Sprint("new-", i), s.push(fmt.Sprint("new-", i), s.dev)))
		newcomers = append(newcomers, resident(t, node, next[i], 0))
	}

	var mu sync.Mutex // guards the rest
	asked := map[int]bool{}
	answers := map[codes.Code]int{}
	attack := func(pids []int, from int) {
		for ; ctx.Err() == nil; from++ {
			pid := pids[from%len(pids)]
			// It gives up as an impatient workload does, and what it has asked for goes on.
			short, end := context.WithTimeout(ctx, time.Second)
			got, err := plugin.Selectors(short, pid)
			end()
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				t.Errorf("an image that never verifies: %q", got)
			}
			mu.Lock()
			answers[status.Code(err)]++
			asked[pid] = true
			mu.Unlock()
			time.Sleep(attackPause)
		}
	}
	for i := range attackers {
		all.Go(func() { attack(evil, i*images/attackers) })
	}
	for i := range lost {
		all.Go(func() { attack(away, i) })
	}
	time.Sleep(settling) // until all that can be full is

	var seenBefore, neverSeen times
	call := func(pid int, into *times) {
		began := time.Now()
		wantVerified(t, plugin, pid, "shop")
		into.add(time.Since(began))
	}
	done := make(chan struct{})
	for range neighbours {
		all.Go(func() {
			for {
				call(known, &seenBefore)
				select {
				case <-done:
					return
				case <-time.After(neighbourPause):
				}
			}
		})
	}
	for i, p := range next {
		if i == fresh/2 {
			// And then they are slow besides, as whoever may push can make them.
			s.registry.Break(sigstoretest.On{Path: "/evil-"}, s.registry.Delay(4*time.Second))
		}
		join(t, node, p)
		call(newcomers[i], &neverSeen) // at once, or it would be looked at ahead of the call
		time.Sleep(freshPause)
	}
	close(done)
	cancel()
	all.Wait()
	t.Logf("%d images that never verify were asked for, answers by code: %v; %d requests to the registry", len(asked), answers, len(s.registry.Requests()))
	t.Logf("an image seen before: %v; a new one: %v", &seenBefore, &neverSeen)
	for name, took := range map[string]*times{"seen before": &seenBefore, "new": &neverSeen} {
		if p99 := took.quantile(99); p99 > longest {
			t.Errorf("of images that are %s the answers took %v, p99 %v, want %v at most", name, took, p99, longest)
		}
	}
	wantPeak(t, plugin)
	if len(asked) < images/2 {
		t.Errorf("only %d images were asked for: the test floods nobody", len(asked))
	}
}

// A hundred callers of an image that nobody has asked for before, half of whom leave in
// the middle, the first of all too: the registry is asked each question once, and who
// stays gets the answer (ADVERSARIAL.md, row 29: nobody shares another one's end).
func TestAHundredCallersOfANewImageAreOneConversation(t *testing.T) {
	t.Parallel()
	const callers = 100
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	plugin := configured(t, node.Settings(), s.settings(releasePolicy))
	targets := func() (all []string) {
		for _, r := range s.registry.Requests() {
			all = append(all, r.Target)
		}
		slices.Sort(all)
		return all
	}
	wantVerified(t, plugin, node.Pod(of("alone", s.push("alone", s.dev))), "release")
	alone := len(targets())

	image := s.push("wanted", s.dev)
	var pids []int
	for i := range callers {
		pids = append(pids, resident(t, node, join(t, node, of(fmt.Sprint("caller-", i), image)), 0))
	}
	s.registry.Forget()
	// So that all are there before the second answer.
	release := make(chan struct{})
	s.registry.Break(sigstoretest.On{After: 1}, heldUntil(release))
	leaving, leave := context.WithCancel(t.Context())
	defer leave()
	var all sync.WaitGroup
	for i, pid := range pids {
		all.Go(func() {
			if i%2 == 1 {
				wantVerified(t, plugin, pid, "release")
				return
			}
			got, err := plugin.Selectors(leaving, pid)
			if status.Code(err) != codes.Canceled {
				t.Errorf("who left got %q, %v", got, err)
			}
		})
		if i == 0 {
			pluginproc.Eventually(t, "the registry is asked", func() bool { return len(targets()) > 1 })
		}
	}
	time.Sleep(time.Second) // until the others are there
	leave()
	time.Sleep(100 * time.Millisecond)
	close(release)
	all.Wait()
	asked := targets()
	if once := slices.Compact(slices.Clone(asked)); len(once) != len(asked) || len(asked) != alone {
		t.Errorf("for %d callers there were %d requests, for one %d: %q", callers, len(asked), alone, asked)
	}
	t.Logf("%d requests for one caller, %d for %d", alone, len(asked), callers)
}
