package cri_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/podseal/podseal/pkg/cri"
	"github.com/podseal/podseal/pkg/cri/critest"
	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/image"
)

const podUID = "11111111-2222-4333-8444-555555555555"

var (
	containerID = hex("the container")
	config      = image.Of([]byte("the configuration")).String()
	good        = "good.example.org/app@" + image.Of([]byte("the manifest")).String()
	alias       = "aaa.example.net/alias@" + image.Of([]byte("the attacker's manifest")).String()
)

func hex(s string) string { return image.Of([]byte(s)).Hex() }

// web is the container that all is about.
func web() critest.Container {
	return critest.Container{
		ID: containerID, Name: "web", PodUID: podUID, Namespace: "shop", PodName: "web-0",
		Image: config, Spec: "good.example.org/app:1", State: runtimev1.ContainerState_CONTAINER_RUNNING,
		Environment: []string{"PASSWORD=hunter2"},
	}
}

// node is a stand-in runtime with one container, and the configuration to talk to it.
type node struct {
	*critest.Server
	cfg cri.Config
}

func newNode(t *testing.T, kind critest.Runtime) *node {
	t.Helper()
	dir, err := os.MkdirTemp("", "cri") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "cri.sock")
	s, err := critest.Start(critest.Options{Socket: path, Runtime: kind})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.Pull(critest.Image{Config: config, Tags: []string{"good.example.org/app:1"}, Digests: []string{good}})
	s.Run(web())
	return &node{s, cri.Config{Socket: path, PeerUID: uint32(os.Getuid())}} // #nosec G115 -- a user
}

func notInPod(int32) (bool, error) { return false, nil }

func (n *node) client(t *testing.T) *cri.Client {
	t.Helper()
	c, err := cri.New(n.cfg, notInPod)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// ask asks a new client about the container.
func (n *node) ask(t *testing.T) (*cri.Container, error) {
	t.Helper()
	return n.client(t).Container(t.Context(), podUID, containerID)
}

// wantError checks an error's kind and diagnosis.
func wantError(t *testing.T, err error, kind cri.Kind, reason diagnosis.Reason) {
	t.Helper()
	e, ok := errors.AsType[*cri.Error](err)
	if !ok {
		t.Fatalf("error %v", err)
	}
	d, ok := diagnosis.Of(err)
	if e.Kind != kind || !ok || d.Reason != reason || d.Cause == "" || d.Remedy == "" {
		t.Errorf("error %v: kind %d, diagnosis %+v, want %d and %q", err, e.Kind, d, kind, reason)
	}
}

var kinds = map[string]critest.Runtime{
	"containerd": critest.Containerd, "containerd with IDs": critest.ContainerdWithID,
	"CRI-O": critest.CRIO, "CRI-O without names": critest.CRIOWithoutNames,
}

// everywhere is a test that holds with every runtime.
func everywhere(t *testing.T, test func(t *testing.T, n *node)) {
	t.Helper()
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newNode(t, kind))
		})
	}
}

func wantConfig(t *testing.T, c *cri.Container, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if c.ConfigDigest.String() != config {
		t.Errorf("the image's configuration is %v, want %v", c.ConfigDigest, config)
	}
}

// many are names of aliases.
func many(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("a%d.example.net/alias@%v", i, image.Of([]byte{byte(i)})))
	}
	return all
}
