package conformance_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A hundred processes of a hundred pods call a plugin that was asked nothing before,
// as when an agent is restarted. What the kubelet is asked for them is one list, or
// one question for each at most, and its limiter refuses nobody.
func TestAHundredCallersAtOnce(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"kubelet", "pods_api"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			const callers = 100
			n := newBothWays(t)
			var pids []int
			for i := range callers {
				name := fmt.Sprint("app-", i)
				n.add(t, app(name))
				pids = append(pids, n.process(t, name))
			}
			plugin := n.start(t, source)
			var all sync.WaitGroup
			began := time.Now()
			for i, pid := range pids {
				all.Go(func() {
					got, err := plugin.Selectors(t.Context(), pid)
					if want := appSelectors(fmt.Sprint("app-", i)); err != nil || !slices.Equal(got, want) {
						t.Errorf("caller %d: %v; selectors (-want +got):\n%s", i, err, cmp.Diff(want, got))
					}
				})
			}
			all.Wait()
			// One list, and one more each poll_retry_interval where the machine is slow.
			lists := 1 + int(time.Since(began)/(500*time.Millisecond))
			port, api := n.Kubelet.Stats(), n.api.Stats()
			t.Logf("%d lists at the port; through the Pods API %d of one pod, %d watches and lists", port.Requests, api.GetPod, api.WatchPods+api.ListPods)
			if source == "kubelet" {
				if port.Requests < 1 || port.Requests > lists || api.GetPod+api.ListPods+api.WatchPods > 0 {
					t.Errorf("%d lists at the port, %+v; want at most %d", port.Requests, api, lists)
				}
				return
			}
			if port.Requests > 0 || api.Refused > 0 || api.GetPod > callers || api.WatchPods+api.ListPods > 1+lists {
				t.Errorf("%d lists at the port, %+v; want the watch, at most %d lists, no more than %d calls and none refused", port.Requests, api, lists, callers)
			}
		})
	}
}
