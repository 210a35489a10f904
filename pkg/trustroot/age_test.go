package trustroot_test

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/trustroot"
	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
)

func TestTheMirrorIsAskedOncePerPeriod(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := trustroottest.New(someRoot())
		cfg := ofRepository(t, r)
		cfg.TUF.Refresh = time.Hour
		s := open(t, cfg, through{r})
		settle(t, s)
		r.Requests()
		const periods = 48
		time.Sleep(periods * time.Hour)
		timestamps := 0
		for _, name := range r.Requests() {
			if name == "timestamp.json" {
				timestamps++
			}
		}
		// Each is up to a tenth early.
		if timestamps < periods || timestamps > periods*10/9+1 {
			t.Errorf("it was asked %d times in %d periods", timestamps, periods)
		}
		if _, status := s.Current(); status.Age > time.Hour {
			t.Errorf("it is %v old", status.Age)
		}
	})
}

func TestWhatIsUnchangedIsNotFetchedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := trustroottest.New(someRoot())
		s := open(t, ofRepository(t, r), through{r})
		settle(t, s)
		r.Requests()
		time.Sleep(day)
		if asked := r.Requests(); len(asked) != 2 {
			t.Errorf("%q were asked for", asked)
		}
	})
}

func TestAgeAndEndOfWhatIsUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good := someRoot()
		r := trustroottest.New(good)
		signed := time.Now()
		s := open(t, ofRepository(t, r), through{r})
		settle(t, s)
		fetched := time.Now()
		r.Fault(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
		// Longer than the metadata is good for: the last good root stays.
		time.Sleep(30 * day)
		status := wantRoot(t, s, good)
		wantKind(t, status, trustroot.Unavailable)
		if !status.Fetched.Equal(fetched) || status.Age != 30*day {
			t.Errorf("it was fetched at %v and is %v old", status.Fetched, status.Age)
		}
		if want := signed.Add(trustroottest.TimestampLife).Truncate(time.Second); !status.Expires.Equal(want) {
			t.Errorf("it expires %v, want %v", status.Expires, want)
		}
		r.Fault(nil)
		r.Publish()
		time.Sleep(trustroot.LastRetry)
		wantNoProblem(t, wantRoot(t, s, good))
	})
}

func TestTheMirrorIsAskedBeforeItsMetadataEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := trustroottest.New(someRoot())
		cfg := ofRepository(t, r)
		cfg.TUF.Refresh = 30 * day
		s := open(t, cfg, through{r})
		settle(t, s)
		time.Sleep(trustroottest.TimestampLife - time.Hour)
		r.Publish()
		r.Requests()
		time.Sleep(2 * time.Hour)
		if len(r.Requests()) == 0 {
			t.Error("it was not asked")
		}
		_, status := s.Current()
		wantNoProblem(t, status)
	})
}

func TestRetriesBecomeRarer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good := someRoot()
		r := trustroottest.New(good)
		n := &away{}
		s := open(t, ofRepository(t, r), n)
		synctest.Wait()
		if n.asked() != 1 {
			t.Fatalf("it was asked %d times at once", n.asked())
		}
		wait := trustroot.FirstRetry
		for want := 2; want < 20; want++ {
			time.Sleep(wait)
			synctest.Wait()
			if n.asked() != want {
				t.Fatalf("it was asked %d times, want %d", n.asked(), want)
			}
			wait = min(2*wait, trustroot.LastRetry)
		}
		wantKind(t, wantRoot(t, s, nil), trustroot.Unavailable)
	})
}

func TestARetryIsNeverLaterThanThePeriod(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := ofRepository(t, trustroottest.New(someRoot()))
		cfg.TUF.Refresh = time.Minute
		n := &away{}
		open(t, cfg, n)
		time.Sleep(3 * time.Hour)
		if n.asked() < 3*60-10 {
			t.Errorf("it was asked %d times in three hours", n.asked())
		}
	})
}

