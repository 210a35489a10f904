package podsapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/podseal/podseal/pkg/unixpeer"
)

const (
	// requestTimeout bounds a call, and a watch's initial list.
	requestTimeout = 10 * time.Second
	// maxMessage is the longest message that is taken. A pod is refused before
	// it is as long; a longer message ends the call that it belongs to.
	maxMessage = 16 << 20
)

// errTimeout is the cause of a call's end after requestTimeout.
var errTimeout = fmt.Errorf("no complete answer within %v", requestTimeout)

// link is the way to the socket: one connection at most, made when it is needed
// and given up at the first sign of trouble. gRPC's own reconnecting would go on
// when nobody asks, and say nothing but a text of what is wrong.
type link struct {
	rule unixpeer.Rule
	// dial is replaced by tests.
	dial func(context.Context) (net.Conn, error)
	// unchecked believes in whatever a test's dial connects to.
	unchecked bool

	// connecting is held while a connection is made.
	connecting chan struct{}
	// mu guards current for an assignment.
	mu      sync.Mutex
	current *session
}

// session is one connection to the kubelet.
type session struct {
	grpc *grpc.ClientConn
	raw  net.Conn
	peer Peer
	// since is since when the listener's process is there, zero where that is not
	// known.
	since time.Time
}

func newLink(cfg Config, inPod InPod) *link {
	return &link{
		rule:       unixpeer.Rule{UID: cfg.PeerUID, InPod: inPod},
		dial:       func(ctx context.Context) (net.Conn, error) { return unixpeer.Dial(ctx, cfg.Socket) },
		connecting: make(chan struct{}, 1),
	}
}

// session returns the connection, or makes one.
func (l *link) session(ctx context.Context) (*session, error) {
	select {
	case l.connecting <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-l.connecting }()
	if s := l.get(); s != nil {
		return s, nil
	}
	s, err := l.connect(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = s
	return s, nil
}

func (l *link) get() *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

// forget makes the next call use another connection.
func (l *link) forget(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == s {
		l.current = nil
	}
}

// drop gives a connection up, with all that still goes on over it.
func (l *link) drop(s *session) {
	l.forget(s)
	s.close()
}

// connect makes a connection of its own.
func (l *link) connect(ctx context.Context) (*session, error) {
	raw, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{raw: raw}
	if s.peer, err = l.check(raw); err != nil {
		_ = raw.Close() // nothing was sent
		return nil, err
	}
	s.since = s.peer.Started()
	s.grpc, err = unixpeer.NewClient(raw, grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *session) close() {
	_ = s.grpc.Close() // of a connection; nothing to lose
	_ = s.raw.Close()
}

// getPod makes one call. An answer's pod goes to take; false is NotFound.
func (s *session) getPod(ctx context.Context, uid string, take func([]byte)) (found bool, err error) {
	answer := getAnswer{take: take}
	switch err := s.grpc.Invoke(ctx, methodGet, getRequest{uid}, &answer); {
	case status.Code(err) == codes.NotFound:
		return false, nil
	case err != nil:
		return false, err
	}
	return answer.err == nil, answer.err
}

// errEnough ends a watch without an error.
var errEnough = errors.New("enough")

// watch gives the events to take until the stream ends, or take returns an
// error. It does not return nil unless that was errEnough.
func (s *session) watch(ctx context.Context, take func(eventType, []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.grpc.NewStream(ctx, &grpc.StreamDesc{StreamName: "WatchPods", ServerStreams: true}, methodWatch)
	if err != nil {
		return err
	}
	if err := errors.Join(stream.SendMsg(watchRequest{}), stream.CloseSend()); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var taken error
	e := event{take: func(t eventType, pod []byte) { taken = take(t, pod) }}
	for {
		if err := stream.RecvMsg(&e); err != nil {
			return err
		}
		switch err := errors.Join(e.err, taken); {
		case errors.Is(err, errEnough):
			return nil
		case err != nil:
			return err
		}
	}
}
