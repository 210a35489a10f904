package fair_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/fair"
)

func of(tenant string) fair.Who { return fair.Who{Tenant: tenant} }

func inBackground(tenant string) fair.Who { return fair.Who{Tenant: tenant, Background: true} }

// room is a queue in front of work of some length, and who came in when.
type room struct {
	*fair.Queue
	t     *testing.T
	began time.Time

	mu      sync.Mutex
	entered []string // tenants, in the order of their entering
	when    map[string][]time.Duration
	all     sync.WaitGroup
}

func newRoom(t *testing.T, l fair.Limits) *room {
	return &room{Queue: fair.New(l), t: t, began: time.Now(), when: map[string][]time.Duration{}}
}

// works comes, now, and stays in so long.
func (r *room) works(who fair.Who, length time.Duration) {
	r.t.Helper()
	r.all.Go(func() {
		leave, err := r.Enter(r.t.Context(), who)
		if err != nil {
			r.t.Error(err)
			return
		}
		defer leave()
		r.mu.Lock()
		r.entered = append(r.entered, who.Tenant)
		r.when[who.Tenant] = append(r.when[who.Tenant], time.Since(r.began))
		r.mu.Unlock()
		time.Sleep(length)
	})
	synctest.Wait() // so that they come one after the other
}

func (r *room) order() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.entered, "")
}

func (r *room) wantWhen(tenant string, want ...time.Duration) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := r.when[tenant]; fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("%s came in after %v, want %v", tenant, got, want)
	}
}

// stays enters at once and stays.
func (r *room) stays(who fair.Who) (leave func()) {
	r.t.Helper()
	leave, err := r.tries(who)
	if err != nil {
		r.t.Fatalf("%+v: %v", who, err)
	}
	return leave
}

// tries enters if that needs no waiting.
func (r *room) tries(who fair.Who) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Nanosecond)
	defer cancel()
	return r.Enter(ctx, who)
}

func wantLate(t *testing.T, err error, bound fair.Bound) {
	t.Helper()
	if e, ok := errors.AsType[*fair.LateError](err); !ok || e.Bound != bound {
		t.Errorf("got %v, want a LateError of %v", err, bound)
	}
}
