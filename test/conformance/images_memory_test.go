package conformance_test

import (
	"fmt"
	"testing"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
)

// maxIdleMemory is what the plugin may need when it has nothing to do, with all that
// it is linked with.
const maxIdleMemory = 40 << 20

// What judging signatures costs in memory: the libraries where nothing is asked of
// images, a trust root and policies, and their first work.
func TestTheMemoryOfImageVerification(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	plugin := pluginproc.Start(t, pluginproc.Options{})
	resident := func(when string) int64 {
		m, err := plugin.Memory()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %.1f MiB resident", when, float64(m.Resident)/(1<<20))
		return m.Resident
	}
	idle := func(when string) {
		if n := resident(when); n > maxIdleMemory {
			t.Errorf("%s: %d MiB resident, more than %d", when, n>>20, maxIdleMemory>>20)
		}
	}
	idle("before it is configured")
	plugin.MustConfigure(t, node.Settings())
	idle("configured without image policies")
	if err := plugin.Configure(t.Context(), node.Settings().HCL()+s.settings(releasePolicy)); err != nil {
		t.Fatal(err)
	}
	idle("configured with an image policy and a trust root")
	for i := range 25 { // of which a registry is asked without a pause
		name := fmt.Sprintf("image-%d", i)
		if _, err := plugin.Selectors(t.Context(), node.Pod(of(name, s.push(name, s.dev)))); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			resident("after the first image")
		}
	}
	resident("after 25 images")
	wantPeak(t, plugin)
}
