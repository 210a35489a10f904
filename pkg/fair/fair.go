// Package fair shares something scarce between tenants: so many things at once, so
// many a second. Tenants take turns, so what one of them wants, however much it is,
// costs another one no more than a turn. Names of tenants may be strangers' choice:
// what is kept of them is bounded.
package fair

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/guard"
)

// maxTenants is of how many tenants anything is kept.
const maxTenants = 1024

// Queue is where tenants wait. It is safe for concurrent use.
type Queue struct {
	limits Limits

	// mu guards all below, for a walk over those who wait at most.
	mu     sync.Mutex
	held   int
	bucket bucket
	// tenants are those that have something in, wait, or have a bucket that is not
	// full again: at most maxTenants.
	tenants map[string]*tenant
	// turns are the tenants with somebody who waits. The first is who comes next.
	turns []*tenant
	// timer calls serve when a bucket has something again.
	timer *time.Timer
}

type tenant struct {
	name   string
	held   int
	bucket bucket
	// waiting is who waits, in the order of their coming, by whether it is in the
	// background.
	waiting [2][]*waiter
}

const (
	foreground = 0
	background = 1
)

func (t *tenant) idle() bool { return t.held == 0 && !t.waits() }

func (t *tenant) waits() bool { return len(t.waiting[foreground])+len(t.waiting[background]) > 0 }

// waiter is one who waits. enter is closed when it is in.
type waiter struct {
	tenant *tenant
	row    int
	enter  chan struct{}
}

// New returns a Queue where nobody is yet.
func New(l Limits) *Queue {
	return &Queue{limits: l, bucket: newBucket(l.Rate, l.Burst), tenants: map[string]*tenant{}}
}

// Enter waits until it is who's turn. After a nil error the caller must leave, and
// may do so more than once. The errors are ErrFull, *LateError, and the cause of a
// context that was done before.
//
// Who can't come in before the context's deadline, as things are, is told at once.
func (q *Queue) Enter(ctx context.Context, who Who) (leave func(), err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	w, err := q.join(ctx, who)
	if err != nil {
		return nil, err
	}
	for hurry := who.Hurry; ; {
		select {
		case <-w.enter:
			return sync.OnceFunc(func() { q.leave(w.tenant) }), nil
		case <-hurry:
			q.hurry(w)
			hurry = nil
		case <-ctx.Done():
			if bound, gone := q.giveUp(w); gone {
				return nil, &LateError{bound, context.Cause(ctx)}
			}
			// It came in at the same moment, and whoever it is will notice.
			return sync.OnceFunc(func() { q.leave(w.tenant) }), nil
		}
	}
}

// join puts somebody into the queue, who may come in at once.
func (q *Queue) join(ctx context.Context, who Who) (*waiter, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	t := q.tenant(who.Tenant, now)
	if t == nil {
		return nil, ErrFull
	}
	w := &waiter{tenant: t, row: who.row(), enter: make(chan struct{})}
	if deadline, ok := ctx.Deadline(); ok {
		if bound, until := q.atLeast(w, now); until.After(deadline) {
			q.forget(t, now)
			return nil, &LateError{bound, context.DeadlineExceeded}
		}
	}
	if !t.waits() {
		q.turns = append(q.turns, t)
	}
	t.waiting[w.row] = append(t.waiting[w.row], w)
	q.serve(now)
	if q.isWaiting(w) && len(t.waiting[foreground])+len(t.waiting[background]) > q.limits.Waiting {
		q.remove(w, now)
		return nil, ErrFull
	}
	return w, nil
}

// tenant returns what is known of a tenant, nil if there is no room for another.
func (q *Queue) tenant(name string, now time.Time) *tenant {
	if t, ok := q.tenants[name]; ok {
		return t
	}
	if len(q.tenants) >= maxTenants && !q.makeRoom(now) {
		return nil
	}
	t := &tenant{name: name, bucket: newBucket(q.limits.TenantRate, q.limits.TenantBurst)}
	q.tenants[name] = t
	return t
}

// makeRoom forgets the tenants of which nothing has to be kept, else the one of
// which the least has.
func (q *Queue) makeRoom(now time.Time) bool {
	var least *tenant
	for _, t := range q.tenants {
		if t.idle() && (least == nil || t.bucket.full.Before(least.bucket.full)) {
			least = t
		}
		q.forget(t, now)
	}
	if least == nil {
		return false
	}
	delete(q.tenants, least.name)
	return true
}

// forget forgets a tenant that is as one who comes for the first time.
func (q *Queue) forget(t *tenant, now time.Time) {
	if t.idle() && !t.bucket.full.After(now) {
		delete(q.tenants, t.name)
	}
}

// atLeast is before when somebody can't enter who joins now, and why: those of its
// tenant who wait already go first.
func (q *Queue) atLeast(w *waiter, now time.Time) (Bound, time.Time) {
	n := len(w.tenant.waiting[foreground]) + 1
	if w.row == background {
		n += len(w.tenant.waiting[background])
	}
	return q.has(w.tenant, w.row, n, now)
}

