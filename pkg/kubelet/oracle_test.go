package kubelet_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/podseal/podseal/pkg/pod"
)

// oracle reads a pod the slow and obvious way: through maps of anything, as
// encoding/json makes them of a document that is valid and has no name twice.
// It returns nil and the UID, if there is one, for a pod that it can't read.
func oracle(raw []byte) (p *pod.Pod, uid string) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, ""
	}
	o := &reader{}
	if _, ok := v.(map[string]any); !ok {
		return nil, ""
	}
	metadata := o.object(v, "metadata")
	spec, status := o.object(v, "spec"), o.object(v, "status")
	uid = o.text(metadata, "uid")
	p = &pod.Pod{
		UID: uid, Name: o.text(metadata, "name"), Namespace: o.text(metadata, "namespace"),
		NodeName: o.text(spec, "nodeName"), ServiceAccount: o.text(spec, "serviceAccountName"),
		Terminal: slices.Contains([]string{"Succeeded", "Failed"}, o.text(status, "phase")),
	}
	labels := o.object(metadata, "labels")
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		p.Labels = append(p.Labels, pod.Label{Key: k, Value: o.text(labels, k)})
	}
	for _, owner := range o.objects(metadata, "ownerReferences") {
		p.Owners = append(p.Owners, pod.Owner{Kind: o.text(owner, "kind"), Name: o.text(owner, "name"), UID: o.text(owner, "uid")})
	}
	for _, l := range []struct {
		t               pod.Type
		specs, statuses string
	}{
		{pod.Regular, "containers", "containerStatuses"},
		{pod.Init, "initContainers", "initContainerStatuses"},
		{pod.Ephemeral, "ephemeralContainers", "ephemeralContainerStatuses"},
	} {
		specs := o.objects(spec, l.specs)
		matched := make(map[int]bool)
		for _, s := range o.objects(status, l.statuses) {
			c := pod.Container{Name: o.text(s, "name"), Type: l.t, HasStatus: true, Image: o.text(s, "image"), ImageID: o.text(s, "imageID"),
				ID: withoutScheme(o.text(s, "containerID")), Runtime: scheme(o.text(s, "containerID")), Running: o.object(o.object(s, "state"), "running") != nil, Terminated: o.object(o.object(s, "state"), "terminated") != nil,
				LastID: withoutScheme(o.text(o.object(o.object(s, "lastState"), "terminated"), "containerID"))}
			i := slices.IndexFunc(specs, func(spec map[string]any) bool { return o.text(spec, "name") == c.Name })
			if i >= 0 {
				matched[i] = true
				c.SpecImage, c.Type = o.text(specs[i], "image"), o.sidecar(l.t, specs[i])
			}
			p.Containers = append(p.Containers, c)
		}
		for i, s := range specs {
			c := pod.Container{Name: o.text(s, "name"), Type: o.sidecar(l.t, s), SpecImage: o.text(s, "image")}
			if !matched[i] {
				p.Containers = append(p.Containers, c)
			}
		}
	}
	for _, v := range o.objects(spec, "volumes") {
		if source := o.object(v, "image"); source != nil {
			p.ImageVolumes = append(p.ImageVolumes, o.text(source, "reference"))
		}
	}
	ids := map[string]int{}
	for _, c := range p.Containers {
		if ids[c.ID]++; c.ID != "" && ids[c.ID] > 1 {
			o.bad = true
		}
	}
	if o.bad {
		return nil, uid
	}
	return p.Kept(), uid
}

func withoutScheme(id string) string {
	parts := strings.SplitN(id, "://", 2)
	if len(parts) < 2 {
		return ""
	}
	return parts[1]
}

func scheme(id string) string {
	parts := strings.SplitN(id, "://", 2)
	if len(parts) < 2 {
		return ""
	}
	return parts[0]
}

// reader reads fields and remembers whether one had the wrong type.
type reader struct{ bad bool }

func field[T any](o *reader, of any, name string) (v T) {
	m, _ := of.(map[string]any)
	if m == nil || m[name] == nil {
		return v
	}
	v, ok := m[name].(T)
	if !ok {
		o.bad = true
	}
	return v
}

func (o *reader) text(of any, name string) string { return field[string](o, of, name) }

func (o *reader) object(of any, name string) map[string]any {
	return field[map[string]any](o, of, name)
}

func (o *reader) objects(of any, name string) []map[string]any {
	var all []map[string]any
	for _, v := range field[[]any](o, of, name) {
		m, ok := v.(map[string]any)
		if !ok && v != nil {
			o.bad = true
		}
		all = append(all, m)
	}
	return all
}

func (o *reader) sidecar(t pod.Type, spec map[string]any) pod.Type {
	if policy := o.text(spec, "restartPolicy"); t == pod.Init && policy == "Always" {
		return pod.Sidecar
	}
	return t
}

// oracleList reads a whole answer: the pods that nobody else has the UID of, and
// whether some pod could not be read and has no UID.
func oracleList(body []byte) (pods map[string]*pod.Pod, unattributed bool, err error) {
	var list map[string]json.RawMessage
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, false, err
	}
	raw, ok := list["items"]
	if !ok {
		return nil, false, fmt.Errorf("no items")
	}
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, false, err
	}
	pods = make(map[string]*pod.Pod)
	for _, item := range items {
		p, uid := oracle(item)
		_, taken := pods[uid]
		switch {
		case uid == "" && p == nil, len(uid) > 512 && p == nil:
			unattributed = true
		case uid == "":
		case taken:
			pods[uid] = nil
		default:
			pods[uid] = p
		}
	}
	maps.DeleteFunc(pods, func(_ string, p *pod.Pod) bool { return p == nil })
	return pods, unattributed, nil
}
