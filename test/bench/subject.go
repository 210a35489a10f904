package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc/host"
)

// The sides, as indexes: podseal with the kubelet's port and with its Pods API,
// and the built-in attestor, which only knows the port.
const (
	https = iota
	podsAPI
	builtIn
	sides
)

// side is one of those that are compared.
type side struct {
	path string
	// want are the selectors of a caller in that pod, sorted.
	want func(kubelettest.Pod) []string
}

// subject is a running plugin of one side.
type subject struct {
	plugin *host.Plugin
	log    *tail
}

// start starts a plugin as the agent does, but for the checksum: it is of the
// whole binary, and the built-in attestor's is large only because it is built
// as a plugin.
func (s side) start(ctx context.Context) (*subject, error) {
	log := new(tail)
	plugin, err := host.Start(ctx, host.Options{Path: s.path, Env: environment(), Log: io.Discard, Stderr: log})
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", s.path, err, log)
	}
	return &subject{plugin, log}, nil
}

// environment is this process's, without what would say something about a node.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "MY_NODE_NAME=") || strings.HasPrefix(v, "MY_POD_UID=")
	})
}

func (s *subject) stop() error { return s.plugin.Stop() }

func (s *subject) configure(ctx context.Context, text string) error {
	if err := s.plugin.Configure(ctx, text); err != nil {
		return fmt.Errorf("configuring: %w\n%s", err, s.log)
	}
	return nil
}

// patience is for a call that hangs. No figure comes near to it.
const patience = time.Minute

// attest attests a process and says how long that took. Another answer than the
// selectors wanted is an error.
func (s *subject) attest(ctx context.Context, pid int, want []string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	begin := time.Now()
	got, err := s.plugin.Selectors(ctx, pid)
	took := time.Since(begin)
	if err != nil {
		return 0, fmt.Errorf("attesting process %d: %w\n%s", pid, err, s.log)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return 0, fmt.Errorf("the selectors of process %d are wrong (-want +got):\n%s", pid, cmp.Diff(want, got))
	}
	return took, nil
}

// cpu is the processor time of the plugin's process so far. It comes from the
// process's CPU clock: /proc/<pid>/stat has the same time, but in ticks of 10 ms.
func (s *subject) cpu() (time.Duration, error) {
	// MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of the kernel's posix-timers.h.
	used, err := readClock(^int32(s.plugin.PID())<<3 | 2)
	if err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", s.plugin.PID(), err)
	}
	return used, nil
}

// ownCPU is the processor time of this process so far.
func ownCPU() (time.Duration, error) { return readClock(unix.CLOCK_PROCESS_CPUTIME_ID) }

func readClock(clock int32) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, err
	}
	return time.Duration(t.Nano()), nil
}

// during says how much processor time the plugin used while f ran.
func (s *subject) during(f func() error) (time.Duration, error) {
	before, err := s.cpu()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := s.cpu()
	return after - before, err
}

// tail keeps the end of what a plugin writes, for errors. It is safe for
// concurrent use.
type tail struct {
	mu sync.Mutex
	b  []byte // guarded by mu
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if extra := len(t.b) - 4096; extra > 0 {
		t.b = slices.Delete(t.b, 0, extra)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return "its log: " + string(bytes.ToValidUTF8(t.b, []byte("?")))
}

// stopAll stops those of the subjects that were started.
func stopAll(subjects [sides]*subject) error {
	var problems []error
	for _, s := range subjects {
		if s != nil {
			problems = append(problems, s.stop())
		}
	}
	return errors.Join(problems...)
}
