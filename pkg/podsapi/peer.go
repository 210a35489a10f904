package podsapi

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// InPod is whether the process with that ID runs in a pod. Config.PeerUID alone
// would let root in any container that can write to the socket's directory
// stand in for a kubelet that restarts.
type InPod func(pid int32) (bool, error)

// Peer is who listens on the socket: the process that began to.
type Peer struct {
	PID int32
	UID uint32
}

// errEnded is a listener whose ID may be another process's by now. Root of a pod
// could listen, leave the socket to a child, end, and wait until a process of the
// host gets the ID.
var errEnded = errors.New("the process that began to listen has ended")

// check makes sure that it is the kubelet that listens, as far as the kernel
// tells. Once for each connection is enough: what is at its other end can only
// come from the listener's process, or from whom that gave it to, and the kubelet
// gives it to nobody.
func (l *link) check(conn net.Conn) (Peer, error) {
	c, ok := conn.(*connection)
	switch {
	case !ok && l.unchecked:
		return Peer{}, nil
	case !ok:
		return Peer{}, &PeerError{Err: errors.New("the connection is not one to a socket of this node"), reason: ReasonPeer}
	}
	w, err := l.ask(c)
	if err != nil {
		return w.peer, &PeerError{Peer: w.peer, Err: fmt.Errorf("the kernel does not say who it is: %w", err), reason: ReasonPeer}
	}
	defer w.close()
	if w.peer.UID != l.cfg.PeerUID {
		return w.peer, &PeerError{Peer: w.peer, Err: fmt.Errorf("it runs as the user %d, not %d", w.peer.UID, l.cfg.PeerUID), reason: ReasonPeerUser}
	}
	if w.peer.PID <= 0 {
		return w.peer, &PeerError{Peer: w.peer, Err: errors.New("its process is not visible here"), reason: ReasonPeer}
	}
	inPod, err := l.inPod(w.peer.PID)
	switch {
	case err != nil:
		return w.peer, &PeerError{Peer: w.peer, Err: fmt.Errorf("whether it runs in a pod can't be told: %w", err), reason: ReasonPeer}
	case inPod:
		return w.peer, &PeerError{Peer: w.peer, Err: errors.New("it runs in a pod"), reason: ReasonPeerPod}
	}
	if err := w.same(); err != nil {
		return w.peer, &PeerError{Peer: w.peer, Err: err, reason: ReasonPeer}
	}
	return w.peer, nil
}

// witness is what can tell whether the ID means the listener still.
type witness struct {
	peer Peer
	// handle is a pidfd of the listener's process; -1 where the kernel, older than
	// 6.5, gives none. Then it is judged by when the socket was made.
	handle int
	made   time.Time
}

// ask asks the kernel. The handle comes first: with it no ID is reused unseen.
func (l *link) ask(c *connection) (witness, error) {
	w := witness{handle: -1, made: c.made}
	raw, err := c.SyscallConn()
	if err != nil {
		return w, err
	}
	var cred *unix.Ucred
	var credErr, handleErr error
	err = raw.Control(func(fd uintptr) {
		if cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); credErr != nil { // #nosec G115 -- a descriptor
			return
		}
		w.peer = Peer{cred.Pid, cred.Uid}
		w.handle, handleErr = l.handle(int(fd)) // #nosec G115 -- a descriptor
	})
	switch {
	case err != nil:
	case credErr != nil:
		err = credErr
	case handleErr == nil:
		return w, nil
	case errors.Is(handleErr, unix.ENOPROTOOPT):
		w.handle = -1
		return w, nil
	case errors.Is(handleErr, unix.ESRCH), errors.Is(handleErr, unix.EINVAL):
		err = errEnded // and was waited for
	default:
		err = handleErr
	}
	w.handle = -1
	return w, err
}

func handleOf(socket int) (int, error) {
	return unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
}

func (w witness) close() {
	if w.handle >= 0 {
		_ = unix.Close(w.handle) // nothing was written
	}
}

// same returns an error unless the ID has meant the listener all the time until
// now.
func (w witness) same() error {
	p, err := processOf(w.peer.PID)
	if err != nil {
		return err
	}
	if p.exiting {
		return errEnded // it shows no cgroup any more where those are of version 1
	}
	if w.handle < 0 {
		return w.sameByTime(p)
	}
	id, err := idOf(w.handle)
	if err != nil {
		return err
	}
	over, err := ended(w.handle)
	switch {
	case err != nil:
		return fmt.Errorf("whether the process that began to listen has ended can't be told: %w", err)
	case over:
		return errEnded
	case id != w.peer.PID:
		return fmt.Errorf("the kernel says that the process %d began to listen, and that it is %d", w.peer.PID, id)
	}
	return nil
}

// sameByTime says it for a kernel without handles. The listener began to listen
// when the socket had been made, so a process that has its ID and is older than
// the socket is the listener: any that got the ID afterwards is younger. The file
// system must say when the socket was made, since all other times of a file can
// be set or renewed.
func (w witness) sameByTime(p process) error {
	if w.made.IsZero() {
		return errors.New("this kernel, older than 6.5, does not say whether it is the process that began to listen, and the socket's file system not when the socket was made")
	}
	boot, err := bootTime()
	if err != nil {
		return err
	}
	if !olderThan(p.start, boot, w.made) {
		return errors.New("its process started later than the socket was made, by the node's clock: another process has the listener's ID, or the clock was set forward since, and then a restart of the kubelet helps")
	}
	return nil
}

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
