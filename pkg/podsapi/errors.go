package podsapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/printable"
)

// RequestError is a question that got no answer: nobody there, or too late.
type RequestError struct {
	Err error

	diagnosis diagnosis.Diagnosis
}

func (e *RequestError) Error() string { return e.diagnosis.String() }

func (e *RequestError) Unwrap() error { return e.Err }

// PeerError is a socket on which somebody listens who may not be the kubelet.
type PeerError struct {
	Peer Peer
	Err  error

	reason diagnosis.Reason
	socket string
}

func (e *PeerError) Error() string { return e.Diagnosis().String() }

func (e *PeerError) Unwrap() error { return e.Err }

// StatusError is an answer of the kubelet that it gives none.
type StatusError struct {
	Code codes.Code
	// Message is the kubelet's, fit for printing.
	Message string

	diagnosis diagnosis.Diagnosis
}

func (e *StatusError) Error() string { return e.diagnosis.String() }

// ResponseError is an answer that is not one of the Pods API, or not one within
// our bounds: then it is an ErrLimit.
type ResponseError struct {
	Err error

	socket string
}

func (e *ResponseError) Error() string { return e.Diagnosis().String() }

func (e *ResponseError) Unwrap() error { return e.Err }

// isDown is whether an error is about the kubelet and not about one pod: until
// it has passed there is nothing else to ask for either.
func isDown(err error) bool {
	d, ok := diagnosis.Of(err)
	return ok && d.Reason != ReasonBusy && d.Reason != ReasonStatus && d.Reason != ReasonLimit
}

// explain makes the package's errors of what went wrong; nil of nil.
func (c *Client) explain(err error) error {
	if err == nil {
		return nil
	}
	if peer, ok := errors.AsType[*PeerError](err); ok {
		peer.socket = c.cfg.Socket
		return peer
	}
	if _, ok := errors.AsType[*guard.PanicError](err); ok {
		return err
	}
	if errors.Is(err, ErrLimit) || errors.Is(err, errProtocol) {
		return &ResponseError{err, c.cfg.Socket}
	}
	if _, ok := status.FromError(err); ok {
		return c.explainStatus(err)
	}
	return &RequestError{err, c.diagnose(err)}
}

func (c *Client) explainStatus(err error) error {
	code := status.Code(err)
	message := printable.Line(status.Convert(err).Message(), 1<<10)
	at := fmt.Sprintf("the kubelet at %q (pods_api_socket)", c.cfg.Socket)
	said := fmt.Sprintf("%s answered %v: %s", at, code, message)
	e := &StatusError{Code: code, Message: message}
	switch code {
	case codes.Unavailable, codes.Canceled, codes.Aborted:
		return &RequestError{err, diagnosis.New(ReasonHungUp, fmt.Sprintf("%s closed the connection: %s", at, message),
			"look whether the kubelet is restarting; podseal asks again by itself")}
	case codes.DeadlineExceeded:
		return &RequestError{err, c.diagnose(errTimeout)}
	case codes.FailedPrecondition:
		e.diagnosis = diagnosis.New(ReasonStarting, "the kubelet is still starting: "+said, "wait; podseal asks again by itself")
	case codes.ResourceExhausted:
		e.diagnosis = diagnosis.New(ReasonBusy, "the kubelet is asked more than it answers: "+said,
			"look which other programs on the node use the kubelet's Pods API; podseal asks again by itself")
	case codes.Unimplemented:
		e.diagnosis = diagnosis.New(ReasonNotPodsAPI, "what listens there is not the kubelet's Pods API: "+said,
			"set pods_api_socket to the kubelet's Pods API socket, or pod_source to \"kubelet\"")
	default:
		e.diagnosis = diagnosis.New(ReasonStatus, said, "look at the kubelet's log; podseal asks again by itself")
	}
	return e
}

// diagnose is for what the operating system says.
func (c *Client) diagnose(err error) diagnosis.Diagnosis {
	socket := fmt.Sprintf("%q (pods_api_socket)", c.cfg.Socket)
	const enable = "enable the kubelet's feature gate PodsAPI (Kubernetes 1.36; on by default in 1.37) and mount the socket's directory into the agent's container, or set pod_source to \"kubelet\""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return diagnosis.New(ReasonNoSocket, "there is no socket "+socket, enable)
	case errors.Is(err, fs.ErrPermission):
		return diagnosis.New(ReasonPermission, "this user may not open the socket "+socket, "run the agent as root: the kubelet lets nobody else in")
	case errors.Is(err, syscall.ECONNREFUSED):
		return diagnosis.New(ReasonRefused, "nothing listens on the socket "+socket, "start the kubelet; if it runs, then with the feature gate PodsAPI, and mount the directory of the socket and not the socket itself, which is made anew at each start")
	case errors.Is(err, syscall.ENOTSOCK), errors.Is(err, syscall.EPROTOTYPE):
		return diagnosis.New(ReasonNotPodsAPI, socket+" is no socket that can be connected to", "set pods_api_socket to the kubelet's Pods API socket")
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded):
		return diagnosis.New(ReasonTimeout, fmt.Sprintf("the kubelet at %s: %v", socket, errTimeout), "look at the kubelet's log and at the load of the node")
	case errors.Is(err, io.EOF):
		return diagnosis.New(ReasonHungUp, fmt.Sprintf("the kubelet at %s ended the watch", socket), "look whether the kubelet is restarting; podseal asks again by itself")
	}
	return diagnosis.New(ReasonRequest, fmt.Sprintf("the kubelet was asked at %s and gave no answer: %s", socket, printable.Line(err.Error(), 1<<10)),
		"look whether it is the kubelet that listens there, and at its log")
}
