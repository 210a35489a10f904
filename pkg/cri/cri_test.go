package cri_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/podseal/podseal/pkg/cri"
	"github.com/podseal/podseal/pkg/cri/critest"
	"github.com/podseal/podseal/pkg/image"
)

func TestWhatTheRuntimesSayOfAContainer(t *testing.T) {
	t.Parallel()
	digest, err := image.ParseDigest(config)
	if err != nil {
		t.Fatal(err)
	}
	imageIDs := map[critest.Runtime]string{
		critest.Containerd: good, critest.ContainerdWithID: good, critest.CRIO: good, critest.CRIOWithoutNames: hex("the configuration"),
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, kind)
			got, err := n.ask(t)
			if err != nil {
				t.Fatal(err)
			}
			want := &cri.Container{
				ID: containerID, PodUID: podUID, Namespace: "shop", PodName: "web-0", Name: "web", Running: true,
				ImageName: "good.example.org/app:1", ImageID: imageIDs[kind],
				ConfigDigest: digest, RepoDigests: []string{good},
				ComparesLayers: kind == critest.Containerd || kind == critest.ContainerdWithID,
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateComparable(image.Digest{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Row 36. Another pod's author pulls a repository of his with the same content, and
// his name is the first that the runtime has.
func TestAnAliasOfTheImageChangesNoIdentity(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, n *node) {
		n.Pull(critest.Image{Config: config, Tags: []string{"aaa.example.net/alias:1"}, Digests: []string{alias}})
		c, err := n.ask(t)
		wantConfig(t, c, err)
		if !slices.Equal(c.RepoDigests, []string{alias, good}) {
			t.Errorf("names %q", c.RepoDigests)
		}
	})
}

// Row 22. The tag that the container was made from, and that a runtime still says,
// means another image now.
func TestATagThatMovedIsNotAskedFor(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, n *node) {
		signed := image.Of([]byte("the configuration of something signed")).String()
		n.Pull(critest.Image{Config: signed, Tags: []string{"good.example.org/app:1"}, Digests: []string{"good.example.org/app@" + image.Of([]byte("signed")).String()}})
		c, err := n.ask(t)
		wantConfig(t, c, err)
		if asked := n.Stats().Asked; len(asked) != 1 || asked[0] == "good.example.org/app:1" {
			t.Errorf("asked for %q", asked)
		}
	})
}

// Who runs a container in his own pod can't have it taken for one of another's.
func TestAContainerOfAnotherPodIsNotThisOnes(t *testing.T) {
	t.Parallel()
	n := newNode(t, critest.Containerd)
	c := n.client(t)
	for range 2 { // the second time it is remembered
		_, err := c.Container(t.Context(), "99999999-2222-4333-8444-555555555555", containerID)
		wantError(t, err, cri.Malformed, cri.ReasonOtherPod)
	}
	found, err := c.Container(t.Context(), podUID, containerID)
	wantConfig(t, found, err)
	if _, err := c.Container(t.Context(), "", containerID); err == nil {
		t.Error("a container of any pod")
	}
}

