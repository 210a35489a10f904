package fair_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/fair"
)

func TestBackgroundWorkLeavesHalfToOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slots := newRoom(t, fair.Limits{Slots: 8, TenantSlots: 4, Waiting: 100})
		var leave func()
		for _, name := range []string{"a", "a", "b", "c"} {
			leave = slots.stays(inBackground(name))
		}
		for _, who := range []fair.Who{inBackground("a"), inBackground("d")} {
			_, err := slots.tries(who)
			wantLate(t, err, fair.Others)
		}
		for _, name := range []string{"a", "a", "b", "b"} {
			slots.stays(of(name))
		}
		_, err := slots.tries(of("c"))
		wantLate(t, err, fair.Slots)
		leave()
		slots.stays(of("c"))

		rates := newRoom(t, fair.Limits{Rate: 1, Burst: 8, TenantRate: 1, TenantBurst: 4, Waiting: 100})
		rates.stays(inBackground("a"))
		rates.stays(inBackground("a"))
		_, err = rates.tries(inBackground("a"))
		wantLate(t, err, fair.TenantRate)
		rates.stays(inBackground("b"))
		rates.stays(inBackground("b"))
		_, err = rates.tries(inBackground("c"))
		wantLate(t, err, fair.Rate)
		for _, name := range []string{"a", "a", "b", "c"} {
			rates.stays(of(name))
		}
		rates.works(inBackground("b"), 0)
		// The other one goes first.
		ctx, cancel := context.WithTimeout(t.Context(), 5500*time.Millisecond)
		defer cancel()
		_, err = rates.Enter(ctx, inBackground("b"))
		wantLate(t, err, fair.Rate)
		if ctx.Err() != nil {
			t.Error("it waited for nothing")
		}
		rates.all.Wait()
		rates.wantWhen("b", 5*time.Second)
	})
}

// With a single slot, or one a second, background work still gets done.
func TestBackgroundWorkIsNotShutOutBySmallBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, fair.Limits{Slots: 1, TenantSlots: 1, Rate: 1, TenantRate: 1, Waiting: 10})
		r.works(inBackground("a"), 0)
		r.works(inBackground("a"), 0)
		r.all.Wait()
		r.wantWhen("a", 0, time.Second)
	})
}

func TestBackgroundWorkWaitsForAllOthersWhoCanGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, fair.Limits{Slots: 2, TenantSlots: 1, Waiting: 10})
		leave := r.stays(of("a"))
		other := r.stays(of("b"))
		r.works(inBackground("x"), time.Second)
		r.works(inBackground("a"), time.Second)
		r.works(of("a"), time.Second)
		r.works(of("c"), time.Second)
		leave()
		synctest.Wait()
		other()
		r.all.Wait()
		if got := r.order(); got != "acxa" {
			t.Errorf("they came in as %s", got)
		}
	})
}

func TestBackgroundWorkIsNotServedFirstBecauseItHoldsLess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, fair.Limits{Rate: 1, Burst: 1, Waiting: 10})
		r.stays(of("a"))
		r.works(inBackground("b"), 0)
		r.works(of("a"), 0)
		r.all.Wait()
		if got := r.order(); got != "ab" {
			t.Errorf("they came in as %s", got)
		}
	})
}

// A namespace in which 1,000 wait without end keeps nobody else's background work
// away: it can't go itself.
func TestWhoCanNotGoKeepsNoBackgroundWorkAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, fair.Limits{Slots: 8, TenantSlots: 2, Waiting: 1000})
		for range 102 {
			r.works(of("many"), time.Second)
		}
		r.works(inBackground("one"), time.Second)
		r.works(inBackground("many"), time.Second)
		r.all.Wait()
		r.wantWhen("one", 0)
		if got := r.when["many"]; got[len(got)-1] != 51*time.Second {
			t.Errorf("its own background work was done after %v", got[len(got)-1])
		}
	})
}

// What somebody waits for now is not in the background any more, even if it has
// begun to wait there.
func TestWhatIsWantedNowIsInTheBackgroundNoLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, fair.Limits{Slots: 4, Waiting: 10})
		leave := r.stays(of("a"))
		r.stays(of("a"))
		hurry := make(chan struct{})
		r.works(fair.Who{Tenant: "b", Background: true, Hurry: hurry}, 0)
		r.works(inBackground("c"), 0)
		time.Sleep(time.Second)
		close(hurry)
		synctest.Wait()
		r.works(fair.Who{Tenant: "d", Background: true, Hurry: hurry}, 0)
		r.works(fair.Who{Tenant: "e", Hurry: hurry}, 0) // was never in the background
		time.Sleep(time.Second)
		if got := r.order(); got != "bde" {
			t.Errorf("they came in as %q", got)
		}
		leave()
		r.all.Wait()
		if got := r.order(); got != "bdec" {
			t.Errorf("they came in as %q", got)
		}
		for range 3 {
			r.stays(of("a"))
		}
		again := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, func() { close(again) })
		time.AfterFunc(2*time.Second, cancel)
		_, err := r.Enter(ctx, fair.Who{Tenant: "f", Background: true, Hurry: again})
		wantLate(t, err, fair.Slots)
		if r.Held() != 4 || r.Waits() != 0 {
			t.Errorf("%d are in, %d wait", r.Held(), r.Waits())
		}
	})
}
