package registry_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/registry"
)

// fast is a registry that answers after a millisecond, with a token where it wants
// one.
func fast(wantsToken bool) *network {
	return newNetwork(func(n int, r *http.Request) (*http.Response, error) {
		time.Sleep(time.Millisecond)
		switch {
		case r.URL.Path == "/token":
			return answered(200, `{"token":"t"}`), nil
		case wantsToken && r.Header.Get("Authorization") == "":
			return answered(401, "", "WWW-Authenticate", `Bearer realm="https://example.org/token"`), nil
		}
		return answered(200, ""), nil
	})
}

// verifies asks as often as one new image takes: 13 requests in 6 rounds.
func verifies(t *testing.T, c *registry.Client, asker fair.Who, name string, fails func(error)) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	talk := c.Conversation(asker)
	for _, together := range []int{1, 1, 1, 4, 4, 2} {
		var round sync.WaitGroup
		for range together {
			round.Go(func() {
				if err := within(talk, name)(ctx); err != nil && ctx.Err() == nil {
					fails(err)
				}
			})
		}
		round.Wait()
	}
}

// ADVERSARIAL.md row 45: 1,000 images of a namespace that never verify are asked for
// without end; a new image of another namespace takes the time that it takes alone.
func TestAThousandImagesOfANamespaceDelayNoOther(t *testing.T) {
	t.Parallel()
	for _, wantsToken := range []bool{false, true} {
		t.Run(fmt.Sprintf("token %v", wantsToken), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := fast(wantsToken)
				c := online(t, n, registry.Config{Any: true})
				var all sync.WaitGroup
				for i := range 1000 {
					all.Go(func() {
						for ; time.Since(n.made) < 8*time.Second; time.Sleep(time.Second) {
							verifies(t, c, fair.Who{Tenant: "bad"}, fmt.Sprintf("example.org/bad%d", i), func(err error) {
								wantKind(t, err, registry.Limit)
							})
						}
					})
				}
				for i := range 8 {
					time.Sleep(time.Second)
					began := time.Now()
					verifies(t, c, fair.Who{Tenant: fmt.Sprint("good", i)}, fmt.Sprint("example.org/good", i), func(err error) { t.Error(err) })
					if took := time.Since(began); took > 20*time.Millisecond {
						t.Errorf("the image of another namespace took %v", took)
					}
				}
				n.mu.Lock()
				asked := n.numbers["example.org"]
				n.mu.Unlock()
				if asked < (registry.Burst+7*registry.PerSecond)/2/2 {
					t.Errorf("only %d requests were made: nothing was shown", asked)
				}
				all.Wait()
			})
		})
	}
}

// Who waits because his namespace has had its share keeps no token from others.
func TestATokenIsNotWaitedForBehindAnotherNamespace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := fast(true)
		c := online(t, n, registry.Config{Any: true})
		var all sync.WaitGroup
		for i := range 300 { // a token is for one repository
			all.Go(func() {
				if err := inOf(c, "bad", fmt.Sprint("example.org/bad", i))(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Second)
		began := time.Now()
		for _, name := range []string{"example.org/good", "example.org/bad299"} { // of which the other one has no token yet
			if err := inOf(c, "good", name)(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		all.Wait()
	})
}

// ADVERSARIAL.md row 38: who fills a registry's slots himself must not make it look
// as if the registry were away. Only where nothing is answered at all, it is.
func TestSlotsThatAreTakenAreABoundUnlessNothingIsAnswered(t *testing.T) {
	t.Parallel()
	for takes, want := range map[time.Duration]registry.Kind{time.Second: registry.Limit, 4 * time.Second: registry.Unavailable} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(func(int, *http.Request) (*http.Response, error) {
				time.Sleep(takes)
				return answered(200, ""), nil
			})
			c := online(t, n, registry.Config{Any: true})
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					if err := inOf(c, "many", "example.org/a")(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			wantKind(t, inOf(c, "many", "example.org/a")(ctx), want, "other requests to the registry were under way")
			if err := inOf(c, "other", "example.org/a")(t.Context()); err != nil {
				t.Error(err)
			}
			all.Wait()
		})
	}
}

func TestSoManyRequestsOfANamespaceWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(_ int, r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		c := online(t, n, registry.Config{Any: true})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range registry.MaxWaiting + registry.MaxAtOnce/2 {
			all.Go(func() { wantKind(t, inOf(c, "many", "example.org/a")(ctx), registry.Unavailable, "canceled") })
		}
		synctest.Wait()
		wantKind(t, inOf(c, "many", "example.org/a")(ctx), registry.Limit, "1024 requests", `"many"`)
		all.Go(func() { wantKind(t, inOf(c, "other", "example.org/a")(ctx), registry.Unavailable, "canceled") })
		synctest.Wait()
		cancel()
		all.Wait()
	})
}

// ADVERSARIAL.md row 45: slow hosts that one namespace names lock no other one out.
func TestANamespaceAsksHalfOfAllStrangersAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(_ int, r *http.Request) (*http.Response, error) {
			if strings.HasPrefix(r.URL.Host, "slow") {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return answered(200, ""), nil
		})
		c := online(t, n, registry.Config{Any: true, Registries: []registry.Registry{{Host: "configured.example.org"}}})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range registry.MaxStrangers {
			all.Go(func() {
				err := inOf(c, "bad", fmt.Sprintf("slow%d.example.org/a", i%(registry.MaxStrangers/2)))(ctx)
				wantKind(t, err, registry.Unavailable)
			})
		}
		synctest.Wait()
		wantKind(t, inOf(c, "bad", "one-more.example.org/a")(ctx), registry.Limit, "128 registries", `"bad"`)
		for _, name := range []string{"configured.example.org/a", "another.example.org/a"} {
			if err := inOf(c, "good", name)(ctx); err != nil {
				t.Error(err)
			}
		}
		if err := inOf(c, "bad", "configured.example.org/a")(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		all.Wait()
		if err := inOf(c, "bad", "one-more.example.org/a")(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A registry that limits our rate is left alone by those too who waited for their
// turn when it said so.
func TestWhoWaitedForATurnSeesThatTheRegistryWantsToBeLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(n int, _ *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			if n <= registry.MaxAtOnce/2 {
				return answered(429, "", "Retry-After", "7"), nil
			}
			return answered(200, ""), nil
		})
		c := online(t, n, registry.Config{Any: true})
		var all sync.WaitGroup
		for range registry.MaxAtOnce {
			all.Go(func() {
				if err := in(c, "example.org/a")(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		n.wantStarts(t, "example.org", slices.Concat(
			slices.Repeat([]time.Duration{0}, registry.MaxAtOnce/2),
			slices.Repeat([]time.Duration{8 * time.Second}, registry.MaxAtOnce/2),
			slices.Repeat([]time.Duration{9 * time.Second}, registry.MaxAtOnce/2))...)
	})
}

// Verifying ahead, in the background, becomes urgent when a workload calls.
func TestAConversationInTheBackgroundCanBeHurried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(int, *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return answered(200, ""), nil
		})
		c := online(t, n, registry.Config{Any: true})
		hurry := make(chan struct{})
		talk := c.Conversation(fair.Who{Tenant: "ahead", Background: true, Hurry: hurry})
		var all sync.WaitGroup
		ask := func(ask func(context.Context) error) {
			all.Go(func() {
				if err := ask(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		for range registry.MaxAtOnce / 2 {
			ask(inOf(c, "other", "example.org/a"))
		}
		synctest.Wait()
		ask(within(talk, "example.org/a"))
		time.Sleep(500 * time.Millisecond)
		close(hurry)
		synctest.Wait()
		ask(within(talk, "example.org/a"))
		all.Wait()
		n.wantStarts(t, "example.org", append(slices.Repeat([]time.Duration{0}, registry.MaxAtOnce/2), 500*time.Millisecond, 500*time.Millisecond)...)
	})
}
