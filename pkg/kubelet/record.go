package kubelet

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/printable"
)

const (
	// maxRecord is how much is kept of one pod, maxList how many elements any
	// list of it may have.
	maxRecord = 256 << 10
	maxList   = 2048
)

// record is what became of one pod's description: a pod, a fault, or neither
// where it has no UID.
type record struct {
	pod *pod.Pod

	fault error
	// uid is the fault's, empty when it could not be made out.
	uid string

	// size is about how much memory is kept.
	size int
}

func newRecord(v []byte, depth int) *record {
	p, size, err := decodePod(v, depth)
	switch {
	case err != nil:
		return &record{fault: newUndecodable(err), uid: findUID(v), size: 1 << 10}
	case p.UID == "":
		return &record{size: 64}
	}
	return &record{pod: p, size: size}
}

// undecodable is why a pod can't be decoded. The decoder's own errors may quote
// the pod at any length and in any characters.
type undecodable struct {
	text  string
	limit bool
}

func newUndecodable(err error) error {
	return &undecodable{printable.Line(err.Error(), 300), errors.Is(err, ErrLimit)}
}

func (e *undecodable) Error() string { return e.text }

// Is makes it an ErrLimit if it is one.
func (e *undecodable) Is(target error) bool { return e.limit && target == ErrLimit }

func decodePod(v []byte, depth int) (*pod.Pod, int, error) {
	if depth > maxDepth {
		return nil, 0, errPodTooDeep
	}
	if v[0] != '{' {
		return nil, 0, errors.New("it is not an object")
	}
	var w wirePod
	// Strict as this package is by default: names match in their exact case, and
	// none may be there twice, in parts that are not read either. Other decoders
	// disagree about such documents, and so could be made to see another pod.
	if err := json.Unmarshal(v, &w); err != nil {
		return nil, 0, err
	}
	p := w.pod()
	if id, twice := p.RepeatedID(); twice {
		return nil, 0, fmt.Errorf("two of its containers have the ID %q", clip(id))
	}
	p = p.Kept()
	size := p.Size()
	if size > maxRecord {
		return nil, 0, fmt.Errorf("%w: its names, labels, owners and images are longer than 256 KiB", ErrLimit)
	}
	return p, size, nil
}

// wirePod is the part of a v1.Pod that is read.
type wirePod struct {
	Metadata struct {
		UID       string          `json:"uid"`
		Name      string          `json:"name"`
		Namespace string          `json:"namespace"`
		Labels    wireLabels      `json:"labels"`
		Owners    list[wireOwner] `json:"ownerReferences"`
	} `json:"metadata"`
	Spec struct {
		NodeName            string              `json:"nodeName"`
		ServiceAccountName  string              `json:"serviceAccountName"`
		Containers          list[wireContainer] `json:"containers"`
		InitContainers      list[wireContainer] `json:"initContainers"`
		EphemeralContainers list[wireContainer] `json:"ephemeralContainers"`
		Volumes             list[wireVolume]    `json:"volumes"`
	} `json:"spec"`
	Status struct {
		Phase      string           `json:"phase"`
		Containers list[wireStatus] `json:"containerStatuses"`
		Init       list[wireStatus] `json:"initContainerStatuses"`
		Ephemeral  list[wireStatus] `json:"ephemeralContainerStatuses"`
	} `json:"status"`
}

type wireOwner struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	UID  string `json:"uid"`
}

type wireContainer struct {
	Name          string `json:"name"`
	Image         string `json:"image"`
	RestartPolicy string `json:"restartPolicy"`
}

type wireVolume struct {
	Image *struct {
		Reference string `json:"reference"`
	} `json:"image"`
}

type wireStatus struct {
	Name        string `json:"name"`
	Image       string `json:"image"`
	ImageID     string `json:"imageID"`
	ContainerID string `json:"containerID"`
	State       struct {
		Running    *struct{} `json:"running"`
		Terminated *struct{} `json:"terminated"`
	} `json:"state"`
	LastState struct {
		Terminated struct {
			ContainerID string `json:"containerID"`
		} `json:"terminated"`
	} `json:"lastState"`
}

