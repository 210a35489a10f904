package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
)

// maxProcesses bounds a survey. No node has as many; one with a fork bomb may.
const maxProcesses = 1 << 17

// Located is a process and where it is.
type Located struct {
	PID int32
	// Ref is its container; zero for a process in no pod and where Err is set.
	Ref Ref
	// Lines is what its cgroup file said.
	Lines []Line
	// Err is why its container is unknown; see Process.Ref.
	Err error
}

// Ignored returns the process's cgroup paths that look like a pod's but prove
// nothing; none for a process in a pod.
func (l Located) Ignored() []string {
	var paths []string
	for _, line := range l.Lines {
		if l.Ref.IsZero() && line.Ignored() {
			paths = append(paths, line.Path)
		}
	}
	return paths
}

// Processes yields every living process that can be seen and where it is, each
// by what an attestation of it does; processes that end meanwhile are left out.
// They come in the order of procfs, which is that of their IDs. An error ends
// it: ctx's, one of reading procfs or the agent's own cgroups, or that there are
// more than 131,072 processes.
func (l *Locator) Processes(ctx context.Context) iter.Seq2[Located, error] {
	return func(yield func(Located, error) bool) {
		if err := l.survey(ctx, maxProcesses, func(p Located) bool { return yield(p, nil) }); err != nil {
			yield(Located{}, err)
		}
	}
}

func (l *Locator) survey(ctx context.Context, limit int, yield func(Located) bool) error {
	if _, err := l.own(nil); err != nil {
		return err
	}
	dir, err := os.Open(l.proc)
	if err != nil {
		return err
	}
	defer dir.Close()
	for n := 0; ; {
		names, err := dir.Readdirnames(256)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			pid, err := strconv.ParseInt(name, 10, 32)
			if err != nil {
				continue // no process
			}
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if n++; n > limit {
				return fmt.Errorf("%s shows more than %d processes", l.proc, limit)
			}
			if p, alive := l.locate(int32(pid)); alive && !yield(p) {
				return nil
			}
		}
	}
}

// locate says where a process is. It is not alive where it ended meanwhile.
func (l *Locator) locate(pid int32) (_ Located, alive bool) {
	p, err := l.Open(pid)
	if err != nil {
		ended := errors.Is(err, ErrNotExist) || errors.Is(err, ErrChanged)
		return Located{PID: pid, Err: err}, !ended
	}
	defer p.Close()
	ref, err := p.Ref()
	return Located{PID: pid, Ref: ref, Lines: p.Lines(), Err: err}, true
}
