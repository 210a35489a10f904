package container

import (
	"errors"
	"fmt"
)

var (
	// ErrNotExist is returned by Open when there is no such process. It is in
	// no container.
	ErrNotExist = errors.New("no such process")
	// ErrNotVisible is returned by Open for a process ID that the kernel gives
	// for processes of other PID namespaces.
	ErrNotVisible = errors.New("the process is not visible in the agent's PID namespace: run the agent with hostPID: true")
	// ErrMalformed says that the process's cgroups could not be read or are not
	// of the form that the kernel gives them.
	ErrMalformed = errors.New("unable to obtain cgroups")
	// ErrNoContainer says that the process is in a pod but in none of its
	// containers: a helper of the container runtime.
	ErrNoContainer = errors.New("the process is in a pod but in no container")
	// ErrChanged says that the process is not, or no more, the one that called:
	// it ended, or moved to another cgroup, or its ID was given to another.
	ErrChanged = errors.New("the process is not the one that called")
)

// ConflictError says that the cgroups of a process name two pods or containers.
type ConflictError struct {
	// What is "pod UIDs" or "container IDs".
	What string
	// A and B are two of them.
	A, B string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("multiple %s found (%q, %q)", e.What, e.A, e.B)
}
