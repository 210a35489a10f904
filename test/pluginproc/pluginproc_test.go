package pluginproc_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	goplugin "github.com/hashicorp/go-plugin"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
)

func TestMain(m *testing.M) { pluginproc.Main(m) }

func TestAPluginIsStartedServesAndIsStopped(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	plugin := pluginproc.Start(t, pluginproc.Options{})
	pid := node.Pod(kubelettest.Pod{Namespace: "ns", Name: "app", UID: kubelettest.UID("app"),
		Containers: []kubelettest.Container{{Name: "c", ID: kubelettest.ID("app")}}})
	plugin.MustConfigure(t, node.Settings())
	selectors, err := plugin.Selectors(t.Context(), pid)
	if err != nil || !slices.Contains(selectors, "pod-name:app") {
		t.Errorf("got %q, %v", selectors, err)
	}
	if peak := plugin.PeakMemory(); peak < 4<<20 || peak > 256<<20 {
		t.Errorf("the peak of its memory is %d bytes", peak)
	}
	plugin.Stop()
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", plugin.PID())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the process is still there: %v", err)
	}
	plugin.Stop()
}

func TestAnotherBinaryThanTheChecksumSaysIsRefused(t *testing.T) {
	t.Parallel()
	_, err := pluginproc.Launch(t, pluginproc.Options{Checksum: make([]byte, 32)})
	if !errors.Is(err, goplugin.ErrChecksumsDoNotMatch) {
		t.Errorf("got %v", err)
	}
}

func TestThePluginInheritsTheEnvironmentAndItsLogIsRead(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	plugin := pluginproc.Start(t, pluginproc.Options{Env: []string{"SOME_NODE=no host"}})
	err := plugin.Configure(t.Context(), node.Settings().With(pluginproc.Settings{"node_name_env": "SOME_NODE"}).HCL())
	if err == nil || !strings.Contains(err.Error(), "no host") {
		t.Errorf("got %v", err)
	}
	plugin.MustConfigure(t, node.Settings().With(pluginproc.Settings{"node_name_env": "NO_SUCH_VARIABLE"}))
	line := plugin.WaitFor(t, func(l pluginproc.Line) bool { return strings.HasPrefix(l.Message, "node_name_env:") })
	if line.Level != "warn" {
		t.Errorf("its level is %q", line.Level)
	}
}

func TestSpellings(t *testing.T) {
	t.Parallel()
	settings := pluginproc.Settings{
		"a": "x\"<\\", "b": 7, "c": true,
		"d": pluginproc.Settings{"e": []pluginproc.Settings{{"f": "g"}, {"f": "h"}}},
	}
	want := map[string]string{
		"HCL":                         "a = \"x\\\"<\\\\\"\nb = 7\nc = true\nd {\ne = [\n{\nf = \"g\"\n},\n{\nf = \"h\"\n},\n]\n}\n",
		"HCL as the agent prints it":  "a = \"x\\\"<\\\\\"\n\nb = 7\n\nc = true\n\nd {\n  e = [\n    {\n      f = \"g\"\n    },\n    {\n      f = \"h\"\n    },\n  ]\n}",
		"JSON as the agent prints it": "",
	}
	got := settings.Spellings(t)
	if !strings.Contains(got["JSON as the agent prints it"], `"f" = "h"`) {
		t.Errorf("the agent prints JSON as\n%s", got["JSON as the agent prints it"])
	}
	got["JSON as the agent prints it"] = ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
