package setup_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/setup"
)

func TestTheSourceThatIsInUse(t *testing.T) {
	t.Parallel()
	port, files := node(t)
	api, socket := podsAPI(t)
	parts := map[config.PodSource]*setup.Parts{}
	for _, source := range []config.PodSource{config.KubeletPort, config.FromPodsAPI, config.Auto} {
		cfg := parse(t, port, files, fmt.Sprintf("pod_source = %q\npods_api_socket = %q", source, socket))
		parts[source] = build(t, setup.NewProcess(slog.New(slog.DiscardHandler)), cfg, nil)
		if using, why := parts[source].Using(); why != nil || source != config.Auto && using != source || source == config.Auto && using != config.KubeletPort {
			t.Errorf("%s: %s is used, %v", source, using, why)
		}
	}
	auto := parts[config.Auto]
	auto.Settle(t.Context())
	if using, why := auto.Using(); using != config.FromPodsAPI || why != nil {
		t.Errorf("%s is used, %v", using, why)
	}
	api.Stop()
	if _, err := auto.Attestor.Pods.Next(t.Context(), "v", time.Time{}); err != nil {
		t.Fatal(err)
	}
	using, why := auto.Using()
	if _, diagnosed := diagnosis.Of(why); using != config.KubeletPort || !diagnosed {
		t.Errorf("%s is used, %v", using, why)
	}
}
