package conformance_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
)

func TestEveryWayToAuthenticate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		kubelet kubelettest.Options
		change  func(f kubelettest.Files) settings
	}{
		{"token", kubelettest.Options{}, func(kubelettest.Files) settings { return nil }},
		{"client certificate", kubelettest.Options{RequireClientCertificate: true}, func(f kubelettest.Files) settings {
			return settings{"token_path": nil, "certificate_path": f.Certificate, "private_key_path": f.Key}
		}},
		{"client certificate over token", kubelettest.Options{}, func(f kubelettest.Files) settings {
			return settings{"token_path": "/no/such/file", "certificate_path": f.Certificate, "private_key_path": f.Key}
		}},
		{"anonymous", kubelettest.Options{Anonymous: true}, func(kubelettest.Files) settings {
			return settings{"token_path": nil, "use_anonymous_authentication": true}
		}},
		{"anonymous over everything", kubelettest.Options{Anonymous: true}, func(kubelettest.Files) settings {
			return settings{"token_path": "/no/such/file", "certificate_path": "/no/such/file", "use_anonymous_authentication": true}
		}},
		{"no verification", kubelettest.Options{Serving: kubelettest.Leaf{SelfSigned: true}}, func(kubelettest.Files) settings {
			return settings{"kubelet_ca_path": nil, "skip_kubelet_verification": true}
		}},
		{"the kubelet's own certificate for a CA", kubelettest.Options{Serving: kubelettest.Leaf{SelfSigned: true}}, func(f kubelettest.Files) settings {
			return settings{"kubelet_ca_path": f.Serving}
		}},
		{"the kubelet's certificate, of a CA that is not known", kubelettest.Options{}, func(f kubelettest.Files) settings {
			return settings{"kubelet_ca_path": f.Serving}
		}},
		{"a name of its own", kubelettest.Options{Serving: kubelettest.Leaf{Names: []string{"kubelet.example.org"}}}, func(kubelettest.Files) settings {
			return settings{"node_name": "127.0.0.1", "kubelet_server_name": "kubelet.example.org"}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			node := pluginproc.NewNode(t, test.kubelet)
			pid := node.Pod(app("app"))
			eachSpelling(t, node.Settings().With(test.change(node.Files)), func(t *testing.T, text string) {
				plugin := pluginproc.Start(t, pluginproc.Options{})
				if err := plugin.Configure(t.Context(), text); err != nil {
					t.Fatal(err)
				}
				wantSelectors(t, plugin, pid, appSelectors("app"))
			})
		})
	}
}

func TestTheReadOnlyPort(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{Plain: true})
	pid := node.Pod(app("app"))
	change := settings{"kubelet_secure_port": nil, "kubelet_read_only_port": node.Kubelet.Port(), "node_name": "nowhere.example.org", "token_path": "/no/such/file"}
	eachSpelling(t, node.Settings().With(change), func(t *testing.T, text string) {
		plugin := pluginproc.Start(t, pluginproc.Options{})
		if err := plugin.Configure(t.Context(), text); err != nil {
			t.Fatal(err)
		}
		wantSelectors(t, plugin, pid, appSelectors("app"))
	})
}

