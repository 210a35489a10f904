package unixpeer

import (
	"time"

	"golang.org/x/sys/unix"
)

// Started is when the peer's process started, to 10 ms and never too early; zero
// where that can't be told. The time carries a reading of the monotonic clock, so
// that its age is true whatever is done to the wall clock since. What a program says
// just after its start may have to be believed less.
func (p Peer) Started() time.Time {
	if p.PID <= 0 {
		return time.Time{}
	}
	found, err := processOf(p.PID)
	if err != nil || found.exiting {
		return time.Time{}
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return time.Time{}
	}
	age := time.Duration(up.Nano()) - time.Duration(found.start+1)*tick
	return time.Now().Add(-max(age, 0))
}
