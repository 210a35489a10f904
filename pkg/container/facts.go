package container

import (
	"path/filepath"
	"strconv"
	"time"
)

// PID is the process's ID in the agent's PID namespace.
func (p *Process) PID() int32 { return p.pid }

// State is the letter of the process's state when it was opened, such as "S" for
// sleeping; proc_pid_stat(5).
func (p *Process) State() string { return p.state }

// Started is when the process started, by today's wall clock: the kernel knows
// it in ticks of 10 ms since boot.
func (p *Process) Started() (time.Time, error) {
	now, err := bootTicks()
	if err != nil {
		return time.Time{}, err
	}
	const tick = 10 * time.Millisecond
	return time.Now().Add(-time.Duration(now-p.start) * tick), nil // #nosec G115 -- centuries
}

// Files returns the files that were read for the process until now, in their
// order.
func (p *Process) Files() []string {
	of := func(process, name string) string { return filepath.Join(p.locator.proc, process, name) }
	pid := strconv.Itoa(int(p.pid))
	files := []string{of(pid, "stat"), of(pid, "cgroup")}
	if p.own.lines != nil {
		files = append(files, of("self", "cgroup"))
	}
	if p.own.outer != nil {
		files = append(files, of("1", "cgroup"))
	}
	return files
}