// The certificate is good for localhost only: 127.0.0.1 is a name that comes from
// the wrong place. Without any name the chain is verified alone.
func TestTheNodesNameComesFromThreePlaces(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{Serving: kubelettest.Leaf{Names: []string{"localhost"}}})
	pid := node.Pod(app("app"))
	for _, test := range []struct {
		name   string
		env    []string
		change settings
		wrong  bool
	}{
		{"node_name", []string{"MY_NODE_NAME=127.0.0.1", "OTHER=127.0.0.1"}, settings{"node_name": "localhost", "node_name_env": "OTHER"}, false},
		{"node_name_env", []string{"MY_NODE_NAME=127.0.0.1", "OTHER=localhost"}, settings{"node_name_env": "OTHER"}, false},
		{"MY_NODE_NAME", []string{"MY_NODE_NAME=localhost"}, nil, false},
		{"a variable that is empty does not fall back", []string{"MY_NODE_NAME=127.0.0.1"}, settings{"node_name_env": "OTHER"}, false},
		{"none", nil, nil, false},
		{"wrong node_name", []string{"MY_NODE_NAME=localhost"}, settings{"node_name": "127.0.0.1"}, true},
		{"wrong node_name_env", []string{"MY_NODE_NAME=localhost", "OTHER=127.0.0.1"}, settings{"node_name_env": "OTHER"}, true},
		{"wrong MY_NODE_NAME", []string{"MY_NODE_NAME=127.0.0.1"}, nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			plugin := pluginproc.Start(t, pluginproc.Options{Env: test.env})
			plugin.MustConfigure(t, node.Settings().With(test.change))
			if test.wrong {
				wantFailure(t, plugin, pid, codes.Unavailable, "unable to perform request: ", `has the names "localhost" and not "127.0.0.1"`, "kubelet_server_name", "node_name")
				return
			}
			wantSelectors(t, plugin, pid, appSelectors("app"))
		})
	}
}

// 0.0.0.0 leads to this machine, too, but unlike 127.0.0.1 and localhost it is a
// host for which Go would ask a proxy.
func TestProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{Serving: kubelettest.Leaf{Names: []string{"0.0.0.0"}}})
	plugin := pluginproc.Start(t, pluginproc.Options{Env: []string{"HTTPS_PROXY=http://127.0.0.1:1", "https_proxy=http://127.0.0.1:1", "NO_PROXY=", "no_proxy="}})
	plugin.MustConfigure(t, node.Settings().With(settings{"node_name": "0.0.0.0"}))
	wantSelectors(t, plugin, node.Pod(app("app")), appSelectors("app"))
}

// Whether anything answers there depends on the machine; that the error names
// the port does not.
func TestTheDefaultPort(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, settings{"kubelet_secure_port": nil, "max_poll_attempts": 1})
	wantFailure(t, plugin, node.Pod(app("app")), codes.Unavailable, "unable to perform request: ", "127.0.0.1:10250")
}

func TestAPortInAString(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	plugin := pluginproc.Start(t, pluginproc.Options{})
	plugin.MustConfigure(t, node.Settings().With(settings{"kubelet_secure_port": fmt.Sprint(node.Kubelet.Port())}))
	wantSelectors(t, plugin, node.Pod(app("app")), appSelectors("app"))
}

func TestTwoCallsInAnIntervalShareARequest(t *testing.T) {
	t.Parallel()
	const interval = 2 * time.Second
	node, plugin := start(t, settings{"poll_retry_interval": interval.String()})
	pid, other := node.Pod(app("app")), node.Pod(app("other"))
	wantSelectors(t, plugin, pid, appSelectors("app"))
	wantSelectors(t, plugin, other, appSelectors("other"))
	if n := node.Kubelet.Stats().Requests; n != 1 {
		t.Errorf("two calls were %d requests", n)
	}
	afresh(t, node, plugin, pid, appSelectors("app"))
	stats := node.Kubelet.Stats()
	if stats.Requests != 2 {
		t.Fatalf("%d requests, want 2", stats.Requests)
	}
	// The first one's connection had to be made after it had started.
	if apart := stats.Starts[1].Sub(stats.Starts[0]); apart < interval/2 {
		t.Errorf("the requests are %v apart", apart)
	}
}

func TestTheDefaultInterval(t *testing.T) {
	t.Parallel()
	for _, interval := range []any{nil, "0s", "-1s"} {
		node, plugin := start(t, settings{"poll_retry_interval": interval, "max_poll_attempts": 2})
		p := app("app")
		wantFailure(t, plugin, node.Process(pluginproc.ContainerPath(p.UID, p.Containers[0].ID)), codes.DeadlineExceeded)
		if starts := node.Kubelet.Stats().Starts; len(starts) != 2 || starts[1].Sub(starts[0]) < 250*time.Millisecond {
			t.Errorf("%v: the requests were at %v", interval, starts)
		}
	}
}

