package plugin_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/spiffe/spire-plugin-sdk/pluginsdk"
	"github.com/spiffe/spire-plugin-sdk/plugintest"
	workloadattestorv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/plugin/agent/workloadattestor/v1"
	configv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/service/common/config/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/plugin"
	"github.com/podseal/podseal/test/pluginproc"
)

// These tests run the plugin in this process, where the race detector sees it.

func TestMain(m *testing.M) { pluginproc.Main(m) }

// served is a plugin that is served over gRPC.
type served struct {
	workloadattestorv1.WorkloadAttestorPluginClient
	config configv1.ConfigServiceClient
}

func serve(t *testing.T) *served {
	t.Helper()
	s := new(served)
	p := plugin.New()
	plugintest.ServeInBackground(t, plugintest.Config{
		PluginServer:   workloadattestorv1.WorkloadAttestorPluginServer(p),
		PluginClient:   &s.WorkloadAttestorPluginClient,
		ServiceServers: []pluginsdk.ServiceServer{configv1.ConfigServiceServer(p)},
		ServiceClients: []pluginsdk.ServiceClient{&s.config},
		Logger:         hclog.New(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Trace, JSONFormat: true}),
	})
	return s
}

func (s *served) configure(ctx context.Context, settings pluginproc.Settings) error {
	_, err := s.config.Configure(ctx, &configv1.ConfigureRequest{CoreConfiguration: pluginproc.Core(), HclConfiguration: settings.HCL()})
	return err
}

func (s *served) selectors(ctx context.Context, pid int) ([]string, error) {
	resp, err := s.Attest(ctx, &workloadattestorv1.AttestRequest{Pid: int32(pid)})
	return resp.GetSelectorValues(), err
}

// versioned is a pod of which everything that can change has the version.
func versioned(name string, version int) kubelettest.Pod {
	v := fmt.Sprint("v", version)
	return kubelettest.Pod{Namespace: "ns", Name: name, UID: kubelettest.UID(name),
		Labels:     map[string]string{"a": v, "b": v},
		Containers: []kubelettest.Container{{Name: "c", ID: kubelettest.ID(name), Image: "image:" + v, ImageID: v}}}
}

// answers are those that a process in the pod may get: one for each version, with
// and without the container's.
func answers(name string) [][]string {
	var all [][]string
	for version := range 2 {
		v := fmt.Sprint("v", version)
		pod := []string{"ns:ns", "sa:default", "node-name:node-1", "pod-name:" + name, "pod-uid:" + kubelettest.UID(name), "pod-image-count:1", "pod-init-image-count:0",
			"pod-label:a:" + v, "pod-label:b:" + v, "pod-image:image:" + v, "pod-image:" + v, "pod-spec-image:image:" + v}
		withContainer := append(slices.Clone(pod), "container-name:c", "container-image:image:"+v, "container-image:"+v, "container-type:regular")
		slices.Sort(pod)
		slices.Sort(withContainer)
		all = append(all, pod, withContainer)
	}
	return all
}

// An answer belongs to one configuration and to one state of the pod.
func TestAttestationsDuringReconfigurations(t *testing.T) {
	const callers, pods, reconfigurations = 200, 8, 30
	node := pluginproc.NewNode(t, kubelettest.Options{})
	second, err := node.Kubelet.WriteFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pids := map[string]int{}
	var names []string
	for i := range pods {
		name := fmt.Sprint("pod-", i)
		names = append(names, name)
		pids[name] = node.Pod(versioned(name, 0))
	}
	settings := func(change pluginproc.Settings) pluginproc.Settings {
		return node.Settings().With(pluginproc.Settings{"poll_retry_interval": "1ms", "max_poll_attempts": 1}).With(change)
	}
	configurations := []pluginproc.Settings{
		settings(nil),
		settings(pluginproc.Settings{"disable_container_selectors": true}),
		settings(pluginproc.Settings{"poll_retry_interval": "7ms"}),
		settings(pluginproc.Settings{"token_path": second.Token, "reload_interval": "1ms"}),
		settings(pluginproc.Settings{"token_path": nil, "certificate_path": second.Certificate, "private_key_path": second.Key, "disable_container_selectors": true}),
		settings(pluginproc.Settings{"verbose_container_locator_logs": true, "skip_kubelet_verification": true}),
	}
	s := serve(t)
	if err := s.configure(t.Context(), configurations[0]); err != nil {
		t.Fatal(err)
	}

	var done atomic.Bool
	var attested atomic.Int64
	var work sync.WaitGroup
	for i := range callers {
		name := names[i%pods]
		work.Go(func() {
			possible := answers(name)
			for !done.Load() {
				got, err := s.selectors(t.Context(), pids[name])
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				if !slices.ContainsFunc(possible, func(want []string) bool { return slices.Equal(want, got) }) {
					t.Errorf("%s: an answer of no configuration: %q", name, got)
					return
				}
				attested.Add(1)
			}
		})
	}
	for i := range reconfigurations {
		// The next request is still on its way when its client is replaced.
		node.Kubelet.Inject(1, kubelettest.Slow(20*time.Millisecond))
		asked := node.Kubelet.Stats().Requests
		pluginproc.Eventually(t, "the kubelet is asked", func() bool { return t.Failed() || node.Kubelet.Stats().Requests > asked })
		if err := s.configure(t.Context(), configurations[i%len(configurations)]); err != nil {
			t.Error(err)
			break
		}
		if err := s.configure(t.Context(), pluginproc.Settings{"unknown": 1}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("a refused configuration: %v", err)
		}
		for _, name := range names {
			if err := node.Kubelet.UpdatePod(versioned(name, i%2).Build()); err != nil {
				t.Error(err)
			}
		}
		// Each of them is in use for some answers.
		before := attested.Load()
		pluginproc.Eventually(t, "attestations go on", func() bool { return t.Failed() || attested.Load() > before+callers/2 })
	}
	done.Store(true)
	work.Wait()

	if err := s.configure(t.Context(), configurations[1]); err != nil {
		t.Fatal(err)
	}
	got, err := s.selectors(t.Context(), pids[names[0]])
	if err != nil || len(got) != len(answers(names[0])[0]) {
		t.Errorf("after the last reconfiguration: %q, %v", got, err)
	}
	stats := node.Kubelet.Stats()
	t.Logf("%d attestations, %d requests to the kubelet", attested.Load(), stats.Requests)
	if stats.MaxInFlight != 1 {
		t.Errorf("%d requests were in flight at once", stats.MaxInFlight)
	}
}

