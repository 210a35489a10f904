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
	"github.com/podseal/podseal/test/testenv"
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
// socket to a child ("leave"), is that child ("inherit"), or only waits.
func listen(role string) error {
	if role == "wait" {
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	}
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

// kernels are those that give a handle of who listens, and those that do not.
var kernels = map[string]func(*podsapi.Client){
	"6.5":   func(*podsapi.Client) {},
	"older": (*podsapi.Client).OnAnOlderKernel,
}

// Root of a pod can listen, leave the socket to a child and end: then InPod looks
// at whatever process of the host got the listener's ID, and finds no pod.
func TestASocketWhoseListenerEndedIsNotTheKubelets(t *testing.T) {
	t.Parallel()
	for name, on := range kernels {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, pid := listenedBy(t, "leave")
			c := n.client(t)
			on(c)
			_, err := c.Next(t.Context(), kubelettest.UID("a"), time.Time{})
			wantReason(t, err, podsapi.ReasonPeer)
			if e, ok := errors.AsType[*podsapi.PeerError](err); !ok || int(e.Peer.PID) != pid {
				t.Errorf("error %v", err)
			}
		})
	}
}

// The whole attack: the listener's ID is that of a process of the host by now.
func TestAProcessThatGotTheListenersIDIsNotTakenForIt(t *testing.T) {
	t.Parallel()
	last, err := os.OpenFile("/proc/sys/kernel/ns_last_pid", os.O_WRONLY, 0)
	testenv.Require(t, err == nil, "needs to choose process IDs (root, and a kernel with checkpoints)")
	defer last.Close()
	n, pid := listenedBy(t, "leave")
	eventually(t, "another process has its ID", func() bool {
		if _, err := last.WriteAt(fmt.Append(nil, pid-1), 0); err != nil {
			t.Fatal(err)
		}
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
		return cmd.Process.Pid == pid
	})
	for name, on := range kernels {
		c := n.client(t)
		on(c)
		_, err := c.Inspect(t.Context())
		wantReason(t, err, podsapi.ReasonPeer)
		t.Logf("%s: %v", name, err)
	}
}

func TestAListenerThatLivesIsTheKubelet(t *testing.T) {
	t.Parallel()
	time.Sleep(5 * 10 * time.Millisecond) // this process must be some ticks older than the socket
	n := newNode(t, podsapitest.Options{})
	n.SetPods(webPod("a"))
	for name, on := range kernels {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := n.client(t)
			on(c)
			if p, _ := next(t, c, kubelettest.UID("a"), time.Time{}); p == nil {
				t.Error("no pod")
			}
		})
	}
}

// A process that started after the socket was made may be one that got the ID of
// who listened. Only a kernel that gives a handle of the listener tells.
func TestAListenerYoungerThanTheSocketNeedsAHandle(t *testing.T) {
	t.Parallel()
	n, pid := listenedBy(t, "stay")
	c := n.client(t)
	if p, _ := next(t, c, kubelettest.UID("a"), time.Time{}); p == nil {
		t.Error("no pod")
	}
	older := n.client(t)
	older.OnAnOlderKernel()
	_, err := older.Next(t.Context(), kubelettest.UID("a"), time.Time{})
	wantReason(t, err, podsapi.ReasonPeer)
	if e, ok := errors.AsType[*podsapi.PeerError](err); !ok || int(e.Peer.PID) != pid {
		t.Errorf("error %v", err)
	}
	// Times that whoever has the directory can set are not looked at.
	if err := os.Chtimes(n.cfg.Socket, time.Now().Add(time.Hour), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	_, err = older.Inspect(t.Context())
	wantReason(t, err, podsapi.ReasonPeer)
}

// Kernels before 6.16 say so when the listener has ended and was waited for. No
// error but that of a kernel without handles makes podseal do without one.
func TestAListenerThatCantBeHeldIsRefused(t *testing.T) {
	t.Parallel()
	time.Sleep(5 * 10 * time.Millisecond) // by its time it would be accepted
	n := newNode(t, podsapitest.Options{})
	for _, errno := range []error{unix.EINVAL, unix.ESRCH, unix.EMFILE} {
		c := n.client(t)
		c.HandleFails(errno)
		i, err := c.Inspect(t.Context())
		wantReason(t, err, podsapi.ReasonPeer)
		if i.Connected {
			t.Errorf("%v: %+v", errno, i)
		}
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

func TestAProcessIsOlderOnlyBeyondDoubt(t *testing.T) {
	t.Parallel()
	boot := time.Unix(1_000_000, 0)
	for name, test := range map[string]struct {
		after time.Duration // of boot, when the socket was made
		want  bool
	}{
		"in the tick before": {49_999 * time.Millisecond, false},
		"in the same tick":   {50_005 * time.Millisecond, false},
		"at its end":         {50_010 * time.Millisecond, true},
		"much later":         {time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := podsapi.OlderThan(5000, boot, boot.Add(test.after)); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

// FuzzStat: no name of a process changes what is read of it.
func FuzzStat(f *testing.F) {
	f.Add("kubelet", uint64(0x400100), uint64(12))
	f.Add("a) Z 1 (b", uint64(0x40000c), uint64(1<<39-1))
	f.Add("\n) R", uint64(4), uint64(1<<63))
	f.Fuzz(func(t *testing.T, name string, flags, start uint64) {
		stat := fmt.Sprintf("7 (%s) S 1 7 7 0 -1 %d 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0\n", name, flags, start)
		exiting, ticks, err := podsapi.ParseStat(stat)
		if (err == nil) != (start < 1<<39) {
			t.Fatalf("%q: %v", stat, err)
		}
		if err == nil && (exiting != (flags&4 != 0) || uint64(ticks) != start) {
			t.Fatalf("%q: %v %d", stat, exiting, ticks)
		}
		_, _, _ = podsapi.ParseStat(name) // nothing it may not say
	})
}