func TestAnswersThatContradictThemselvesAreRefused(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string]critest.Faults{
		"another container":         {Container: func(r *runtimev1.ContainerStatusResponse) { r.Status.Id = hex("another") }},
		"no status":                 {Container: func(r *runtimev1.ContainerStatusResponse) { r.Status = nil }},
		"no sandbox":                {Container: func(r *runtimev1.ContainerStatusResponse) { r.Info = nil }},
		"a sandbox that is a list":  {Container: func(r *runtimev1.ContainerStatusResponse) { r.Info["info"] = `{"sandboxID":["x"]}` }},
		"no labels":                 {Container: func(r *runtimev1.ContainerStatusResponse) { r.Status.Labels = nil }},
		"labels of another pod":     {Container: func(r *runtimev1.ContainerStatusResponse) { r.Status.Labels["io.kubernetes.pod.uid"] = "other" }},
		"labels of another name":    {Container: func(r *runtimev1.ContainerStatusResponse) { r.Status.Labels["io.kubernetes.container.name"] = "other" }},
		"another namespace":         {Sandbox: func(r *runtimev1.PodSandboxStatusResponse) { r.Status.Metadata.Namespace = "other" }},
		"a sandbox of another pod":  {Sandbox: func(r *runtimev1.PodSandboxStatusResponse) { r.Status.Metadata.Uid = "other" }},
		"a sandbox without a pod":   {Sandbox: func(r *runtimev1.PodSandboxStatusResponse) { r.Status.Metadata = nil }},
		"another sandbox":           {Sandbox: func(r *runtimev1.PodSandboxStatusResponse) { r.Status.Id = "other" }},
		"no image":                  {Container: func(r *runtimev1.ContainerStatusResponse) { r.Status.ImageId, r.Status.ImageRef = "", "" }},
		"an image by tag":           {Container: func(r *runtimev1.ContainerStatusResponse) { r.Status.ImageRef = "good.example.org/app:1" }},
		"an image by half a digest": {Container: func(r *runtimev1.ContainerStatusResponse) { r.Status.ImageRef = "sha256:abc" }},
		"an image without an ID":    {Image: func(r *runtimev1.ImageStatusResponse) { r.Image.Id = "" }},
		"an image with half an ID":  {Image: func(r *runtimev1.ImageStatusResponse) { r.Image.Id = "sha256:abc" }},
		"an image with another hash": {Image: func(r *runtimev1.ImageStatusResponse) {
			r.Image.Id = "sha512:" + hex("a") + hex("b")
		}},
		"an image whose ID is a name": {Image: func(r *runtimev1.ImageStatusResponse) { r.Image.Id = good }},
		"another image than the ID's": {
			Container: func(r *runtimev1.ContainerStatusResponse) { r.Status.ImageId = config },
			Image:     func(r *runtimev1.ImageStatusResponse) { r.Image.Id = "sha256:" + hex("another") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, critest.Containerd)
			n.SetFaults(faults)
			_, err := n.ask(t)
			wantError(t, err, cri.Malformed, cri.ReasonAnswer)
			// What is wrong with one answer is not remembered.
			c := n.client(t)
			_, err = c.Container(t.Context(), podUID, containerID)
			wantError(t, err, cri.Malformed, cri.ReasonAnswer)
			n.SetFaults(critest.Faults{})
			found, err := c.Container(t.Context(), podUID, containerID)
			wantConfig(t, found, err)
		})
	}
}

// A runtime takes the beginning of an ID for the ID: of somebody else's container.
func TestTheBeginningOfAnIDIsNoContainer(t *testing.T) {
	t.Parallel()
	n := newNode(t, critest.Containerd)
	_, err := n.client(t).Container(t.Context(), podUID, containerID[:12])
	wantError(t, err, cri.Malformed, cri.ReasonAnswer)
}

func TestAContainerThatIsGoneIsNotFound(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, n *node) {
		n.Remove(containerID)
		_, err := n.ask(t)
		wantError(t, err, cri.NotFound, cri.ReasonNoContainer)
	})
}

// An image can be removed while its container runs. Its ID is what it was.
func TestAnImageThatWasRemovedIsKnownByItsID(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, n *node) {
		n.DeleteImage(config)
		c, err := n.ask(t)
		wantConfig(t, c, err)
		if len(c.RepoDigests) > 0 {
			t.Errorf("names %q", c.RepoDigests)
		}
	})
}

// Between two answers it may be removed, when all that is known is a name.
func TestAnImageThatIsRemovedMeanwhileIsNotFound(t *testing.T) {
	t.Parallel()
	n := newNode(t, critest.Containerd)
	n.SetFaults(critest.Faults{Image: func(r *runtimev1.ImageStatusResponse) { r.Image = nil }})
	_, err := n.ask(t)
	wantError(t, err, cri.NotFound, cri.ReasonNoImage)
}