// A pod that opens connections without end is refused at its own bound, at once,
// and its neighbours do not notice.
func TestAPodWithTenThousandCallersCostsItsNeighboursNothing(t *testing.T) {
	const greedyCalls, neighbours, callsOfEach = 10_000, 10, container.MaxCallsPerPod
	node := pluginproc.NewNode(t, kubelettest.Options{})
	greedy := node.Pod(versioned("greedy", 0))
	pids := map[string]int{}
	for i := range neighbours {
		name := fmt.Sprint("neighbour-", i)
		pids[name] = node.Pod(versioned(name, 0))
	}
	s := serve(t)
	// The calls stay in flight for as long as the test wants, also where that is
	// longer than a request to the kubelet may take.
	if err := s.configure(t.Context(), node.Settings().With(pluginproc.Settings{"max_poll_attempts": 1_000_000, "attest_timeout": "10m"})); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	node.Kubelet.Inject(-1, kubelettest.Held(release))

	var attested, refused atomic.Int64
	var work sync.WaitGroup
	for range greedyCalls {
		work.Go(func() {
			switch _, err := s.selectors(t.Context(), greedy); status.Code(err) {
			case codes.OK:
				attested.Add(1)
			case codes.ResourceExhausted:
				refused.Add(1)
			default:
				t.Errorf("the greedy pod was answered %v", err)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for refused.Load() < greedyCalls-container.MaxCallsPerPod && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if n := refused.Load(); n != greedyCalls-container.MaxCallsPerPod {
		t.Errorf("%d calls were refused, want all but %d of %d", n, container.MaxCallsPerPod, greedyCalls)
	}

	for name, pid := range pids {
		for range callsOfEach {
			work.Go(func() {
				got, err := s.selectors(t.Context(), pid)
				if diff := cmp.Diff(answers(name)[1], got); err != nil || diff != "" {
					t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
				}
			})
		}
	}
	close(release)
	work.Wait()
	if n := attested.Load(); n != container.MaxCallsPerPod {
		t.Errorf("%d calls of the greedy pod were attested", n)
	}
	if got, err := s.selectors(t.Context(), greedy); err != nil || len(got) == 0 {
		t.Errorf("afterwards the pod is attested with %q, %v", got, err)
	}
	if n := node.Kubelet.Stats().MaxInFlight; n != 1 {
		t.Errorf("%d requests were in flight at once", n)
	}
}

// All of these come from the agent, but in a workload's or a broker's words. None
// may take the plugin down, before or after it is configured.
func TestMalformedRequestsAreAnswered(t *testing.T) {
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := serve(t)
	for range 2 {
		for _, pid := range []int32{-1 << 31, -1, 0, 1<<31 - 1} {
			_, _ = s.Attest(t.Context(), &workloadattestorv1.AttestRequest{Pid: pid})
		}
		_, _ = s.Attest(t.Context(), nil)
		_, _ = s.AttestReference(t.Context(), nil)
		_, _ = s.config.Configure(t.Context(), nil)
		_, _ = s.config.Validate(t.Context(), nil)
		if err := s.configure(t.Context(), node.Settings()); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.selectors(t.Context(), node.Pod(versioned("pod", 0))); err != nil || len(got) == 0 {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}
