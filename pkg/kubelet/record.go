package kubelet

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/podseal/podseal/pkg/pod"
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
	return &undecodable{printable([]byte(err.Error()), 300), errors.Is(err, ErrLimit)}
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
	if id, twice := repeatedID(p); twice {
		return nil, 0, fmt.Errorf("two of its containers have the ID %q", clip(id))
	}
	size := sizeOf(p)
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
		Terminal:       w.Status.Phase == "Succeeded" || w.Status.Phase == "Failed",
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
	return p
}

// join appends the containers of one of the pod's three lists: those that have
// a status in its order, then the others in the spec's. The kubelet's status
// comes sorted or in the spec's order; either way the result depends on nothing
// but the answer.
func join(to []pod.Container, t pod.Type, specs []wireContainer, statuses []wireStatus) []pod.Container {
	at := make(map[string]int, len(specs))
	for i, s := range specs {
		if _, twice := at[s.Name]; !twice {
			at[s.Name] = i
		}
	}
	reported := make([]bool, len(specs))
	for _, s := range statuses {
		c := pod.Container{
			Name:       s.Name,
			Type:       t,
			HasStatus:  true,
			ID:         idOf(s.ContainerID),
			LastID:     idOf(s.LastState.Terminated.ContainerID),
			Image:      s.Image,
			ImageID:    s.ImageID,
			Running:    s.State.Running != nil,
			Terminated: s.State.Terminated != nil,
		}
		if i, ok := at[s.Name]; ok {
			reported[i] = true
			c.Type, c.SpecImage = typeOf(t, specs[i]), specs[i].Image
		}
		to = append(to, c)
	}
	for i, s := range specs {
		if !reported[i] {
			to = append(to, pod.Container{Name: s.Name, Type: typeOf(t, s), SpecImage: s.Image})
		}
	}
	return to
}

func typeOf(t pod.Type, spec wireContainer) pod.Type {
	if t == pod.Init && spec.RestartPolicy == "Always" {
		return pod.Sidecar
	}
	return t
}

// repeatedID returns an ID that two containers have. No kubelet reports that; who
// may write pods/status could, and would make an ephemeral container pass for a
// regular one.
func repeatedID(p *pod.Pod) (string, bool) {
	seen := make(map[string]bool, len(p.Containers))
	for _, c := range p.Containers {
		if c.ID != "" && seen[c.ID] {
			return c.ID, true
		}
		seen[c.ID] = true
	}
	return "", false
}

// idOf takes the scheme off "containerd://<id>". Without a scheme there is no
// ID, as the built-in attestor reads it.
func idOf(containerID string) string {
	_, id, _ := strings.Cut(containerID, "://")
	return id
}

// sizeOf is about how much memory a pod takes: its strings, and something for
// each element.
func sizeOf(p *pod.Pod) int {
	const perPod, perElement = 512, 160
	n := perPod + len(p.UID) + len(p.Name) + len(p.Namespace) + len(p.NodeName) + len(p.ServiceAccount)
	for _, l := range p.Labels {
		n += perElement/4 + len(l.Key) + len(l.Value)
	}
	for _, o := range p.Owners {
		n += perElement/2 + len(o.Kind) + len(o.Name) + len(o.UID)
	}
	for _, c := range p.Containers {
		n += perElement + len(c.Name) + len(c.SpecImage) + len(c.ID) + len(c.LastID) + len(c.Image) + len(c.ImageID)
	}
	return n
}
