package cri

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/printable"
	"github.com/podseal/podseal/pkg/unixpeer"
)

// contradiction is an answer that can't be true beside what else is known.
type contradiction struct {
	err    error
	reason diagnosis.Reason
}

func (e *contradiction) Error() string { return e.err.Error() }

// explain makes an *Error of what went wrong; nil of nil. A panic stays what it is.
func (c *Client) explain(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*guard.PanicError](err); ok {
		return err
	}
	kind, d := c.diagnose(err)
	return &Error{kind, err, d}
}

func (c *Client) diagnose(err error) (Kind, diagnosis.Diagnosis) {
	at := fmt.Sprintf("%q (cri_socket)", c.cfg.Socket)
	if peer, ok := errors.AsType[*unixpeer.Error](err); ok {
		return Refused, diagnosePeer(at, peer)
	}
	said := fmt.Sprintf("what the container runtime at %s says can't be used: %s", at, printable.Line(err.Error(), 1<<10))
	if e, ok := errors.AsType[*missing](err); ok {
		return NotFound, diagnosis.New(e.reason, fmt.Sprintf("the container runtime at %s does not know %s", at, printable.Line(e.what, 1<<10)),
			"look whether cri_socket is that of the runtime which the kubelet uses; what has ended or was removed is not known any more")
	}
	if e, ok := errors.AsType[*contradiction](err); ok {
		return Malformed, diagnosis.New(e.reason, said, "look at the runtime's log, and whether cri_socket is that of the runtime which the kubelet uses")
	}
	if _, ok := status.FromError(err); ok {
		return diagnoseStatus(at, err)
	}
	return diagnoseSystem(at, err)
}

func diagnosePeer(at string, peer *unixpeer.Error) diagnosis.Diagnosis {
	reason := ReasonPeer
	switch peer.Doubt {
	case unixpeer.OtherUser:
		reason = ReasonPeerUser
	case unixpeer.Pod:
		reason = ReasonPeerPod
	}
	return diagnosis.New(reason, fmt.Sprintf("what listens on %s is not taken for the container runtime: %s", at, printable.Line(peer.Error(), 1<<10)),
		"look which process that is: nothing but the runtime may write to the socket's directory, and no pod should have it mounted but to read")
}

func diagnoseStatus(at string, err error) (Kind, diagnosis.Diagnosis) {
	code := status.Code(err)
	message := printable.Line(status.Convert(err).Message(), 1<<10)
	said := fmt.Sprintf("the container runtime at %s answered %v: %s", at, code, message)
	const wait = "look whether the runtime is restarting, and at its log; podseal asks again when it needs to know"
	switch code {
	case codes.Unavailable, codes.Canceled, codes.Aborted:
		return Unavailable, diagnosis.New(ReasonHungUp, fmt.Sprintf("the container runtime at %s closed the connection: %s", at, message), wait)
	case codes.DeadlineExceeded:
		return diagnoseSystem(at, errTimeout)
	case codes.ResourceExhausted:
		// Ours, for a message that is too long, or the runtime's for the same.
		return Limit, diagnosis.New(ReasonLimit, fmt.Sprintf("the answer of the container runtime at %s is beyond a bound (ours is %d MiB): %s", at, maxMessage>>20, message),
			"look what makes the container's configuration so large: its environment, annotations or mounts")
	case codes.PermissionDenied, codes.Unauthenticated:
		return Refused, diagnosis.New(ReasonDenied, said, "look at what stands between podseal and the runtime: it answers root without credentials")
	case codes.Unimplemented:
		return Malformed, diagnosis.New(ReasonNotCRI, "what listens there is not a container runtime of the interface's version 1: "+said,
			"set cri_socket to the socket of containerd or CRI-O that the kubelet uses")
	}
	return Unavailable, diagnosis.New(ReasonStatus, said, wait)
}

// diagnoseSystem is for what the operating system says.
func diagnoseSystem(at string, err error) (Kind, diagnosis.Diagnosis) {
	const mount = "look which socket the kubelet uses (containerRuntimeEndpoint) and mount its directory into the agent's container, or leave cri_socket out"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Unavailable, diagnosis.New(ReasonNoSocket, "there is no socket "+at, mount)
	case errors.Is(err, fs.ErrPermission):
		return Refused, diagnosis.New(ReasonPermission, "this user may not open the socket "+at, "run the agent as root: the runtime lets nobody else in")
	case errors.Is(err, syscall.ECONNREFUSED):
		return Unavailable, diagnosis.New(ReasonRefused, "nothing listens on the socket "+at, "start the container runtime; if it runs, mount the directory of the socket and not the socket itself, which is made anew at each start")
	case errors.Is(err, syscall.ENOTSOCK), errors.Is(err, syscall.EPROTOTYPE):
		return Malformed, diagnosis.New(ReasonNotCRI, at+" is no socket that can be connected to", "set cri_socket to the socket of containerd or CRI-O that the kubelet uses, and not to a link to it")
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Unavailable, diagnosis.New(ReasonTimeout, fmt.Sprintf("the container runtime at %s: %v", at, errTimeout), "look at the runtime's log and at the load of the node")
	}
	return Unavailable, diagnosis.New(ReasonRequest, fmt.Sprintf("the container runtime was asked at %s and gave no answer: %s", at, printable.Line(err.Error(), 1<<10)),
		"look whether it is the runtime that listens there, and at its log")
}
