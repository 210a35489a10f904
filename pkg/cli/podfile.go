package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/pod"
)

// podFile is what is read of a pod as the API server has it, or as somebody will give
// it to that.
type podFile struct {
	Kind     string
	Metadata struct{ Name, Namespace string }
	Spec     struct {
		ServiceAccountName                              string
		Containers, InitContainers, EphemeralContainers []pod.ContainerSpec
	}
	Status struct {
		ContainerStatuses, InitContainerStatuses, EphemeralContainerStatuses []struct {
			Name, Image, ImageID, ContainerID string
		}
	}
}

// readPod reads a pod in JSON. A container that was not started counts as if it ran
// what its author wrote, where that is pinned to a digest.
func readPod(text []byte) (*pod.Pod, error) {
	var f podFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("it is no pod in JSON: %w", err)
	}
	if f.Kind != "Pod" {
		return nil, fmt.Errorf("it is a %q, not a Pod", f.Kind)
	}
	p := &pod.Pod{Name: f.Metadata.Name, Namespace: f.Metadata.Namespace, ServiceAccount: f.Spec.ServiceAccountName}
	if p.Namespace == "" {
		p.Namespace = "default"
	}
	if p.ServiceAccount == "" {
		p.ServiceAccount = "default"
	}
	join := func(t pod.Type, specs []pod.ContainerSpec, statuses []struct{ Name, Image, ImageID, ContainerID string }) {
		var reported []pod.Container
		for _, s := range statuses {
			runtime, id := pod.RuntimeID(s.ContainerID)
			reported = append(reported, pod.Container{Name: s.Name, Image: s.Image, ImageID: s.ImageID, ID: id, Runtime: runtime})
		}
		p.Containers = pod.Join(p.Containers, t, specs, reported)
	}
	join(pod.Regular, f.Spec.Containers, f.Status.ContainerStatuses)
	join(pod.Init, f.Spec.InitContainers, f.Status.InitContainerStatuses)
	join(pod.Ephemeral, f.Spec.EphemeralContainers, f.Status.EphemeralContainerStatuses)
	if len(p.Containers) == 0 {
		return nil, errors.New("the pod has no containers")
	}
	for i := range p.Containers {
		asIfItRan(&p.Containers[i])
	}
	return p, nil
}

func asIfItRan(c *pod.Container) {
	if c.ID == "" {
		c.ID = noContainerID
	}
	if ref, err := image.ParseRef(c.SpecImage); err == nil && c.ImageID == "" {
		c.Image, c.ImageID = c.SpecImage, ref.String()
	}
}