// serve lets in who can come in, and sees to it that it is called again when
// somebody can who only waits for time to pass.
func (q *Queue) serve(now time.Time) {
	for {
		i, row, at := q.next(now)
		if at.IsZero() || at.After(now) {
			q.wakeAt(at, now)
			return
		}
		q.letIn(i, row, now)
	}
}

// next is whose turn it is next, by the place in turns, and from when on; the zero
// time when that is not for time to decide. Of those who can come in now it is one
// in the foreground, then one who has the least in, then who has waited longest
// since the last turn.
func (q *Queue) next(now time.Time) (place, row int, at time.Time) {
	for _, r := range []int{foreground, background} {
		for i, t := range q.turns {
			from, ok := q.may(t, r, now)
			switch {
			case !ok:
			case !from.After(now) && (at.IsZero() || at.After(now) || t.held < q.turns[place].held):
				place, row, at = i, r, now
			case from.After(now) && (at.IsZero() || from.Before(at)):
				place, row, at = i, r, from
			}
		}
		if !at.IsZero() && !at.After(now) {
			break
		}
	}
	return place, row, at
}

// may is from when on the first of a tenant's row may enter as far as time alone
// decides; false when something else does.
func (q *Queue) may(t *tenant, row int, now time.Time) (time.Time, bool) {
	l := q.limits
	if row == background {
		l.Slots, l.TenantSlots = (l.Slots+1)/2, (l.TenantSlots+1)/2
	}
	if len(t.waiting[row]) == 0 || l.Slots > 0 && q.held >= l.Slots || l.TenantSlots > 0 && t.held >= l.TenantSlots {
		return time.Time{}, false
	}
	_, at := q.has(t, row, 1, now)
	return at, true
}

// has is from when on a tenant may take n, if nobody else takes any, and which bucket
// says so.
func (q *Queue) has(t *tenant, row, n int, now time.Time) (Bound, time.Time) {
	spare, tenantSpare := 0, 0
	if row == background {
		spare, tenantSpare = q.limits.Burst/2, q.limits.TenantBurst/2
	}
	own, all := t.bucket.has(n+tenantSpare, now), q.bucket.has(n+spare, now)
	if own.After(all) {
		return TenantRate, own
	}
	return Rate, all
}

// letIn lets in the first of a row of the tenant whose turn is the i-th, and puts
// the tenant behind the others.
func (q *Queue) letIn(i, row int, now time.Time) {
	t := q.turns[i]
	q.turns = slices.Delete(q.turns, i, i+1)
	w := t.waiting[row][0]
	t.waiting[row] = slices.Delete(t.waiting[row], 0, 1)
	if t.waits() {
		q.turns = append(q.turns, t)
	}
	t.held++
	q.held++
	t.bucket.take(now)
	q.bucket.take(now)
	close(w.enter)
}

func (q *Queue) wakeAt(next, now time.Time) {
	switch {
	case next.IsZero() && q.timer != nil:
		q.timer.Stop()
	case next.IsZero():
	case q.timer == nil:
		q.timer = time.AfterFunc(next.Sub(now), q.wake)
	default:
		q.timer.Reset(next.Sub(now))
	}
}

// wake is called by the timer, on a goroutine of its own that ends with it.
func (q *Queue) wake() {
	_ = guard.Do(func() error {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.serve(time.Now())
		return nil
	})
}

// hurry moves somebody from the background behind the others of its tenant.
func (q *Queue) hurry(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := w.tenant
	if i := slices.Index(t.waiting[background], w); i >= 0 {
		t.waiting[background] = slices.Delete(t.waiting[background], i, i+1)
		t.waiting[foreground] = append(t.waiting[foreground], w)
		w.row = foreground
		q.serve(time.Now())
	}
}

func (q *Queue) isWaiting(w *waiter) bool { return slices.Contains(w.tenant.waiting[w.row], w) }

// giveUp takes out somebody who waits, and says for what; false if it is in.
func (q *Queue) giveUp(w *waiter) (Bound, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.isWaiting(w) {
		return 0, false
	}
	now := time.Now()
	bound := q.missing(w, now)
	q.remove(w, now)
	return bound, true
}

// missing is what somebody waits for.
func (q *Queue) missing(w *waiter, now time.Time) Bound {
	l := q.limits
	if l.TenantSlots > 0 && w.tenant.held >= l.TenantSlots {
		return TenantSlots
	}
	if l.Slots > 0 && q.held >= l.Slots {
		return Slots
	}
	if bound, at := q.has(w.tenant, w.row, 1, now); at.After(now) {
		return bound
	}
	return Others
}

func (q *Queue) remove(w *waiter, now time.Time) {
	t := w.tenant
	i := slices.Index(t.waiting[w.row], w)
	t.waiting[w.row] = slices.Delete(t.waiting[w.row], i, i+1)
	if !t.waits() {
		i = slices.Index(q.turns, t)
		q.turns = slices.Delete(q.turns, i, i+1)
	}
	q.forget(t, now)
	q.serve(now) // with it may have gone what kept the background away
}

func (q *Queue) leave(t *tenant) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	q.held--
	t.held--
	q.serve(now)
	q.forget(t, now)
}
