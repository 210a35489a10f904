//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/podseal/podseal/test/e2e/stack"
	"github.com/podseal/podseal/test/realstack/image"
)

// workloadOf is an image of the workload. The registry of this cluster looks at a
// reference's repository and not at its registry, so each has its own. Images of the same content differ in
// their manifests' annotations at most.
func workloadOf(reference, content string, annotations map[string]string) image.Image {
	i := image.Of(reference, stack.Program("workload"))
	i.Files["/content/"+content] = stack.Program("pause")
	i.Annotations = annotations
	return i
}

// push puts the image into the registry and returns its reference by digest.
func (w *world) push(t *testing.T, i image.Image) (pinned string) {
	t.Helper()
	digest, err := w.Push(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	return i.Name[:strings.LastIndex(i.Name, ":")] + "@" + digest
}

func digestOf(imageID string) string { return imageID[strings.Index(imageID, "sha256:"):] }

func podOfImage(namespace, name, image string) *corev1.Pod {
	pod := newPod(namespace, name)
	pod.Spec.Containers[0].Image = image
	return pod
}

// hasAndLacks finds the first of these among the process's selectors, from all
// agents, and the others not.
func (w *world) hasAndLacks(t *testing.T, name string, has, lacks []string) {
	t.Helper()
	selectors := w.sameSelectors(t, w.pidOf(t, name))
	for _, want := range has {
		if !slices.Contains(selectors, want) {
			t.Errorf("%s: %s is not among %q", name, want, selectors)
		}
	}
	for _, never := range lacks {
		if slices.Contains(selectors, never) {
			t.Errorf("%s: %s is among %q", name, never, selectors)
		}
	}
}

// TestADecoyThatNeverStarts puts a container of a trusted image beside one of
// another, and has it never start: the image's name becomes a selector of the pod,
// for that is what the pod's author wrote. Its digest does not.
func TestADecoyThatNeverStarts(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	const ns = "decoy"
	w.namespace(t, ns)
	trusted := w.push(t, workloadOf("good.test/decoy:1", "decoy", nil))
	digest := digestOf(trusted)
	w.entry(t, "/decoy/trusted", "k8s:ns:"+ns, "k8s:container-image-digest:"+digest)

	pod := newPod(ns, "pretender")
	pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
		Name: "decoy", Image: trusted, ImagePullPolicy: corev1.PullNever,
	})
	w.create(t, pod)
	pod = w.awaitPod(t, ns, pod.Name, func(p *corev1.Pod) error {
		for _, s := range p.Status.ContainerStatuses {
			switch {
			case s.Name == "decoy" && s.State.Waiting != nil && s.State.Waiting.Reason == "ErrImageNeverPull":
			case s.Name != "decoy" && s.State.Running != nil:
			default:
				return fmt.Errorf("container %s: %+v", s.Name, s.State)
			}
		}
		if len(p.Status.ContainerStatuses) != 2 {
			return fmt.Errorf("%d statuses", len(p.Status.ContainerStatuses))
		}
		return nil
	})
	// The trusted image's entry is known where the entry is that was made after it.
	id := w.containerEntry(t, ns, "witness", "witness")
	w.awaitID(t, w.run(t, newPod(ns, "witness")), "witness", id, sockets...)
	w.wantRefused(t, pod, "pretender", sockets...)
	w.hasAndLacks(t, processName(ns, "pretender", "pretender"),
		[]string{"k8s:pod-image:" + trusted, "k8s:pod-spec-image:" + trusted, "k8s:pod-image:", "k8s:pod-image-count:2"},
		[]string{"k8s:container-image:" + trusted, "k8s:container-image-digest:" + digest, "k8s:pod-image-digest:" + digest})

	// What the entry is for. This makes the image known to the node.
	honest := w.run(t, podOfImage(ns, "honest", trusted))
	w.awaitID(t, honest, "honest", w.Server.ID("/decoy/trusted"), podsealSocket, privateSocket, hostSocket)
	w.wantRefused(t, honest, "honest", builtInSocket)
}

// TestADecoyThatIsCreatedAndCannotStart: the runtime makes a container of the image
// and can't start what it is told to. That has an image ID.
func TestADecoyThatIsCreatedAndCannotStart(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	const ns = "stillborn"
	w.namespace(t, ns)
	trusted := w.push(t, workloadOf("good.test/stillborn:1", "stillborn", nil))
	pod := newPod(ns, "pretender")
	pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
		Name: "decoy", Image: trusted, Command: []string{"/nothing"},
	})
	w.create(t, pod)
	w.awaitPod(t, ns, pod.Name, func(p *corev1.Pod) error {
		for _, s := range p.Status.ContainerStatuses {
			if s.Name == "decoy" && s.RestartCount > 0 && s.ContainerID != "" {
				return nil
			}
		}
		return fmt.Errorf("the decoy was not created: %+v", p.Status.ContainerStatuses)
	})
	w.hasAndLacks(t, processName(ns, "pretender", "pretender"),
		[]string{"k8s:pod-image:" + trusted, "k8s:pod-image-digest:" + digestOf(trusted)},
		[]string{"k8s:container-image:" + trusted, "k8s:container-image-digest:" + digestOf(trusted)})
}

