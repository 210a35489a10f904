package selector_test

import (
	"fmt"
	"testing"

	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/selector"
)

// webPod is a pod of the usual size that nothing was rendered of.
func webPod() *pod.Pod {
	p := &pod.Pod{
		UID: "2f0c7a52-6d8e-4d0b-9a53-3c5f8f0d9b11", Namespace: "shop", Name: "web-7d9c5b6f48-x2k7p", NodeName: "node-1", ServiceAccount: "web",
		Owners: []pod.Owner{{Kind: "ReplicaSet", Name: "web-7d9c5b6f48", UID: "6d8e2f0c-7a52-4d0b-9a53-3c5f8f0d9b11"}},
	}
	for i := range 5 {
		p.Labels = append(p.Labels, pod.Label{Key: fmt.Sprintf("app.kubernetes.io/label-%d", i), Value: "value"})
	}
	for i, name := range []string{"setup", "app", "metrics"} {
		image := "registry.example.org/shop/" + name
		c := pod.Container{
			Name: name, Type: pod.Regular, SpecImage: image + ":1.27.3", HasStatus: true, ID: fmt.Sprintf("%064x", i),
			Image: image + ":1.27.3", ImageID: image + "@" + digestA, Running: true,
		}
		if i == 0 {
			c.Type, c.Running, c.Terminated = pod.Init, false, true
		}
		p.Containers = append(p.Containers, c)
	}
	return p
}

// BenchmarkRender is the rendering of a version of a pod, which the first
// attestation of any of its containers does, and the selectors that the others
// find there.
func BenchmarkRender(b *testing.B) {
	b.Run("first", func(b *testing.B) {
		like := webPod()
		b.ReportAllocs()
		for b.Loop() {
			p := &pod.Pod{
				UID: like.UID, Namespace: like.Namespace, Name: like.Name, NodeName: like.NodeName, ServiceAccount: like.ServiceAccount,
				Labels: like.Labels, Owners: like.Owners, Containers: like.Containers,
			}
			if len(selector.Pod(p)) == 0 || len(selector.Container(p, &p.Containers[1])) == 0 {
				b.Fatal("no selectors")
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		p := webPod()
		b.ReportAllocs()
		for b.Loop() {
			if len(selector.Pod(p)) == 0 || len(selector.Container(p, &p.Containers[1])) == 0 {
				b.Fatal("no selectors")
			}
		}
	})
}
