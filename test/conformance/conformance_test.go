// Package conformance_test proves PARITY.md through podseal as it runs: the built
// binary in a process of its own, spoken to as SPIRE Agent does, real processes
// in real cgroups, and a stand-in for the kubelet that fails in every way that
// kubelets are known to fail.
package conformance_test

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
)

func TestMain(m *testing.M) {
	if os.Getenv(workloadEnv) != "" {
		workload()
		return
	}
	pluginproc.Main(m)
}

// settings are what a test changes of a node's usual ones.
type settings = pluginproc.Settings

// app is a pod of one container. Everything of it that must be unique is made of
// its name.
func app(name string) kubelettest.Pod {
	return kubelettest.Pod{Namespace: "shop", Name: name, UID: kubelettest.UID(name), ServiceAccount: name + "-sa",
		Containers: []kubelettest.Container{{Name: "main", ID: kubelettest.ID(name),
			Image: "registry.example.org/" + name + ":1", ImageID: "registry.example.org/" + name + "@sha256:" + kubelettest.ID("image of "+name)}}}
}

// appSelectors are those of a process in the container of app(name).
func appSelectors(name string) []string {
	return sorted(appPodSelectors(name),
		"container-name:main",
		"container-image:registry.example.org/"+name+":1",
		"container-image:registry.example.org/"+name+"@sha256:"+kubelettest.ID("image of "+name),
		"container-image-digest:sha256:"+kubelettest.ID("image of "+name),
		"container-type:regular",
	)
}

// appPodSelectors are those of app(name) without a container's.
func appPodSelectors(name string) []string {
	return sorted(nil,
		"sa:"+name+"-sa", "ns:shop", "node-name:node-1", "pod-name:"+name, "pod-uid:"+kubelettest.UID(name),
		"pod-image-count:1", "pod-init-image-count:0",
		"pod-image:registry.example.org/"+name+":1",
		"pod-image:registry.example.org/"+name+"@sha256:"+kubelettest.ID("image of "+name),
		"pod-image-digest:sha256:"+kubelettest.ID("image of "+name),
		"pod-spec-image:registry.example.org/"+name+":1",
	)
}

func sorted(values []string, more ...string) []string {
	values = append(slices.Clone(values), more...)
	slices.Sort(values)
	return values
}

// start starts a node and a plugin that is configured for it.
func start(t *testing.T, change settings) (*pluginproc.Node, *pluginproc.Process) {
	t.Helper()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	plugin := pluginproc.Start(t, pluginproc.Options{})
	plugin.MustConfigure(t, node.Settings().With(change))
	return node, plugin
}

// wantSelectors attests the process and compares all that comes back.
func wantSelectors(t *testing.T, plugin *pluginproc.Process, pid int, want []string) {
	t.Helper()
	got, err := plugin.Selectors(t.Context(), pid)
	if err != nil {
		t.Errorf("Attest: %v", err)
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("selectors (-want +got):\n%s", diff)
	}
}

// wantFailure attests the process and checks the answer.
func wantFailure(t *testing.T, plugin *pluginproc.Process, pid int, code codes.Code, words ...string) {
	t.Helper()
	got, err := plugin.Selectors(t.Context(), pid)
	if len(got) > 0 {
		t.Errorf("selectors on a failure: %q", got)
	}
	wantStatus(t, err, code, words...)
}

// wantStatus checks a code, the beginning of the message, which is the first of
// the words, and that the others are in it.
func wantStatus(t *testing.T, err error, code codes.Code, words ...string) {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != code {
		t.Errorf("got %s: %q, want %s", s.Code(), s.Message(), code)
		return
	}
	if len(words) > 0 && !strings.HasPrefix(s.Message(), words[0]) {
		t.Errorf("the message is %q, want it to begin with %q", s.Message(), words[0])
	}
	for _, w := range words {
		if !strings.Contains(s.Message(), w) {
			t.Errorf("the message is %q, want %q in it", s.Message(), w)
		}
	}
}

// afresh attests the process until that made the plugin ask the kubelet, which
// must succeed each time, so that the last answer is no stored one.
func afresh(t *testing.T, node *pluginproc.Node, plugin *pluginproc.Process, pid int, want []string) {
	t.Helper()
	before := node.Kubelet.Stats().Requests
	pluginproc.Eventually(t, "the kubelet is asked again", func() bool {
		wantSelectors(t, plugin, pid, want)
		return t.Failed() || node.Kubelet.Stats().Requests > before
	})
}

// within fails the test when work takes longer than a hang would be noticed
// after.
func within(t *testing.T, limit time.Duration, work func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	work(ctx)
	if ctx.Err() != nil {
		t.Errorf("it took more than %v", limit)
	}
}

// eachSpelling runs the test for every text in which settings reach a plugin.
func eachSpelling(t *testing.T, s settings, test func(t *testing.T, text string)) {
	t.Helper()
	texts := s.Spellings(t)
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		t.Run(name, func(t *testing.T) { test(t, texts[name]) })
	}
}

func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := kubelettest.Replace(path, content); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func contains(values []string, all ...string) bool {
	for _, v := range all {
		if !slices.Contains(values, v) {
			return false
		}
	}
	return true
}
