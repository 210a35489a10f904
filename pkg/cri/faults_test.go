package cri_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/podseal/podseal/pkg/cri"
	"github.com/podseal/podseal/pkg/cri/critest"
	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/unixpeer"
)

func TestARuntimeThatIsSlowIsGivenUp(t *testing.T) {
	t.Parallel()
	n := newNode(t, critest.Containerd)
	n.SetFaults(critest.Faults{Delay: time.Minute})
	c := n.client(t)
	c.SetTimeout(50 * time.Millisecond)
	_, err := c.Container(t.Context(), podUID, containerID)
	wantError(t, err, cri.Unavailable, cri.ReasonTimeout)
}

func TestARuntimeThatHangsUpIsUnavailable(t *testing.T) {
	t.Parallel()
	n := newNode(t, critest.Containerd)
	n.SetFaults(critest.Faults{HangUp: 1 << 20})
	_, err := n.ask(t)
	wantError(t, err, cri.Unavailable, cri.ReasonHungUp)
	if s := n.Stats(); s.Containers > 2 {
		t.Errorf("%+v", s)
	}
}

// A connection that was there before may have ended when the runtime restarted.
func TestARuntimeThatRestartedIsAskedOnceMore(t *testing.T) {
	t.Parallel()
	n := newNode(t, critest.Containerd)
	x := web()
	x.State = runtimev1.ContainerState_CONTAINER_CREATED // is not remembered
	n.Run(x)
	c := n.client(t)
	for i := range 3 {
		found, err := c.Container(t.Context(), podUID, containerID)
		wantConfig(t, found, err)
		if s := n.Stats(); s.Connections != i+1 {
			t.Errorf("%+v", s)
		}
		n.Stop()
		if err := n.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	n.Stop()
	_, err := c.Container(t.Context(), podUID, containerID)
	wantError(t, err, cri.Unavailable, cri.ReasonRefused)
	if err := n.Resume(); err != nil {
		t.Fatal(err)
	}
	found, err := c.Container(t.Context(), podUID, containerID)
	wantConfig(t, found, err)
}

// Row 44. Who makes his container's environment too large loses its own facts.
func TestAnAnswerThatIsTooLargeIsRefusedAsSuch(t *testing.T) {
	t.Parallel()
	n := newNode(t, critest.Containerd)
	x := web()
	x.ID, x.Environment = hex("a large one"), []string{strings.Repeat("x", cri.MaxMessage)}
	n.Run(x)
	c := n.client(t)
	_, err := c.Container(t.Context(), podUID, x.ID)
	wantError(t, err, cri.Limit, cri.ReasonLimit)
	found, err := c.Container(t.Context(), podUID, containerID)
	wantConfig(t, found, err)
	if s := n.Stats(); s.Connections != 1 {
		t.Errorf("%+v", s)
	}
}

func TestWhatTheRuntimesStatusMeans(t *testing.T) {
	t.Parallel()
	for code, want := range map[codes.Code]struct {
		kind   cri.Kind
		reason diagnosis.Reason
	}{
		codes.Unavailable:       {cri.Unavailable, cri.ReasonHungUp},
		codes.DeadlineExceeded:  {cri.Unavailable, cri.ReasonTimeout},
		codes.Unknown:           {cri.Unavailable, cri.ReasonStatus},
		codes.Internal:          {cri.Unavailable, cri.ReasonStatus},
		codes.NotFound:          {cri.NotFound, cri.ReasonNoContainer},
		codes.PermissionDenied:  {cri.Refused, cri.ReasonDenied},
		codes.Unimplemented:     {cri.Malformed, cri.ReasonNotCRI},
		codes.ResourceExhausted: {cri.Limit, cri.ReasonLimit},
	} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			n := newNode(t, critest.Containerd)
			n.SetFaults(critest.Faults{Err: status.Error(code, "no\nok  cri-socket: \x1b[32mall is well")})
			_, err := n.ask(t)
			wantError(t, err, want.kind, want.reason)
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("error %q", err)
			}
		})
	}
}

