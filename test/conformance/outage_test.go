package conformance_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/test/pluginproc"
)

// undelayed is the most that a call may take that has nothing to do with a registry, in
// the median: what would delay it are a registry's seconds, and it takes milliseconds.
const undelayed = time.Second

// What a registry does to its callers from the agent's start on, what they are told,
// and that they get their selectors when it is well again, without a restart; and that
// nobody else notices (ADVERSARIAL.md, row 45).
func TestARegistryThatIsNotWell(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limits string
		fault  func(*signing, *wire)
		code   codes.Code
		words  []string
	}{
		"refuses connections": {
			fault: func(_ *signing, w *wire) { w.Cut() },
			code:  codes.Unavailable, words: []string{"connection refused"},
		},
		"says nothing": {
			fault: func(_ *signing, w *wire) { w.Silence() },
			code:  codes.Unavailable, words: []string{"no connection within 2s"},
		},
		"has errors of its own": {
			fault: func(s *signing, _ *wire) {
				s.registry.Break(sigstoretest.On{}, sigstoretest.Status(http.StatusServiceUnavailable))
			},
			code: codes.Unavailable, words: []string{"the registry answered 503"},
		},
		// What has a digest is kept, so that each time there is less to ask for.
		"takes 2 s for each answer": {
			fault: func(s *signing, _ *wire) { s.registry.Break(sigstoretest.On{}, s.registry.Delay(2*time.Second)) },
			code:  codes.ResourceExhausted, words: []string{"the time for the verification of images is over (limits.image_budget)"},
		},
		"has had too many requests": {
			limits: `image_budget = "2s"`,
			fault: func(s *signing, _ *wire) {
				s.registry.Break(sigstoretest.On{}, sigstoretest.Status(http.StatusTooManyRequests))
			},
			code: codes.Unavailable, words: []string{"the registry has had too many requests (429 or 503 with Retry-After) and is to be asked in ", "which is too late"},
		},
		"has had too many requests and says until when": {
			limits: `image_budget = "2s"`,
			fault:  func(s *signing, _ *wire) { s.registry.Break(sigstoretest.On{}, sigstoretest.RetryAfter("4")) },
			code:   codes.Unavailable, words: []string{"the registry has had too many requests (429 or 503 with Retry-After) and is to be asked in ", "which is too late"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := pluginproc.NewNode(t, kubelettest.Options{})
			s := newSigning(t)
			w := s.through(t)
			test.fault(s, w)
			plugin := configured(t, node.Settings(), s.settings(releasePolicy+hasty+"\nlimits {\n"+test.limits+"\n}"))
			pid := node.Pod(s.pod("shop", "signed", s.push("signed", s.dev)))
			other := node.Pod(s.pod("web", "other", s.push("other", nil)))

			began := time.Now()
			var all sync.WaitGroup
			all.Go(func() {
				wantFailure(t, plugin, pid, test.code, append([]string{`image policy "release" does not hold for image "` + s.host + `/shop/signed:1"`}, test.words...)...)
			})
			var took []time.Duration
			for range 50 {
				asked := time.Now()
				if got, err := plugin.Selectors(t.Context(), other); err != nil || !contains(got, "ns:web") {
					t.Errorf("got %q, %v", got, err)
				}
				took = append(took, time.Since(asked))
				time.Sleep(5 * time.Millisecond)
			}
			all.Wait()
			refused := time.Since(began)
			if quantile(took, 50) > undelayed {
				t.Errorf("calls without a policy took %v", took)
			}
			if !strings.Contains(name, "2 s") {
				s.registry.Mend()
				w.Mend()
			}
			again := eventuallyVerified(t, plugin, pid, "release")
			t.Logf("refused after %v, verified %v later; without a policy p50 %v, max %v", refused.Round(time.Millisecond), again.Round(time.Millisecond),
				quantile(took, 50), quantile(took, 100))
		})
	}
}

// A registry that wants a second is given it, and nobody hears of it.
func TestARegistryThatAsksToWaitIsWaitedFor(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	plugin := configured(t, node.Settings(), s.settings(releasePolicy))
	s.registry.Break(sigstoretest.On{Times: 1}, sigstoretest.RetryAfter("1"))
	wantVerified(t, plugin, node.Pod(of("signed", s.push("signed", s.dev))), "release")
	requests := s.registry.Requests()
	if waited := requests[1].Time.Sub(requests[0].Time); waited < time.Second {
		t.Errorf("it was asked again after %v", waited)
	}
}

// A registry that is there for one second and away for the next: nobody is told
// anything else than that it is, what was verified is answered all the time, and what
// is new gets its turn.
func TestARegistryThatComesAndGoes(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	w := s.through(t)
	plugin := configured(t, node.Settings(), s.settings(releasePolicy+hasty))
	known := node.Pod(s.pod("shop", "known", s.push("known", s.dev)))
	wantVerified(t, plugin, known, "release")
	unsigned := node.Pod(s.pod("shop", "unsigned", s.push("unsigned", nil)))
	var fresh []int
	for _, name := range []string{"one", "two", "three", "four"} {
		fresh = append(fresh, node.Pod(s.pod("shop", name, s.push(name, s.dev))))
	}
	const flaps = 4
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range flaps {
			w.Cut()
			time.Sleep(time.Second)
			w.Mend()
			time.Sleep(time.Second)
		}
	}()
	answers := map[codes.Code]int{}
	verified := map[int]bool{}
	for flapping := true; flapping; time.Sleep(20 * time.Millisecond) {
		wantVerified(t, plugin, known, "release")
		for _, pid := range append(fresh, unsigned) {
			got, err := plugin.Selectors(t.Context(), pid)
			code := status.Code(err)
			answers[code]++
			switch {
			case code == codes.OK && pid != unsigned && contains(got, "image-policy:release"):
				verified[pid] = true
			case code == codes.Unavailable && !verified[pid]:
			case code == codes.PermissionDenied && pid == unsigned:
			default:
				t.Fatalf("got %q, %v", got, err)
			}
		}
		select {
		case <-ended:
			flapping = false
		default:
		}
	}
	t.Logf("answers by code: %v; %d connections", answers, w.Accepted())
	for _, pid := range fresh {
		eventuallyVerified(t, plugin, pid, "release")
	}
	pluginproc.Eventually(t, "the unsigned one is refused for good", func() bool {
		_, err := plugin.Selectors(t.Context(), unsigned)
		return status.Code(err) == codes.PermissionDenied
	})
}
