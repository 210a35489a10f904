package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/podseal/podseal/pkg/cri"
	"github.com/podseal/podseal/pkg/cri/critest"
	"github.com/podseal/podseal/pkg/doctor"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/unixpeer"
)

var webConfig = image.Of([]byte("the image's configuration")).String()

// runtime is the node's container runtime, with the kubelet's containers.
func (n *node) runtime(t *testing.T, inPod unixpeer.InPod) *critest.Server {
	t.Helper()
	socket := filepath.Join(shortDir(t), "cri.sock")
	server, err := critest.Start(critest.Options{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	server.Pull(critest.Image{Config: webConfig, Digests: []string{"registry.example.org/web@" + image.Of(nil).String()}})
	for _, name := range []string{"web", "api"} {
		server.Run(critest.Container{
			ID: kubelettest.ID(name), Name: "main", PodUID: kubelettest.UID(name), Namespace: "shop", PodName: name,
			Image: webConfig, State: runtimev1.ContainerState_CONTAINER_RUNNING,
		})
	}
	client, err := cri.New(cri.Config{Socket: socket, PeerUID: uint32(os.Getuid())}, inPod)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	n.options.Settings.CRISocket, n.options.Settings.CRINeeded, n.options.Runtime = socket, true, client
	return server
}

func TestARuntimeThatKnowsTheNodesContainers(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	n.runtime(t, nobodyInPod)
	n.run(t).check(t, want{doctor.ContainerRuntime, doctor.OK,
		[]string{fmt.Sprintf("process %d, ", os.Getpid()), "(cri_socket)", "shop/api container main", webConfig}, nil})

	if err := n.SetPods(); err != nil {
		t.Fatal(err)
	}
	n.run(t).check(t, want{doctor.ContainerRuntime, doctor.OK, []string{"no running container"}, nil})
}

func TestARuntimeThatDoesNotTell(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change        func(t *testing.T, n *node)
		cause, remedy string
	}{
		"nobody listens": {func(t *testing.T, n *node) { n.runtime(t, nobodyInPod).Stop() }, "nothing listens", "start the container runtime"},
		"somebody in a pod": {func(t *testing.T, n *node) {
			n.runtime(t, func(int32) (bool, error) { return true, nil })
		}, "is not taken for the container runtime", "look which process that is"},
		"the runtime of something else": {func(t *testing.T, n *node) {
			s := n.runtime(t, nobodyInPod)
			s.Remove(kubelettest.ID("web"))
			s.Remove(kubelettest.ID("api"))
		}, "asked about shop/api container main: the container runtime at", "which the kubelet uses"},
		"another pod's container": {func(t *testing.T, n *node) {
			s := n.runtime(t, nobodyInPod)
			s.SetFaults(critest.Faults{Sandbox: func(r *runtimev1.PodSandboxStatusResponse) { r.Status.Metadata.Uid = "other" }})
		}, "otherwise \"other\"", "which the kubelet uses"},
		"a setting that can't be": {func(_ *testing.T, n *node) {
			n.options.Settings.CRISocket, n.options.Settings.CRINeeded = "cri.sock", true
			n.options.RuntimeErr = errors.New("the socket's path must be absolute")
		}, "must be absolute", "setting"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, kubelettest.Options{})
			c.change(t, n)
			n.run(t).check(t, want{doctor.ContainerRuntime, doctor.Failed, []string{c.cause}, []string{c.remedy}})
			n.options.Settings.CRINeeded = false
			n.run(t).check(t, want{doctor.ContainerRuntime, doctor.Warning, []string{"no image policy depends on it", c.cause}, []string{c.remedy}})
		})
	}
}

// Between the kubelet's list and the question a container may end.
func TestAContainerThatEndedMeanwhileIsNoFailureOfTheRuntime(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	s := n.runtime(t, nobodyInPod)
	s.Remove(kubelettest.ID("api"))
	n.options.Runtime = ending{n.options.Runtime, func() {
		if err := n.SetPods(webPod("web")); err != nil {
			t.Error(err)
		}
	}}
	n.run(t).check(t, want{doctor.ContainerRuntime, doctor.OK, []string{"shop/web container main", webConfig}, nil})
}

// ending is a runtime before whose answer something happens.
type ending struct {
	doctor.Runtime
	before func()
}

func (e ending) Inspect(ctx context.Context) (*cri.Inspection, error) {
	e.before()
	return e.Runtime.Inspect(ctx)
}

func TestARuntimeThatCantBeLookedAt(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	n.run(t).check(t, want{doctor.ContainerRuntime, doctor.OK, []string{"cri_socket is not set"}, nil})
	n.options.Settings.CRISocket = "/run/cri.sock"
	n.run(t).check(t, want{doctor.ContainerRuntime, doctor.Skipped, []string{"not looked at"}, nil})
	n.options.Settings.Problems = []doctor.Notice{{Message: "wrong"}}
	n.run(t).check(t, want{doctor.ContainerRuntime, doctor.Skipped, []string{"because configuration failed"}, nil})
}