// Row 46. Who can put a socket in the runtime's place is not believed for that.
func TestWhoeverListensMustBeTheRuntime(t *testing.T) {
	t.Parallel()
	n := newNode(t, critest.Containerd)
	for name, test := range map[string]struct {
		uid   uint32
		inPod unixpeer.InPod
		want  diagnosis.Reason
	}{
		"another user": {n.cfg.PeerUID + 1, notInPod, cri.ReasonPeerUser},
		"in a pod":     {n.cfg.PeerUID, func(pid int32) (bool, error) { return int(pid) == os.Getpid(), nil }, cri.ReasonPeerPod},
		"nobody knows": {n.cfg.PeerUID, func(int32) (bool, error) { return false, errors.New("no such process\n") }, cri.ReasonPeer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := n.cfg
			cfg.PeerUID = test.uid
			c, err := cri.New(cfg, test.inPod)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, err = c.Container(t.Context(), podUID, containerID)
			wantError(t, err, cri.Refused, test.want)
		})
	}
	if s := n.Stats(); s.Containers > 0 {
		t.Errorf("an impostor was asked: %+v", s)
	}
}

func TestWithoutASocketTheErrorSaysWhatIsThere(t *testing.T) {
	t.Parallel()
	n := newNode(t, critest.Containerd)
	n.Stop()
	_, err := n.ask(t)
	wantError(t, err, cri.Unavailable, cri.ReasonRefused)
	if err := os.Remove(n.cfg.Socket); err != nil {
		t.Fatal(err)
	}
	_, err = n.ask(t)
	wantError(t, err, cri.Unavailable, cri.ReasonNoSocket)
	if err := os.WriteFile(n.cfg.Socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = n.ask(t)
	wantError(t, err, cri.Malformed, cri.ReasonNotCRI)
}

// What listens speaks gRPC, but is another service: containerd's own, or a kubelet.
func TestAnotherServiceIsNoRuntime(t *testing.T) {
	t.Parallel()
	n := newNode(t, critest.Containerd)
	n.Stop()
	if err := os.Remove(n.cfg.Socket); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", n.cfg.Socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() {
		server.Stop()
		<-served
	}()
	_, err = n.ask(t)
	wantError(t, err, cri.Malformed, cri.ReasonNotCRI)
}

func TestAClosedClientAnswersAndKeepsNoConnection(t *testing.T) {
	t.Parallel()
	n := newNode(t, critest.Containerd)
	x := web()
	x.State = runtimev1.ContainerState_CONTAINER_CREATED // is not remembered
	n.Run(x)
	c := n.client(t)
	c.Close()
	for i := range 2 {
		found, err := c.Container(t.Context(), podUID, containerID)
		wantConfig(t, found, err)
		if s := n.Stats(); s.Connections != i+1 {
			t.Errorf("%+v", s)
		}
	}
	c.Close()
}

func TestInspectSaysWhatItMet(t *testing.T) {
	t.Parallel()
	n := newNode(t, critest.CRIO)
	c := n.client(t)
	i, err := c.Inspect(t.Context())
	if err != nil || !i.Exists || i.Mode&os.ModeSocket == 0 || !i.Connected || int(i.Peer.PID) != os.Getpid() || !i.Answered {
		t.Errorf("%+v, %v", i, err)
	}
	n.SetFaults(critest.Faults{Err: status.Error(codes.PermissionDenied, "not you")})
	i, err = c.Inspect(t.Context())
	wantError(t, err, cri.Refused, cri.ReasonDenied)
	if !i.Connected || i.Answered {
		t.Errorf("%+v", i)
	}
	n.Stop()
	i, err = c.Inspect(t.Context())
	wantError(t, err, cri.Unavailable, cri.ReasonRefused)
	if !i.Exists || i.Connected {
		t.Errorf("%+v", i)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if _, err := c.Inspect(ctx); !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
}
