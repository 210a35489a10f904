package podsapi

import (
	"errors"
	"fmt"

	"github.com/podseal/podseal/pkg/printable"
)

// Reason is a kind of failure, for those who branch on it.
type Reason string

// The reasons that a Diagnosis can have.
const (
	// On the way to the kubelet.
	ReasonNoSocket   Reason = "no-socket"  // the path does not exist
	ReasonPermission Reason = "permission" // we may not open it
	ReasonRefused    Reason = "refused"    // nothing listens on it
	ReasonTimeout    Reason = "timeout"    // no answer in time
	ReasonHungUp     Reason = "hung-up"    // the connection was closed in the middle
	ReasonRequest    Reason = "request"    // any other question that got no answer

	// About who listens.
	ReasonPeerUser Reason = "peer-user" // another user than root
	ReasonPeerPod  Reason = "peer-pod"  // a process in a pod
	ReasonPeer     Reason = "peer"      // it can't be told who

	// About the answer.
	ReasonStarting   Reason = "starting"     // the kubelet says that it is not ready
	ReasonBusy       Reason = "busy"         // its limiter refuses, or we read too slowly
	ReasonNotPodsAPI Reason = "not-pods-api" // what listens is something else
	ReasonStatus     Reason = "status"       // any other status
	ReasonLimit      Reason = "limit"        // the answer is beyond one of our bounds
)

// Diagnosis is a failure for people: what is wrong, and what to do about it. Both
// are one line each, fit for printing. Neither is empty.
type Diagnosis struct {
	Reason Reason
	Cause  string
	Remedy string
}

func (d Diagnosis) said() string { return d.Cause + ": " + d.Remedy }

// Diagnose returns the diagnosis of an error of this package; false for others.
func Diagnose(err error) (Diagnosis, bool) {
	e, ok := errors.AsType[interface {
		error
		Diagnosis() Diagnosis
	}](err)
	if !ok {
		return Diagnosis{}, false
	}
	return e.Diagnosis(), true
}

// Diagnosis says why there was no answer.
func (e *RequestError) Diagnosis() Diagnosis { return e.diagnosis }

// Diagnosis says what the status means.
func (e *StatusError) Diagnosis() Diagnosis { return e.diagnosis }

// Diagnosis says who listens.
func (e *PeerError) Diagnosis() Diagnosis {
	return Diagnosis{e.reason, fmt.Sprintf("what listens on %q (pods_api_socket) is not taken for the kubelet: %s", e.socket, printable.Line(e.Err.Error(), 1<<10)),
		"look which process that is: nothing but the kubelet may write to the socket's directory, and no pod should have it mounted but to read"}
}

// Diagnosis says that it is no answer of the kubelet's.
func (e *ResponseError) Diagnosis() Diagnosis {
	d := Diagnosis{Reason: ReasonNotPodsAPI, Cause: fmt.Sprintf("what the kubelet at %q (pods_api_socket) says can't be used: %s", e.socket, printable.Line(e.Err.Error(), 1<<10)),
		Remedy: "look whether it is the kubelet's Pods API socket, or set pod_source to \"kubelet\""}
	if errors.Is(e.Err, ErrLimit) {
		d.Reason = ReasonLimit
	}
	return d
}
