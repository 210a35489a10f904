package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// down is a registry's host that can't be connected to between two times since the
// network was made.
func down(n *network, host string, from, to time.Duration) func(int, *http.Request) error {
	return func(_ int, r *http.Request) error {
		if at := time.Since(n.made); r.URL.Host == host && from <= at && at < to {
			return errors.New("connection refused")
		}
		return nil
	}
}

func well(int, *http.Request) (*http.Response, error) { return answered(200, ""), nil }

// every asks again and again, in a new conversation each time, and returns when it
// got an answer for the first time.
func every(t *testing.T, n *network, interval, atMost time.Duration, ask func(context.Context) error) time.Duration {
	t.Helper()
	for time.Since(n.made) < atMost {
		if err := ask(t.Context()); err == nil {
			return time.Since(n.made)
		}
		time.Sleep(interval)
	}
	t.Errorf("no answer within %v", atMost)
	return 0
}

// ADVERSARIAL.md row 45: an unreachable registry is tried from time to time, by one
// request, whatever number of callers want something from it; and its neighbours do
// not notice.
func TestAHostThatCanNotBeConnectedToIsTriedFromTimeToTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(well)
		n.connect = down(n, "away.example.org", 0, time.Hour)
		c := online(t, n, registry.Config{Any: true})
		for time.Since(n.made) < 100*time.Second {
			began := time.Now()
			var all sync.WaitGroup
			for i := range 10 {
				all.Go(func() {
					wantKind(t, inOf(c, fmt.Sprint("n", i), "away.example.org/a")(t.Context()), registry.Unavailable, "connection refused")
				})
			}
			if err := in(c, "well.example.org/a")(t.Context()); err != nil {
				t.Error(err)
			}
			all.Wait()
			if !time.Now().Equal(began) {
				t.Fatalf("somebody waited %v", time.Since(began))
			}
			time.Sleep(100 * time.Millisecond)
		}
		// Ten came together before it was known.
		n.mu.Lock()
		starts := n.starts["away.example.org"]
		n.mu.Unlock()
		for len(starts) > 1 && starts[1] == 0 {
			starts = starts[1:]
		}
		var want []time.Duration
		for _, s := range []int{0, 1, 3, 7, 15, 31, 61, 91} {
			want = append(want, time.Duration(s)*time.Second)
		}
		if fmt.Sprint(starts) != fmt.Sprint(want) {
			t.Errorf("it was tried after %v, want %v", starts, want)
		}
	})
}

func TestWhatIsSaidOfAHostThatIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(well)
		n.connect = down(n, "away.example.org", 0, time.Hour)
		c := online(t, n, registry.Config{Registries: []registry.Registry{{Host: "away.example.org"}}})
		ask := in(c, "away.example.org/a")
		first := ask(t.Context())
		wantKind(t, first, registry.Unavailable, "connection refused")
		time.Sleep(time.Second)
		second := ask(t.Context())
		if second == nil || second.Error() != first.Error() {
			t.Errorf("%v: a single failure is no reason to stop trying", second)
		}
		third := ask(t.Context())
		wantKind(t, third, registry.Unavailable, `no connection to "away.example.org" since 2000-01-01T00:00:00Z`, "from time to time", "connection refused")
		time.Sleep(100 * time.Millisecond)
		if again := ask(t.Context()); again == nil || again.Error() != third.Error() {
			t.Errorf("%v and %v: the same trouble reads the same", third, again)
		}
		n.wantStarts(t, "away.example.org", 0, time.Second)
	})
}

// A registry that comes and goes is asked again no later than the next probe.
func TestAFlappingRegistryRecoversWithinOneProbe(t *testing.T) {
	t.Parallel()
	for down, within := range map[time.Duration]time.Duration{
		500 * time.Millisecond: time.Second, 2 * time.Second: 3 * time.Second, 20 * time.Second: 31 * time.Second, 10 * time.Minute: 10*time.Minute + 30*time.Second,
	} {
		t.Run(down.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(well)
				n.connect = func(_ int, r *http.Request) error {
					if at := time.Since(n.made); at < down || at >= within+time.Second && at < within+time.Second+down {
						return errors.New("connection refused")
					}
					return nil
				}
				c := online(t, n, registry.Config{Any: true})
				for range 2 { // and the second time as fast as the first
					began := time.Since(n.made)
					wantKind(t, in(c, "flapping.example.org/a")(t.Context()), registry.Unavailable)
					if at := every(t, n, 100*time.Millisecond, time.Hour, in(c, "flapping.example.org/a")); at-began > within+100*time.Millisecond {
						t.Errorf("answered %v after it went, want %v", at-began, within)
					}
					time.Sleep(within + time.Second - time.Since(n.made))
				}
			})
		})
	}
}

