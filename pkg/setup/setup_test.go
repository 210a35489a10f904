package setup_test

import (
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/setup"
)

// node is a stand-in kubelet with the files that a client needs.
func node(t *testing.T) (*kubelettest.Server, kubelettest.Files) {
	t.Helper()
	server, err := kubelettest.Start(kubelettest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	files, err := server.WriteFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return server, files
}

func parse(t *testing.T, server *kubelettest.Server, files kubelettest.Files, more string) *config.Config {
	t.Helper()
	text := fmt.Sprintf("kubelet_secure_port = %d\nkubelet_ca_path = %q\ntoken_path = %q\n%s", server.Port(), files.CA, files.Token, more)
	result := config.Parse(text, func(string) string { return "" })
	if len(result.Problems) > 0 {
		t.Fatal(result.Problems)
	}
	return result.Config
}

// A reconfiguration that has nothing to do with the kubelet costs no request and
// no connection.
func TestTheKubeletsClientSurvivesAReconfiguration(t *testing.T) {
	t.Parallel()
	server, files := node(t)
	process := setup.NewProcess(slog.New(slog.DiscardHandler))

	first, err := process.Build(parse(t, server, files, ""), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Attestor.Pods.Next(t.Context(), "", time.Time{}); err != nil {
		t.Fatal(err)
	}
	second, err := process.Build(parse(t, server, files, "disable_container_selectors = true"), first)
	if err != nil {
		t.Fatal(err)
	}
	first.CloseUnlessIn(second)
	if second.Attestor.Pods != first.Attestor.Pods || !second.Attestor.WithoutContainer || second.Attestor.Admission != first.Attestor.Admission {
		t.Error("the client or the count of calls was not carried over, or the setting was not")
	}

	third, err := process.Build(parse(t, server, files, `poll_retry_interval = "10ms"`), second)
	if err != nil {
		t.Fatal(err)
	}
	second.CloseUnlessIn(third)
	if third.Attestor.Pods == second.Attestor.Pods {
		t.Error("other settings of the kubelet have the same client")
	}
	if _, err := third.Attestor.Pods.Next(t.Context(), "", time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got := server.Stats(); got.Requests != 2 || got.Connections != 2 || got.MaxInFlight != 1 {
		t.Errorf("%d requests over %d connections, %d at a time, want 2, 2 and 1", got.Requests, got.Connections, got.MaxInFlight)
	}
}

func TestAConfigurationWithABadFileIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	server, files := node(t)
	process := setup.NewProcess(slog.New(slog.DiscardHandler))
	cfg := parse(t, server, files, "")
	parts, err := process.Build(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(files.Token, files.Token+".gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := process.Build(cfg, parts); err == nil {
		t.Error("unchanged settings with a missing token are accepted")
	}
	if _, err := process.Build(parse(t, server, files, `reload_interval = "1s"`), parts); err == nil {
		t.Error("other settings with a missing token are accepted")
	}
	if _, err := parts.Attestor.Pods.Next(t.Context(), "", time.Time{}); err != nil {
		t.Errorf("the parts in use fail after a refusal: %v", err)
	}
}
