// Package unixpeer connects to a program of this node through a socket in the file
// system, and makes sure who listens there before a byte is sent: the kubelet and
// the container runtime say what selectors are made of, and a socket's path says
// nothing about who made the socket. It asks the kernel and believes nobody else.
package unixpeer

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// InPod is whether the process with that ID runs in a pod. Rule.UID alone would let
// root in any container that can write to the socket's directory stand in for a
// program that restarts.
type InPod func(pid int32) (bool, error)

// Peer is who listens on the socket: the process that began to.
type Peer struct {
	PID int32
	UID uint32
}

// Doubt is why a peer is not believed.
type Doubt int

// The doubts that an Error can have.
const (
	Unknown   Doubt = iota // it can't be told who listens
	OtherUser              // another user than the rule's
	Pod                    // a process in a pod
)

// Error is a socket on which somebody listens who may not be whom the rule is
// about. Peer is what is known of him.
type Error struct {
	Peer  Peer
	Doubt Doubt
	Err   error
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// errEnded is a listener whose ID may be another process's by now. Root of a pod
// could listen, leave the socket to a child, end, and wait until a process of the
// host gets the ID.
var errEnded = errors.New("the process that began to listen has ended")

// Rule says who is believed. The zero Rule believes nobody.
type Rule struct {
	// UID is the user that must listen on the socket: root, but in tests.
	UID uint32
	// InPod tells the processes of pods, none of which may.
	InPod InPod
	// handle, where tests set it, returns a pidfd of who listens, or ENOPROTOOPT.
	handle func(socket int) (int, error)
}

// Check makes sure that who listens at the other end is whom the rule is about, as
// far as the kernel tells; otherwise it returns an *Error. Once for each connection
// is enough: what is at its other end can only come from the listener's process, or
// from whom that gave it to, and the programs that we connect to give it to nobody.
func (r Rule) Check(c *Conn) (Peer, error) {
	w, err := r.ask(c)
	if err != nil {
		return w.peer, &Error{w.peer, Unknown, fmt.Errorf("the kernel does not say who it is: %w", err)}
	}
	defer w.close()
	switch {
	case r.InPod == nil:
		return w.peer, &Error{w.peer, Unknown, errors.New("nothing tells which processes are in pods")}
	case w.peer.UID != r.UID:
		return w.peer, &Error{w.peer, OtherUser, fmt.Errorf("it runs as the user %d, not %d", w.peer.UID, r.UID)}
	case w.peer.PID <= 0:
		return w.peer, &Error{w.peer, Unknown, errors.New("its process is not visible here")}
	}
	inPod, err := r.InPod(w.peer.PID)
	switch {
	case err != nil:
		return w.peer, &Error{w.peer, Unknown, fmt.Errorf("whether it runs in a pod can't be told: %w", err)}
	case inPod:
		return w.peer, &Error{w.peer, Pod, errors.New("it runs in a pod")}
	}
	if err := w.same(); err != nil {
		return w.peer, &Error{w.peer, Unknown, err}
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
func (r Rule) ask(c *Conn) (witness, error) {
	w := witness{handle: -1, made: c.made}
	raw, err := c.SyscallConn()
	if err != nil {
		return w, err
	}
	handle := r.handle
	if handle == nil {
		handle = handleOf
	}
	var cred *unix.Ucred
	var credErr, handleErr error
	err = raw.Control(func(fd uintptr) {
		if cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); credErr != nil { // #nosec G115 -- a descriptor
			return
		}
		w.peer = Peer{cred.Pid, cred.Uid}
		w.handle, handleErr = handle(int(fd)) // #nosec G115 -- a descriptor
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
		return errors.New("its process started later than the socket was made, by the node's clock: another process has the listener's ID, or the clock was set forward since, and then a restart of who listens helps")
	}
	return nil
}
