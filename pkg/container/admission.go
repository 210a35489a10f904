package container

import (
	"errors"
	"fmt"
	"sync"
)

// The bounds of calls in flight. A pod that opens connections without end is
// refused at its own bound and costs its neighbours nothing; the sum is what the
// node can carry.
const (
	MaxCallsPerPod = 32
	MaxCalls       = 1024
)

// ErrTooManyCalls says that a bound of Admission was hit.
var ErrTooManyCalls = errors.New("too many calls in flight")

// Admission counts the calls in flight, in all and of each pod. The zero value
// is ready. It belongs to the process: a reconfiguration forgets no call.
type Admission struct {
	mu     sync.Mutex // guards the rest, for a few instructions
	total  int
	perPod map[string]int // by pod UID, or container ID where that is not known; no entry is 0
}

// Enter counts a call from the container until leave is called, or returns
// ErrTooManyCalls.
func (a *Admission) Enter(ref Ref) (leave func(), err error) {
	key := ref.podUID
	if key == "" {
		key = ref.containerID
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.perPod[key] >= MaxCallsPerPod:
		return nil, fmt.Errorf("%w: %d of pod or container %q, the most that one may have", ErrTooManyCalls, MaxCallsPerPod, key)
	case a.total >= MaxCalls:
		return nil, fmt.Errorf("%w: %d of all pods of the node", ErrTooManyCalls, MaxCalls)
	}
	if a.perPod == nil {
		a.perPod = make(map[string]int)
	}
	a.perPod[key]++
	a.total++
	return sync.OnceFunc(func() { a.leave(key) }), nil
}

func (a *Admission) leave(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total--
	a.perPod[key]--
	if a.perPod[key] == 0 {
		delete(a.perPod, key)
	}
}
