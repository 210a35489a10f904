package cri

import "github.com/podseal/podseal/pkg/diagnosis"

// Kind is what a failure means to who decides about an image.
type Kind int

// The kinds that an Error can have.
const (
	// Unavailable is a runtime that gives no answer; asked again it may.
	Unavailable Kind = iota
	// NotFound is a container that the runtime does not know, or one whose image it
	// does not know any more.
	NotFound
	// Refused is a socket that we may not open, a runtime that gives us no answers,
	// or somebody who listens and may not be the runtime.
	Refused
	// Malformed is an answer that is none of the container runtime interface, or
	// that contradicts itself or the kernel.
	Malformed
	// Limit is an answer beyond one of our bounds.
	Limit
)

// The reasons that a diagnosis can have.
const (
	// On the way to the runtime: Unavailable, but for ReasonPermission.
	ReasonNoSocket   diagnosis.Reason = "no-socket"  // the path does not exist
	ReasonPermission diagnosis.Reason = "permission" // we may not open it: Refused
	ReasonRefused    diagnosis.Reason = "refused"    // nothing listens on it
	ReasonTimeout    diagnosis.Reason = "timeout"    // no answer in time
	ReasonHungUp     diagnosis.Reason = "hung-up"    // the connection was closed in the middle
	ReasonRequest    diagnosis.Reason = "request"    // any other question that got no answer

	// About who listens: Refused.
	ReasonPeerUser diagnosis.Reason = "peer-user" // another user than root
	ReasonPeerPod  diagnosis.Reason = "peer-pod"  // a process in a pod
	ReasonPeer     diagnosis.Reason = "peer"      // it can't be told who

	// About the answer.
	ReasonNoContainer diagnosis.Reason = "no-container" // the runtime does not know it: NotFound
	ReasonNoImage     diagnosis.Reason = "no-image"     // nor its image: NotFound
	ReasonDenied      diagnosis.Reason = "denied"       // it says that we may not ask: Refused
	ReasonStatus      diagnosis.Reason = "status"       // any other status: Unavailable
	ReasonNotCRI      diagnosis.Reason = "not-cri"      // what listens is something else: Malformed
	ReasonAnswer      diagnosis.Reason = "answer"       // it contradicts itself: Malformed
	ReasonOtherPod    diagnosis.Reason = "other-pod"    // it contradicts the kernel: Malformed
	ReasonLimit       diagnosis.Reason = "limit"        // beyond one of our bounds: Limit
)

// Error is why the runtime does not tell.
type Error struct {
	Kind Kind
	// Err is what went wrong: an error of the operating system, of gRPC or a
	// *unixpeer.Error.
	Err error

	diagnosis diagnosis.Diagnosis
}

func (e *Error) Error() string { return e.diagnosis.String() }

func (e *Error) Unwrap() error { return e.Err }

// Diagnosis says why the runtime does not tell, and what to do about it.
func (e *Error) Diagnosis() diagnosis.Diagnosis { return e.diagnosis }
