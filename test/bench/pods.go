package main

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
)

// pod is the i-th pod of the node: an init container that has ended and two
// others, about 10 KB as a kubelet lists it. The caller is in "app".
func pod(i int) kubelettest.Pod {
	team := fmt.Sprintf("team-%d", i%12)
	name := fmt.Sprintf("web-%d-7d9c5b6f48-x2k7p", i)
	container := func(container string, kind kubelettest.Kind) kubelettest.Container {
		repository := "registry.example.org/" + team + "/" + container
		return kubelettest.Container{
			Name: container, Kind: kind, ID: kubelettest.ID(name + "/" + container),
			Image:   repository + ":1.27.3",
			ImageID: repository + "@" + digest(team, container),
		}
	}
	setup := container("setup", kubelettest.Init)
	setup.State = kubelettest.Terminated
	return kubelettest.Pod{
		Namespace: team, Name: name, UID: kubelettest.UID(name), ServiceAccount: "web", NodeName: "node-1",
		Labels: map[string]string{
			"app":                          "web",
			"app.kubernetes.io/instance":   fmt.Sprintf("web-%d", i),
			"app.kubernetes.io/managed-by": "Helm",
			"app.kubernetes.io/version":    "1.27.3",
			"pod-template-hash":            "7d9c5b6f48",
		},
		Owners: []metav1.OwnerReference{{
			APIVersion: "apps/v1", Kind: "ReplicaSet", Name: fmt.Sprintf("web-%d-7d9c5b6f48", i), UID: "2f0c7a52-6d8e-4d0b-9a53-3c5f8f0d9b11",
			Controller: new(true), BlockOwnerDeletion: new(true),
		}},
		Containers: []kubelettest.Container{
			setup, container("app", kubelettest.Regular), container("metrics", kubelettest.Regular),
		},
	}
}

func digest(team, container string) string {
	return "sha256:" + kubelettest.ID("image "+team+"/"+container)
}

// caller is the index of the container that calls.
const caller = 1

// cgroup is where a kubelet with the cgroupfs driver puts the container, below
// the root of all pods.
func cgroup(p kubelettest.Pod) string {
	return "/burstable/pod" + p.UID + "/" + p.Containers[caller].ID
}

// builtInSelectors are all that the built-in attestor has to answer, sorted.
func builtInSelectors(p kubelettest.Pod) []string {
	c := p.Containers[caller]
	all := []string{
		"ns:" + p.Namespace, "sa:" + p.ServiceAccount, "node-name:" + p.NodeName, "pod-name:" + p.Name, "pod-uid:" + p.UID,
		"pod-image-count:2", "pod-init-image-count:1",
		"container-name:" + c.Name, "container-image:" + c.Image, "container-image:" + c.ImageID,
	}
	for _, c := range p.Containers {
		kind := "pod-image:"
		if c.Kind != kubelettest.Regular {
			kind = "pod-init-image:"
		}
		all = append(all, kind+c.Image, kind+c.ImageID)
	}
	for key, value := range p.Labels {
		all = append(all, "pod-label:"+key+":"+value)
	}
	for _, o := range p.Owners {
		all = append(all, "pod-owner:"+o.Kind+":"+o.Name, "pod-owner-uid:"+o.Kind+":"+string(o.UID))
	}
	slices.Sort(all)
	return all
}

// podsealSelectors are all that podseal has to answer, sorted: the same and
// those that it adds.
func podsealSelectors(p kubelettest.Pod) []string {
	all := append(builtInSelectors(p), "container-type:regular", "container-image-digest:"+digest(p.Namespace, p.Containers[caller].Name))
	for _, c := range p.Containers {
		if c.Kind == kubelettest.Regular {
			all = append(all, "pod-spec-image:"+c.Image, "pod-image-digest:"+digest(p.Namespace, c.Name))
		}
	}
	slices.Sort(all)
	return all
}
