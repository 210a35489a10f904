package unixpeer

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of start times: USER_HZ is 100 on every architecture that we
// build for.
const tick = 10 * time.Millisecond

// olderThan is whether a process that started so many ticks after boot did so
// before something was made. All roundings are against it: a start time is cut off
// to ticks, and a file's time is that of the kernel's last timer interrupt, which
// is never too late.
func olderThan(start int64, boot, made time.Time) bool {
	return !boot.Add(time.Duration(start+1) * tick).After(made)
}

// bootTime is when the node booted by today's wall clock, and not earlier than
// that.
func bootTime() (time.Time, error) {
	var since unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &since); err != nil {
		return time.Time{}, fmt.Errorf("clock_gettime(CLOCK_BOOTTIME): %w", err)
	}
	return time.Now().Round(0).Add(-time.Duration(since.Nano())), nil
}

// process is what is needed of a /proc/<pid>/stat.
type process struct {
	exiting bool
	start   int64 // ticks since boot
}

func processOf(pid int32) (process, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // the kernel bounds it
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ESRCH):
		return process{}, errEnded
	case err != nil:
		return process{}, err
	}
	return parseStat(string(text))
}

// parseStat reads a /proc/<pid>/stat, proc_pid_stat(5). The second field is a name
// that the process chose, and ends at the last parenthesis.
func parseStat(stat string) (process, error) {
	const (
		flags, start = 9 - 3, 22 - 3
		exiting      = 0x4 // PF_EXITING of the kernel: on the way to a zombie, or one
	)
	i := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[i+1:])
	if i < 0 || len(fields) <= start {
		return process{}, fmt.Errorf("stat %q has too few fields", stat)
	}
	bits, err := strconv.ParseUint(fields[flags], 10, 64)
	if err != nil {
		return process{}, fmt.Errorf("flags of stat: %w", err)
	}
	ticks, err := strconv.ParseUint(fields[start], 10, 39) // 174 years, less than a Duration
	if err != nil {
		return process{}, fmt.Errorf("start time of stat: %w", err)
	}
	return process{bits&exiting != 0, int64(ticks)}, nil // #nosec G115 -- 39 bits
}

// idOf is the ID of a handle's process, by the same /proc in which its cgroups are
// looked up: 0 where it is not seen there, -1 when the process is gone.
func idOf(handle int) (int32, error) {
	name := fmt.Sprintf("/proc/self/fdinfo/%d", handle)
	text, err := os.ReadFile(name) // #nosec G304 -- a number of ours in the kernel's folder
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "Pid:"); ok {
			id, err := strconv.ParseInt(strings.TrimSpace(value), 10, 32)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", name, err)
			}
			return int32(id), nil
		}
	}
	return 0, fmt.Errorf("%s names no process", name)
}

// ended is whether a handle's process has ended, waited for or not.
func ended(handle int) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}} // #nosec G115 -- a descriptor
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0, err
		}
	}
}
