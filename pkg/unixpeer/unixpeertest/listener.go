// Package unixpeertest makes sockets on which another process listens: real ones,
// with the kernel's word about who that is. The test binary is those processes too.
package unixpeertest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Role is what a process does with the socket that it is given. Each process lives
// until its standard input ends.
type Role string

// The roles.
const (
	Stay    Role = "stay"    // listens
	Leave   Role = "leave"   // listens, leaves the socket to a child, and ends
	inherit Role = "inherit" // that child
	wait    Role = "wait"    // nothing
)

const roleEnv = "UNIXPEERTEST_ROLE"

// socketFile is the descriptor at which a process finds its socket, bound already.
const socketFile = 3

// Main is for TestMain: it runs the tests, or is one of the processes. serve, which
// may be nil, is what answers on the socket; it must not wait.
func Main(m *testing.M, serve func(net.Listener) error) {
	role := Role(os.Getenv(roleEnv))
	if role == "" {
		os.Exit(m.Run())
	}
	if err := be(role, serve); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func be(role Role, serve func(net.Listener) error) error {
	if role == Stay || role == Leave {
		if err := unix.Listen(socketFile, 8); err != nil {
			return err
		}
	}
	socket := os.NewFile(socketFile, "socket")
	if role == Leave {
		return process(inherit, socket, os.Stdin).Start()
	}
	if role != wait && serve != nil {
		listener, err := net.FileListener(socket)
		if err != nil {
			return err
		}
		if err := serve(listener); err != nil {
			return err
		}
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func process(role Role, socket, stdin *os.File) *exec.Cmd {
	cmd := exec.Command(os.Args[0]) // #nosec G204 G702 -- this program
	cmd.Env = append(os.Environ(), roleEnv+"="+string(role))
	cmd.ExtraFiles, cmd.Stdin, cmd.Stderr = []*os.File{socket}, stdin, os.Stderr
	return cmd
}

// Waiting starts a process that only waits, until the test ends, and returns its ID.
func Waiting(t testing.TB) int {
	t.Helper()
	stdin, life, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := process(wait, stdin, stdin)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = life.Close()
		_ = cmd.Wait()
	})
	_ = stdin.Close() // is the process's
	return cmd.Process.Pid
}

// SocketPath is a path for a socket, in a directory of the test's own.
func SocketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "unixpeer") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "peer.sock")
}

// ListenedBy is a socket on which a process of that role listens, and the process's
// ID. The socket is made before the process starts.
func ListenedBy(t testing.TB, role Role) (path string, pid int) {
	t.Helper()
	path = SocketPath(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket := os.NewFile(uintptr(fd), path) // #nosec G115 -- a descriptor
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	stdin, life, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := process(role, socket, stdin)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(socket.Close(), stdin.Close()); err != nil {
		t.Fatal(err)
	}
	if role == Leave {
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = life.Close() }) // the child's end
	} else {
		t.Cleanup(func() {
			_ = life.Close()
			_ = cmd.Wait()
		})
	}
	awaitListener(t, path)
	return path, cmd.Process.Pid
}

func awaitListener(t testing.TB, path string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("unix", path)
		if err == nil {
			err = c.Close()
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody listens: %v", err)
		}
	}
}