// TestContentWithTwoNames is about what containerd calls an image when it has the
// same content by several names: the first in the order of the alphabet.
func TestContentWithTwoNames(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	const ns = "names"
	w.namespace(t, ns)
	other := map[string]string{"org.example.made-by": "somebody else"}
	// byImage registers an ID by what the built-in attestor has, too.
	byImage := func(t *testing.T, path, imageID string) string {
		t.Helper()
		w.entry(t, path, "k8s:ns:"+ns, "k8s:container-image:"+imageID)
		return w.Server.ID(path)
	}

	t.Run("a stranger's name comes first", func(t *testing.T) {
		t.Parallel()
		pinned := w.push(t, workloadOf("good.test/first:1", "first", nil))
		alias := w.push(t, workloadOf("aaa.test/first-alias:1", "first", other))
		if digestOf(pinned) == digestOf(alias) {
			t.Fatal("both manifests are the same")
		}
		pinnedID, aliasID := byImage(t, "/names/first/pinned", pinned), byImage(t, "/names/first/alias", alias)
		w.awaitID(t, w.run(t, podOfImage(ns, "first-alias", "aaa.test/first-alias:1")), "first-alias", aliasID, sockets...)

		// This pod pins what it runs, and runs it, and is called the other.
		pod := w.run(t, podOfImage(ns, "first-pinned", pinned))
		w.awaitID(t, pod, "first-pinned", aliasID, sockets...)
		w.neverID(t, pod, "first-pinned", pinnedID)
		w.hasAndLacks(t, processName(ns, "first-pinned", "first-pinned"),
			[]string{"k8s:pod-spec-image:" + pinned, "k8s:container-image:aaa.test/first-alias:1", "k8s:container-image:" + alias, "k8s:container-image-digest:" + digestOf(alias)},
			[]string{"k8s:container-image:" + pinned, "k8s:container-image-digest:" + digestOf(pinned), "k8s:pod-image-digest:" + digestOf(pinned)})
	})
	t.Run("a stranger's name comes last", func(t *testing.T) {
		t.Parallel()
		pinned := w.push(t, workloadOf("good.test/last:1", "last", nil))
		alias := w.push(t, workloadOf("zzz.test/last-alias:1", "last", other))
		pinnedID := byImage(t, "/names/last/pinned", pinned)
		w.isCalled(t, w.run(t, podOfImage(ns, "last-alias", "zzz.test/last-alias:1")), alias)
		w.awaitID(t, w.run(t, podOfImage(ns, "last-pinned", pinned)), "last-pinned", pinnedID, sockets...)

		// From now on the stranger's has the good one's name, without ever using it.
		pod := w.run(t, podOfImage(ns, "last-again", "zzz.test/last-alias:1"))
		w.awaitID(t, pod, "last-again", pinnedID, sockets...)
		w.hasAndLacks(t, processName(ns, "last-again", "last-again"),
			[]string{"k8s:pod-spec-image:zzz.test/last-alias:1", "k8s:container-image:zzz.test/last-alias:1", "k8s:container-image:" + pinned, "k8s:container-image-digest:" + digestOf(pinned)},
			[]string{"k8s:container-image:" + alias, "k8s:container-image-digest:" + digestOf(alias)})
	})
	t.Run("of a container that runs", func(t *testing.T) {
		t.Parallel()
		pinned := w.push(t, workloadOf("good.test/running:1", "running", nil))
		alias := w.push(t, workloadOf("aaa.test/running-alias:1", "running", other))
		pinnedID := byImage(t, "/names/running/pinned", pinned)
		w.renamed(t, podOfImage(ns, "running", pinned), pinnedID, alias, "aaa.test/running-alias:1")
	})
	t.Run("of an imported image", func(t *testing.T) {
		t.Parallel()
		imported := workloadOf("good.test/imported:1", "imported", nil)
		if err := w.Node.Import(t.Context(), imported); err != nil {
			t.Fatal(err)
		}
		alias := w.push(t, workloadOf("zzz.test/imported-alias:1", "imported", other))
		pod := podOfImage(ns, "imported", imported.Name)
		pod.Spec.Containers[0].ImagePullPolicy = corev1.PullNever
		w.renamed(t, pod, "", alias, "zzz.test/imported-alias:1")
	})
}