func TestWhetherAContainerRunsIsSaidAndOnlyThenRemembered(t *testing.T) {
	t.Parallel()
	for state, want := range map[runtimev1.ContainerState]bool{
		runtimev1.ContainerState_CONTAINER_CREATED: false, runtimev1.ContainerState_CONTAINER_RUNNING: true,
		runtimev1.ContainerState_CONTAINER_EXITED: false, runtimev1.ContainerState_CONTAINER_UNKNOWN: false,
	} {
		n := newNode(t, critest.Containerd)
		x := web()
		x.State = state
		n.Run(x)
		c := n.client(t)
		for range 3 {
			got, err := c.Container(t.Context(), podUID, containerID)
			wantConfig(t, got, err)
			if got.Running != want {
				t.Errorf("%v: running %v", state, got.Running)
			}
		}
		if s := n.Stats(); (s.Containers == 1) != want {
			t.Errorf("%v: %+v", state, s)
		}
	}
}

// One hostile author who makes the runtime know many names costs the victim a
// question each time, and no memory.
func TestManyNamesAreNotRemembered(t *testing.T) {
	t.Parallel()
	n := newNode(t, critest.Containerd)
	n.Pull(critest.Image{Config: config, Digests: many(250)})
	c := n.client(t)
	for range 2 {
		got, err := c.Container(t.Context(), podUID, containerID)
		wantConfig(t, got, err)
		if len(got.RepoDigests) != 251 {
			t.Errorf("%d names", len(got.RepoDigests))
		}
	}
	if n.Stats().Containers != 2 || c.Known() != 0 {
		t.Errorf("%+v, %d remembered", n.Stats(), c.Known())
	}
}

func TestManyCallersAreOneQuestion(t *testing.T) {
	t.Parallel()
	n := newNode(t, critest.CRIO)
	n.SetFaults(critest.Faults{Delay: 100 * time.Millisecond})
	c := n.client(t)
	impatient, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	var callers sync.WaitGroup
	callers.Go(func() {
		time.AfterFunc(20*time.Millisecond, func() { cancel(gone) })
		if _, err := c.Container(impatient, podUID, containerID); !errors.Is(err, gone) {
			t.Errorf("error %v", err)
		}
	})
	for range 100 {
		callers.Go(func() {
			if _, err := c.Container(t.Context(), podUID, containerID); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if s := n.Stats(); s.Containers != 1 || s.Sandboxes != 1 || s.Images != 1 || s.Connections != 1 {
		t.Errorf("%+v", s)
	}
}

// A thousand callers who leave cost a slow runtime no thousand questions.
func TestWhatNobodyWaitsForIsNotAsked(t *testing.T) {
	t.Parallel()
	n := newNode(t, critest.Containerd)
	n.SetFaults(critest.Faults{Delay: 100 * time.Millisecond})
	c := n.client(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var callers sync.WaitGroup
	for i := range 1000 {
		callers.Go(func() {
			if _, err := c.Container(ctx, podUID, hex(strconv.Itoa(i))); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		})
	}
	callers.Wait()
	found, err := c.Container(t.Context(), podUID, containerID)
	wantConfig(t, found, err)
	if s := n.Stats(); s.Containers > cri.MaxCalls+1 {
		t.Errorf("%+v", s)
	}
}

func TestImpossibleSettingsAreRefused(t *testing.T) {
	t.Parallel()
	if _, err := cri.New(cri.Config{Socket: "cri.sock"}, notInPod); err == nil {
		t.Error("a socket relative to nothing")
	}
	if _, err := cri.New(cri.Config{Socket: "/run/cri.sock"}, nil); err == nil {
		t.Error("nobody knows what is in pods")
	}
}

// FuzzSandboxOf: what follows the sandbox's ID is the pod's author's, and changes
// nothing.
func FuzzSandboxOf(f *testing.F) {
	f.Add(`"pid":1,"runtimeSpec":{"process":{"env":["a=b"]}}}`)
	f.Add(`"sandboxID":"other"}`)
	f.Add(`}`)
	f.Add("\xff{{{")
	f.Fuzz(func(t *testing.T, rest string) {
		if id, err := cri.SandboxOf(`{"sandboxID":"abc",` + rest); err != nil || id != "abc" {
			t.Errorf("%q, %v", id, err)
		}
		if id, err := cri.SandboxOf(rest); (err == nil) != (id != "") {
			t.Errorf("%q, %v", id, err)
		}
	})
}
