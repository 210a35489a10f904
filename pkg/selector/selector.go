// Package selector turns what is known of a workload into selector values. It is
// the only place that names a selector. It is pure: same record, same selectors,
// sorted and without duplicates.
//
// Every selector is a claim that SPIRE issues identities on; docs/selectors.md
// says of each who can influence it. None is ever negative, and none is derived
// from the absence of something.
package selector

import (
	"slices"
	"strconv"
	"strings"

	"github.com/podseal/podseal/pkg/pod"
)

// rendered are the selectors of one version of a pod.
type rendered struct {
	pod []string
	// withContainer are those of the pod and of one container, in the order of
	// the pod's containers.
	withContainer [][]string
}

// Pod returns the selectors of the pod alone. The slice is shared: it must not
// be changed.
func Pod(p *pod.Pod) []string { return render(p).pod }

// Container returns the selectors of the pod and of c, one of its containers.
// The slice is shared: it must not be changed.
func Container(p *pod.Pod, c *pod.Container) []string {
	for i := range p.Containers {
		if &p.Containers[i] == c {
			return render(p).withContainer[i]
		}
	}
	return nil
}

func render(p *pod.Pod) *rendered {
	return p.Memo(func(p *pod.Pod) any {
		r := &rendered{pod: sorted(podValues(p))}
		for i := range p.Containers {
			r.withContainer = append(r.withContainer, sorted(append(containerValues(&p.Containers[i]), r.pod...)))
		}
		return r
	}).(*rendered)
}

func sorted(values []string) []string {
	slices.Sort(values)
	return slices.Clip(slices.Compact(values))
}

func podValues(p *pod.Pod) []string {
	values := []string{
		"sa:" + p.ServiceAccount,
		"ns:" + p.Namespace,
		"node-name:" + p.NodeName,
		"pod-uid:" + p.UID,
		"pod-name:" + p.Name,
	}
	count := 0
	for c := range p.OfType(pod.Regular) {
		if c.HasStatus {
			count++
			values = append(values, "pod-image:"+c.Image, "pod-image:"+c.ImageID)
		}
		if d, ok := runningDigest(c); ok {
			values = append(values, "pod-image-digest:"+d)
		}
		if c.SpecImage != "" {
			values = append(values, "pod-spec-image:"+c.SpecImage)
		}
	}
	initCount := 0
	for c := range p.OfType(pod.Init, pod.Sidecar) {
		if c.HasStatus {
			initCount++
			values = append(values, "pod-init-image:"+c.Image, "pod-init-image:"+c.ImageID)
		}
	}
	values = append(values, "pod-image-count:"+strconv.Itoa(count), "pod-init-image-count:"+strconv.Itoa(initCount))
	for _, l := range p.Labels {
		values = append(values, "pod-label:"+l.Key+":"+l.Value)
	}
	for _, o := range p.Owners {
		values = append(values, "pod-owner:"+o.Kind+":"+o.Name, "pod-owner-uid:"+o.Kind+":"+o.UID)
	}
	return values
}

func containerValues(c *pod.Container) []string {
	values := []string{
		"container-name:" + c.Name,
		"container-image:" + c.Image,
		"container-image:" + c.ImageID,
		"container-type:" + string(c.Type),
	}
	if d, ok := runningDigest(c); ok {
		values = append(values, "container-image-digest:"+d)
	}
	return values
}

// runningDigest returns the digest that the runtime calls a container's image
// by. An image that never started has an ID too, which its pod's author made up.
//
// It is what the forms end with that runtimes give an image ID:
// repository@sha256:..., docker-pullable://repository@sha256:..., and without a
// repository sha256:... and docker://sha256:...
func runningDigest(c *pod.Container) (string, bool) {
	const algorithm, digits = "sha256:", 64
	at := len(c.ImageID) - len(algorithm) - digits
	if c.ID == "" || at < 0 {
		return "", false
	}
	before, digest := c.ImageID[:at], c.ImageID[at:]
	hex, ok := strings.CutPrefix(digest, algorithm)
	if !ok || strings.Trim(hex, "0123456789abcdef") != "" {
		return "", false
	}
	if before != "" && !strings.HasSuffix(before, "@") && !strings.HasSuffix(before, "://") {
		return "", false
	}
	return digest, true
}
