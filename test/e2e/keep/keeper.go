package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/test/e2e/stack"
)

// urlVar tells the process inside where outside the API server will be found.
const urlVar = "PODSEAL_E2E_KEEP_URL"

// keeper is the process outside of the machine.
type keeper struct{ folder folder }

// prepare is called in the keeper before the machine starts: it takes the lock,
// turns to the log, builds, and listens for kubectl.
func (k keeper) prepare(ctx context.Context, dir string) ([]string, error) {
	if err := k.folder.hold(); err != nil {
		return nil, err
	}
	if err := k.folder.tidy(os.Stderr); err != nil {
		return nil, err
	}
	if err := errors.Join(writeJSON(k.folder.recorded(), record{Keeper: os.Getpid(), Machine: dir}), k.toLog()); err != nil {
		return nil, err
	}
	env, err := stack.Prepare(ctx, dir)
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go forward(ctx, listener, dialTo("unix", apiSocket(dir))) // until this process ends
	go func() {                                               // ends when it is done, or with this process
		err := guard.Do(func() error { return k.publish(ctx, dir) })
		if err == nil || ctx.Err() != nil {
			return
		}
		fmt.Fprintln(os.Stderr, "e2e:", err)
		_ = unix.Kill(os.Getpid(), unix.SIGTERM) // machine.Main takes everything down
	}()
	return append(env, urlVar+"=https://"+listener.Addr().String()), nil
}

// toLog makes a new log this process's output, and that of all it starts. Until
// then the output was that of `keep up`, which so learns that there is a log.
func (k keeper) toLog() error {
	path := k.folder.log()
	log, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return errors.Join(unix.Dup3(int(log.Fd()), 2, 0), unix.Dup3(int(log.Fd()), 1, 0))
}

// publish waits until the stack is up and writes down what a person needs.
func (k keeper) publish(ctx context.Context, dir string) error {
	var s site
	for {
		err := readJSON(siteFile(dir), &s)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	pid, err := listenerOf(ctx, apiSocket(dir))
	if err != nil {
		return err
	}
	if err := writeFile(k.folder.kubeconfig(), s.Kubeconfig); err != nil {
		return err
	}
	s.Kubeconfig = nil
	return writeJSON(k.folder.recorded(), record{Keeper: os.Getpid(), Inside: pid, Machine: dir, site: s})
}

// listenerOf is the process that listens on a Unix socket: the kernel knows, and
// tells it in the numbers of whoever asks.
func listenerOf(ctx context.Context, socket string) (pid int, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	if e := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil || err != nil {
		return 0, errors.Join(e, err)
	}
	return int(peer.Pid), nil
}