func TestSettleWaitsForARootAndNotLonger(t *testing.T) {
	t.Parallel()
	t.Run("until the network is there", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			good := someRoot()
			r := trustroottest.New(good)
			r.Fault(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
			s := open(t, ofRepository(t, r), through{r})
			go func() {
				time.Sleep(2 * time.Second)
				r.Fault(nil)
			}()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			begin := time.Now()
			if err := s.Settle(ctx); err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(begin); waited != trustroot.FirstRetry {
				t.Errorf("it waited %v", waited)
			}
			wantRoot(t, s, good)
		})
	})
	t.Run("not longer than the caller does", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := open(t, ofRepository(t, trustroottest.New(someRoot())), &away{})
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			begin := time.Now()
			err := s.Settle(ctx)
			if _, ok := errors.AsType[*trustroot.Error](err); !ok || !errors.Is(err, trustroot.ErrNone) {
				t.Errorf("got %v", err)
			}
			if waited := time.Since(begin); waited != 5*time.Second {
				t.Errorf("it waited %v", waited)
			}
		})
	})
	t.Run("with the built-in root for one answer of the mirror", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := open(t, trustroot.Config{PublicGood: &trustroot.PublicGood{}}, &away{})
			begin := time.Now()
			settle(t, s)
			if waited := time.Since(begin); waited != 0 {
				t.Errorf("it waited %v", waited)
			}
		})
	})
	t.Run("with the built-in root not longer than the caller does", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			silent := http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
			s := open(t, trustroot.Config{PublicGood: &trustroot.PublicGood{}}, direct{silent})
			begin := time.Now()
			settle(t, s)
			if waited := time.Since(begin); waited != 5*time.Second {
				t.Errorf("it waited %v", waited)
			}
		})
	})
	t.Run("not after Close", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := open(t, ofRepository(t, trustroottest.New(someRoot())), &away{})
			s.Close()
			if err := s.Settle(t.Context()); !errors.Is(err, trustroot.ErrNone) {
				t.Errorf("got %v", err)
			}
		})
	})
}

// direct is through without a path.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	inner := req.Clone(req.Context())
	inner.URL.Path = "/repository" + req.URL.Path
	return through(d).RoundTrip(inner)
}

func TestCloseEndsARefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := trustroottest.New(someRoot())
		r.Fault(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
		s := open(t, ofRepository(t, r), through{r})
		synctest.Wait()
		begin := time.Now()
		s.Close()
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("Close took %v", waited)
		}
		s.Close() // and again
	})
}

func TestAPanicDoesNotEndTheRefreshing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good := someRoot()
		r := trustroottest.New(good)
		r.Fault(func(http.ResponseWriter, *http.Request) { panic("hostile") })
		s := open(t, ofRepository(t, r), through{r})
		time.Sleep(time.Second)
		wantKind(t, wantRoot(t, s, nil), trustroot.Untrusted)
		r.Fault(nil)
		time.Sleep(time.Minute)
		wantNoProblem(t, wantRoot(t, s, good))
	})
}

func TestARestartWithinThePeriodAsksNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good := someRoot()
		r := trustroottest.New(good)
		cfg := ofRepository(t, r)
		cfg.TUF.CacheDir = filepath.Join(t.TempDir(), "cache")
		s := open(t, cfg, through{r})
		settle(t, s)
		s.Close()
		r.Requests()

		time.Sleep(12 * time.Hour)
		s = open(t, cfg, through{r})
		settle(t, s)
		status := wantRoot(t, s, good)
		wantNoProblem(t, status)
		if status.Origin.Kind != trustroot.FromCache || status.Age != 12*time.Hour || status.Expires.IsZero() {
			t.Errorf("it is from %v, %v old, expires %v", status.Origin, status.Age, status.Expires)
		}
		time.Sleep(9 * time.Hour)
		if asked := r.Requests(); len(asked) != 0 {
			t.Errorf("%q were asked for", asked)
		}
		time.Sleep(3 * time.Hour)
		if len(r.Requests()) == 0 {
			t.Error("the mirror was not asked after the period")
		}
	})
}

// The clock of a node can have been wrong when the state was kept.
func TestAStateFromTheFutureIsRefreshed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cache")
	var r *trustroottest.Repository
	var cfg trustroot.Config
	good := someRoot()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(3 * day)
		r = trustroottest.New(good)
		cfg = ofRepository(t, r)
		cfg.TUF.RootPath = write(t, dir+"-root.json", r.RootJSON(1))
		cfg.TUF.CacheDir = dir
		s := open(t, cfg, through{r})
		settle(t, s)
		s.Close()
		r.Requests()
	})
	synctest.Test(t, func(t *testing.T) {
		s := open(t, cfg, through{r})
		settle(t, s)
		if _, status := s.Current(); status.Age < 0 {
			t.Errorf("it is %v old", status.Age)
		}
		synctest.Wait()
		if len(r.Requests()) == 0 {
			t.Error("the mirror was not asked")
		}
	})
}

func TestTheBuiltInRootIsReplacedWhenTheNetworkIsThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &away{}
		s := open(t, trustroot.Config{PublicGood: &trustroot.PublicGood{}}, n)
		time.Sleep(time.Second)
		root, status := s.Current()
		if root == nil || root.Digest() != sigstore.PublicGood().Digest() || status.Origin.Kind != trustroot.FromBuild ||
			!status.Fetched.Equal(sigstore.PublicGoodDate) {
			t.Errorf("got %v", status)
		}
		wantKind(t, status, trustroot.Unavailable)
	})
}

func TestTheBuiltInRootIsTheOneThatIsVerifiedWith(t *testing.T) {
	t.Parallel()
	if image.Of(trustroot.PublicGoodRoot) != sigstore.PublicGood().Digest() {
		t.Error("they differ")
	}
}
