package attest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/podseal/podseal/pkg/selector"
)

// verify has the image of the report's container verified or, where the call names
// none, all images of its pod. What time the attestation has is left of what it had
// when it began.
func (a *Attestor) verify(ctx context.Context, began time.Time, r *Report) (err error) {
	ctx, cancel := context.WithDeadlineCause(ctx, began.Add(a.Timeout), errTimeout)
	defer cancel()
	switch {
	case r.Ref.IsZero():
		r.Images, err = a.Images.Pod(ctx, r.Pod)
	case r.Container == nil:
		// No policy applies: match has made sure of that.
		return nil
	default:
		r.Images, err = a.Images.Container(ctx, r.Pod, r.Container)
	}
	if err == nil || ctx.Err() == nil {
		return err
	}
	if errors.Is(context.Cause(ctx), errTimeout) {
		return fmt.Errorf("%w: %w (attest_timeout), while the image was verified", ErrNotSeen, errTimeout)
	}
	return fmt.Errorf("the caller left before the image was verified: %w", ctx.Err())
}

// render adds the selectors of image trust to the others.
func (r *Report) render(values []string) error {
	r.Selectors = values
	if r.Images == nil {
		return nil
	}
	more, err := selector.Images(r.Images.Trust)
	if err != nil {
		r.Selectors = nil
		return err
	}
	r.Selectors = selector.With(values, more)
	return nil
}
