package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/guard"
)

// apiSocket is the way from kubectl outside of the machine to the API server
// inside: a socket in the machine's folder, which both see.
func apiSocket(machineDir string) string { return filepath.Join(machineDir, "api.sock") }

// dialer makes connections to one place.
type dialer func(context.Context) (net.Conn, error)

func dialTo(network, address string) dialer {
	return func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{Timeout: time.Minute}).DialContext(ctx, network, address)
	}
}

// forward joins each connection that is accepted with a new one from dial, byte by
// byte: TLS is between the ends. It returns when the listener was closed and all
// connections have ended.
func forward(ctx context.Context, listener net.Listener, dial dialer) {
	var connections sync.WaitGroup
	defer connections.Wait()
	for {
		near, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			time.Sleep(100 * time.Millisecond) // no file descriptor is free, say
			continue
		}
		connections.Go(func() {
			if err := guard.Do(func() error { return join(ctx, near, dial) }); err != nil {
				fmt.Fprintln(os.Stderr, "e2e:", err)
			}
		})
	}
}

// join carries bytes in both directions until both have ended. That a connection
// breaks is its ends' business.
func join(ctx context.Context, near net.Conn, dial dialer) error {
	defer near.Close()
	far, err := dial(ctx)
	if err != nil {
		return err
	}
	defer far.Close()
	var both sync.WaitGroup
	both.Go(func() { carry(far, near) })
	both.Go(func() { carry(near, far) })
	both.Wait()
	return nil
}

// carry copies until from has no more, and says so to the other side, which may
// still have something to say.
func carry(to, from net.Conn) {
	_ = guard.Do(func() error {
		_, err := io.Copy(to, from)
		if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
			return nil
		}
		return errors.Join(to.Close(), from.Close())
	})
}
