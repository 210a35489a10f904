package podsapi

import (
	"cmp"
	"slices"

	"github.com/podseal/podseal/pkg/pod"
)

// The numbers of the fields that are read, as k8s.io/api/core/v1/generated.proto
// and k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto have them. Numbers of
// a released API are never changed.
const (
	podMetadata, podSpec, podStatus = 1, 2, 3

	metaName, metaNamespace, metaUID, metaLabels, metaOwners = 1, 3, 5, 11, 13

	ownerKind, ownerName, ownerUID = 1, 3, 4

	specVolumes, specContainers, specServiceAccountName, specNodeName, specInit, specEphemeral = 1, 2, 8, 10, 20, 34

	volumeSource, sourceImage, imageReference = 2, 30, 1

	containerName, containerImage, containerRestartPolicy = 1, 2, 24

	ephemeralCommon = 1

	statusPhase, statusContainers, statusInit, statusEphemeral = 1, 8, 10, 13

	reportName, reportState, reportLastState, reportImage, reportImageID, reportContainerID = 1, 2, 3, 6, 7, 8

	stateRunning, stateTerminated = 2, 3

	terminatedContainerID = 7
)

// wirePod is the part of a v1.Pod that is read.
type wirePod struct {
	out        pod.Pod
	phase      string
	specs      [3][]pod.ContainerSpec // of regular, init and ephemeral containers
	containers [3][]pod.Container     // what their statuses report
	volumes    []wireVolume
}

// wireVolume is the part of a v1.Volume that is read.
type wireVolume struct {
	isImage   bool
	reference string
}

// kinds are the indexes of wirePod's lists.
var kinds = [3]pod.Type{pod.Regular, pod.Init, pod.Ephemeral}

func (w *wirePod) visit(f field) error {
	switch f.number {
	case podMetadata:
		return into(f, w, (*wirePod).metadata)
	case podSpec:
		return into(f, w, (*wirePod).spec)
	case podStatus:
		return into(f, w, (*wirePod).status)
	}
	return nil
}

func (w *wirePod) metadata(f field) error {
	switch f.number {
	case metaName:
		return f.text(&w.out.Name)
	case metaNamespace:
		return f.text(&w.out.Namespace)
	case metaUID:
		return f.text(&w.out.UID)
	case metaLabels:
		return extend(f, &w.out.Labels, label)
	case metaOwners:
		return extend(f, &w.out.Owners, owner)
	}
	return nil
}

func label(l *pod.Label, f field) error {
	switch f.number {
	case 1:
		return f.text(&l.Key)
	case 2:
		return f.text(&l.Value)
	}
	return nil
}

func owner(o *pod.Owner, f field) error {
	switch f.number {
	case ownerKind:
		return f.text(&o.Kind)
	case ownerName:
		return f.text(&o.Name)
	case ownerUID:
		return f.text(&o.UID)
	}
	return nil
}

func (w *wirePod) spec(f field) error {
	switch f.number {
	case specServiceAccountName:
		return f.text(&w.out.ServiceAccount)
	case specNodeName:
		return f.text(&w.out.NodeName)
	case specVolumes:
		return extend(f, &w.volumes, volume)
	case specContainers:
		return extend(f, &w.specs[0], container)
	case specInit:
		return extend(f, &w.specs[1], container)
	case specEphemeral:
		return extend(f, &w.specs[2], func(c *pod.ContainerSpec, f field) error {
			if f.number == ephemeralCommon {
				return into(f, c, container)
			}
			return nil
		})
	}
	return nil
}

// volume reads a v1.Volume.
func volume(v *wireVolume, f field) error {
	if f.number != volumeSource {
		return nil
	}
	return into(f, v, func(v *wireVolume, f field) error {
		if f.number != sourceImage {
			return nil
		}
		v.isImage = true
		return into(f, v, func(v *wireVolume, f field) error {
			if f.number == imageReference {
				return f.text(&v.reference)
			}
			return nil
		})
	})
}

// container reads a v1.Container.
func container(c *pod.ContainerSpec, f field) error {
	switch f.number {
	case containerName:
		return f.text(&c.Name)
	case containerImage:
		return f.text(&c.Image)
	case containerRestartPolicy:
		return f.text(&c.RestartPolicy)
	}
	return nil
}

func (w *wirePod) status(f field) error {
	switch f.number {
	case statusPhase:
		return f.text(&w.phase)
	case statusContainers:
		return extend(f, &w.containers[0], report)
	case statusInit:
		return extend(f, &w.containers[1], report)
	case statusEphemeral:
		return extend(f, &w.containers[2], report)
	}
	return nil
}

// report reads a v1.ContainerStatus.
func report(c *pod.Container, f field) error {
	switch f.number {
	case reportName:
		return f.text(&c.Name)
	case reportImage:
		return f.text(&c.Image)
	case reportImageID:
		return f.text(&c.ImageID)
	case reportContainerID:
		return id(f, &c.Runtime, &c.ID)
	case reportState:
		return into(f, c, state)
	case reportLastState:
		return into(f, c, lastState)
	}
	return nil
}

func state(c *pod.Container, f field) error {
	switch f.number {
	case stateRunning:
		c.Running = true
	case stateTerminated:
		c.Terminated = true
	default:
		return nil
	}
	_, err := f.message()
	return err
}

func lastState(c *pod.Container, f field) error {
	if f.number != stateTerminated {
		return nil
	}
	return into(f, c, func(c *pod.Container, f field) error {
		if f.number == terminatedContainerID {
			var runtime string
			return id(f, &runtime, &c.LastID)
		}
		return nil
	})
}

func id(f field, runtime, id *string) error {
	var full string
	if err := f.text(&full); err != nil {
		return err
	}
	*runtime, *id = pod.RuntimeID(full)
	return nil
}

func (w *wirePod) pod() *pod.Pod {
	p := &w.out
	p.Terminal = pod.IsTerminal(w.phase)
	p.Labels = sorted(p.Labels)
	p.Owners = slices.Clip(p.Owners)
	for i, t := range kinds {
		p.Containers = pod.Join(p.Containers, t, w.specs[i], w.containers[i])
	}
	for _, v := range w.volumes {
		if v.isImage {
			p.ImageVolumes = append(p.ImageVolumes, v.reference)
		}
	}
	return &pod.Pod{
		UID: p.UID, Name: p.Name, Namespace: p.Namespace, NodeName: p.NodeName, ServiceAccount: p.ServiceAccount,
		Terminal: p.Terminal, Labels: p.Labels, Owners: p.Owners, Containers: slices.Clip(p.Containers), ImageVolumes: p.ImageVolumes,
	}
}

// sorted sorts labels by key. Of a key that is there twice the last counts, as
// protobuf says of maps.
func sorted(labels []pod.Label) []pod.Label {
	slices.Reverse(labels)
	slices.SortStableFunc(labels, func(a, b pod.Label) int { return cmp.Compare(a.Key, b.Key) })
	return slices.Clip(slices.CompactFunc(labels, func(a, b pod.Label) bool { return a.Key == b.Key }))
}
