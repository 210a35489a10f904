package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// startForward forwards from a new listener until the test ends, and then waits.
func startForward(t *testing.T, dial dialer) net.Addr {
	t.Helper()
	l := listen(t, "tcp", "127.0.0.1:0")
	var done sync.WaitGroup
	done.Go(func() { forward(context.Background(), l, dial) })
	t.Cleanup(func() { l.Close(); done.Wait() })
	return l.Addr()
}

func connect(t *testing.T, address net.Addr) *net.TCPConn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// As kubectl's connections go: TCP, a Unix socket, TCP.
func TestBytesPassBothWaysAndAnEndIsPassedOn(t *testing.T) {
	t.Parallel()
	server := listen(t, "tcp", "127.0.0.1:0")
	var done sync.WaitGroup
	defer done.Wait()
	done.Go(func() { // answers only when all of the question is there
		conn, err := server.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		question, err := io.ReadAll(conn)
		if err == nil {
			_, err = conn.Write(append([]byte("answer to "), question...))
		}
		if err != nil {
			t.Error(err)
		}
	})
	socket := filepath.Join(t.TempDir(), "s")
	middle := listen(t, "unix", socket)
	done.Go(func() { forward(context.Background(), middle, dialTo("tcp", server.Addr().String())) })
	defer middle.Close()
	conn := connect(t, startForward(t, dialTo("unix", socket)))

	question := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	if _, err := conn.Write(question); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(answer, append([]byte("answer to "), question...)) {
		t.Errorf("an answer of %d bytes, %v", len(answer), err)
	}
}

func TestAConnectionEndsWhereNobodyAnswers(t *testing.T) {
	t.Parallel()
	nobody := func(context.Context) (net.Conn, error) { return nil, errors.New("nobody is there") }
	if _, err := connect(t, startForward(t, nobody)).Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open")
	}
}

func TestAPanicEndsOneConnectionOnly(t *testing.T) {
	t.Parallel()
	echo := listen(t, "tcp", "127.0.0.1:0")
	var done sync.WaitGroup
	done.Go(func() {
		if conn, err := echo.Accept(); err == nil {
			_, _ = io.Copy(conn, conn)
			conn.Close()
		}
	})
	t.Cleanup(func() { echo.Close(); done.Wait() })
	var calls atomic.Int32
	address := startForward(t, func(ctx context.Context) (net.Conn, error) {
		if calls.Add(1) == 1 {
			panic("boo")
		}
		return dialTo("tcp", echo.Addr().String())(ctx)
	})
	if _, err := connect(t, address).Read(make([]byte, 1)); err == nil {
		t.Error("the first connection is open")
	}
	conn := connect(t, address)
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Errorf("the second connection: %v", err)
	}
	conn.Close()
}