// Who may push can make a path slow, and the host is not away for that.
func TestASlowAnswerKeepsNobodyElseFromTheHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(_ int, r *http.Request) (*http.Response, error) {
			if strings.Contains(r.URL.Path, "/slow/") {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return answered(200, ""), nil
		})
		c := online(t, n, registry.Config{Any: true})
		for range 5 {
			wantKind(t, in(c, "example.org/slow")(t.Context()), registry.Unavailable, "no complete answer within 5s")
			if err := in(c, "example.org/fast")(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestAConnectionHasATimeOfItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(well)
		n.connect = func(_ int, r *http.Request) error {
			<-r.Context().Done()
			return r.Context().Err()
		}
		c := online(t, n, registry.Config{Any: true})
		wantKind(t, in(c, "hole.example.org/a")(t.Context()), registry.Unavailable, "no connection within 2s")
		if took := time.Since(n.made); took != 2*time.Second {
			t.Errorf("after %v", took)
		}
		n.connect = func(_ int, r *http.Request) error {
			trace := httptrace.ContextClientTrace(r.Context())
			time.Sleep(1900 * time.Millisecond)
			trace.TLSHandshakeStart()
			time.Sleep(1900 * time.Millisecond)
			return r.Context().Err()
		}
		if err := in(c, "slow.example.org/a")(t.Context()); err != nil {
			t.Error(err)
		}
		n.connect = func(_ int, r *http.Request) error {
			<-r.Context().Done()
			return r.Context().Err()
		}
		// A caller whose own time is shorter says nothing about the host.
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			wantKind(t, in(c, "hole2.example.org/a")(ctx), registry.Unavailable, "deadline exceeded")
			cancel()
		}
		wantKind(t, in(c, "hole2.example.org/a")(t.Context()), registry.Unavailable, "no connection within 2s")
	})
}

// Those that were under way when it was found out do not put the next try off.
func TestManyFailuresAtOnceAreOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(well)
		n.connect = func(_ int, r *http.Request) error {
			<-r.Context().Done()
			return r.Context().Err()
		}
		c := online(t, n, registry.Config{Any: true})
		var all sync.WaitGroup
		for i := range registry.MaxAtOnce {
			all.Go(func() {
				wantKind(t, inOf(c, fmt.Sprint("n", i%2), "example.org/a")(t.Context()), registry.Unavailable, "no connection within 2s")
			})
		}
		all.Wait()
		n.connect = nil
		if at := every(t, n, 10*time.Millisecond, time.Minute, in(c, "example.org/a")); at != 3*time.Second {
			t.Errorf("it was tried again after %v", at)
		}
	})
}

// A probe whose caller goes away leaves the next one to try.
func TestAnAbandonedProbeIsTakenUpByAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(well)
		n.connect = func(n int, r *http.Request) error {
			switch n {
			case 1, 2:
				return errors.New("connection refused")
			case 3:
				<-r.Context().Done()
				return r.Context().Err()
			}
			return nil
		}
		c := online(t, n, registry.Config{Any: true})
		ask := in(c, "example.org/a")
		wantKind(t, ask(t.Context()), registry.Unavailable)
		wantKind(t, ask(t.Context()), registry.Unavailable)
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		var probe sync.WaitGroup
		probe.Go(func() { wantKind(t, ask(ctx), registry.Unavailable, "canceled") })
		synctest.Wait()
		wantKind(t, ask(t.Context()), registry.Unavailable, "from time to time") // one at a time
		cancel()
		probe.Wait()
		if err := ask(t.Context()); err != nil {
			t.Error(err)
		}
		n.wantStarts(t, "example.org", 0, 0, time.Second, time.Second)
	})
}

