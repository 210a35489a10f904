package attest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestALateTimeoutEndsAsOneThatWasMadeAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := withLateTimeout(t.Context(), time.Minute)
		defer cancel()
		if d, ok := ctx.Deadline(); !ok || time.Until(d) != time.Minute {
			t.Errorf("Deadline = %v, %v", d, ok)
		}
		time.Sleep(time.Minute - 1)
		if err := ctx.Err(); err != nil {
			t.Errorf("Err = %v before the time is over", err)
		}
		<-ctx.Done()
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(ctx), errTimeout) {
			t.Errorf("Err = %v, Cause = %v", ctx.Err(), context.Cause(ctx))
		}
	})
}

func TestALateTimeoutIsNoticedWithoutWaitingForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := withLateTimeout(t.Context(), time.Minute)
		defer cancel()
		time.Sleep(time.Minute)
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(ctx), errTimeout) {
			t.Errorf("Err = %v, Cause = %v", ctx.Err(), context.Cause(ctx))
		}
	})
}

func TestALateTimeoutEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	left := errors.New("the guest has gone")
	for _, waiting := range []bool{false, true} {
		parent, leave := context.WithCancelCause(t.Context())
		ctx, cancel := withLateTimeout(parent, time.Minute)
		if waiting {
			ctx.Done()
		}
		leave(left)
		if !errors.Is(ctx.Err(), context.Canceled) || !errors.Is(context.Cause(ctx), left) {
			t.Errorf("waiting %v: Err = %v, Cause = %v", waiting, ctx.Err(), context.Cause(ctx))
		}
		cancel()
	}
}

func TestALateTimeoutIsNotLongerThanItsCallers(t *testing.T) {
	t.Parallel()
	parent, leave := context.WithTimeout(t.Context(), time.Second)
	defer leave()
	ctx, cancel := withLateTimeout(parent, time.Minute)
	defer cancel()
	got, _ := ctx.Deadline()
	if want, _ := parent.Deadline(); !got.Equal(want) {
		t.Errorf("Deadline = %v, want %v", got, want)
	}
}

func TestACanceledLateTimeoutHasEndedForWhoWaits(t *testing.T) {
	t.Parallel()
	ctx, cancel := withLateTimeout(t.Context(), time.Minute)
	done := ctx.Done()
	cancel()
	<-done
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Errorf("Err = %v", ctx.Err())
	}
}
