package conformance_test

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
)

// maxMemory is what the plugin may need at its worst, whatever the kubelet does.
const maxMemory = 256 << 20

// faulty is a way in which the kubelet fails, and what is answered then.
type faulty struct {
	name    string
	kubelet kubelettest.Options
	change  settings
	// fail makes the kubelet fail, after the plugin was configured.
	fail func(t *testing.T, node *pluginproc.Node)
	// heal ends it; nil ends a fault that was injected.
	heal  func(t *testing.T, node *pluginproc.Node)
	code  codes.Code
	words []string // the first one is how the message begins
	// asked is how many requests there were; -1 for any number.
	asked int
}

// inject is a fault in all requests from now on.
func inject(f kubelettest.Fault) func(*testing.T, *pluginproc.Node) {
	return func(_ *testing.T, node *pluginproc.Node) { node.Kubelet.Inject(-1, f) }
}

func serving(leaf kubelettest.Leaf) func(*testing.T, *pluginproc.Node) {
	return func(t *testing.T, node *pluginproc.Node) {
		if err := node.Kubelet.SetServing(leaf); err != nil {
			t.Fatal(err)
		}
	}
}

func token(content string) func(*testing.T, *pluginproc.Node) {
	return func(t *testing.T, node *pluginproc.Node) { replace(t, node.Files.Token, []byte(content)) }
}

// goodToken writes a new token that the kubelet accepts.
func goodToken(t *testing.T, node *pluginproc.Node) {
	content := kubelettest.Token(time.Now().Add(time.Hour))
	node.Kubelet.SetTokens(content)
	token(content)(t, node)
}

const badStatus = "unexpected status code on pods response: "