// list is a slice that decodes at most maxList elements: empty ones cost three
// bytes each in the answer and far more here.
type list[T any] []T

// UnmarshalJSONFrom reads an array or null.
func (l *list[T]) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	open, err := d.ReadToken()
	if err != nil || open.Kind() == 'n' {
		return err
	}
	if open.Kind() != '[' {
		return fmt.Errorf("expected an array at %q", d.StackPointer())
	}
	for d.PeekKind() != ']' {
		if len(*l) == maxList {
			return fmt.Errorf("%w: more than %d elements at %q", ErrLimit, maxList, d.StackPointer().Parent())
		}
		*l = append(*l, *new(T))
		if err := json.UnmarshalDecode(d, &(*l)[len(*l)-1]); err != nil {
			return err
		}
	}
	_, err = d.ReadToken()
	return err
}

// wireLabels is an object of strings.
type wireLabels []pod.Label

// UnmarshalJSONFrom reads an object or null. The decoder refuses a key that is
// there twice.
func (l *wireLabels) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	open, err := d.ReadToken()
	if err != nil || open.Kind() == 'n' {
		return err
	}
	if open.Kind() != '{' {
		return errors.New("expected an object at \"/metadata/labels\"")
	}
	for d.PeekKind() != '}' {
		if len(*l) == maxList {
			return fmt.Errorf("%w: more than %d labels", ErrLimit, maxList)
		}
		var key, value string
		if err := json.UnmarshalDecode(d, &key); err != nil {
			return err
		}
		if err := json.UnmarshalDecode(d, &value); err != nil {
			return err
		}
		*l = append(*l, pod.Label{Key: key, Value: value})
	}
	_, err = d.ReadToken()
	return err
}

func (w *wirePod) pod() *pod.Pod {
	p := &pod.Pod{
		UID:            w.Metadata.UID,
		Name:           w.Metadata.Name,
		Namespace:      w.Metadata.Namespace,
		NodeName:       w.Spec.NodeName,
		ServiceAccount: w.Spec.ServiceAccountName,
		Terminal:       pod.IsTerminal(w.Status.Phase),
		Labels:         slices.Clip(w.Metadata.Labels),
	}
	slices.SortFunc(p.Labels, func(a, b pod.Label) int { return cmp.Compare(a.Key, b.Key) })
	for _, o := range w.Metadata.Owners {
		p.Owners = append(p.Owners, pod.Owner(o))
	}
	p.Containers = join(p.Containers, pod.Regular, w.Spec.Containers, w.Status.Containers)
	p.Containers = join(p.Containers, pod.Init, w.Spec.InitContainers, w.Status.Init)
	p.Containers = join(p.Containers, pod.Ephemeral, w.Spec.EphemeralContainers, w.Status.Ephemeral)
	p.Containers = slices.Clip(p.Containers)
	for _, v := range w.Spec.Volumes {
		if v.Image != nil {
			p.ImageVolumes = append(p.ImageVolumes, v.Image.Reference)
		}
	}
	return p
}

func join(to []pod.Container, t pod.Type, containers []wireContainer, statuses []wireStatus) []pod.Container {
	specs := make([]pod.ContainerSpec, len(containers))
	for i, c := range containers {
		specs[i] = pod.ContainerSpec(c)
	}
	reports := make([]pod.Container, len(statuses))
	for i, s := range statuses {
		runtime, id := pod.RuntimeID(s.ContainerID)
		_, last := pod.RuntimeID(s.LastState.Terminated.ContainerID)
		reports[i] = pod.Container{
			Name:       s.Name,
			ID:         id,
			Runtime:    runtime,
			LastID:     last,
			Image:      s.Image,
			ImageID:    s.ImageID,
			Running:    s.State.Running != nil,
			Terminated: s.State.Terminated != nil,
		}
	}
	return pod.Join(to, t, specs, reports)
}
