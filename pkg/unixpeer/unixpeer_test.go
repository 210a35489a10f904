package unixpeer_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/podseal/podseal/pkg/unixpeer"
	"github.com/podseal/podseal/pkg/unixpeer/unixpeertest"
	"github.com/podseal/podseal/test/testenv"
)

// kernels are those that give a handle of who listens, and those that do not.
var kernels = map[string]func(unixpeer.Rule) unixpeer.Rule{
	"6.5":   func(r unixpeer.Rule) unixpeer.Rule { return r },
	"older": unixpeer.Rule.OnAnOlderKernel,
}

// listening is a socket on which this process listens, and answers nothing.
func listening(t *testing.T) string {
	t.Helper()
	time.Sleep(5 * 10 * time.Millisecond) // this process must be some ticks older than the socket
	path := unixpeertest.SocketPath(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return path
}

func TestAListenerThatLivesIsBelieved(t *testing.T) {
	t.Parallel()
	path := listening(t)
	for name, on := range kernels {
		peer, err := check(t, on(own()), path)
		if err != nil || int(peer.PID) != os.Getpid() || int(peer.UID) != os.Getuid() {
			t.Errorf("%s: %+v, %v", name, peer, err)
		}
	}
}

func TestWhoeverListensMustBeOfTheUserAndInNoPod(t *testing.T) {
	t.Parallel()
	path := listening(t)
	inPod := func(answer bool, err error) unixpeer.InPod {
		return func(pid int32) (bool, error) { return answer && int(pid) == os.Getpid(), err }
	}
	for name, test := range map[string]struct {
		uid   uint32
		inPod unixpeer.InPod
		want  unixpeer.Doubt
	}{
		"another user":  {own().UID + 1, inPod(false, nil), unixpeer.OtherUser},
		"in a pod":      {own().UID, inPod(true, nil), unixpeer.Pod},
		"nobody knows":  {own().UID, inPod(false, errors.New("no such process")), unixpeer.Unknown},
		"nobody to ask": {own().UID, nil, unixpeer.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := check(t, unixpeer.Rule{UID: test.uid, InPod: test.inPod}, path)
			doubted(t, err, test.want, os.Getpid())
		})
	}
}

// Row 46. Root of a pod can listen, leave the socket to a child and end: then InPod
// looks at whatever process of the host got the listener's ID, and finds no pod.
func TestASocketWhoseListenerEndedIsNobodys(t *testing.T) {
	t.Parallel()
	path, pid := unixpeertest.ListenedBy(t, unixpeertest.Leave)
	for _, on := range kernels {
		_, err := check(t, on(own()), path)
		doubted(t, err, unixpeer.Unknown, pid)
	}
}

// The whole attack: the listener's ID is that of a process of the host by now.
func TestAProcessThatGotTheListenersIDIsNotTakenForIt(t *testing.T) {
	t.Parallel()
	last, err := os.OpenFile("/proc/sys/kernel/ns_last_pid", os.O_WRONLY, 0)
	testenv.Require(t, err == nil, "needs to choose process IDs (root, and a kernel with checkpoints)")
	defer last.Close()
	path, pid := unixpeertest.ListenedBy(t, unixpeertest.Leave)
	eventually(t, "another process has its ID", func() bool {
		if _, err := last.WriteAt(fmt.Append(nil, pid-1), 0); err != nil {
			t.Fatal(err)
		}
		return unixpeertest.Waiting(t) == pid
	})
	for _, on := range kernels {
		_, err := check(t, on(own()), path)
		doubted(t, err, unixpeer.Unknown, pid)
	}
}

// A process that started after the socket was made may be one that got the ID of
// who listened. Only a kernel that gives a handle of the listener tells.
func TestAListenerYoungerThanTheSocketNeedsAHandle(t *testing.T) {
	t.Parallel()
	path, pid := unixpeertest.ListenedBy(t, unixpeertest.Stay)
	if peer, err := check(t, own(), path); err != nil || int(peer.PID) != pid {
		t.Errorf("%+v, %v", peer, err)
	}
	_, err := check(t, own().OnAnOlderKernel(), path)
	doubted(t, err, unixpeer.Unknown, pid)
	// Times that whoever has the directory can set are not looked at.
	if err := os.Chtimes(path, time.Now().Add(time.Hour), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	_, err = check(t, own().OnAnOlderKernel(), path)
	doubted(t, err, unixpeer.Unknown, pid)
}

// Kernels before 6.16 say so when the listener has ended and was waited for. No
// error but that of a kernel without handles makes podseal do without one.
func TestAListenerThatCantBeHeldIsRefused(t *testing.T) {
	t.Parallel()
	path := listening(t) // by its time it would be accepted
	for _, errno := range []error{unix.EINVAL, unix.ESRCH, unix.EMFILE} {
		_, err := check(t, own().HandleFails(errno), path)
		doubted(t, err, unixpeer.Unknown, os.Getpid())
	}
}

func TestWhatIsNotTheSocketItselfIsNotConnectedTo(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(socket, path string) error{
		"a link": os.Symlink,
		"a file": func(_, path string) error { return os.WriteFile(path, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			socket := listening(t)
			path := filepath.Join(filepath.Dir(socket), "other")
			if err := put(socket, path); err != nil {
				t.Fatal(err)
			}
			if _, err := unixpeer.Dial(t.Context(), path); !errors.Is(err, unix.ENOTSOCK) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// A second connection could have another end, which nobody checked.
func TestAClientUsesTheConnectionThatWasCheckedAndNoOther(t *testing.T) {
	t.Parallel()
	path := unixpeertest.SocketPath(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	healthv1.RegisterHealthServer(server, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	conn, err := unixpeer.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	client, err := unixpeer.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ask := func() error {
		_, err := healthv1.NewHealthClient(client).Check(t.Context(), &healthv1.HealthCheckRequest{})
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := ask(); err == nil {
			t.Error("an answer over a connection that was closed")
		}
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
			if got := unixpeer.OlderThan(5000, boot, boot.Add(test.after)); got != test.want {
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
		exiting, ticks, err := unixpeer.ParseStat(stat)
		if (err == nil) != (start < 1<<39) {
			t.Fatalf("%q: %v", stat, err)
		}
		if err == nil && (exiting != (flags&4 != 0) || uint64(ticks) != start) {
			t.Fatalf("%q: %v %d", stat, exiting, ticks)
		}
		_, _, _ = unixpeer.ParseStat(name) // nothing it may not say
	})
}
