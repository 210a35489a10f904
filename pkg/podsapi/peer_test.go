package podsapi_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/podsapi"
	"github.com/podseal/podseal/pkg/podsapi/podsapitest"
	"github.com/podseal/podseal/pkg/unixpeer/unixpeertest"
)

func TestMain(m *testing.M) {
	unixpeertest.Main(m, func(l net.Listener) error {
		s, err := podsapitest.Start(podsapitest.Options{Listen: func() (net.Listener, error) { return l, nil }})
		if err == nil {
			s.SetPods(webPod("a"))
		}
		return err
	})
}

// listenedBy is a node on whose socket a process of that role listens, and the
// process's ID.
func listenedBy(t *testing.T, role unixpeertest.Role) (*node, int) {
	t.Helper()
	path, pid := unixpeertest.ListenedBy(t, role)
	return &node{cfg: podsapi.Config{Socket: path, PeerUID: uint32(os.Getuid()), TTL: interval, Interval: interval}, logs: newLogs(t)}, pid // #nosec G115 -- a user
}

// Row 46. Root of a pod can listen, leave the socket to a child and end: then InPod
// looks at whatever process of the host got the listener's ID, and finds no pod.
// What else pkg/unixpeer refuses is tested there.
func TestASocketWhoseListenerEndedIsNotTheKubelets(t *testing.T) {
	t.Parallel()
	n, pid := listenedBy(t, unixpeertest.Leave)
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
	n, _ := listenedBy(t, unixpeertest.Stay)
	// It listens before it has its pod.
	if _, err := await(t.Context(), n.client(t), kubelettest.UID("a"), kubelettest.ID("a")); err != nil {
		t.Error(err)
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
