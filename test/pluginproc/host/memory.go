package host

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is what a process has of the machine's memory, in bytes.
type Memory struct{ Resident, Peak int64 }

// Memory is the plugin's resident memory, now and at its most so far.
func (p *Plugin) Memory() (Memory, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return Memory{}, err
	}
	resident, err1 := kib(string(status), "VmRSS:")
	peak, err2 := kib(string(status), "VmHWM:")
	return Memory{resident, peak}, errors.Join(err1, err2)
}

// kib reads a line of proc_pid_status(5) that has a size in kB.
func kib(status, name string) (bytes int64, err error) {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("the process has no %s it has ended", name)
}
