package setup_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/podsapi/podsapitest"
	"github.com/podseal/podseal/pkg/setup"
	"github.com/podseal/podseal/test/testenv"
)

// podsAPI is a stand-in for the kubelet's Pods API with one pod.
func podsAPI(t *testing.T) (*podsapitest.Server, string) {
	t.Helper()
	testenv.Require(t, os.Geteuid() == 0, "needs root, who alone may listen in the kubelet's place")
	socket := filepath.Join(t.TempDir(), "pods-api.sock")
	server, err := podsapitest.Start(podsapitest.Options{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	server.SetPods(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u", Namespace: "pay", Name: "api"}})
	return server, socket
}

func build(t *testing.T, process *setup.Process, cfg *config.Config, previous *setup.Parts) *setup.Parts {
	t.Helper()
	parts, err := process.Build(cfg, previous)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { parts.CloseUnlessIn(nil) })
	return parts
}

func knows(t *testing.T, parts *setup.Parts, uid string) bool {
	t.Helper()
	index, err := parts.Attestor.Pods.Next(t.Context(), uid, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := index.ByUID(uid)
	if err != nil {
		t.Fatal(err)
	}
	return p != nil
}

func TestThePodsAPINeedsNothingOfTheKubeletsPort(t *testing.T) {
	t.Parallel()
	_, socket := podsAPI(t)
	result := config.Parse(fmt.Sprintf("pod_source = \"pods_api\"\npods_api_socket = %q\n", socket), func(string) string { return "" })
	if len(result.Problems) > 0 {
		t.Fatal(result.Problems)
	}
	// The files of the default configuration are not there.
	parts := build(t, setup.NewProcess(slog.New(slog.DiscardHandler)), result.Config, nil)
	if !knows(t, parts, "u") || knows(t, parts, "v") {
		t.Error("it does not know the pods that there are")
	}
}

func TestAutoUsesThePodsAPIWhereItAnswers(t *testing.T) {
	t.Parallel()
	port, files := node(t)
	api, socket := podsAPI(t)
	process := setup.NewProcess(slog.New(slog.DiscardHandler))
	parts := build(t, process, parse(t, port, files, fmt.Sprintf("pods_api_socket = %q", socket)), nil)
	parts.Settle(t.Context())
	if !knows(t, parts, "u") || port.Stats().Requests > 0 {
		t.Errorf("the Pods API is not used; the port was asked %d times", port.Stats().Requests)
	}

	// A reconfiguration keeps it, and what it knows.
	again := build(t, process, parse(t, port, files, fmt.Sprintf("pods_api_socket = %q\ndisable_container_selectors = true", socket)), parts)
	if again.Attestor.Pods != parts.Attestor.Pods {
		t.Error("the sources were not carried over")
	}
	parts.CloseUnlessIn(again)
	if !knows(t, again, "u") {
		t.Error("what was carried over was closed")
	}

	// When it goes away nobody goes without an answer.
	api.Stop()
	if knows(t, again, "v") || port.Stats().Requests != 1 {
		t.Errorf("the port was asked %d times, want 1", port.Stats().Requests)
	}
}

func TestThePortAloneWhereThatIsAskedFor(t *testing.T) {
	t.Parallel()
	port, files := node(t)
	api, socket := podsAPI(t)
	cfg := parse(t, port, files, fmt.Sprintf("pod_source = \"kubelet\"\npods_api_socket = %q", socket))
	parts := build(t, setup.NewProcess(slog.New(slog.DiscardHandler)), cfg, nil)
	parts.Settle(t.Context())
	if knows(t, parts, "u") || port.Stats().Requests != 1 {
		t.Errorf("the port was asked %d times, want 1", port.Stats().Requests)
	}
	if stats := api.Stats(); stats.ListPods+stats.GetPod+stats.WatchPods > 0 {
		t.Errorf("the Pods API was asked: %+v", stats)
	}
}
