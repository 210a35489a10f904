package cri

import (
	"cmp"
	"fmt"
	"slices"

	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/podseal/podseal/pkg/image"
)

// The labels that the kubelet gives every container that it makes. What a pod's
// author writes becomes labels of the sandbox, and none of a container.
const (
	labelPodUID    = "io.kubernetes.pod.uid"
	labelNamespace = "io.kubernetes.pod.namespace"
	labelPodName   = "io.kubernetes.pod.name"
	labelName      = "io.kubernetes.container.name"
)

// in is what is known of a container that is in that sandbox.
func in(s *runtimev1.ContainerStatus, sandbox *runtimev1.PodSandboxStatus) (*Container, error) {
	pod, labels := sandbox.GetMetadata(), s.GetLabels()
	for _, x := range []struct{ what, byLabel, otherwise string }{
		{"pod UID", labels[labelPodUID], pod.GetUid()},
		{"namespace", labels[labelNamespace], pod.GetNamespace()},
		{"pod name", labels[labelPodName], pod.GetName()},
		{"container name", labels[labelName], s.GetMetadata().GetName()},
	} {
		switch {
		case x.byLabel == "":
			return nil, contradicts("the container %q has no label for its %s: the kubelet did not make it", s.GetId(), x.what)
		case x.byLabel != x.otherwise:
			return nil, contradicts("the %s of the container %q is %q by its label, and otherwise %q", x.what, s.GetId(), x.byLabel, x.otherwise)
		}
	}
	return &Container{
		ID: s.GetId(), PodUID: pod.GetUid(), Namespace: pod.GetNamespace(), PodName: pod.GetName(), Name: s.GetMetadata().GetName(),
		Running:   s.GetState() == runtimev1.ContainerState_CONTAINER_RUNNING,
		ImageName: s.GetImage().GetImage(), ImageID: cmp.Or(s.GetImageRef(), s.GetImageId()),
	}, nil
}

// asked is the image that ImageStatus is asked for.
type asked struct {
	// text is what the runtime called it.
	text string
	id   image.ID
}

// imageOf is the runtime's own ID of the image where it says one, else its digested
// name. See the package's comment.
func imageOf(s *runtimev1.ContainerStatus) (asked, error) {
	text := cmp.Or(s.GetImageId(), s.GetImageRef())
	if text == "" {
		return asked{}, contradicts("it does not say which image the container %q was made from", s.GetId())
	}
	id, err := image.ParseID(text)
	if err != nil {
		return asked{}, contradicts("the image of the container %q has no digest: %w", s.GetId(), err)
	}
	return asked{text, id}, nil
}

// configuration is the digest of the image's configuration, and all of its names by
// digest. An image that was removed is known by its ID still, but not by a name.
func (a asked) configuration(s *runtimev1.Image) (image.Digest, []string, error) {
	byName := !a.id.Repository.IsZero()
	if s == nil {
		if byName {
			return image.Digest{}, nil, &missing{fmt.Sprintf("the image %q", a.text), ReasonNoImage}
		}
		return a.id.Digest, nil, nil
	}
	id, err := image.ParseID(s.GetId())
	switch {
	case err != nil:
		return image.Digest{}, nil, contradicts("asked about the image %q it answers with the ID %q", a.text, s.GetId())
	case !id.Repository.IsZero(), !byName && id.Digest != a.id.Digest:
		return image.Digest{}, nil, contradicts("asked about the image %q it describes %q", a.text, s.GetId())
	}
	names := slices.Clone(s.GetRepoDigests())
	slices.Sort(names)
	return id.Digest, slices.Compact(names), nil
}

func contradicts(format string, args ...any) error {
	return &contradiction{fmt.Errorf(format, args...), ReasonAnswer}
}
