// Package guard turns panics into errors. A plugin that dies is not restarted by
// SPIRE Agent, so one nil pointer reached through one workload's request would
// take every identity of the node with it: every RPC and every goroutine that
// podseal starts runs under Do.
package guard

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"
)

// PanicError is a panic that Do recovered.
type PanicError struct {
	// Value is what panic was called with.
	Value any
	// Stack is the stack of the goroutine that panicked.
	Stack []byte

	reported atomic.Bool
}

// Error says that there was a panic and with what value. The stack is left to
// the log: an error may travel to a workload, which must learn nothing of it.
func (e *PanicError) Error() string {
	return fmt.Sprintf("panic: %v", e.Value)
}

// FirstReport is true for exactly one caller: several calls may share the
// goroutine that panicked and so its error, and the stack is logged once.
func (e *PanicError) FirstReport() bool {
	return !e.reported.Swap(true)
}

// Do calls f and returns its error, or a *PanicError if it panicked.
func Do(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}
