package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/podseal/podseal/pkg/cri"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/pod"
)

// Source is who said what a container runs.
type Source string

// The sources, with the names of image_status_source.
const (
	// FromKubelet is the record that the pod was found by. Over the kubelet's port
	// it carries the API server's copy of the status, which everyone with rights on
	// pods/status can write.
	FromKubelet Source = "kubelet"
	FromPodsAPI Source = "pods_api"
	FromCRI     Source = "cri"
)

// Runs is what a source says that a container runs.
type Runs struct {
	Source Source
	// SpecImage is what the pod's author wrote, Image and ImageID what the runtime
	// calls it, raw.
	SpecImage, Image, ImageID string
	// ComparesLayers is whether the runtime compares layers with the configuration;
	// see image.Reported.
	ComparesLayers bool
	// Config is the digest of the image's configuration as the runtime says it;
	// zero where the source does not know. Pulled are all names by digest that the
	// runtime has for the image.
	Config image.Digest
	Pulled []string
}

// same is whether two say the same of the container.
func (r Runs) same(o Runs) bool {
	return r.SpecImage == o.SpecImage && r.Image == o.Image && r.ImageID == o.ImageID && r.Config == o.Config
}

// Statuses is whom image policies believe about what runs.
type Statuses interface {
	// Runs says what the container of the pod runs, waiting for it as long as ctx
	// lasts. c has an ID. The pod may be another source's record: where the two
	// contradict each other the answer is an ErrContradiction.
	Runs(ctx context.Context, p *pod.Pod, c *pod.Container) (Runs, error)
}

// ErrContradiction says that the record that a pod was found by and the source that
// image policies believe describe different containers.
var ErrContradiction = errors.New("the sources of the pod's status contradict each other")

// RecordStatuses believes the record that the pod was found by.
type RecordStatuses struct{}

// Runs implements Statuses.
func (RecordStatuses) Runs(_ context.Context, _ *pod.Pod, c *pod.Container) (Runs, error) {
	return Runs{Source: FromKubelet, SpecImage: c.SpecImage, Image: c.Image, ImageID: c.ImageID, ComparesLayers: comparesLayers(c)}, nil
}

// comparesLayers is whether the container is of a runtime that is known to compare
// layers with the configuration.
func comparesLayers(c *pod.Container) bool { return c.Runtime == "containerd" || c.Runtime == "docker" }

// Runtime is the container runtime, a *cri.Client.
type Runtime interface {
	Container(ctx context.Context, podUID, containerID string) (*cri.Container, error)
}

// RuntimeStatuses believes the container runtime.
type RuntimeStatuses struct{ Runtime Runtime }

// Runs implements Statuses. What the pod's author wrote is the record's: it is in no
// status.
func (s RuntimeStatuses) Runs(ctx context.Context, p *pod.Pod, c *pod.Container) (Runs, error) {
	found, err := s.Runtime.Container(ctx, p.UID, c.ID)
	if err != nil {
		return Runs{}, fmt.Errorf("the container runtime (cri_socket): %w", err)
	}
	if found.Namespace != p.Namespace || found.PodName != p.Name || found.Name != c.Name {
		return Runs{}, fmt.Errorf("%w: the container %s is %q of the pod %q to the runtime, and %q of %q to the kubelet",
			ErrContradiction, c.ID, found.Name, found.Namespace+"/"+found.PodName, c.Name, p.Namespace+"/"+p.Name)
	}
	return Runs{Source: FromCRI, SpecImage: c.SpecImage, Image: found.ImageName, ImageID: found.ImageID,
		Config: found.ConfigDigest, Pulled: found.RepoDigests, ComparesLayers: found.ComparesLayers}, nil
}

// Pods is a pod source that is told of changes; see attest.Pods.
type Pods interface {
	Next(ctx context.Context, uid string, newerThan time.Time) (*pod.Index, error)
}

const (
	// unsettled is how long after its start a kubelet may still say what the API
	// server says, because it has not looked at the container itself.
	unsettled = 30 * time.Second
	// apart is the least time between two looks that have to agree. A kubelet has
	// looked at all its containers a second or two after it knows their pods.
	apart = 2 * time.Second
)

// PodsAPIStatuses believes the kubelet's Pods API.
type PodsAPIStatuses struct{ Pods Pods }

// Runs implements Statuses. Just after the kubelet's start it looks twice: until the
// kubelet has seen the container itself it hands out the API server's copy of the
// status.
func (s PodsAPIStatuses) Runs(ctx context.Context, p *pod.Pod, c *pod.Container) (Runs, error) {
	var newerThan, since time.Time // since is when it was said first what is said now
	var before Runs
	for {
		index, err := s.Pods.Next(ctx, p.UID, newerThan)
		if err != nil {
			return Runs{}, fmt.Errorf("the kubelet's Pods API: %w", err)
		}
		newerThan = index.Taken
		runs, err := said(index, p, c)
		switch {
		case errors.Is(err, errNotYet):
			since = time.Time{}
			continue
		case err != nil:
			return Runs{}, err
		case settled(index):
			return runs, nil
		case since.IsZero() || !runs.same(before):
			before, since = runs, index.Taken
		case index.Taken.Sub(since) >= apart:
			return runs, nil
		}
	}
}

// settled is whether the kubelet had been there long enough when it was asked.
// Where it is not known since when it is there it has not.
func settled(index *pod.Index) bool {
	return !index.Since.IsZero() && index.Taken.Sub(index.Since) >= unsettled
}

// errNotYet says that a later index may have the container.
var errNotYet = errors.New("the container is not listed")

// said is what the index says that the container runs.
func said(index *pod.Index, p *pod.Pod, c *pod.Container) (Runs, error) {
	listed, err := index.ByUID(p.UID)
	if err != nil {
		return Runs{}, err
	}
	if listed == nil {
		return Runs{}, errNotYet
	}
	found, ok := listed.ContainerByID(c.ID)
	if !ok {
		return Runs{}, errNotYet
	}
	if listed.Namespace != p.Namespace || listed.Name != p.Name || found.Name != c.Name || found.Type != c.Type {
		return Runs{}, fmt.Errorf("%w: the container %s is the %s container %q of the pod %q to the Pods API, and the %s container %q of %q to the kubelet's port",
			ErrContradiction, c.ID, found.Type, found.Name, listed.Namespace+"/"+listed.Name, c.Type, c.Name, p.Namespace+"/"+p.Name)
	}
	return Runs{Source: FromPodsAPI, SpecImage: found.SpecImage, Image: found.Image, ImageID: found.ImageID, ComparesLayers: comparesLayers(found)}, nil
}
