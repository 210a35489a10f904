package unixpeer

import "golang.org/x/sys/unix"

// OnAnOlderKernel takes SO_PEERPIDFD away.
func (r Rule) OnAnOlderKernel() Rule { return r.HandleFails(unix.ENOPROTOOPT) }

// HandleFails makes that SO_PEERPIDFD's error.
func (r Rule) HandleFails(err error) Rule {
	r.handle = func(int) (int, error) { return 0, err }
	return r
}

// OlderThan judges a process by its start in ticks.
var OlderThan = olderThan

// ParseStat gives tests what is read of a stat file.
func ParseStat(stat string) (exiting bool, start int64, err error) {
	p, err := parseStat(stat)
	return p.exiting, p.start, err
}
