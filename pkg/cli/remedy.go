package cli

import (
	"context"
	"errors"

	"github.com/podseal/podseal/pkg/attest"
	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/printable"
	"github.com/podseal/podseal/pkg/verify"
)

// maxCause bounds an error's text, in bytes: it may quote strangers.
const maxCause = 4 << 10

// diagnose says in two sentences what went wrong and what to do about it.
func diagnose(err error) *failure {
	// An image has reasons of many kinds, none of which is all.
	if d, ok := diagnosis.Of(err); ok && !isType[*verify.Error](err) {
		return &failure{Cause: d.Cause, Remedy: d.Remedy}
	}
	f := &failure{Cause: printable.Line(err.Error(), maxCause)}
	for _, r := range remedies {
		if r.is(err) {
			f.Remedy = r.remedy
			break
		}
	}
	return f
}

// remedies is what to do about each kind of error. The first row that fits
// counts.
var remedies = []struct {
	is     func(error) bool
	remedy string
}{
	{is(container.ErrNotVisible), "Run the agent with hostPID: true: without it the kernel shows no process of another pod."},
	{is(container.ErrNoContainer), "Nothing is to be done for a helper of the container runtime; for a workload ask with the ID of a process of its own, as ps shows it on the node."},
	{is(container.ErrChanged), "Ask again with the ID of a process that lives on: podseal attests no process that ends, moves or is replaced meanwhile."},
	{is(container.ErrMalformed), "Compare /proc/<pid>/cgroup of the process with docs/security.md: podseal reads paths as the kernel and the kubelet write them, and nothing else."},
	{isType[*container.ConflictError], "Look at the process's cgroups with --explain: somebody moved it in one hierarchy and not in the others; start the container again."},
	{is(container.ErrTooManyCalls), "Wait for calls of this pod to end; see docs/security.md, bounds."},

	{isType[*verify.Error], "Ask podseal attest --pid PID --explain, or podseal verify IMAGE@sha256:... --explain, which show what was found for the image, where, and what each authority says of it."},

	{is(attest.ErrEphemeral), "Set ephemeral_containers = true if everybody who may add ephemeral containers to a pod may have the pod's identity."},
	{is(attest.ErrEnded), "Ask for a process of the container's current run: kubectl get pod -o yaml shows the containerID of each."},
	{is(attest.ErrTwoPods), "Give the agent its pod's UID: a variable MY_POD_UID from metadata.uid (pod_uid_env); two pods claim the container."},
	{is(attest.ErrNotSeen), "Wait until the kubelet publishes the container (kubectl get pod -o yaml shows its containerID) and ask again. If it takes longer than that as a rule, raise max_poll_attempts or attest_timeout."},
	{is(pod.ErrUndecodable), "Make the pod's description smaller, or look at what wrote it: it is beyond a bound of docs/security.md or no valid JSON. Other pods are not affected."},
	{is(context.Canceled), ""},
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func isType[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}
