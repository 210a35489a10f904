package podsapi_test

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

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/podsapi"
	"github.com/podseal/podseal/pkg/podsapi/podsapitest"
)

// The test binary is also the processes that listen. The socket is their file 3,
// bound already, and each lives until its standard input ends.
const listenerEnv = "PODSAPI_TEST_LISTENER"

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
// socket to a child ("leave"), or is that child ("inherit").
func listen(role string) error {
	if role != "inherit" {
		if err := unix.Listen(3, 8); err != nil {
			return err
		}
	}
	file := os.NewFile(3, "socket")
	if role == "leave" {
		return helper("inherit", file, os.Stdin).Start()
	}
	s, err := podsapitest.Start(podsapitest.Options{Listen: func() (net.Listener, error) { return net.FileListener(file) }})
	if err != nil {
		return err
	}
	s.SetPods(webPod("a"))
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func helper(role string, socket, stdin *os.File) *exec.Cmd {
	cmd := exec.Command(os.Args[0]) // #nosec G204 G702 -- this program
	cmd.Env = append(os.Environ(), listenerEnv+"="+role)
	cmd.ExtraFiles, cmd.Stdin, cmd.Stderr = []*os.File{socket}, stdin, os.Stderr
	return cmd
}

// listenedBy is a node on whose socket a helper of that role listens, and the
// helper's process ID. The socket is made before the helper starts.
func listenedBy(t *testing.T, role string) (*node, int) {
	t.Helper()
	dir, err := os.MkdirTemp("", "podsapi") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "pods-api.sock")
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
	n := &node{cfg: podsapi.Config{Socket: path, PeerUID: uint32(os.Getuid()), TTL: interval, Interval: interval}, logs: newLogs(t)} // #nosec G115 -- a user
	eventually(t, "somebody listens", func() bool {
		c, err := net.Dial("unix", path)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
	return n, cmd.Process.Pid
}

// Row 46. Root of a pod can listen, leave the socket to a child and end: then InPod
// looks at whatever process of the host got the listener's ID, and finds no pod.
// What else pkg/unixpeer refuses is tested there.
func TestASocketWhoseListenerEndedIsNotTheKubelets(t *testing.T) {
	t.Parallel()
	n, pid := listenedBy(t, "leave")
	c := n.client(t)
	_, err := c.Next(t.Context(), kubelettest.UID("a"), time.Time{})
	wantReason(t, err, podsapi.ReasonPeer)
	if e, ok := errors.AsType[*podsapi.PeerError](err); !ok || int(e.Peer.PID) != pid {
		t.Errorf("error %v", err)
	}
	i, err := c.Inspect(t.Context())
	wantReason(t, err, podsapi.ReasonPeer)
	if i.Connected {
		t.Errorf("%+v", i)
	}
}

func TestAListenerYoungerThanTheSocketIsTheKubelet(t *testing.T) {
	t.Parallel()
	n, _ := listenedBy(t, "stay")
	if p, _ := next(t, n.client(t), kubelettest.UID("a"), time.Time{}); p == nil {
		t.Error("no pod")
	}
}

func TestWhatIsNotTheSocketItselfIsNotConnectedTo(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(n *node, path string) error{
		"a link": func(n *node, path string) error { return os.Symlink(n.cfg.Socket, path) },
		"a file": func(_ *node, path string) error { return os.WriteFile(path, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, podsapitest.Options{})
			path := filepath.Join(filepath.Dir(n.cfg.Socket), "other")
			if err := put(n, path); err != nil {
				t.Fatal(err)
			}
			n.cfg.Socket = path
			_, err := n.client(t).Next(t.Context(), kubelettest.UID("a"), time.Time{})
			wantReason(t, err, podsapi.ReasonNotPodsAPI)
		})
	}
}
