package container

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// Options say how a Locator reads the node.
type Options struct {
	// Proc is where procfs is mounted; "/proc" when empty.
	Proc string
	// CgroupRoot is the kubelet's --cgroup-root, an absolute path, for an agent
	// outside of it; empty otherwise.
	CgroupRoot string
	// OwnPodUID is the UID of the agent's own pod where the downward API says
	// it: processes of the pod's other containers are then sought in it alone.
	OwnPodUID string
	// Verbose logs every cgroup line that is looked at.
	Verbose bool
	// Log is where Verbose goes; nil: nowhere.
	Log *slog.Logger
}

// Locator finds the containers of processes. It is immutable.
type Locator struct {
	proc      string
	root      []string
	ownPodUID string
	log       *slog.Logger // nil unless verbose
}

// NewLocator returns a Locator. It fails when proc does not show this process
// under its own ID: process IDs would then mean other processes, and every
// workload would silently be in no pod.
func NewLocator(o Options) (*Locator, error) {
	l := &Locator{proc: o.Proc, ownPodUID: o.OwnPodUID}
	if l.proc == "" {
		l.proc = "/proc"
	}
	if o.Verbose {
		l.log = o.Log
	}
	if o.CgroupRoot != "" {
		root, err := segments(o.CgroupRoot)
		if err != nil {
			return nil, fmt.Errorf("cgroup_root: %w", err)
		}
		l.root = root
	}
	self, err := os.Readlink(filepath.Join(l.proc, "self"))
	if err != nil {
		return nil, fmt.Errorf("%s is not the proc file system: %w", l.proc, err)
	}
	if self != strconv.Itoa(os.Getpid()) {
		return nil, fmt.Errorf("%s shows this process as %s but its ID is %d: process IDs of workloads can't be read here: run the agent with hostPID: true", l.proc, self, os.Getpid())
	}
	return l, nil
}

// Process is a process, held open so that its ID can't come to mean another one
// unnoticed. It is not safe for concurrent use.
type Process struct {
	locator *Locator
	pid     int32
	// statFile and cgroupFile are the descriptors of /proc/<pid>/stat and of
	// cgroup there, -1 when closed. They belong to the process and not to its ID:
	// once it has ended nothing can be read from them.
	statFile, cgroupFile int

	state  string // as it was at first
	start  uint64 // clock ticks since boot
	cgroup []byte // as it was at first
	buf    []byte // for what is read, over and over

	// What Ref read and made of it, for people.
	own      own
	verdicts []verdict
	ref      Ref
	refErr   error
}

