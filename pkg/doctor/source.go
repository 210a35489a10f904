package doctor

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/podsapi"
)

// podSource says where pods are known from. It asks the Pods API once, unless
// pod_source has no use for it.
func (x *examination) podSource(ctx context.Context) []Check {
	switch {
	case len(x.Settings.Problems) > 0:
		return []Check{skipped(PodSource, because(Configuration))}
	case x.Settings.PodSource == KubeletPort:
		return []Check{ok(PodSource, "pods are known from the kubelet's port, as pod_source \"kubelet\" asks for")}
	case x.PodsAPI == nil && x.PodsAPIErr == nil:
		// The peer can't be judged without the node's processes.
		why := cmp.Or(x.blind, "not looked at, because podseal's parts could not be put together")
		if x.Settings.PodSource == FromPodsAPI {
			x.noAPI = why
		}
		return []Check{skipped(PodSource, why)}
	}
	f := sourceFacts{setting: x.Settings.PodSource, err: x.PodsAPIErr}
	if f.err == nil {
		f.inspection, f.err = x.PodsAPI.Inspect(ctx)
	}
	x.usesAPI = f.err == nil
	if f.err != nil && f.setting == FromPodsAPI {
		x.noAPI = because(PodSource)
	}
	return []Check{judgeSource(f)}
}

// sourceFacts is what one question to the Pods API met.
type sourceFacts struct {
	setting Source
	// inspection is nil where the client could not even be made.
	inspection *podsapi.Inspection
	err        error
}

func judgeSource(f sourceFacts) Check {
	if f.err == nil {
		return f.answered()
	}
	d := diagnoseAPI(f.err)
	if f.setting == FromPodsAPI || f.inspection == nil {
		return failed(PodSource, d.Cause, d.Remedy, f.details()...)
	}
	const fallback = "pod_source is \"auto\", and pods are known from the kubelet's port, because its Pods API does not answer: "
	switch d.Reason {
	case podsapi.ReasonPeerUser, podsapi.ReasonPeerPod, podsapi.ReasonPeer:
		// Nobody but the kubelet has a reason to listen there.
		return warning(PodSource, fallback+d.Cause, d.Remedy, f.details()...)
	}
	return ok(PodSource, fallback+d.Cause+"; to use it: "+d.Remedy, f.details()...)
}

func (f sourceFacts) answered() Check {
	i := f.inspection
	finding := fmt.Sprintf("pods are known from the kubelet's Pods API: process %d, root's and in no pod, gave %s at %q (pods_api_socket)",
		i.Peer.PID, count(i.Pods, "pod"), i.Socket)
	if f.setting == Auto {
		finding += "; pod_source is \"auto\", so the kubelet's port is what is used when it does not answer"
	}
	return ok(PodSource, finding, f.details()...)
}

func (f sourceFacts) details() (facts []string) {
	i := f.inspection
	if i == nil {
		return nil
	}
	if i.Exists {
		facts = append(facts, fmt.Sprintf("the socket: %q, %s", i.Socket, i.Mode))
	}
	if i.Answered {
		facts = append(facts, fmt.Sprintf("answered in: %s", i.Took.Round(10*time.Microsecond)))
	}
	return facts
}

func diagnoseAPI(err error) diagnosis.Diagnosis {
	if d, diagnosed := diagnosis.Of(err); diagnosed {
		return d
	}
	return diagnosis.Diagnosis{Cause: err.Error(), Remedy: "change the setting that is named, or look at podseal's log and at the kubelet's"}
}

// podsOfAPI asks the Pods API for the list that attestations are made from.
func (x *examination) podsOfAPI(ctx context.Context) Check {
	x.list = func(ctx context.Context, newerThan time.Time) (*pod.Index, error) {
		return x.PodsAPI.Next(ctx, "", newerThan)
	}
	index, err := x.list(ctx, time.Time{})
	x.index = index
	if err != nil {
		d := diagnoseAPI(err)
		return failed(KubeletPods, d.Cause, d.Remedy)
	}
	return judgeIndex(index)
}

// fallback makes warnings of the failures of a port that is not in use: they keep
// nobody from his identity while the Pods API answers. A port that can't even be
// made ready does, since the plugin is not configured then.
func (x *examination) fallback(checks []Check) []Check {
	if !x.usesAPI || x.Kubelet == nil {
		return checks
	}
	for i, c := range checks {
		if c.Status == Failed {
			checks[i].Status = Warning
			checks[i].Finding = "when the Pods API does not answer: " + c.Finding
		}
	}
	return checks
}
