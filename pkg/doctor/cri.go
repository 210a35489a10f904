package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/podseal/podseal/pkg/cri"
	"github.com/podseal/podseal/pkg/diagnosis"
)

// Runtime is the container runtime: a *cri.Client.
type Runtime interface {
	Container(ctx context.Context, podUID, containerID string) (*cri.Container, error)
	Inspect(ctx context.Context) (*cri.Inspection, error)
}

// runtime asks the container runtime, where one is set, what one of the containers
// that the kubelet lists was made from: the socket may be another runtime's.
func (x *examination) runtime(ctx context.Context) []Check {
	switch {
	case len(x.Settings.Problems) > 0:
		return []Check{skipped(ContainerRuntime, because(Configuration))}
	case x.Settings.CRISocket == "":
		return []Check{ok(ContainerRuntime, "the container runtime is not asked what containers were made from, as cri_socket is not set")}
	case x.Runtime == nil && x.RuntimeErr == nil:
		// The peer can't be judged without the node's processes.
		return []Check{skipped(ContainerRuntime, cmp.Or(x.blind, "not looked at, because podseal's parts could not be put together"))}
	}
	f := runtimeFacts{needed: x.Settings.CRINeeded, err: x.RuntimeErr}
	if f.err == nil {
		f.inspection, f.err = x.Runtime.Inspect(ctx)
	}
	if f.err == nil {
		x.example(ctx, &f)
	}
	return []Check{judgeRuntime(f)}
}

// example asks about the first running container of the kubelet's list. One that
// ended meanwhile says nothing.
func (x *examination) example(ctx context.Context, f *runtimeFacts) {
	for range 3 {
		id, of, found := firstRunning(x)
		if !found {
			return
		}
		f.asked = of.name
		f.container, f.err = x.Runtime.Container(ctx, of.podUID, id)
		if e, ok := errors.AsType[*cri.Error](f.err); !ok || e.Kind != cri.NotFound {
			return
		}
		later, err := x.list(ctx, x.index.Taken)
		if err != nil {
			return // what is known already will do
		}
		if _, still := running(later)[id]; still {
			return
		}
		x.index = later
		f.asked, f.err = "", nil
	}
}

// firstRunning is the first running container of the kubelet's list, in its order.
func firstRunning(x *examination) (id string, of listed, found bool) {
	if x.index == nil {
		return "", listed{}, false
	}
	all := running(x.index)
	for p := range x.index.All() {
		for _, c := range p.Containers {
			if of, ok := all[c.ID]; ok {
				return c.ID, of, true
			}
		}
	}
	return "", listed{}, false
}

// runtimeFacts is what the questions to the runtime met.
type runtimeFacts struct {
	// needed is whether image policies have nobody else to believe.
	needed bool
	// inspection is nil where the client could not even be made.
	inspection *cri.Inspection
	// asked is the container that was asked about, empty for none; container is the
	// answer.
	asked     string
	container *cri.Container
	err       error
}

func judgeRuntime(f runtimeFacts) Check {
	if f.err != nil {
		d, diagnosed := diagnosis.Of(f.err)
		if !diagnosed {
			d = diagnosis.Diagnosis{Cause: f.err.Error(), Remedy: "change the setting that is named, or look at podseal's log and at the runtime's"}
		}
		if f.asked != "" {
			d.Cause = fmt.Sprintf("asked about %s: %s", f.asked, d.Cause)
		}
		if !f.needed {
			return warning(ContainerRuntime, "no image policy depends on it, but "+d.Cause, d.Remedy, f.details()...)
		}
		return failed(ContainerRuntime, d.Cause, d.Remedy, f.details()...)
	}
	finding := fmt.Sprintf("process %d, root's and in no pod, answers at %q (cri_socket)", f.inspection.Peer.PID, f.inspection.Socket)
	if f.container == nil {
		return ok(ContainerRuntime, finding+"; there is no running container to ask about", f.details()...)
	}
	return ok(ContainerRuntime, fmt.Sprintf("%s: %s was made from the image with the configuration %v", finding, f.asked, f.container.ConfigDigest), f.details()...)
}

func (f runtimeFacts) details() (facts []string) {
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
	if f.container != nil {
		facts = append(facts, fmt.Sprintf("its image ID: %q", f.container.ImageID))
	}
	return facts
}
