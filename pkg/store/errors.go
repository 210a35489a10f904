package store

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/printable"
)

// Kind says what a failure means for whoever has to do something about it.
type Kind int

// The kinds.
const (
	// Broken is a directory that can't be read or written for a reason of its own.
	Broken Kind = iota
	// Full is a disk, or a quota of it, without room.
	Full
	// ReadOnly is a file system that may not be written to.
	ReadOnly
	// Denied is a directory that this user may not use.
	Denied
	// Unsafe is a directory that another user owns or may write to, or that is none.
	Unsafe
)

// kinds are what they are called, and what to do about each.
var kinds = diagnosis.Kinds{
	Broken:   {"broken", "see the kernel's log about that disk, or name another directory in cache.dir" + meanwhile},
	Full:     {"full", "make room on that disk, or name a directory on another one in cache.dir" + meanwhile},
	ReadOnly: {"read-only", "mount that file system for writing, or name another directory in cache.dir" + meanwhile},
	Denied:   {"denied", "let the user that podseal runs as read and write that directory, or name another one in cache.dir" + meanwhile},
	Unsafe:   {"unsafe", "make it a directory of mode 0700 that belongs to the user that podseal runs as, or name another one in cache.dir" + meanwhile},
}

func (k Kind) String() string { return kinds.Name(int(k)) }

// Error is why something can't be kept in the directory, or not be read from it.
type Error struct {
	Dir  string
	Kind Kind
	Err  error
}

// Error names the directory, fit for printing.
func (e *Error) Error() string {
	return printable.Line(fmt.Sprintf("evidence store %q: %v", e.Dir, e.Err), 2<<10)
}

func (e *Error) Unwrap() error { return e.Err }

const meanwhile = "; until then what is new is kept in memory, and fetched again after a restart"

// Diagnosis says what to do about it. Its reasons are the kinds.
func (e *Error) Diagnosis() diagnosis.Diagnosis { return kinds.Diagnose(int(e.Kind), e.Error()) }

var (
	// errUnsafe is in what is wrong with a directory that is not this user's alone.
	errUnsafe = errors.New("not safe to use")
	// errForeign is what is in the place of a file that can't be one of ours.
	errForeign = errors.New("not a file of the store")
	// errOccupied is what is in the place of a file and can't be removed.
	errOccupied = errors.New("a directory is in its place")
)

// about makes an Error of err.
func about(dir string, err error) *Error {
	e := &Error{Dir: dir, Err: err}
	switch {
	case errors.Is(err, errUnsafe) || errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP):
		e.Kind = Unsafe
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		e.Kind = Full
	case errors.Is(err, syscall.EROFS):
		e.Kind = ReadOnly
	case errors.Is(err, fs.ErrPermission):
		e.Kind = Denied
	}
	return e
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrClosed) }
func isForeign(err error) bool { return errors.Is(err, errForeign) }

// report keeps why something could not be read or written. It is logged once, and
// again when it comes back after it was overcome.
func (s *Store) report(err error) {
	e := about(s.cfg.Dir, err)
	s.mu.Lock()
	s.problem = e
	now := time.Now()
	// One file that can't be read does not fill the log while others are written.
	log := (s.warned == nil || s.warned.Kind != e.Kind) && (s.warning.IsZero() || now.Sub(s.warning) >= retryPause)
	if log {
		s.warned, s.warning = e, now
	}
	s.mu.Unlock()
	if log {
		s.log.Warn("the directory of the evidence store can't be used as it should, what can't be kept there is kept in memory", "dir", s.cfg.Dir, "error", e, "remedy", e.Diagnosis().Remedy)
	}
}

// overcome is called when something was written.
func (s *Store) overcome() {
	s.mu.Lock()
	log := s.warned != nil
	s.problem, s.warned = nil, nil
	s.mu.Unlock()
	if log {
		s.log.Info("the directory of the evidence store is used again", "dir", s.cfg.Dir)
	}
}
