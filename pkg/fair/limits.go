package fair

import "errors"

// Limits say how much there is. A zero is no bound, except for Waiting.
type Limits struct {
	// Slots is how many may be in at once, TenantSlots how many of one tenant.
	Slots, TenantSlots int
	// Rate is how many may enter in a second in the long run, and Burst how many
	// after a pause; TenantRate and TenantBurst are the same for one tenant. A burst
	// is at least one.
	Rate        float64
	Burst       int
	TenantRate  float64
	TenantBurst int
	// Waiting is how many of one tenant may wait; none when it is 0.
	Waiting int
}

// Who wants to enter.
type Who struct {
	// Tenant is the namespace that the work is for.
	Tenant string
	// Background is work that nobody waits for. It enters only while nobody else of
	// its tenant waits, nor anybody of another one who could go in its place, and only
	// as long as it leaves half of the slots and half of the bursts to others.
	Background bool
	// Hurry, when it is closed, says that somebody waits for the work now: it is no
	// longer in the background. It may be nil.
	Hurry <-chan struct{}
}

// row is where who waits.
func (w Who) row() int {
	if !w.Background {
		return foreground
	}
	select {
	case <-w.Hurry:
		return foreground
	default:
		return background
	}
}

// ErrFull is that as many wait as may.
var ErrFull = errors.New("too many wait already")

// Bound is what somebody who waits waits for.
type Bound int

// The bounds.
const (
	// Slots is that as many are in as may be.
	Slots Bound = iota
	// TenantSlots is that as many of the tenant are in as may be.
	TenantSlots
	// Rate is that as many have entered lately as may.
	Rate
	// TenantRate is that as many of the tenant have entered lately as may.
	TenantRate
	// Others is that the work is in the background, and that others wait or that the
	// rest is kept for others.
	Others
)

var bounds = [...]string{"all slots are taken", "all slots of the tenant are taken", "the rate is used up", "the tenant's rate is used up", "others go first"}

func (b Bound) String() string { return bounds[b] }

// LateError is that somebody's time was over before it was its turn, or would be.
type LateError struct {
	// Bound is what was missing.
	Bound Bound
	// Err is the context's cause, or context.DeadlineExceeded when it is known before
	// that the time is too short.
	Err error
}

func (e *LateError) Error() string { return e.Bound.String() + ": " + e.Err.Error() }
func (e *LateError) Unwrap() error { return e.Err }
