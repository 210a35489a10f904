package selector_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/selector"
)

var (
	digestA = "sha256:" + strings.Repeat("a", 64)
	digestB = "sha256:" + strings.Repeat("b", 64)
)

func TestSelectorsOfAPod(t *testing.T) {
	t.Parallel()
	p := &pod.Pod{
		UID: "u", Name: "blog-0", Namespace: "default", NodeName: "node1", ServiceAccount: "blog",
		Labels: []pod.Label{{Key: "app", Value: "blog"}, {Key: "empty", Value: ""}},
		Owners: []pod.Owner{{Kind: "ReplicationController", Name: "blog", UID: "o1"}, {Kind: "ReplicationController", Name: "blog", UID: "o2"}},
		Containers: []pod.Container{
			{Name: "app", Type: pod.Regular, SpecImage: "blog:1", HasStatus: true, ID: "1", Image: "docker.io/library/blog:1", ImageID: "docker.io/library/blog@" + digestA},
			{Name: "twin", Type: pod.Regular, SpecImage: "blog:1", HasStatus: true, ID: "2", Image: "docker.io/library/blog:1", ImageID: "docker.io/library/blog@" + digestA},
			{Name: "decoy", Type: pod.Regular, SpecImage: "good@" + digestB, HasStatus: true, Image: "good@" + digestB, ImageID: "good@" + digestB},
			{Name: "unborn", Type: pod.Regular, SpecImage: "later:1"},
			{Name: "setup", Type: pod.Init, SpecImage: "init:1", HasStatus: true, ID: "3", Image: "init:1", ImageID: "init@" + digestB},
			{Name: "proxy", Type: pod.Sidecar, SpecImage: "proxy:1", HasStatus: true, ID: "4", Image: "proxy:1", ImageID: "docker://" + digestB},
			{Name: "debug", Type: pod.Ephemeral, SpecImage: "sh:1", HasStatus: true, ID: "5", Image: "sh:1", ImageID: "sh@" + digestB},
		},
	}
	want := []string{
		"node-name:node1",
		"ns:default",
		"pod-image-count:3",
		"pod-image-digest:" + digestA,
		"pod-image:docker.io/library/blog:1",
		"pod-image:docker.io/library/blog@" + digestA,
		"pod-image:good@" + digestB,
		"pod-init-image-count:2",
		"pod-init-image:docker://" + digestB,
		"pod-init-image:init:1",
		"pod-init-image:init@" + digestB,
		"pod-init-image:proxy:1",
		"pod-label:app:blog",
		"pod-label:empty:",
		"pod-name:blog-0",
		"pod-owner-uid:ReplicationController:o1",
		"pod-owner-uid:ReplicationController:o2",
		"pod-owner:ReplicationController:blog",
		"pod-spec-image:blog:1",
		"pod-spec-image:good@" + digestB,
		"pod-spec-image:later:1",
		"pod-uid:u",
		"sa:blog",
	}
	if diff := cmp.Diff(want, selector.Pod(p)); diff != "" {
		t.Errorf("Pod (-want +got):\n%s", diff)
	}

	want = append([]string{
		"container-image-digest:" + digestA,
		"container-image:docker.io/library/blog:1",
		"container-image:docker.io/library/blog@" + digestA,
		"container-name:app",
		"container-type:regular",
	}, want...)
	if diff := cmp.Diff(want, selector.Container(p, &p.Containers[0])); diff != "" {
		t.Errorf("Container (-want +got):\n%s", diff)
	}
	for i, kind := range []string{"regular", "regular", "regular", "regular", "init", "sidecar", "ephemeral"} {
		got := strings.Join(selector.Container(p, &p.Containers[i]), "\n")
		if !strings.Contains(got, "container-type:"+kind+"\n") {
			t.Errorf("container %s is not of type %s:\n%s", p.Containers[i].Name, kind, got)
		}
	}
}

// The built-in attestor gives these with empty values too, and entries may have
// been written to that.
func TestAnEmptyPodHasTheSelectorsThatAreAlwaysThere(t *testing.T) {
	t.Parallel()
	want := []string{"node-name:", "ns:", "pod-image-count:0", "pod-init-image-count:0", "pod-name:", "pod-uid:", "sa:"}
	if diff := cmp.Diff(want, selector.Pod(&pod.Pod{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	p := &pod.Pod{Containers: []pod.Container{{Name: "c", Type: pod.Regular, HasStatus: true, ID: "1"}}}
	want = []string{"container-image:", "container-name:c", "container-type:regular", "node-name:", "ns:", "pod-image-count:1", "pod-image:", "pod-init-image-count:0", "pod-name:", "pod-uid:", "sa:"}
	if diff := cmp.Diff(want, selector.Container(p, &p.Containers[0])); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestImageDigests(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ imageID, want string }{
		{"repo@" + digestA, digestA},
		{"docker-pullable://repo@" + digestA, digestA},
		{"docker://" + digestA, digestA},
		{digestA, digestA},
		{"", ""},
		{"repo:tag", ""},
		{"repo@" + strings.ToUpper(digestA), ""},
		{"repo@" + digestA + "0", ""},
		{"repo@" + digestA[:70], ""},
		{"repo@sha256:" + strings.Repeat("a", 31) + "/" + strings.Repeat("a", 32), ""},
		{"repo" + digestA, ""},
		{"repo@" + digestA + "\n", ""},
		{"repo@" + digestB + "@" + digestA, digestA},
		{"repo@sha512:" + strings.Repeat("a", 128), ""},
	} {
		p := &pod.Pod{Containers: []pod.Container{{Type: pod.Regular, HasStatus: true, ID: "1", ImageID: test.imageID}}}
		var got string
		for _, s := range selector.Container(p, &p.Containers[0]) {
			if d, ok := strings.CutPrefix(s, "container-image-digest:"); ok {
				got = d
			}
		}
		if got != test.want {
			t.Errorf("digest of %q = %q, want %q", test.imageID, got, test.want)
		}
	}
}

// Strings of strangers are passed on as they are: whatever shows them escapes
// them there.
func TestValuesAreDataAndPassedOnRaw(t *testing.T) {
	t.Parallel()
	evil := "a\nns:kube-system\x1b[31m\"; rm -rf $(x) '"
	p := &pod.Pod{Namespace: "n", Labels: []pod.Label{{Key: "k", Value: evil}}, Owners: []pod.Owner{{Kind: "Kind", Name: evil, UID: "u"}}}
	got := selector.Pod(p)
	want := []string{"node-name:", "ns:n", "pod-image-count:0", "pod-init-image-count:0", "pod-label:k:" + evil, "pod-name:", "pod-owner-uid:Kind:u", "pod-owner:Kind:" + evil, "pod-uid:", "sa:"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSelectorsAreRenderedOnceForAVersionOfAPod(t *testing.T) {
	t.Parallel()
	p := &pod.Pod{UID: "u", Containers: []pod.Container{{Name: "c", Type: pod.Regular, ID: "1"}}}
	first, second := selector.Pod(p), selector.Pod(p)
	if &first[0] != &second[0] {
		t.Error("the pod's selectors were rendered anew")
	}
	first, second = selector.Container(p, &p.Containers[0]), selector.Container(p, &p.Containers[0])
	if &first[0] != &second[0] {
		t.Error("the container's selectors were rendered anew")
	}
	if got := selector.Container(p, &pod.Container{Name: "c"}); got != nil {
		t.Errorf("selectors of a container of no pod = %v", got)
	}
}