var faults = []faulty{
	{name: "down", code: codes.Unavailable, asked: 0,
		words: []string{"unable to perform request: ", "connection refused", "nothing listens on 127.0.0.1:", "kubelet_secure_port"},
		fail:  func(_ *testing.T, node *pluginproc.Node) { node.Kubelet.Stop() },
		heal: func(t *testing.T, node *pluginproc.Node) {
			if err := node.Kubelet.Resume(); err != nil {
				t.Fatal(err)
			}
		}},
	{name: "connection dropped", fail: inject(kubelettest.Drop()), code: codes.Unavailable, asked: -1,
		words: []string{"unable to perform request: ", "closed the connection without an answer"}},
	{name: "connection cut in the middle", fail: inject(kubelettest.Cut()), code: codes.Unavailable, asked: 3,
		words: []string{"unable to parse kubelet response: it breaks off after ", "unexpected EOF"}},
	{name: "truncated", fail: inject(kubelettest.Truncated()), code: codes.Unavailable, asked: 3,
		words: []string{"unable to parse kubelet response: it breaks off after "}},
	{name: "garbage", fail: inject(kubelettest.Garbage()), code: codes.Unavailable, asked: 3,
		words: []string{"unable to parse kubelet response: "}},
	{name: "nothing", fail: inject(kubelettest.Body("")), code: codes.Unavailable, asked: 3,
		words: []string{"unable to parse kubelet response: "}},
	{name: "no object", fail: inject(kubelettest.Body("[]")), code: codes.Unavailable, asked: 3,
		words: []string{"invalid kubelet response: expected an object"}},
	{name: "no items", fail: inject(kubelettest.Body(`{"kind":"PodList"}`)), code: codes.Unavailable, asked: 3,
		words: []string{"invalid kubelet response: expected an items array"}},
	{name: "items that are none", fail: inject(kubelettest.Body(`{"items":"x"}`)), code: codes.Unavailable, asked: 3,
		words: []string{"invalid kubelet response: expected an items array"}},
	{name: "null for a list", fail: inject(kubelettest.Body(`{"items":null}`)), code: codes.DeadlineExceeded, asked: 3,
		words: []string{"no selectors found after max poll attempts", "is not listed"}},
	{name: "an empty list", fail: inject(kubelettest.Body(`{"items":[]}`)), code: codes.DeadlineExceeded, asked: 3,
		words: []string{"no selectors found after max poll attempts", "is not listed"}},
	{name: "gzip it was not asked for", fail: inject(kubelettest.Gzip()), code: codes.Unavailable, asked: 3,
		words: []string{"invalid kubelet response: ", `content encoding "gzip", which was not asked for`}},
	{name: "more pods than there can be", fail: inject(kubelettest.Body(`{"items":[{}` + strings.Repeat(",{}", 1<<20) + `]}`)), code: codes.Unavailable, asked: 3,
		words: []string{"invalid kubelet response: limit exceeded: more than 20000 pods"}},

	{name: "400", fail: inject(kubelettest.Status(400, "bad")), code: codes.Unavailable, asked: 3, words: []string{badStatus + "400 bad"}},
	{name: "404", fail: inject(kubelettest.Status(404, "")), code: codes.Unavailable, asked: 3, words: []string{badStatus + "404", "is it really the kubelet"}},
	{name: "429", fail: inject(kubelettest.Status(429, "slowly")), code: codes.Unavailable, asked: 3, words: []string{badStatus + "429 slowly"}},
	{name: "500", fail: inject(kubelettest.Status(500, "oops")), code: codes.Unavailable, asked: 3, words: []string{badStatus + "500 oops"}},
	{name: "503 with a long text", fail: inject(kubelettest.Status(503, strings.Repeat("x", 1<<20))), code: codes.Unavailable, asked: 3,
		words: []string{badStatus + "503 " + strings.Repeat("x", 1024)}},
	{name: "403", code: codes.Unavailable, asked: 1,
		words: []string{badStatus + "403 Forbidden (user=" + kubelettest.ServiceAccount, "`nodes/pods`", "ClusterRole"},
		fail:  func(_ *testing.T, node *pluginproc.Node) { node.Kubelet.SetForbidden(kubelettest.ServiceAccount) },
		heal:  func(_ *testing.T, node *pluginproc.Node) { node.Kubelet.SetForbidden() }},
	{name: "401 for a token that is valid", code: codes.Unavailable, asked: 3,
		words: []string{badStatus + "401 Unauthorized", "token refused, or the kubelet can't reach the API server", "token_path"},
		fail:  func(_ *testing.T, node *pluginproc.Node) { node.Kubelet.SetTokens() }, heal: goodToken},
	{name: "401 for a token that has expired", code: codes.Unavailable, asked: 1, change: settings{"reload_interval": "1ms"},
		words: []string{badStatus + "401 Unauthorized", "has expired at 20", "token_path"},
		fail:  token(kubelettest.Token(time.Now().Add(-time.Hour))), heal: goodToken},
	{name: "401 for no token", code: codes.Unavailable, asked: 1, change: settings{"reload_interval": "1ms"},
		words: []string{badStatus + "401 Unauthorized", "there is no token in", "token_path"}, fail: token(" \n"), heal: goodToken},
	{name: "401 for nobody", code: codes.Unavailable, asked: 1, change: settings{"token_path": nil, "use_anonymous_authentication": true},
		words: []string{badStatus + "401 Unauthorized", "accepts no anonymous requests"},
		fail:  func(*testing.T, *pluginproc.Node) {},
		heal:  func(_ *testing.T, node *pluginproc.Node) { node.Kubelet.SetAnonymous(true) }},
	{name: "a client certificate wanted", kubelet: kubelettest.Options{RequireClientCertificate: true}, code: codes.Unavailable, asked: 0,
		words: []string{"unable to perform request: ", "it may want a client certificate (certificate_path, private_key_path)"},
		fail:  func(*testing.T, *pluginproc.Node) {}},

	{name: "expired certificate", code: codes.Unavailable, asked: 0,
		words: []string{"unable to perform request: ", "expired", "is valid from 20"},
		fail:  serving(kubelettest.Leaf{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}),
		heal:  serving(kubelettest.Leaf{})},
	{name: "certificate of tomorrow", code: codes.Unavailable, asked: 0,
		words: []string{"unable to perform request: ", "is valid from 20"},
		fail:  serving(kubelettest.Leaf{NotBefore: time.Now().Add(time.Hour)}), heal: serving(kubelettest.Leaf{})},
	{name: "certificate of another name", code: codes.Unavailable, asked: 0, change: settings{"node_name": "localhost"},
		words: []string{"unable to perform request: ", `has the names "other.example.org" and not "localhost"`, "kubelet_server_name"},
		fail:  serving(kubelettest.Leaf{Names: []string{"other.example.org"}}), heal: serving(kubelettest.Leaf{})},
	{name: "certificate of its own", code: codes.Unavailable, asked: 0,
		words: []string{"unable to perform request: ", "was issued by", "kubelet_ca_path"},
		fail:  serving(kubelettest.Leaf{SelfSigned: true}), heal: serving(kubelettest.Leaf{})},
	{name: "certificate of a client", code: codes.Unavailable, asked: 0,
		words: []string{"unable to perform request: ", "is not good for a server"},
		fail:  serving(kubelettest.Leaf{Client: true}), heal: serving(kubelettest.Leaf{})},
	{name: "CA rotated, the file not yet", code: codes.Unavailable, asked: 0, change: settings{"reload_interval": "1ms"},
		words: []string{"unable to perform request: ", "was issued by", "kubelet_ca_path"},
		fail: func(t *testing.T, node *pluginproc.Node) {
			if err := node.Kubelet.NewServingCA(); err != nil {
				t.Fatal(err)
			}
		},
		heal: func(t *testing.T, node *pluginproc.Node) { replace(t, node.Files.CA, node.Kubelet.CA()) }},
}

