package cri

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/podseal/podseal/pkg/unixpeer"
)

// errTimeout is the cause of a call's end after callTimeout.
var errTimeout = fmt.Errorf("no complete answer within %v", callTimeout)

// link is the way to the socket: one connection, made when it is needed and given
// up at the first sign of trouble.
type link struct {
	socket string
	rule   unixpeer.Rule
	// timeout is callTimeout, but in tests.
	timeout time.Duration

	// connecting is held while a connection is made.
	connecting chan struct{}
	// mu guards current for an assignment.
	mu      sync.Mutex
	current *session
}

// session is one connection to the runtime.
type session struct {
	grpc    *grpc.ClientConn
	raw     *unixpeer.Conn
	peer    unixpeer.Peer
	timeout time.Duration
}

func newLink(cfg Config, inPod unixpeer.InPod) *link {
	return &link{
		socket:     cfg.Socket,
		rule:       unixpeer.Rule{UID: cfg.PeerUID, InPod: inPod},
		timeout:    callTimeout,
		connecting: make(chan struct{}, 1),
	}
}

// session returns the connection, or makes one; fresh is whether it did.
func (l *link) session(ctx context.Context) (s *session, fresh bool, err error) {
	select {
	case l.connecting <- struct{}{}:
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
	defer func() { <-l.connecting }()
	if s := l.get(); s != nil {
		return s, false, nil
	}
	if s, err = l.connect(ctx); err != nil {
		return nil, false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = s
	return s, true, nil
}

func (l *link) get() *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

// drop gives a connection up, with all that still goes on over it.
func (l *link) drop(s *session) {
	l.mu.Lock()
	if l.current == s {
		l.current = nil
	}
	l.mu.Unlock()
	s.close()
}

func (l *link) close() {
	if s := l.get(); s != nil {
		l.drop(s)
	}
}

// connect makes a connection of its own.
func (l *link) connect(ctx context.Context) (*session, error) {
	raw, err := unixpeer.Dial(ctx, l.socket)
	if err != nil {
		return nil, err
	}
	peer, err := l.rule.Check(raw)
	if err != nil {
		_ = raw.Close() // nothing was sent
		return nil, err
	}
	client, err := unixpeer.NewClient(raw, grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, err
	}
	return &session{client, raw, peer, l.timeout}, nil
}

func (s *session) close() {
	_ = s.grpc.Close() // of a connection; nothing to lose
	_ = s.raw.Close()
}

// do asks what question asks over a connection. One that was there before may have
// ended unseen, when the runtime restarted: then it is asked once more over another.
// Nothing that is asked changes anything.
func (l *link) do(question func(*session) error) error {
	again, err := l.try(question)
	if again {
		_, err = l.try(question)
	}
	return err
}

// try asks over a connection; again is whether that was lost and had been there
// before.
func (l *link) try(question func(*session) error) (again bool, err error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), l.timeout, errTimeout)
	defer cancel()
	s, fresh, err := l.session(ctx)
	if err != nil {
		return false, err
	}
	err = question(s)
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled: // the latter when another question found out first
		l.drop(s)
		return !fresh, err
	}
	// Whatever else is wrong, the calls of others may go on over the connection.
	return false, err
}
