//go:build e2e

package e2e_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/podseal/podseal/test/realstack/machine"
)

// TestEveryKindOfPod has each container of each kind of pod get the ID that is
// registered for it, from each agent, by the same selectors.
func TestEveryKindOfPod(t *testing.T) {
	w := inWorld(t)
	const ns = "kinds"
	w.namespace(t, ns)
	small := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")}

	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		static bool
		// selectors are some that the container named like the pod must have.
		selectors []string
		// imageID is how its image ID begins.
		imageID string
	}{
		"guaranteed": {
			change: func(p *corev1.Pod) {
				p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: small, Limits: small}
			},
			selectors: []string{"k8s:ns:kinds", "k8s:sa:default", "k8s:pod-label:app:guaranteed", "k8s:container-type:regular", "k8s:node-name:" + machine.HostName},
		},
		"burstable":   {change: func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Requests = small }},
		"best-effort": {change: func(*corev1.Pod) {}},
		"init": {
			change: func(p *corev1.Pod) {
				before := container(ns, p.Name, "before")
				before.Args = append([]string{"-once"}, before.Args...)
				p.Spec.InitContainers = []corev1.Container{before}
			},
			selectors: []string{"k8s:pod-init-image-count:1"},
		},
		"sidecar": {
			change: func(p *corev1.Pod) {
				sidecar := container(ns, p.Name, "proxy")
				sidecar.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
				p.Spec.InitContainers = []corev1.Container{sidecar}
			},
		},
		"two": {
			change:    func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, container(ns, p.Name, "second")) },
			selectors: []string{"k8s:pod-image-count:2"},
		},
		"host-network": {change: func(p *corev1.Pod) { p.Spec.HostNetwork = true }},
		// An image that was not pulled has no digest of a repository.
		"imported": {
			change:    func(p *corev1.Pod) { p.Spec.Containers[0].Image = importedImage },
			selectors: []string{"k8s:container-image:" + importedImage, "k8s:pod-spec-image:" + importedImage},
			imageID:   "sha256:",
		},
		"root": {change: func(p *corev1.Pod) { p.Spec.SecurityContext = nil }},
		// The UID of a static pod is 32 digits, or what its manifest says.
		"static":          {static: true, change: func(*corev1.Pod) {}, selectors: []string{"k8s:sa:"}},
		"static-uuid":     {static: true, change: func(p *corev1.Pod) { p.UID = "3c9a7f6e-0d6b-4c1d-8a55-6f6f2c1f0a11" }},
		"static-free-uid": {static: true, change: func(p *corev1.Pod) { p.UID = types.UID("Web.v2-static") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := newPod(ns, name)
			c.change(pod)
			apiName := name
			if c.static {
				apiName += "-" + machine.HostName
			}
			ids := map[string]string{}
			for _, each := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
				ids[each.Name] = w.containerEntry(t, ns, apiName, each.Name)
			}
			if c.static {
				pod = w.runStatic(t, pod)
			} else {
				pod = w.run(t, pod)
			}
			for container, id := range ids {
				w.awaitID(t, pod, container, id, sockets...)
				if container == "before" {
					continue // it ended when it had them
				}
				selectors := w.sameSelectors(t, w.pidOf(t, processName(ns, name, container)))
				if container != name {
					continue
				}
				id := pod.Status.ContainerStatuses[0].ImageID
				if begins := cmp.Or(c.imageID, "ghcr.io/podseal/workload@sha256:"); !strings.HasPrefix(id, begins) {
					t.Errorf("the image ID is %s, which does not begin with %s", id, begins)
				}
				digest := id[strings.Index(id, "sha256:"):]
				for _, want := range append(c.selectors,
					"k8s:pod-uid:"+string(pod.UID), "k8s:container-name:"+name,
					"k8s:container-image:"+id, "k8s:container-image-digest:"+digest) {
					if !slices.Contains(selectors, want) {
						t.Errorf("%s is not among %q", want, selectors)
					}
				}
			}
		})
	}
	t.Run("in no entry", func(t *testing.T) {
		t.Parallel()
		// Others have entries, and this one has some of their selectors.
		w.entry(t, "/kinds/nobody", "k8s:ns:kinds", "k8s:container-name:somebody")
		w.entry(t, "/others/stranger", "k8s:ns:others", "k8s:container-name:stranger")
		pod := w.run(t, newPod(ns, "stranger"))
		w.wantRefused(t, pod, "stranger", sockets...)
		w.sameSelectors(t, w.pidOf(t, processName(ns, "stranger", "stranger")))
	})
}
