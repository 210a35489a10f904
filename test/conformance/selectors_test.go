package conformance_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
)

func digest(name string) string { return "sha256:" + strings.Repeat(name, 64) }

// shop is a pod with a container of every kind and state.
var shop = kubelettest.Pod{
	Namespace: "pay", Name: "shop-7", UID: kubelettest.UID("shop"), ServiceAccount: "shop-sa", NodeName: "node-7",
	Labels: map[string]string{"app": "shop", "tier": "", "example.org/x": "a:b"},
	Owners: []metav1.OwnerReference{
		{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "shop", UID: "rs-uid", Controller: new(true)},
		{APIVersion: "example.org/v1", Kind: "Shop", Name: "mine", UID: "shop-uid"},
	},
	Containers: []kubelettest.Container{
		{Name: "web", ID: kubelettest.ID("web"), Image: "r.example.org/web:1", StatusImage: "r.example.org/web@" + digest("1"), ImageID: "r.example.org/web@" + digest("1")},
		{Name: "log", ID: kubelettest.ID("log"), Image: "log", StatusImage: "docker.io/library/log:latest", ImageID: digest("2")},
		{Name: "slow", State: kubelettest.Waiting, Image: "slow:1"},
		{Name: "planned", State: kubelettest.SpecOnly, Image: "planned:1"},
		{Name: "setup", Kind: kubelettest.Init, ID: kubelettest.ID("setup"), Image: "setup:1", ImageID: "docker-pullable://setup@" + digest("3")},
		{Name: "mesh", Kind: kubelettest.Sidecar, ID: kubelettest.ID("mesh"), Image: "mesh:1", ImageID: "mesh@" + digest("4")},
		{Name: "debug", Kind: kubelettest.Ephemeral, ID: kubelettest.ID("debug"), Image: "debug:1", ImageID: "debug@" + digest("5")},
	},
}

var shopPod = []string{
	"ns:pay", "sa:shop-sa", "node-name:node-7", "pod-name:shop-7", "pod-uid:" + kubelettest.UID("shop"),
	"pod-label:app:shop", "pod-label:example.org/x:a:b", "pod-label:tier:",
	"pod-owner:ReplicaSet:shop", "pod-owner-uid:ReplicaSet:rs-uid", "pod-owner:Shop:mine", "pod-owner-uid:Shop:shop-uid",
	"pod-image-count:3", "pod-init-image-count:2",
	"pod-image:r.example.org/web@" + digest("1"), "pod-image:docker.io/library/log:latest", "pod-image:" + digest("2"), "pod-image:slow:1", "pod-image:",
	"pod-init-image:setup:1", "pod-init-image:docker-pullable://setup@" + digest("3"), "pod-init-image:mesh:1", "pod-init-image:mesh@" + digest("4"),
	"pod-image-digest:" + digest("1"), "pod-image-digest:" + digest("2"),
	"pod-spec-image:r.example.org/web:1", "pod-spec-image:log", "pod-spec-image:slow:1", "pod-spec-image:planned:1",
}

// Section 3, whole sets, for a process in a container of every kind.
func TestSelectors(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	if err := node.Kubelet.AddPod(shop.Build()); err != nil {
		t.Fatal(err)
	}
	pids := map[string]int{}
	for _, c := range shop.Containers {
		if c.ID != "" {
			pids[c.Name] = node.Process(pluginproc.ContainerPath(shop.UID, c.ID))
		}
	}
	want := map[string][]string{
		"web":   {"container-name:web", "container-image:r.example.org/web@" + digest("1"), "container-image-digest:" + digest("1"), "container-type:regular"},
		"log":   {"container-name:log", "container-image:docker.io/library/log:latest", "container-image:" + digest("2"), "container-image-digest:" + digest("2"), "container-type:regular"},
		"setup": {"container-name:setup", "container-image:setup:1", "container-image:docker-pullable://setup@" + digest("3"), "container-image-digest:" + digest("3"), "container-type:init"},
		"mesh":  {"container-name:mesh", "container-image:mesh:1", "container-image:mesh@" + digest("4"), "container-image-digest:" + digest("4"), "container-type:sidecar"},
		"debug": {"container-name:debug", "container-image:debug:1", "container-image:debug@" + digest("5"), "container-image-digest:" + digest("5"), "container-type:ephemeral"},
	}
	eachSpelling(t, node.Settings().With(settings{"ephemeral_containers": true}), func(t *testing.T, text string) {
		plugin := pluginproc.Start(t, pluginproc.Options{})
		if err := plugin.Configure(t.Context(), text); err != nil {
			t.Fatal(err)
		}
		for name, pid := range pids {
			t.Run(name, func(t *testing.T) { wantSelectors(t, plugin, pid, sorted(shopPod, want[name]...)) })
		}
	})
}

func TestWithoutContainerSelectors(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	waiting := withState("waiting", func(c *kubelettest.Container) { c.State = kubelettest.Waiting })
	ready := node.Pod(app("ready"))
	notReady := node.Pod(waiting)
	eachSpelling(t, node.Settings().With(settings{"disable_container_selectors": true}), func(t *testing.T, text string) {
		plugin := pluginproc.Start(t, pluginproc.Options{})
		if err := plugin.Configure(t.Context(), text); err != nil {
			t.Fatal(err)
		}
		wantSelectors(t, plugin, ready, appPodSelectors("ready"))
		asked := node.Kubelet.Stats().Requests
		wantSelectors(t, plugin, notReady, sorted(nil,
			"sa:waiting-sa", "ns:shop", "node-name:node-1", "pod-name:waiting", "pod-uid:"+waiting.UID,
			"pod-image-count:1", "pod-init-image-count:0", "pod-image:registry.example.org/waiting:1",
			"pod-image:"+waiting.Containers[0].ImageID, "pod-spec-image:registry.example.org/waiting:1"))
		if n := node.Kubelet.Stats().Requests; n > asked+1 {
			t.Errorf("a container that is not ready was waited for: %d requests", n-asked)
		}
	})
}

// An empty value is a selector too, as it is of the built-in attestor.
func TestSelectorsOfAPodWithNothing(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, nil)
	id := kubelettest.ID("bare")
	node.Kubelet.Inject(-1, kubelettest.Body(`{"items":[{"metadata":{"uid":"bare"},"status":{"containerStatuses":[{"containerID":"cri-o://`+id+`"}]}}]}`))
	pid := node.Process(pluginproc.ContainerPath("bare", id))
	wantSelectors(t, plugin, pid, sorted(nil, "sa:", "ns:", "node-name:", "pod-name:", "pod-uid:bare", "pod-image-count:1", "pod-init-image-count:0", "pod-image:",
		"container-name:", "container-image:", "container-type:regular"))
}
