package podsapi

import (
	"errors"
	"fmt"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/printable"
)

// The reasons that a Diagnosis can have.
const (
	// On the way to the kubelet.
	ReasonNoSocket   diagnosis.Reason = "no-socket"  // the path does not exist
	ReasonPermission diagnosis.Reason = "permission" // we may not open it
	ReasonRefused    diagnosis.Reason = "refused"    // nothing listens on it
	ReasonTimeout    diagnosis.Reason = "timeout"    // no answer in time
	ReasonHungUp     diagnosis.Reason = "hung-up"    // the connection was closed in the middle
	ReasonRequest    diagnosis.Reason = "request"    // any other question that got no answer

	// About who listens.
	ReasonPeerUser diagnosis.Reason = "peer-user" // another user than root
	ReasonPeerPod  diagnosis.Reason = "peer-pod"  // a process in a pod
	ReasonPeer     diagnosis.Reason = "peer"      // it can't be told who

	// About the answer.
	ReasonStarting   diagnosis.Reason = "starting"     // the kubelet says that it is not ready
	ReasonBusy       diagnosis.Reason = "busy"         // its limiter refuses, or we read too slowly
	ReasonNotPodsAPI diagnosis.Reason = "not-pods-api" // what listens is something else
	ReasonStatus     diagnosis.Reason = "status"       // any other status
	ReasonLimit      diagnosis.Reason = "limit"        // the answer is beyond one of our bounds
)

// Diagnosis says why there was no answer.
func (e *RequestError) Diagnosis() diagnosis.Diagnosis { return e.diagnosis }

// Diagnosis says what the status means.
func (e *StatusError) Diagnosis() diagnosis.Diagnosis { return e.diagnosis }

// Diagnosis says who listens.
func (e *PeerError) Diagnosis() diagnosis.Diagnosis {
	return diagnosis.New(e.reason, fmt.Sprintf("what listens on %q (pods_api_socket) is not taken for the kubelet: %s", e.socket, printable.Line(e.Err.Error(), 1<<10)),
		"look which process that is: nothing but the kubelet may write to the socket's directory, and no pod should have it mounted but to read")
}

// Diagnosis says that it is no answer of the kubelet's.
func (e *ResponseError) Diagnosis() diagnosis.Diagnosis {
	d := diagnosis.Diagnosis{Reason: ReasonNotPodsAPI, Cause: fmt.Sprintf("what the kubelet at %q (pods_api_socket) says can't be used: %s", e.socket, printable.Line(e.Err.Error(), 1<<10)),
		Remedy: "look whether it is the kubelet's Pods API socket, or set pod_source to \"kubelet\""}
	if errors.Is(e.Err, ErrLimit) {
		d.Reason = ReasonLimit
	}
	return d
}
