package registry

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/podseal/podseal/pkg/fair"
)

// enter waits until the registry may be sent the request that begins there. After a
// nil error the caller must leave.
func (t talk) enter(ctx context.Context, u *url.URL) (leave func(), err error) {
	for {
		if err := t.waitPause(ctx); err != nil {
			return nil, err
		}
		if err := t.reachable(u); err != nil {
			return nil, err
		}
		began := time.Now()
		if leave, err = t.queue.Enter(ctx, t.with.who); err != nil {
			return nil, t.late(ctx, began, err)
		}
		if t.pause() <= 0 {
			return leave, nil
		}
		leave() // another one was told to wait meanwhile
	}
}

// late says why it was not a request's turn in time.
func (t talk) late(ctx context.Context, began time.Time, err error) error {
	late, isLate := errors.AsType[*fair.LateError](err)
	switch {
	case errors.Is(err, fair.ErrFull):
		return fail(Limit, "%d requests to the registry for the namespace %q wait already, or for too many namespaces", maxWaiting, clip(t.with.who.Tenant))
	case !isLate || errors.Is(ctx.Err(), context.Canceled):
		return ended(ctx)
	}
	switch late.Bound {
	case fair.TenantRate:
		return fail(Limit, "the registry was sent %d requests for the namespace %q and is sent no more than %d a second for one, which are too few in the time that there is: %w",
			burst/2, clip(t.with.who.Tenant), perSecond/2, late.Err)
	case fair.Rate:
		return fail(Limit, "the registry was sent %d requests and is sent no more than %d a second, which are too few in the time that there is: %w", burst, perSecond, late.Err)
	case fair.Others:
		return fail(Limit, "requests of those who wait for the answer came first: %w", late.Err)
	}
	t.mu.Lock()
	answered := t.answered
	t.mu.Unlock()
	// Who has filled the slots with requests that are answered must not be able to make
	// it look as if the registry were away (row 38).
	if answered.After(began) {
		return fail(Limit, "as many other requests to the registry were under way as may be (%v): %w", late.Bound, late.Err)
	}
	return fail(Unavailable, "other requests to the registry were under way, and none of them was answered: %w", late.Err)
}
