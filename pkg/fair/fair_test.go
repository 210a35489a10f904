package fair_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/fair"
)

// ADVERSARIAL.md row 45: 1,000 of one namespace wait, and another one's first comes
// in after no more than the time of one slot, or at once where a tenant may not have
// all slots.
func TestAThousandOfOneTenantDelayAnotherByNoMoreThanOneSlot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tenantSlots int
		want        time.Duration
	}{"all slots for one": {0, time.Second}, "half of them": {4, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRoom(t, fair.Limits{Slots: 8, TenantSlots: c.tenantSlots, Waiting: 1000})
				for range 1000 {
					r.works(of("many"), time.Second)
				}
				r.works(of("one"), time.Second)
				r.all.Wait()
				r.wantWhen("one", c.want)
			})
		})
	}
}

func TestTenantsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, fair.Limits{Slots: 1, Waiting: 10})
		for _, name := range strings.Split("aaaaabbbccd", "") {
			r.works(of(name), time.Second)
		}
		r.all.Wait()
		if got, want := r.order(), "aabcdabcaba"; got != want {
			t.Errorf("they came in as %s, want %s", got, want)
		}
	})
}

// A tenant that holds all slots gets the one that it leaves only when nobody waits
// who holds fewer.
func TestWhoHasLeastInGoesFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, fair.Limits{Slots: 2, Waiting: 10})
		leave := r.stays(of("a"))
		r.stays(of("a"))
		r.works(of("a"), time.Second)
		r.works(of("b"), time.Second)
		leave()
		r.all.Wait()
		if got := r.order(); got != "ba" {
			t.Errorf("they came in as %s", got)
		}
	})
}

func TestSoManyASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, fair.Limits{Rate: 10, Burst: 3, TenantRate: 5, TenantBurst: 2, Waiting: 100})
		ms := func(n ...int) (out []time.Duration) {
			for _, n := range n {
				out = append(out, time.Duration(n)*time.Millisecond)
			}
			return out
		}
		for range 5 {
			r.works(of("a"), 0)
		}
		r.works(of("b"), 0)
		r.works(of("b"), 0)
		r.all.Wait()
		// Of three at once a may take two. Then there is one for somebody each 100 ms.
		r.wantWhen("a", ms(0, 0, 200, 400, 600)...)
		r.wantWhen("b", ms(0, 100)...)
		time.Sleep(time.Minute) // no more gathers than a burst
		r.began, r.when = time.Now(), map[string][]time.Duration{}
		for _, name := range strings.Split("abcabc", "") {
			r.works(of(name), 0)
		}
		r.all.Wait()
		r.wantWhen("a", ms(0, 100)...)
		r.wantWhen("b", ms(0, 200)...)
		r.wantWhen("c", ms(0, 300)...)
	})
}

func TestWhatIsNotBoundedIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, fair.Limits{})
		for range 100 {
			r.stays(of("a"))
			r.stays(inBackground("b"))
		}
		if r.Held() != 200 {
			t.Errorf("%d are in", r.Held())
		}
	})
}

// Nobody waits for what can't be: it is told at once, and by which bound.
func TestATimeThatIsTooShortIsToldAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, fair.Limits{Rate: 10, Burst: 3, TenantRate: 5, TenantBurst: 2, Waiting: 100})
		for range 4 {
			r.works(of("a"), 0)
		}
		try := func(who fair.Who, within time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			_, err := r.Enter(ctx, who)
			return err
		}
		// Two of its own go first.
		err := try(of("a"), 599*time.Millisecond)
		wantLate(t, err, fair.TenantRate)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		r.works(of("b"), 0)
		wantLate(t, try(of("c"), 99*time.Millisecond), fair.Rate)
		if r.Tenants() != 2 {
			t.Errorf("%d tenants are known, and one has gone", r.Tenants())
		}
		// Two are gone, and half of a burst is not for the background.
		wantLate(t, try(inBackground("c"), 199*time.Millisecond), fair.Rate)
		if time.Since(r.began) != 0 {
			t.Errorf("it took %v", time.Since(r.began))
		}
		if err := try(of("c"), 101*time.Millisecond); err != nil {
			t.Error(err)
		}
		r.all.Wait()
	})
}

func TestWhoseTimeEndsIsToldWhatWasMissing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("gone")
		try := func(q *fair.Queue, who fair.Who) error {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Millisecond, func() { cancel(gone) })
			_, err := q.Enter(ctx, who)
			if !errors.Is(err, gone) {
				t.Errorf("%v is not why", err)
			}
			return err
		}
		slots := newRoom(t, fair.Limits{Slots: 3, TenantSlots: 2, Waiting: 10})
		slots.stays(of("a"))
		slots.stays(of("a"))
		wantLate(t, try(slots.Queue, of("a")), fair.TenantSlots)
		wantLate(t, try(slots.Queue, inBackground("b")), fair.Others)
		slots.stays(of("b"))
		wantLate(t, try(slots.Queue, of("b")), fair.Slots)
		rates := newRoom(t, fair.Limits{Rate: 10, Burst: 3, TenantRate: 5, TenantBurst: 2, Waiting: 10})
		rates.stays(of("a"))
		rates.stays(of("a"))
		wantLate(t, try(rates.Queue, of("a")), fair.TenantRate)
		rates.stays(of("b"))
		wantLate(t, try(rates.Queue, of("b")), fair.Rate)
		for bound, want := range map[fair.Bound]string{fair.Slots: "all slots are taken: gone", fair.TenantRate: "the tenant's rate is used up: gone"} {
			if got := (&fair.LateError{Bound: bound, Err: gone}).Error(); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(gone)
		if _, err := fair.New(fair.Limits{}).Enter(ctx, of("a")); !errors.Is(err, gone) {
			t.Errorf("%v, want that it was over before", err)
		}
	})
}

func TestWhoGivesUpLeavesThePlaceAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, fair.Limits{Slots: 1, Waiting: 2})
		leave := r.stays(of("a"))
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				if _, err := r.Enter(ctx, of("a")); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if _, err := r.Enter(t.Context(), of("a")); !errors.Is(err, fair.ErrFull) {
			t.Errorf("%v, want that it is full", err)
		}
		r.works(of("b"), time.Second) // is another's
		_, err := r.tries(of("c"))
		wantLate(t, err, fair.Slots)
		if r.Tenants() != 2 {
			t.Errorf("%d tenants are known, and one has gone", r.Tenants())
		}
		cancel()
		all.Wait()
		r.works(of("a"), time.Second)
		r.works(of("a"), time.Second)
		if r.Waits() != 3 {
			t.Errorf("%d wait", r.Waits())
		}
		leave()
		r.all.Wait()
		if r.Held() != 0 || r.Waits() != 0 || r.Tenants() != 0 {
			t.Errorf("%d are in, %d wait, %d tenants are known", r.Held(), r.Waits(), r.Tenants())
		}
	})
}

func TestLeavingTwiceIsLeavingOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, fair.Limits{Slots: 2})
		leave := r.stays(of("a"))
		r.stays(of("a"))
		leave()
		leave()
		r.stays(of("b"))
		if _, err := r.tries(of("c")); !errors.Is(err, fair.ErrFull) {
			t.Errorf("%v: there are two slots, and nobody may wait", err)
		}
	})
}

// What is kept of tenants is bounded, whatever their names are.
func TestTenantsAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, fair.Limits{Slots: 8, TenantSlots: 4, TenantRate: 1, TenantBurst: 2, Waiting: 10})
		r.stays(of("first")) // and is in
		for i := range 2 * fair.MaxTenants {
			r.stays(of(fmt.Sprint("t", i)))()
			time.Sleep(time.Millisecond / 2)
		}
		if n := r.Tenants(); n != fair.MaxTenants {
			t.Errorf("%d tenants are known", n)
		}
		// Who has used the most is not the one that is forgotten for another's sake.
		r.stays(of("spent"))()
		r.stays(of("spent"))()
		r.stays(of("new"))()
		_, err := r.tries(of("spent"))
		wantLate(t, err, fair.TenantRate)
		time.Sleep(time.Minute)
		r.stays(of("after a while"))
		if n := r.Tenants(); n != 2 {
			t.Errorf("%d tenants are known, of which two have something in", n)
		}
	})
}

func TestNoMoreTenantsThanAreKnownWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, fair.Limits{Slots: 1, Waiting: 10})
		leave := r.stays(of("t0"))
		for i := range fair.MaxTenants - 1 {
			r.works(of(fmt.Sprint("t", i+1)), 0)
		}
		if _, err := r.Enter(t.Context(), of("one more")); !errors.Is(err, fair.ErrFull) {
			t.Errorf("%v, want that it is full", err)
		}
		leave()
		r.all.Wait()
		r.stays(of("one more"))
	})
}

// All of it at once, with real time, for the race detector.
func TestManyAtOnceKeepTheBounds(t *testing.T) {
	t.Parallel()
	l := fair.Limits{Slots: 4, TenantSlots: 2, Rate: 20000, Burst: 100, TenantRate: 10000, TenantBurst: 50, Waiting: 50}
	q := fair.New(l)
	var in [5]atomic.Int32 // by tenant, and all
	var all sync.WaitGroup
	var entered, gaveUp atomic.Int32
	for i := range 64 {
		all.Go(func() {
			for range 50 {
				tenant := rand.IntN(4)
				ctx, cancel := context.WithCancel(t.Context())
				if rand.IntN(3) == 0 {
					time.AfterFunc(time.Duration(rand.IntN(1000))*time.Microsecond, cancel)
				}
				leave, err := q.Enter(ctx, fair.Who{Tenant: fmt.Sprint(tenant), Background: i%4 == 0})
				if err != nil {
					gaveUp.Add(1)
					cancel()
					continue
				}
				entered.Add(1)
				if n := in[tenant].Add(1); n > 2 {
					t.Errorf("%d of a tenant are in", n)
				}
				if n := in[4].Add(1); n > 4 {
					t.Errorf("%d are in", n)
				}
				in[tenant].Add(-1)
				in[4].Add(-1)
				leave()
				leave()
				cancel()
			}
		})
	}
	all.Wait()
	if q.Held() != 0 || q.Waits() != 0 {
		t.Errorf("%d are in, %d wait", q.Held(), q.Waits())
	}
	if entered.Load() == 0 || entered.Load()+gaveUp.Load() != 64*50 {
		t.Errorf("%d entered, %d gave up", entered.Load(), gaveUp.Load())
	}
}
