package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/registry"
)

func TestARegistryThatWantsUsToWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(n int, r *http.Request) (*http.Response, error) {
			switch {
			case r.URL.Host != "slow.example.org":
			case n == 1:
				return answered(429, "", "Retry-After", "7"), nil
			case n == 2:
				return answered(503, "", "Retry-After", time.Now().Add(3*time.Second).UTC().Format(http.TimeFormat)), nil
			case n == 3:
				return answered(429, ""), nil
			}
			return answered(200, ""), nil
		})
		c := online(t, n, registry.Config{Any: true})
		if err := in(c, "slow.example.org/a")(t.Context()); err != nil {
			t.Error(err)
		}
		n.wantStarts(t, "slow.example.org", 0, 7*time.Second, 10*time.Second, 14*time.Second)
	})
}

func TestAllRequestsToThatRegistryWaitAndNoOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(n int, r *http.Request) (*http.Response, error) {
			if r.URL.Host == "slow.example.org" && n == 1 {
				return answered(429, "", "Retry-After", "7"), nil
			}
			return answered(200, ""), nil
		})
		c := online(t, n, registry.Config{Any: true})
		var all sync.WaitGroup
		for i, name := range []string{"slow.example.org/a", "slow.example.org/b", "fast.example.org/a"} {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				if err := in(c, name)(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		n.wantStarts(t, "slow.example.org", 0, 7*time.Second, 7*time.Second)
		n.wantStarts(t, "fast.example.org", 2*time.Second)
	})
}

func TestAWaitBeyondTheCallersTimeIsNotBegun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(n int, r *http.Request) (*http.Response, error) {
			return answered(429, "", "Retry-After", "7"), nil
		})
		c := online(t, n, registry.Config{Any: true})
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
		defer cancel()
		err := in(c, "slow.example.org/a")(ctx)
		wantKind(t, err, registry.Unavailable, "429", "7s", "too late")
		// Nor is anything sent meanwhile.
		wantKind(t, in(c, "slow.example.org/b")(ctx), registry.Unavailable, "too late")
		n.wantStarts(t, "slow.example.org", 0)
		if ctx.Err() != nil {
			t.Error("the time was waited for")
		}
	})
}

// A registry can't keep itself from being asked for long, nor us for ever.
func TestWaitsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(int, *http.Request) (*http.Response, error) {
			return answered(429, "", "Retry-After", "999999999"), nil
		})
		c := online(t, n, registry.Config{Any: true})
		wantKind(t, in(c, "slow.example.org/a")(t.Context()), registry.Unavailable, "429")
		n.wantStarts(t, "slow.example.org", 0, time.Minute, 2*time.Minute, 3*time.Minute)
	})
}

func TestACallerWhoLeavesWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(int, *http.Request) (*http.Response, error) {
			return answered(429, "", "Retry-After", "30"), nil
		})
		c := online(t, n, registry.Config{Any: true})
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		err := in(c, "slow.example.org/a")(ctx)
		wantKind(t, err, registry.Unavailable, "gone")
		if !errors.Is(err, gone) || time.Since(n.made) != time.Second {
			t.Errorf("after %v: %v", time.Since(n.made), err)
		}
	})
}

// ADVERSARIAL.md rows 17 and 45: a registry that answers nothing costs its callers
// five seconds and has no more than so many requests; others are not held up.
func TestASlowRegistryHoldsNobodyElseUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(_ int, r *http.Request) (*http.Response, error) {
			if r.URL.Host == "slow.example.org" {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return answered(200, ""), nil
		})
		c := online(t, n, registry.Config{Any: true})
		var all sync.WaitGroup
		for i := range 3 * registry.MaxAtOnce {
			all.Go(func() {
				wantKind(t, inOf(c, fmt.Sprint("n", i%2), fmt.Sprint("slow.example.org/a", i))(t.Context()), registry.Unavailable, "no complete answer within 5s")
			})
		}
		synctest.Wait()
		if err := in(c, "fast.example.org/a")(t.Context()); err != nil {
			t.Error(err)
		}
		n.wantStarts(t, "fast.example.org", 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantKind(t, in(c, "slow.example.org/late")(ctx), registry.Unavailable, "other requests to the registry were under way, and none of them was answered")
		all.Wait()
		if took := time.Since(n.made); took != 15*time.Second || n.atOnce["slow.example.org"] != registry.MaxAtOnce {
			t.Errorf("%d at once, in %v", n.atOnce["slow.example.org"], took)
		}
	})
}

func TestARegistryIsSentSoManyRequestsASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(int, *http.Request) (*http.Response, error) { return answered(200, ""), nil })
		c := online(t, n, registry.Config{Any: true})
		var all sync.WaitGroup
		for i := range 2 {
			all.Go(func() {
				for range (registry.Burst + registry.PerSecond) / 2 {
					if err := inOf(c, fmt.Sprint("n", i), "example.org/a")(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if took := time.Since(n.made).Round(time.Millisecond); took != time.Second {
			t.Errorf("took %v", took)
		}
		// Whose time is too short is told that it is our bound, not the registry's
		// fault.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		wantKind(t, inOf(c, "n0", "example.org/a")(ctx), registry.Limit, "no more than 25 a second", `namespace "n0"`)
		wantKind(t, inOf(c, "n2", "example.org/a")(ctx), registry.Limit, "no more than 50 a second")
		if err := in(c, "other.example.org/a")(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestATokenIsUsedAsLongAsItIsGood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(n int, r *http.Request) (*http.Response, error) {
			if r.URL.Host == "auth.docker.io" {
				return answered(200, fmt.Sprintf(`{"token":"t%d","expires_in":300}`, n)), nil
			}
			if r.Header.Get("Authorization") == "" {
				return answered(401, "", "WWW-Authenticate", `Bearer realm="https://auth.docker.io/token",service="registry.docker.io"`), nil
			}
			return answered(200, ""), nil
		})
		c := online(t, n, registry.Config{Any: true})
		ask := in(c, "alpine")
		for range 59 {
			if err := ask(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		// Renewed ten seconds before its end.
		n.wantStarts(t, "auth.docker.io", 0, 290*time.Second, 580*time.Second)
	})
}

// The lists about an image are asked for side by side: none of them has to be refused
// to find out that the token is over.
func TestATokenThatIsOverIsRenewedBeforeItIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var refused atomic.Int32
		n := newNetwork(func(n int, r *http.Request) (*http.Response, error) {
			time.Sleep(10 * time.Millisecond)
			if r.URL.Host == "auth.docker.io" {
				return answered(200, fmt.Sprintf(`{"token":"t%d","expires_in":300}`, n)), nil
			}
			if r.Header.Get("Authorization") == "" {
				refused.Add(1)
				return answered(401, "", "WWW-Authenticate", `Bearer realm="https://auth.docker.io/token",service="registry.docker.io"`), nil
			}
			return answered(200, ""), nil
		})
		c := online(t, n, registry.Config{Any: true})
		ask := in(c, "alpine")
		if err := ask(t.Context()); err != nil || refused.Load() != 1 {
			t.Fatalf("%d refused, %v", refused.Load(), err)
		}
		time.Sleep(time.Hour)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if err := ask(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got := n.numbers["auth.docker.io"]; refused.Load() != 1 || got != 2 {
			t.Errorf("%d questions were refused and %d tokens asked for, want 1 and 2", refused.Load(), got)
		}
	})
}

// ADVERSARIAL.md row 45: neither do the repositories that pods name.
func TestTokensAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(n int, r *http.Request) (*http.Response, error) {
			if r.URL.Host == "auth.docker.io" {
				return answered(200, fmt.Sprintf(`{"token":"t%d","expires_in":3600}`, n)), nil
			}
			if r.Header.Get("Authorization") == "" {
				return answered(401, "", "WWW-Authenticate", `Bearer realm="https://auth.docker.io/token"`), nil
			}
			return answered(200, ""), nil
		})
		c := online(t, n, registry.Config{Any: true})
		for i := range registry.MaxTokens + 50 {
			if err := in(c, fmt.Sprint("a", i))(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if got := c.Tokens("docker.io"); got != registry.MaxTokens {
			t.Errorf("%d tokens are kept", got)
		}
		// The oldest are gone, and got again when they are needed.
		asked := n.numbers["auth.docker.io"]
		for name, want := range map[string]int{"a0": 1, fmt.Sprint("a", registry.MaxTokens+49): 0} {
			if err := in(c, name)(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := n.numbers["auth.docker.io"] - asked; got != want {
				t.Errorf("%s: %d tokens were asked for", name, got)
			}
			asked = n.numbers["auth.docker.io"]
		}
	})
}

// ADVERSARIAL.md row 45: how many registries pods name costs no memory without end.
func TestStrangersAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(_ int, r *http.Request) (*http.Response, error) {
			if strings.HasPrefix(r.URL.Host, "slow") {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			if strings.HasPrefix(r.URL.Host, "r0.") {
				return answered(429, "", "Retry-After", "3600"), nil
			}
			return answered(200, ""), nil
		})
		c := online(t, n, registry.Config{Any: true, Registries: []registry.Registry{{Host: "configured.example.org"}}})
		for i := range 3 * registry.MaxStrangers {
			if err := in(c, fmt.Sprintf("r%d.example.org/a", i+1))(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := c.Strangers(); got != registry.MaxStrangers {
			t.Errorf("%d registries are known", got)
		}
		// Those that are being asked are not forgotten.
		var all sync.WaitGroup
		for i := range registry.MaxStrangers {
			all.Go(func() {
				wantKind(t, inOf(c, fmt.Sprint("n", i%2), fmt.Sprintf("slow%d.example.org/a", i))(t.Context()), registry.Unavailable)
			})
		}
		synctest.Wait()
		wantKind(t, in(c, "one-more.example.org/a")(t.Context()), registry.Limit, "256 registries")
		if err := in(c, "configured.example.org/a")(t.Context()); err != nil {
			t.Error(err)
		}
		all.Wait()
		if err := in(c, "one-more.example.org/a")(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// ADVERSARIAL.md row 24: with a docker configuration and any registry allowed, the
// credentials go to the host of their key alone.
func TestAnyRegistryGetsNoCredentialsOfAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(_ int, r *http.Request) (*http.Response, error) {
			header := r.Header.Get("Authorization")
			if header == "" {
				return answered(401, "", "WWW-Authenticate", `Basic realm="x"`), nil
			}
			if r.URL.Host != "good.example.org" {
				t.Errorf("%s got %q", r.URL.Host, header)
			}
			return answered(200, ""), nil
		})
		c := online(t, n, registry.Config{Any: true, DockerConfigPath: dockerConfig(t, "good.example.org", "https://index.docker.io/v1/")})
		if err := in(c, "good.example.org/a")(t.Context()); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"good.example.org.evil/a", "evil.example.org/a", "good.example.org:5000/a", "index.docker.io.evil/a", "x.good.example.org/a"} {
			wantKind(t, in(c, name)(t.Context()), registry.Denied, "there are no credentials for it")
		}
	})
}

func TestClosingKeepsCallsInProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(_ int, r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return answered(200, ""), nil
		})
		c := online(t, n, registry.Config{Any: true, Registries: []registry.Registry{{Host: "configured.example.org"}}})
		var all sync.WaitGroup
		for _, name := range []string{"configured.example.org/a", "other.example.org/a"} {
			all.Go(func() {
				if err := in(c, name)(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		c.Close()
		c.Close()
		all.Wait()
	})
}