func TestSixteenCallersShareARequest(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, settings{"poll_retry_interval": "1m"})
	names := []string{"a", "b", "c", "d"}
	pids := map[string]int{}
	for _, name := range names {
		pids[name] = node.Pod(app(name))
	}
	release := make(chan struct{})
	node.Kubelet.Inject(1, kubelettest.Held(release))
	var calls sync.WaitGroup
	for i := range 16 {
		name := names[i%len(names)]
		calls.Go(func() { wantSelectors(t, plugin, pids[name], appSelectors(name)) })
	}
	pluginproc.Eventually(t, "the kubelet is asked", func() bool { return node.Kubelet.Stats().Requests == 1 })
	close(release)
	calls.Wait()
	if stats := node.Kubelet.Stats(); stats.Requests != 1 || stats.Other != 0 {
		t.Errorf("%d requests, %d of them for something else", stats.Requests, stats.Other)
	}
}

func TestNothingPollsWithoutACaller(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, settings{"poll_retry_interval": "1ms"})
	wantSelectors(t, plugin, node.Pod(app("app")), appSelectors("app"))
	asked := node.Kubelet.Stats().Requests
	time.Sleep(100 * time.Millisecond) // a hundred intervals
	if n := node.Kubelet.Stats().Requests; n != asked {
		t.Errorf("the kubelet was asked %d times without a caller", n-asked)
	}
}

func TestUnavailableAndThenFineIsTwoRequests(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, nil)
	pid := node.Pod(app("app"))
	node.Kubelet.Inject(1, kubelettest.Status(503, "not yet"))
	wantSelectors(t, plugin, pid, appSelectors("app"))
	if n := node.Kubelet.Stats().Requests; n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

// Files that are replaced under the plugin, with an interval that re-reads them
// each time, and with one that does not.
func TestRotatedFiles(t *testing.T) {
	t.Parallel()
	for name, rotate := range map[string]func(t *testing.T, node *pluginproc.Node){
		"token": func(t *testing.T, node *pluginproc.Node) {
			token := kubelettest.Token(time.Now().Add(time.Hour))
			node.Kubelet.SetTokens(token)
			replace(t, node.Files.Token, []byte(token))
		},
		"CA": func(t *testing.T, node *pluginproc.Node) {
			if err := node.Kubelet.NewServingCA(); err != nil {
				t.Fatal(err)
			}
			replace(t, node.Files.CA, node.Kubelet.CA())
			node.Kubelet.Stop()
			if err := node.Kubelet.Resume(); err != nil {
				t.Fatal(err)
			}
		},
		"client certificate": func(t *testing.T, node *pluginproc.Node) {
			pair, err := node.Kubelet.Client(kubelettest.Leaf{CommonName: "the next spire-agent"})
			if err != nil {
				t.Fatal(err)
			}
			// The key first: a reader between the two must not be left with a
			// pair that does not fit.
			replace(t, node.Files.Key, pair.Key)
			replace(t, node.Files.Certificate, pair.Certificate)
			node.Kubelet.SetForbidden("spire-agent") // who the first one was for
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := pluginproc.NewNode(t, kubelettest.Options{})
			plugin := pluginproc.Start(t, pluginproc.Options{})
			change := settings{"reload_interval": "1ms"}
			if name == "client certificate" {
				change = change.With(settings{"token_path": nil, "certificate_path": node.Files.Certificate, "private_key_path": node.Files.Key})
			}
			plugin.MustConfigure(t, node.Settings().With(change))
			pid := node.Pod(app("app"))
			for range 3 {
				afresh(t, node, plugin, pid, appSelectors("app"))
				rotate(t, node)
				afresh(t, node, plugin, pid, appSelectors("app"))
			}
		})
	}
}

