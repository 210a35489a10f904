package kubelet_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/pod"
)

// What the decoder makes of a pod is what Kubernetes' own types hold.
func TestTheDecoderAgreesWithKubernetesTypes(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		p := randomPod(r, n)
		raw, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		// As the API server's codec would have it: strings become valid UTF-8.
		var stored corev1.Pod
		if err := json.Unmarshal(raw, &stored); err != nil {
			t.Fatal(err)
		}
		_, pods := onePod(t, string(raw))
		want := []*pod.Pod{fromKubernetes(&stored)}
		if diff := cmp.Diff(want, pods, cmpopts.IgnoreUnexported(pod.Pod{}), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("pod %d (-want +got)\n%s\n%s", n, diff, raw)
		}
		checkAgainstOracle(t, []byte(`{"items":[`+string(raw)+`]}`), mustIndex(t, raw))
	}
}

func mustIndex(t *testing.T, raw []byte) *pod.Index {
	x, _ := onePod(t, string(raw))
	return x
}

func randomPod(r *rand.Rand, n int) *corev1.Pod {
	p := kubelettest.Pod{
		Namespace: word(r), Name: word(r), UID: fmt.Sprintf("uid-%d", n), ServiceAccount: word(r), NodeName: word(r),
		Phase: []corev1.PodPhase{"", corev1.PodPending, corev1.PodRunning, corev1.PodSucceeded, corev1.PodFailed}[r.IntN(5)],
	}
	for range r.IntN(4) {
		if p.Labels == nil {
			p.Labels = map[string]string{}
		}
		p.Labels[word(r)] = word(r)
		p.Owners = append(p.Owners, metav1.OwnerReference{Kind: word(r), Name: word(r), UID: "o"})
	}
	for i := range r.IntN(8) {
		p.Containers = append(p.Containers, kubelettest.Container{
			Name: fmt.Sprint(word(r), i), Kind: kubelettest.Kind(r.IntN(4)), ID: kubelettest.ID(fmt.Sprint(n, i)),
			LastID: []string{"", kubelettest.ID(fmt.Sprint("last", i))}[r.IntN(2)],
			Image:  word(r), StatusImage: word(r), ImageID: word(r), State: kubelettest.State(r.IntN(4)),
		})
	}
	built := p.Build()
	for range r.IntN(4) {
		volume := corev1.Volume{Name: word(r)}
		if r.IntN(2) == 0 {
			volume.Image = &corev1.ImageVolumeSource{Reference: word(r)}
		}
		built.Spec.Volumes = append(built.Spec.Volumes, volume)
	}
	for _, s := range [][]corev1.ContainerStatus{built.Status.ContainerStatuses, built.Status.InitContainerStatuses, built.Status.EphemeralContainerStatuses} {
		r.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	}
	return built
}

// word is a string such as people and their enemies write.
func word(r *rand.Rand) string {
	return []string{"", "web", "a-b.c_d/e:1", "\"quoted\" \\", "line\nbreak", "\x1b[31mred", "</script>&", "日本語", "\u2028", "\xff\xfe", "}]{[", "containerd://x", "$(id)`id`"}[r.IntN(13)]
}

func fromKubernetes(p *corev1.Pod) *pod.Pod {
	out := &pod.Pod{
		UID: string(p.UID), Name: p.Name, Namespace: p.Namespace, NodeName: p.Spec.NodeName, ServiceAccount: p.Spec.ServiceAccountName,
		Terminal: p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed,
	}
	for k, v := range p.Labels {
		out.Labels = append(out.Labels, pod.Label{Key: k, Value: v})
	}
	sortLabels(out.Labels)
	for _, o := range p.OwnerReferences {
		out.Owners = append(out.Owners, pod.Owner{Kind: o.Kind, Name: o.Name, UID: string(o.UID)})
	}
	for _, v := range p.Spec.Volumes {
		if v.Image != nil {
			out.ImageVolumes = append(out.ImageVolumes, v.Image.Reference)
		}
	}
	type spec struct {
		name, image string
		t           pod.Type
	}
	add := func(specs []spec, statuses []corev1.ContainerStatus, t pod.Type) {
		for _, s := range statuses {
			c := pod.Container{Name: s.Name, Type: t, HasStatus: true, ID: withoutScheme(s.ContainerID), Runtime: scheme(s.ContainerID), Image: s.Image, ImageID: s.ImageID, Running: s.State.Running != nil, Terminated: s.State.Terminated != nil}
			if last := s.LastTerminationState.Terminated; last != nil {
				c.LastID = withoutScheme(last.ContainerID)
			}
			for _, sp := range specs {
				if sp.name == s.Name {
					c.Type, c.SpecImage = sp.t, sp.image
				}
			}
			out.Containers = append(out.Containers, c)
		}
		for _, sp := range specs {
			reported := false
			for _, s := range statuses {
				reported = reported || s.Name == sp.name
			}
			if !reported {
				out.Containers = append(out.Containers, pod.Container{Name: sp.name, Type: sp.t, SpecImage: sp.image})
			}
		}
	}
	var regular, initial, ephemeral []spec
	for _, c := range p.Spec.Containers {
		regular = append(regular, spec{c.Name, c.Image, pod.Regular})
	}
	for _, c := range p.Spec.InitContainers {
		t := pod.Init
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			t = pod.Sidecar
		}
		initial = append(initial, spec{c.Name, c.Image, t})
	}
	for _, c := range p.Spec.EphemeralContainers {
		ephemeral = append(ephemeral, spec{c.Name, c.Image, pod.Ephemeral})
	}
	add(regular, p.Status.ContainerStatuses, pod.Regular)
	add(initial, p.Status.InitContainerStatuses, pod.Init)
	add(ephemeral, p.Status.EphemeralContainerStatuses, pod.Ephemeral)
	return out.Kept()
}

func sortLabels(labels []pod.Label) {
	for i := range labels {
		for j := i; j > 0 && labels[j].Key < labels[j-1].Key; j-- {
			labels[j], labels[j-1] = labels[j-1], labels[j]
		}
	}
}
