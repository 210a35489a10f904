package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/test/realstack"
)

var errInterrupted = errors.New("interrupted; everything was taken down")

// up returns when the stack is up, whoever started it.
func up(ctx context.Context, stop func(), f folder) error {
	pid, err := f.holder()
	if err != nil {
		return err
	}
	if pid != 0 {
		return attend(ctx, f, pid)
	}
	k, err := start(f)
	if err != nil {
		return err
	}
	defer k.log.Close()
	r, err := k.follow(ctx, os.Stderr)
	switch {
	case ctx.Err() != nil:
		stop() // a second ^C ends this process; the keeper goes on taking down
		fmt.Fprintln(os.Stderr, "interrupted; taking everything down")
		_ = k.cmd.Process.Signal(syscall.SIGTERM)
		<-k.ended
		return errors.Join(errInterrupted, f.tidyIfFree())
	case err == nil:
		fmt.Print(greeting(f, r, false))
		return nil
	}
	if pid, held := f.holder(); held == nil && pid != 0 {
		return attend(ctx, f, pid) // who was faster
	}
	return errors.Join(err, f.tidyIfFree())
}

// tidyIfFree removes what a keeper left that was killed, unless there is another.
func (f folder) tidyIfFree() error {
	err := f.hold()
	if errors.Is(err, errHeld) {
		return nil
	}
	return errors.Join(err, f.tidy(io.Discard))
}

// attend waits for a stack that somebody else started.
func attend(ctx context.Context, f folder, keeper int) error {
	for said := false; ; said = true {
		r, err := f.running(keeper)
		if err != nil {
			return err
		}
		if r != nil {
			fmt.Print(greeting(f, r, !said))
			return nil
		}
		if !said {
			fmt.Fprintf(os.Stderr, "process %d is starting it; waiting (its log: %s)\n", keeper, f.log())
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return errors.New("interrupted; the other process goes on")
		}
		if now, err := f.holder(); err != nil || now != keeper {
			return errors.Join(fmt.Errorf("process %d did not get it up; its log: %s", keeper, f.log()), err)
		}
	}
}

// child is the keeper, as long as `keep up` is there to watch it.
type child struct {
	folder folder
	cmd    *exec.Cmd
	log    *os.File
	ended  chan struct{}
	err    error // when ended is closed
}

// start starts the keeper in a session of its own, so that it survives the shell,
// and returns when it has a log.
func start(f folder) (*child, error) {
	root, err := realstack.SourceRoot()
	if err != nil {
		return nil, err
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	cmd := exec.Command("/proc/self/exe", "-state", string(f), verbStay)
	cmd.Args[0] = os.Args[0]
	cmd.Dir = root
	cmd.Stdout, cmd.Stderr = writer, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	writer.Close()
	if err != nil {
		return nil, err
	}
	k := &child{folder: f, cmd: cmd, ended: make(chan struct{})}
	go func() { // ends with the keeper or with this process
		defer close(k.ended)
		k.err = guard.Do(cmd.Wait)
	}()
	// The keeper writes nothing here: this ends when its output is the log, or with it.
	_, _ = io.Copy(io.Discard, reader)
	k.log, err = os.Open(f.log())
	if err != nil {
		<-k.ended
		return nil, fmt.Errorf("the process that keeps it ended early: %w", errors.Join(k.err, err))
	}
	return k, nil
}

// follow copies the keeper's log to out until the stack is up.
func (k *child) follow(ctx context.Context, out io.Writer) (*record, error) {
	for {
		ended := false
		select {
		case <-k.ended:
			ended = true
		default:
		}
		if _, err := io.Copy(out, k.log); err != nil {
			return nil, err
		}
		if ended {
			return nil, fmt.Errorf("it did not come up (%w) and nothing of it is left but its log: %s", k.err, k.folder.log())
		}
		if r, err := k.folder.running(k.cmd.Process.Pid); r != nil || err != nil {
			return r, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-k.ended:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