// Open holds the process with that ID, which called just now. Its errors are
// ErrNotExist, ErrNotVisible and ErrChanged.
func (l *Locator) Open(pid int32) (*Process, error) {
	arrival, err := bootTicks()
	if err != nil {
		return nil, err
	}
	if pid <= 0 {
		return nil, fmt.Errorf("process ID %d: %w", pid, ErrNotVisible)
	}
	p := &Process{locator: l, pid: pid, statFile: -1, cgroupFile: -1, buf: make([]byte, readSize)}
	if err := p.hold(arrival); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// hold opens the process's files, all of one process since they are opened from
// one directory, and reads what Check compares with later.
func (p *Process) hold(arrival uint64) error {
	dir, err := openAt(atCWD, p.locator.proc+"/"+strconv.Itoa(int(p.pid)), syscall.O_RDONLY|syscall.O_DIRECTORY)
	if err != nil {
		return processError(p.pid, err)
	}
	defer closeFD(dir)
	if p.statFile, err = openAt(dir, "stat", syscall.O_RDONLY); err != nil {
		return processError(p.pid, err)
	}
	if p.cgroupFile, err = openAt(dir, "cgroup", syscall.O_RDONLY); err != nil {
		return processError(p.pid, err)
	}

	state, start, err := p.alive()
	if err != nil {
		return err
	}
	// A process that started after the call came in did not make it: the ID was
	// given to a new one meanwhile. The kernel counts in ticks of 10 ms.
	if start > arrival {
		return fmt.Errorf("process %d started after the call came in: %w", p.pid, ErrChanged)
	}
	p.state, p.start = state, start
	cgroup, err := p.read(p.cgroupFile, "cgroup", maxCgroupFile)
	p.cgroup = bytes.Clone(cgroup)
	return err
}

// Close lets the process go. It may be called again.
func (p *Process) Close() {
	for _, fd := range []*int{&p.statFile, &p.cgroupFile} {
		if *fd >= 0 {
			closeFD(*fd)
		}
		*fd = -1
	}
}

// Ref returns the container that the process is in. Its errors are ErrMalformed,
// ErrNoContainer and *ConflictError.
func (p *Process) Ref() (Ref, error) {
	lines, err := parseCgroup(string(p.cgroup))
	if err != nil {
		return Ref{}, err
	}
	if p.own, err = p.locator.own(p.buf); err != nil {
		return Ref{}, err
	}
	p.ref, p.verdicts, p.refErr = resolve(lines, p.own, p.locator.root)
	if p.locator.log != nil {
		p.logLines()
	}
	return p.ref, p.refErr
}

// Check returns ErrChanged unless the process is still the one that Open held,
// alive and in the same cgroups.
func (p *Process) Check() error {
	_, start, err := p.alive()
	if errors.Is(err, ErrNotExist) {
		return fmt.Errorf("process %d ended: %w", p.pid, ErrChanged)
	}
	if err != nil {
		return err
	}
	if start != p.start {
		return fmt.Errorf("process ID %d was reused: %w", p.pid, ErrChanged)
	}
	cgroup, err := p.read(p.cgroupFile, "cgroup", maxCgroupFile)
	if err != nil {
		return fmt.Errorf("process %d ended: %w", p.pid, ErrChanged)
	}
	if !bytes.Equal(cgroup, p.cgroup) {
		return fmt.Errorf("process %d moved to another cgroup: %w", p.pid, ErrChanged)
	}
	return nil
}

// alive returns the state and the start time of the process, in clock ticks
// since boot, and an error unless it lives. A process whose main thread exited is
// a zombie too: it still shows its cgroup, but its ID may be waited for any
// moment.
func (p *Process) alive() (state string, start uint64, err error) {
	stat, err := p.read(p.statFile, "stat", maxStat)
	if err != nil {
		return "", 0, err
	}
	state, start, err = parseStat(string(stat))
	if err != nil {
		return "", 0, fmt.Errorf("process %d: %w", p.pid, err)
	}
	switch state {
	case "Z", "X", "x":
		return "", 0, fmt.Errorf("process %d, or its main thread, has ended (state %s): %w", p.pid, state, ErrChanged)
	}
	return state, start, nil
}

// read reads a file of the process whole, at most limit bytes. They are good
// until the next read.
func (p *Process) read(fd int, name string, limit int) ([]byte, error) {
	text, err := readWhole(fd, name, limit, p.buf)
	if err != nil {
		return nil, processError(p.pid, err)
	}
	return text, nil
}

// own reads the agent's own cgroups, anew each time: a service manager may move
// a process while it runs. buf is for what is read; nil will do.
func (l *Locator) own(buf []byte) (own, error) {
	lines, err := l.cgroupOf("self", buf)
	if err != nil {
		return own{}, err
	}
	o := own{lines: lines, podUID: l.ownPodUID}
	for _, own := range lines {
		if own.path == "/" {
			o.outer, err = l.cgroupOf("1", buf)
			return o, err
		}
	}
	return o, nil
}

func (l *Locator) cgroupOf(process string, buf []byte) ([]line, error) {
	path := l.proc + "/" + process + "/cgroup" // "self" or "1"
	text, err := readAt(atCWD, path, maxCgroupFile, buf)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	lines, err := parseCgroup(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return lines, nil
}

// processError tells a process that is gone from one that can't be read.
func processError(pid int32, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("process %d: %w", pid, ErrNotExist)
	}
	return fmt.Errorf("%w: process %d: %w", ErrMalformed, pid, err)
}

// maxStat bounds what is read of a stat file: 52 numbers and a name of 15 bytes.
const maxStat = 4 << 10

// parseStat returns the state and the start time of a /proc/<pid>/stat,
// proc_pid_stat(5).
func parseStat(stat string) (state string, start uint64, err error) {
	fields, err := statFields(stat)
	if err != nil {
		return "", 0, err
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("%w: start time of stat: %w", ErrMalformed, err)
	}
	return fields[0], start, nil
}

// statFields returns the fields of a stat file from the third on, the state, to
// the 22nd, the start time. The second is a name that the process chose: it may
// hold spaces, parentheses and newlines, and ends at the last parenthesis.
func statFields(stat string) (fields [20]string, err error) {
	end := strings.LastIndexByte(stat, ')')
	n := 0
	for field := range strings.FieldsSeq(stat[end+1:]) {
		if n == len(fields) {
			break
		}
		fields[n] = field
		n++
	}
	if end < 0 || n < len(fields) {
		return fields, fmt.Errorf("%w: stat %q has too few fields", ErrMalformed, stat)
	}
	return fields, nil
}

// bootTicks is the time since boot in the unit and of the clock that the kernel
// gives processes' start times in: USER_HZ is 100 on every architecture that we
// build for. /proc/uptime would say it too, but containers of LXC see another.
func bootTicks() (uint64, error) {
	const clockBoottime = 7 // CLOCK_BOOTTIME, clock_gettime(2)
	var ts syscall.Timespec
	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&ts)), 0) // #nosec G103 -- the kernel fills ts
	if errno != 0 {
		return 0, fmt.Errorf("clock_gettime(CLOCK_BOOTTIME): %w", errno)
	}
	return uint64(ts.Sec)*100 + uint64(ts.Nsec)/1e7, nil // #nosec G115 -- both are positive
}
