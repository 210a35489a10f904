package unixpeer_test

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

	"github.com/podseal/podseal/pkg/unixpeer"
)

// The test binary is also the processes that listen. The socket is their file 3,
// bound already, and each lives until its standard input ends.
const listenerEnv = "UNIXPEER_TEST_LISTENER"

func TestMain(m *testing.M) {
	role := os.Getenv(listenerEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := listen(role); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// listen is a process that listens itself ("stay"), does so and leaves the
// socket to a child ("leave"), is that child ("inherit"), or only waits.
func listen(role string) error {
	if role == "stay" || role == "leave" {
		if err := unix.Listen(3, 8); err != nil {
			return err
		}
	}
	if role == "leave" {
		return helper("inherit", os.NewFile(3, "socket"), os.Stdin).Start()
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func helper(role string, socket, stdin *os.File) *exec.Cmd {
	cmd := exec.Command(os.Args[0]) // #nosec G204 G702 -- this program
	cmd.Env = append(os.Environ(), listenerEnv+"="+role)
	cmd.ExtraFiles, cmd.Stdin, cmd.Stderr = []*os.File{socket}, stdin, os.Stderr
	return cmd
}

// waiting starts a helper that only waits, until the test ends.
func waiting(t *testing.T) int {
	t.Helper()
	stdin, life, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := helper("wait", stdin, stdin)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = life.Close()
		_ = cmd.Wait()
	})
	_ = stdin.Close() // is the helper's
	return cmd.Process.Pid
}

func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "unixpeer") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "peer.sock")
}

// listenedBy is a socket on which a helper of that role listens, and the helper's
// process ID. The socket is made before the helper starts.
func listenedBy(t *testing.T, role string) (path string, pid int) {
	t.Helper()
	path = socketPath(t)
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
	cmd := helper(role, socket, stdin)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(socket.Close(), stdin.Close()); err != nil {
		t.Fatal(err)
	}
	if role == "leave" {
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
	eventually(t, "somebody listens", func() bool {
		c, err := net.Dial("unix", path)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	return path, cmd.Process.Pid
}

// eventually waits for something that other processes do.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to this: %s", what)
		}
	}
}

// own is the rule by which this user's processes are believed, none being in a pod.
func own() unixpeer.Rule {
	return unixpeer.Rule{UID: uint32(os.Getuid()), InPod: func(int32) (bool, error) { return false, nil }} // #nosec G115 -- a user
}

// check connects and checks.
func check(t *testing.T, r unixpeer.Rule, path string) (unixpeer.Peer, error) {
	t.Helper()
	c, err := unixpeer.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return r.Check(c)
}

// doubted checks that an error is of that doubt and about that process.
func doubted(t *testing.T, err error, want unixpeer.Doubt, pid int) {
	t.Helper()
	e, ok := errors.AsType[*unixpeer.Error](err)
	if !ok || e.Doubt != want || int(e.Peer.PID) != pid || e.Error() == "" {
		t.Errorf("error %v: %+v, want the doubt %v about the process %d", err, e, want, pid)
	}
}