func TestFaultsOfTheKubelet(t *testing.T) {
	t.Parallel()
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			node := pluginproc.NewNode(t, fault.kubelet)
			plugin := pluginproc.Start(t, pluginproc.Options{})
			plugin.MustConfigure(t, node.Settings().With(fault.change))
			pid := node.Pod(app("app"))
			fault.fail(t, node)
			within(t, 20*time.Second, func(ctx context.Context) {
				got, err := plugin.Selectors(ctx, pid)
				if len(got) > 0 {
					t.Errorf("selectors: %q", got)
				}
				wantStatus(t, err, fault.code, fault.words...)
				if strings.ContainsAny(err.Error(), "\n\r\x1b") || len(err.Error()) > 4<<10 {
					t.Errorf("the message is not fit for a log: %q", err)
				}
			})
			if n := node.Kubelet.Stats().Requests; fault.asked >= 0 && n != fault.asked {
				t.Errorf("%d requests, want %d", n, fault.asked)
			}
			wantPeak(t, plugin)

			switch {
			case fault.kubelet.RequireClientCertificate:
				return // it is no fault of the kubelet's
			case fault.heal != nil:
				fault.heal(t, node)
			default:
				node.Kubelet.Heal()
			}
			pluginproc.Eventually(t, "it works again", func() bool {
				_, err := plugin.Selectors(t.Context(), pid)
				return err == nil
			})
			wantSelectors(t, plugin, pid, appSelectors("app"))
		})
	}
}

// wantPeak checks the most memory that the plugin ever had.
func wantPeak(t *testing.T, plugin *pluginproc.Process) {
	t.Helper()
	peak := plugin.PeakMemory()
	t.Logf("the plugin had %d MiB at most", peak>>20)
	if peak > maxMemory {
		t.Errorf("the plugin had %d MiB, more than %d", peak>>20, maxMemory>>20)
	}
}

func TestASlowKubeletIsWaitedFor(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, settings{"max_poll_attempts": 1, "attest_timeout": nil})
	pid := node.Pod(app("app"))
	node.Kubelet.Inject(1, kubelettest.Slow(500*time.Millisecond))
	wantSelectors(t, plugin, pid, appSelectors("app"))
}

func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, nil)
	pid := node.Pod(app("app"))
	elsewhere, err := kubelettest.Start(kubelettest.Options{Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	node.Kubelet.Inject(-1, kubelettest.Redirect("http://127.0.0.1:"+port(elsewhere)+"/pods"))
	wantFailure(t, plugin, pid, codes.Unavailable, badStatus+"302", "redirects are not followed (this one leads to \"http://127.0.0.1:"+port(elsewhere)+"/pods\")")
	if stats := elsewhere.Stats(); stats.Connections != 0 {
		t.Error("the redirect was followed")
	}
}

func TestTheWrongKindOfPort(t *testing.T) {
	t.Parallel()
	plain := pluginproc.NewNode(t, kubelettest.Options{Plain: true})
	plugin := pluginproc.Start(t, pluginproc.Options{})
	plugin.MustConfigure(t, plain.Settings())
	wantFailure(t, plugin, plain.Pod(app("app")), codes.Unavailable, "unable to perform request: ", "does not speak TLS: is it the read-only port? That is kubelet_read_only_port")

	secure := pluginproc.NewNode(t, kubelettest.Options{})
	plugin.MustConfigure(t, secure.Settings().With(settings{"kubelet_secure_port": nil, "kubelet_read_only_port": secure.Kubelet.Port()}))
	wantFailure(t, plugin, secure.Pod(app("app")), codes.Unavailable, badStatus+"400", "That is kubelet_secure_port")
}

// A client certificate of another CA is refused, in the handshake or by a 401.
func TestAClientCertificateOfAnotherCA(t *testing.T) {
	t.Parallel()
	for _, inHandshake := range []bool{false, true} {
		node := pluginproc.NewNode(t, kubelettest.Options{RequireClientCertificate: inHandshake})
		other, err := kubelettest.NewCA("other")
		if err != nil {
			t.Fatal(err)
		}
		pair, err := other.Issue(kubelettest.Leaf{CommonName: "spire-agent", Client: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tls.X509KeyPair(pair.Certificate, pair.Key); err != nil {
			t.Fatal(err)
		}
		replace(t, node.Files.Certificate, pair.Certificate)
		replace(t, node.Files.Key, pair.Key)
		plugin := pluginproc.Start(t, pluginproc.Options{})
		plugin.MustConfigure(t, node.Settings().With(settings{"token_path": nil, "certificate_path": node.Files.Certificate, "private_key_path": node.Files.Key}))
		begins := badStatus + "401 Unauthorized"
		if inHandshake {
			begins = "unable to perform request: "
		}
		wantFailure(t, plugin, node.Pod(app("app")), codes.Unavailable, begins, "authentication.x509.clientCAFile", "certificate_path")
	}
}