// Where a registry leads to can be away without it, and the other way round.
func TestHostsThatARegistryLeadsToHaveBreakersOfTheirOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(_ int, r *http.Request) (*http.Response, error) {
			if strings.HasPrefix(r.URL.Host, "cdn") {
				return answered(200, ""), nil
			}
			if host, ok := strings.CutPrefix(r.URL.Path, "/v2/to/"); ok {
				host, _, _ = strings.Cut(host, "/")
				return answered(307, "", "Location", "https://"+host+".example.org/x"), nil
			}
			return answered(200, ""), nil
		})
		n.connect = down(n, "cdn1.example.org", 0, time.Hour)
		c := online(t, n, registry.Config{Any: true})
		for range 3 {
			wantKind(t, in(c, "example.org/to/cdn1")(t.Context()), registry.Unavailable, "cdn1.example.org", "connection refused")
		}
		n.wantStarts(t, "cdn1.example.org", 0, 0)
		for _, name := range []string{"example.org/to/cdn2", "example.org/a"} {
			if err := in(c, name)(t.Context()); err != nil {
				t.Error(err)
			}
		}
		// What one registry has found out counts for no other: it may be reached in
		// another way.
		wantKind(t, in(c, "other.example.org/to/cdn1")(t.Context()), registry.Unavailable)
		n.wantStarts(t, "cdn1.example.org", 0, 0, 0)
		// And what is kept of such hosts is bounded, whatever a registry leads to.
		n.connect = func(_ int, r *http.Request) error {
			if strings.HasPrefix(r.URL.Host, "cdn") {
				return errors.New("connection refused")
			}
			return nil
		}
		for i := range 100 {
			wantKind(t, in(c, fmt.Sprint("example.org/to/cdn", i))(t.Context()), registry.Unavailable)
		}
		if got := c.Broken("example.org"); got != registry.MaxBroken {
			t.Errorf("%d hosts are known to be away", got)
		}
		// There is room for the registry itself.
		n.connect = down(n, "example.org", 0, time.Hour)
		for range 2 {
			wantKind(t, in(c, "example.org/a")(t.Context()), registry.Unavailable)
		}
		wantKind(t, in(c, "example.org/a")(t.Context()), registry.Unavailable, "from time to time")
	})
}

// An image has ten seconds. They are not spent on one registry that does not answer,
// and what is told of it is that, not that the time was too short.
func TestAConversationGivesUpAHostThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for name, connect := range map[string]func(int, *http.Request) error{
		"answers nothing":       nil,
		"can't be connected to": func(_ int, r *http.Request) error { <-r.Context().Done(); return r.Context().Err() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(func(_ int, r *http.Request) (*http.Response, error) {
					if r.URL.Host == "well.example.org" {
						return answered(200, ""), nil
					}
					time.Sleep(3 * time.Second)
					if strings.Contains(r.URL.Path, "/answered/") {
						return answered(200, ""), nil
					}
					<-r.Context().Done()
					return nil, r.Context().Err()
				})
				says, took := "no complete answer within 5s", 5*time.Second
				if connect != nil {
					says, took = "no connection within 2s", 2*time.Second
					n.connect = func(i int, r *http.Request) error {
						if r.URL.Host == "well.example.org" {
							return nil
						}
						return connect(i, r)
					}
				}
				c := online(t, n, registry.Config{Any: true})
				talk := c.Conversation(who)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var all sync.WaitGroup
				all.Go(func() {
					// Begun before the other one's end, it is not cut short.
					time.Sleep(took - time.Second)
					err := within(talk, "away.example.org/answered")(ctx)
					if connect == nil && err != nil {
						t.Error(err)
					}
				})
				first := within(talk, "away.example.org/a")(ctx)
				wantKind(t, first, registry.Unavailable, says)
				for range 5 {
					wantKind(t, within(talk, "away.example.org/b")(ctx), registry.Unavailable, says)
				}
				if since := time.Since(n.made); since != took {
					t.Errorf("it took %v", since)
				}
				if err := within(talk, "well.example.org/a")(ctx); err != nil {
					t.Error(err)
				}
				all.Wait()
				n.wantStarts(t, "away.example.org", 0, took-time.Second)
			})
		})
	}
}

// With real sockets: a connection that was kept and is dead is no sign of life.
func TestARegistryThatGoesAwayWithKeptConnections(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	c := asks(t, r)
	ask := func() error {
		_, _, err := c.Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	for range 2 {
		wantKind(t, ask(), registry.Unavailable, "refused")
	}
	wantKind(t, ask(), registry.Unavailable, "from time to time", "refused")
}

// Nobody waits for a probe when what was wrong has been put right here.
func TestANewCAIsTriedAtOnce(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	b := block(t, r)
	b.CAPath = file(t, "ca.pem", sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{}).CAPEM())
	c := newClient(t, registry.Config{Registries: []registry.Registry{b}})
	ask := func() error {
		_, _, err := c.Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
		return err
	}
	for range 2 {
		wantKind(t, ask(), registry.Unavailable, "certificate", "ca_path")
	}
	wantKind(t, ask(), registry.Unavailable, "from time to time", "certificate", "ca_path")
	replace(t, b.CAPath, string(r.CAPEM()))
	if err := ask(); err != nil {
		t.Error(err)
	}
}
