package unixpeer

import "time"

// Started is when the peer's process started, to 10 ms and never too early by
// today's clock; zero where that can't be told. What a program says just after its
// start may have to be believed less.
func (p Peer) Started() time.Time {
	if p.PID <= 0 {
		return time.Time{}
	}
	found, err := processOf(p.PID)
	if err != nil || found.exiting {
		return time.Time{}
	}
	boot, err := bootTime()
	if err != nil {
		return time.Time{}
	}
	return boot.Add(time.Duration(found.start+1) * tick)
}
