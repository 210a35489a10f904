package podsapi

import (
	"errors"
	"net"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/unixpeer"
)

// InPod is whether the process with that ID runs in a pod.
type InPod = unixpeer.InPod

// Peer is who listens on the socket: the process that began to.
type Peer = unixpeer.Peer

// check makes sure that it is the kubelet that listens, as far as the kernel tells.
func (l *link) check(conn net.Conn) (Peer, error) {
	c, ok := conn.(*unixpeer.Conn)
	switch {
	case !ok && l.unchecked:
		return Peer{}, nil
	case !ok:
		return Peer{}, &PeerError{Err: errors.New("the connection is not one to a socket of this node"), reason: ReasonPeer}
	}
	peer, err := l.rule.Check(c)
	if doubt, ok := errors.AsType[*unixpeer.Error](err); ok {
		err = &PeerError{Peer: doubt.Peer, Err: doubt.Err, reason: doubts[doubt.Doubt]}
	}
	return peer, err
}

var doubts = map[unixpeer.Doubt]diagnosis.Reason{unixpeer.Unknown: ReasonPeer, unixpeer.OtherUser: ReasonPeerUser, unixpeer.Pod: ReasonPeerPod}
