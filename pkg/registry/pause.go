package registry

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

const (
	// maxPauses is how often a registry may make one question wait.
	maxPauses = 3
	// maxPause is how long it may make anybody wait: whoever runs it chooses it.
	maxPause = time.Minute
)

// patiently asks until the answer is another one than to wait.
func (e *endpoint) patiently(ctx context.Context, ask func() (*reply, error)) (*reply, error) {
	for pauses := 0; ; pauses++ {
		r, err := ask()
		if err != nil || r == nil || !e.asksToWait(r, pauses) || pauses == maxPauses {
			return r, err
		}
	}
}

// asksToWait is whether a reply asks us to wait, which is then taken note of for
// all requests to the registry.
func (e *endpoint) asksToWait(r *reply, before int) bool {
	wait, given := retryAfter(r.header.Get("Retry-After"), time.Now())
	switch {
	case r.status == http.StatusTooManyRequests && !given:
		wait = time.Second << before
	case r.status == http.StatusTooManyRequests:
	case r.status == http.StatusServiceUnavailable && given:
	default:
		return false
	}
	until := time.Now().Add(min(wait, maxPause))
	e.mu.Lock()
	defer e.mu.Unlock()
	if until.After(e.paused) {
		e.paused = until
	}
	return true
}

// retryAfter reads seconds or a date (RFC 9110, section 10.2.3).
func retryAfter(s string, now time.Time) (time.Duration, bool) {
	if seconds, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if date, err := http.ParseTime(s); err == nil {
		return max(date.Sub(now), 0), true
	}
	return 0, false
}

// waitPause returns when the registry no longer wants to be left alone. Who has not
// that much time is told at once.
func (e *endpoint) waitPause(ctx context.Context) error {
	for {
		wait := e.pause()
		if wait <= 0 {
			if ctx.Err() != nil {
				return ended(ctx)
			}
			return nil
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return fail(Unavailable, "the registry has had too many requests (429 or 503 with Retry-After) and is to be asked in %v again, which is too late", wait.Round(time.Millisecond))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ended(ctx)
		}
	}
}

// pause is for how long the registry wants to be left alone.
func (e *endpoint) pause() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Until(e.paused)
}