// A refused token is read again at once, however long the interval.
func TestARotatedTokenIsReadWhenTheOldOneIsRefused(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, settings{"reload_interval": "1h"})
	pid := node.Pod(app("app"))
	afresh(t, node, plugin, pid, appSelectors("app"))
	token := kubelettest.Token(time.Now().Add(time.Hour))
	replace(t, node.Files.Token, []byte(token))
	node.Kubelet.SetTokens(token)
	afresh(t, node, plugin, pid, appSelectors("app"))
}

// The last good content serves when a file breaks, and the log says so.
func TestAFileThatBreaksUnderThePlugin(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, settings{"reload_interval": "1ms"})
	pid := node.Pod(app("app"))
	afresh(t, node, plugin, pid, appSelectors("app"))
	replace(t, node.Files.CA, []byte("garbage"))
	afresh(t, node, plugin, pid, appSelectors("app"))
	plugin.WaitFor(t, func(l pluginproc.Line) bool {
		return l.Level == "warn" && strings.Contains(l.Text("error"), "unable to parse kubelet CA")
	})
	node.Kubelet.Inject(-1, kubelettest.Status(500, ""))
	pluginproc.Eventually(t, "the stored answer is too old", func() bool {
		_, err := plugin.Selectors(t.Context(), pid)
		return err != nil
	})
	wantFailure(t, plugin, pid, codes.Unavailable, "unexpected status code on pods response: 500", "besides, a file can't be read again", "kubelet_ca_path")
}

// A call keeps the configuration that it began with, and Configure waits for no
// call.
func TestAReconfigurationDuringAFetch(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]settings{
		"same kubelet":    {"disable_container_selectors": true},
		"another kubelet": {"disable_container_selectors": true, "reload_interval": "1h"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node, plugin := start(t, nil)
			pid := node.Pod(app("app"))
			release := make(chan struct{})
			node.Kubelet.Inject(1, kubelettest.Held(release))
			var calls sync.WaitGroup
			calls.Go(func() { wantSelectors(t, plugin, pid, appSelectors("app")) })
			pluginproc.Eventually(t, "the kubelet is asked", func() bool { return node.Kubelet.Stats().Requests == 1 })

			within(t, 10*time.Second, func(ctx context.Context) {
				if err := plugin.Configure(ctx, node.Settings().With(change).HCL()); err != nil {
					t.Error(err)
				}
				wantStatus(t, plugin.Configure(ctx, "unknown = 1"), codes.InvalidArgument)
			})
			calls.Go(func() { wantSelectors(t, plugin, pid, appPodSelectors("app")) })
			time.Sleep(100 * time.Millisecond) // a second request would be there by now
			close(release)
			calls.Wait()
			if stats := node.Kubelet.Stats(); stats.MaxInFlight != 1 {
				t.Errorf("%d requests in flight", stats.MaxInFlight)
			}
		})
	}
}

func TestAReconfigurationToAnotherKubelet(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, nil)
	pid := node.Pod(app("app"))
	wantSelectors(t, plugin, pid, appSelectors("app"))

	second := pluginproc.NewNode(t, kubelettest.Options{})
	changed := app("app")
	changed.Labels = map[string]string{"of": "the second"}
	if err := second.Kubelet.AddPod(changed.Build()); err != nil {
		t.Fatal(err)
	}
	plugin.MustConfigure(t, second.Settings().With(settings{"cgroup_root": node.CgroupRoot}))
	wantSelectors(t, plugin, pid, sorted(appSelectors("app"), "pod-label:of:the second"))
	asked := node.Kubelet.Stats().Requests
	afresh(t, second, plugin, pid, sorted(appSelectors("app"), "pod-label:of:the second"))
	if n := node.Kubelet.Stats().Requests; n != asked {
		t.Errorf("the first kubelet was asked %d times more", n-asked)
	}
}