// renamed runs the pod, then one of the alias, and has the kubelet look at the
// first again, because something happens in it: the container's image ID is then
// another one, although it was not started again. An entry of the image ID
// before, with that ID, is lost to it.
func (w *world) renamed(t *testing.T, pod *corev1.Pod, id, alias, aliasTag string) {
	t.Helper()
	name := pod.Name
	second := container(pod.Namespace, name, "second")
	second.Image = stack.WorkloadImage
	pod.Spec.Containers = append(pod.Spec.Containers, second)
	pod = w.run(t, pod)
	before := pod.Status.ContainerStatuses[0]
	if id == "" {
		if !strings.HasPrefix(before.ImageID, "sha256:") {
			t.Fatalf("the image ID is %s", before.ImageID)
		}
		w.entry(t, "/names/"+name, "k8s:ns:"+pod.Namespace, "k8s:container-image:"+before.ImageID)
		id = w.Server.ID("/names/" + name)
	}
	w.awaitID(t, pod, name, id, sockets...)
	w.isCalled(t, pod, before.ImageID)

	w.run(t, podOfImage(pod.Namespace, name+"-alias", aliasTag))
	end(t, w.containerPID(t, pod, slices.IndexFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == "second" })))
	after := w.awaitPod(t, pod.Namespace, name, func(p *corev1.Pod) error {
		for _, s := range p.Status.ContainerStatuses {
			if s.Name == name && s.ImageID != alias {
				return fmt.Errorf("the image ID is still %s", s.ImageID)
			}
		}
		return nil
	})
	changed := time.Now()
	for _, s := range after.Status.ContainerStatuses {
		if s.Name == name && (s.ContainerID != before.ContainerID || s.RestartCount > 0) {
			t.Errorf("the container was started again: %+v", s)
		}
	}
	w.awaitEach(t, pod, name, func(a answer) bool { return a.Asked.After(changed) && a.Code == "PermissionDenied" }, sockets...)
	w.hasAndLacks(t, processName(pod.Namespace, name, name),
		[]string{"k8s:container-image:" + alias, "k8s:container-image-digest:" + digestOf(alias)},
		[]string{"k8s:container-image:" + before.ImageID, "k8s:container-image-digest:" + digestOf(before.ImageID)})
}

// isCalled finds that image ID in the selectors of the container that is
// named like its pod.
func (w *world) isCalled(t *testing.T, pod *corev1.Pod, imageID string) {
	t.Helper()
	w.hasAndLacks(t, processName(pod.Namespace, pod.Name, pod.Name),
		[]string{"k8s:container-image:" + imageID, "k8s:container-image-digest:" + digestOf(imageID)}, nil)
}

// neverID finds that no agent ever gave the container that ID.
func (w *world) neverID(t *testing.T, pod *corev1.Pod, container, id string) {
	t.Helper()
	for _, a := range w.answersOf(t, pod, container) {
		if a.ID == id {
			t.Errorf("%s/%s, container %s got %s from %s", pod.Namespace, pod.Name, container, a.ID, a.Socket)
		}
	}
}

// TestAForgedStatus is about whoever may write pods/status: the kubelet's list over
// HTTPS has the API server's copy of the status, until the kubelet has corrected it
// a few seconds later. Its Pods API has the kubelet's own.
func TestAForgedStatus(t *testing.T) {
	w := inWorld(t)
	t.Parallel()
	const ns, name = "forged", "impostor"
	w.namespace(t, ns)
	digest := "sha256:" + strings.Repeat("5ea1", 16)
	forged := "good.test/vault@" + digest
	w.entry(t, "/forged/vault", "k8s:ns:"+ns, "k8s:container-image:"+forged)
	id := w.Server.ID("/forged/vault")
	pod := w.run(t, newPod(ns, name))
	w.wantRefused(t, pod, name, sockets...)
	pid := w.pidOf(t, processName(ns, name, name))
	before := w.sameSelectors(t, pid)

	patch := fmt.Appendf(nil, `[{"op": "replace", "path": "/status/containerStatuses/0/imageID", "value": %q}]`, forged)
	for _, socket := range []string{podsealSocket, builtInSocket, hostSocket} {
		w.await(t, func(ctx context.Context) error {
			_, err := w.Client.CoreV1().Pods(ns).Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{}, "status")
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(w.answersOf(t, pod, name), func(a answer) bool { return a.Socket == socket && a.ID == id }) {
				return fmt.Errorf("%s gave no ID", socket)
			}
			return nil
		})
	}
	for who, a := range map[string]agent{"podseal": w.podseal, "the built-in attestor": w.builtIn} {
		calls, err := a.Attested(pid)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(calls, func(selectors []string) bool {
			return slices.Contains(selectors, "k8s:container-image:"+forged) &&
				(who != "podseal" || slices.Contains(selectors, "k8s:container-image-digest:"+digest))
		}) {
			t.Errorf("%s was not deceived", who)
		}
	}

	if slices.ContainsFunc(w.answersOf(t, pod, name), func(a answer) bool { return a.Socket == privateSocket && a.ID != "" }) {
		t.Error("podseal with the Pods API was deceived")
	}

	ended := time.Now()
	w.awaitEach(t, pod, name, func(a answer) bool { return a.Asked.After(ended) && a.Code == "PermissionDenied" }, sockets...)
	t.Logf("corrected within %.1f s", time.Since(ended).Seconds())
	if diff := cmp.Diff(before, w.sameSelectors(t, pid)); diff != "" {
		t.Errorf("selectors (-before +after):\n%s", diff)
	}
}
