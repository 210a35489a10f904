package config_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/image"
)

const (
	inClusterCA    = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
	inClusterToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"
)

// parsed is a configuration that holds and the warnings beside it.
type parsed struct {
	config.Config
	Warnings []string
}

// defaults is the configuration that an empty text means.
func defaults() parsed {
	return parsed{Config: config.Config{
		Kubelet: config.Kubelet{
			Secure:         true,
			Port:           10250,
			CAPath:         inClusterCA,
			TokenPath:      inClusterToken,
			ReloadInterval: time.Minute,
			Interval:       500 * time.Millisecond,
			TTL:            500 * time.Millisecond,
		},
		PodSource: config.Auto,
		PodsAPI: config.PodsAPI{
			Socket:   "/var/lib/kubelet/pods-api/pods-api.sock",
			TTL:      500 * time.Millisecond,
			Interval: 500 * time.Millisecond,
		},
		MaxPollAttempts:   60,
		PollRetryInterval: 500 * time.Millisecond,
		AttestTimeout:     30 * time.Second,
		Images: config.Images{
			StatusSource: config.StatusFromKubelet,
			Limits:       config.ImageLimits{Budget: 10 * time.Second, MaxSignatures: 32, MaxReferrers: 64, MaxManifest: 4 << 20, MaxBundle: 8 << 20},
			Cache:        config.Cache{TTL: time.Hour, StaleTTL: 24 * time.Hour, NegativeTTL: 30 * time.Second, MaxEntries: 2048},
		},
	}}
}

// every sets the interval and what has it for a default.
func (c *parsed) every(d time.Duration) {
	c.PollRetryInterval, c.Kubelet.Interval, c.Kubelet.TTL, c.PodsAPI.Interval, c.PodsAPI.TTL = d, d, d, d, d
}

// mustParse is what a text without problems comes to.
func mustParse(t *testing.T, text string, env map[string]string) parsed {
	t.Helper()
	got := config.Parse(text, environment(env))
	if len(got.Problems) > 0 || len(got.Answers) > 0 {
		t.Fatalf("problems: %q, answers: %q in:\n%s", got.Problems, got.Answers, text)
	}
	return parsed{Config: *got.Config, Warnings: messages(got.Warnings)}
}

func environment(variables map[string]string) func(string) string {
	return func(name string) string { return variables[name] }
}

func TestParse(t *testing.T) {
	t.Parallel()
	broker := func(ids ...string) *config.Broker {
		b := &config.Broker{AccessPolicy: config.Permissive}
		for _, id := range ids {
			b.IDs = append(b.IDs, config.BrokerID{ID: spiffeid.RequireFromString(id), Scope: config.AgentNode})
		}
		return b
	}
	for _, c := range []struct {
		name string
		text string
		env  map[string]string
		want func(*parsed)
	}{
		{name: "nothing", text: ``},

		{name: "read-only port", text: `kubelet_read_only_port = 10255`, want: func(c *parsed) {
			c.Kubelet = config.Kubelet{Port: 10255, ReloadInterval: time.Minute, Interval: 500 * time.Millisecond, TTL: 500 * time.Millisecond}
			c.Warnings = []string{readOnlyWarning}
		}},
		{name: "the read-only port knows no names, files or credentials", text: `
			kubelet_read_only_port       = 10255
			node_name                    = "node-1"
			certificate_path             = "/cert.pem"
			kubelet_ca_path              = "/ca.pem"
			use_anonymous_authentication = true
		`, env: map[string]string{"MY_NODE_NAME": "node-2"}, want: func(c *parsed) {
			c.Kubelet = config.Kubelet{Port: 10255, ReloadInterval: time.Minute, Interval: 500 * time.Millisecond, TTL: 500 * time.Millisecond}
			c.Warnings = []string{readOnlyWarning,
				"kubelet_ca_path, certificate_path, use_anonymous_authentication, node_name: not used, because of kubelet_read_only_port"}
		}},
		{name: "secure port", text: `kubelet_secure_port = 12345`, want: func(c *parsed) { c.Kubelet.Port = 12345 }},
		{name: "ports of zero are unset", text: "kubelet_secure_port = 0\nkubelet_read_only_port = 0"},
		{name: "a port as a string", text: `kubelet_secure_port = "12345"`, want: func(c *parsed) { c.Kubelet.Port = 12345 }},
		{name: "the highest port", text: `kubelet_secure_port = 65535`, want: func(c *parsed) { c.Kubelet.Port = 65535 }},
		{name: "a number for a string", text: `node_name = 17`, want: func(c *parsed) { c.Kubelet.NodeName = "17" }},

		{name: "attempts and interval", text: "max_poll_attempts = 3\npoll_retry_interval = \"2s\"", want: func(c *parsed) {
			c.MaxPollAttempts = 3
			c.every(2 * time.Second)
			c.AttestTimeout = 10 * time.Second
		}},
		{name: "more attempts and interval", text: "max_poll_attempts = 30\npoll_retry_interval = \"2s\"", want: func(c *parsed) {
			c.MaxPollAttempts = 30
			c.every(2 * time.Second)
			c.AttestTimeout = time.Minute
		}},
		{name: "attempts, interval and reload of zero are the defaults", text: "max_poll_attempts = 0\npoll_retry_interval = \"0s\"\nreload_interval = 0"},
		{name: "attempts, interval and reload below zero are the defaults", text: "max_poll_attempts = -1\npoll_retry_interval = \"-1s\"\nreload_interval = \"-1s\""},
		{name: "empty strings are the defaults", text: `
			poll_retry_interval = ""
			kubelet_ca_path     = ""
			token_path          = ""
			certificate_path    = ""
			private_key_path    = ""
			node_name           = ""
			node_name_env       = ""
			reload_interval     = ""
			attest_timeout      = ""
			cgroup_root         = ""
			kubelet_server_name = ""
			pod_uid_env         = ""
			pod_source          = ""
			pods_api_socket     = ""
			pod_cache_ttl       = ""
		`},
		{name: "pods from the kubelet's port", text: `pod_source = "kubelet"`, want: func(c *parsed) { c.PodSource = config.KubeletPort }},
		{name: "pods from the kubelet's port, with a socket", text: "pod_source = \"kubelet\"\npods_api_socket = \"/sock\"", want: func(c *parsed) {
			c.PodSource, c.PodsAPI.Socket = config.KubeletPort, "/sock"
			c.Warnings = []string{"pods_api_socket: not used, because of pod_source"}
		}},
		{name: "pods from the Pods API", text: "pod_source = \"pods_api\"\npods_api_socket = \"/sock\"", want: func(c *parsed) {
			c.PodSource, c.PodsAPI.Socket, c.Kubelet = config.FromPodsAPI, "/sock", config.Kubelet{}
			c.Images.StatusSource = config.StatusFromPodsAPI
		}},
		{name: "pods from the Pods API, with settings of the port", text: "pod_source = \"pods_api\"\nkubelet_secure_port = 10250\ntoken_path = \"/token\"", want: func(c *parsed) {
			c.PodSource, c.Kubelet = config.FromPodsAPI, config.Kubelet{}
			c.Images.StatusSource = config.StatusFromPodsAPI
			c.Warnings = []string{"kubelet_secure_port, token_path: not used, because of pod_source"}
		}},
		{name: "pod cache ttl", text: `pod_cache_ttl = "5s"`, want: func(c *parsed) { c.Kubelet.TTL, c.PodsAPI.TTL = 5*time.Second, 5*time.Second }},
		{name: "pod cache ttl of zero is the interval", text: "pod_cache_ttl = \"0s\"\npoll_retry_interval = \"1s\"\nmax_poll_attempts = 30", want: func(c *parsed) {
			c.MaxPollAttempts = 30
			c.every(time.Second)
		}},
		{name: "reload interval", text: `reload_interval = "7s"`, want: func(c *parsed) { c.Kubelet.ReloadInterval = 7 * time.Second }},

		{name: "CA path", text: `kubelet_ca_path = "/ca.pem"`, want: func(c *parsed) { c.Kubelet.CAPath = "/ca.pem" }},
		{name: "no verification", text: "skip_kubelet_verification = true\nkubelet_ca_path = \"/ca.pem\"", want: func(c *parsed) {
			c.Kubelet.SkipVerification = true
			c.Kubelet.CAPath = ""
			c.Warnings = []string{skipWarning, "kubelet_ca_path: not used, because of skip_kubelet_verification"}
		}},
		{name: "server name", text: `kubelet_server_name = "node-1.example.org"`, want: func(c *parsed) { c.Kubelet.ServerName = "node-1.example.org" }},

		{name: "token", text: `token_path = "/token"`, want: func(c *parsed) { c.Kubelet.TokenPath = "/token" }},
		{name: "certificate over token", text: "token_path = \"/token\"\ncertificate_path = \"/cert.pem\"\nprivate_key_path = \"/key.pem\"", want: func(c *parsed) {
			c.Kubelet.TokenPath, c.Kubelet.CertificatePath, c.Kubelet.PrivateKeyPath = "", "/cert.pem", "/key.pem"
			c.Warnings = []string{"token_path: not used, because of certificate_path"}
		}},
		{name: "anonymous over half a certificate and token", text: "use_anonymous_authentication = true\ntoken_path = \"/token\"\ncertificate_path = \"/cert.pem\"", want: func(c *parsed) {
			c.Kubelet.Anonymous = true
			c.Kubelet.TokenPath = ""
			c.Warnings = []string{anonymousWarning, "token_path, certificate_path: not used, because of use_anonymous_authentication"}
		}},

		{name: "node name over variable", text: "node_name = \"node-1\"\nnode_name_env = \"NODE\"", env: map[string]string{"NODE": "node-2", "MY_NODE_NAME": "node-3"},
			want: func(c *parsed) { c.Kubelet.NodeName = "node-1" }},
		{name: "named variable over default variable", text: `node_name_env = "NODE"`, env: map[string]string{"NODE": "node-2", "MY_NODE_NAME": "node-3"},
			want: func(c *parsed) { c.Kubelet.NodeName = "node-2" }},
		{name: "default variable", env: map[string]string{"MY_NODE_NAME": "node-3"}, want: func(c *parsed) { c.Kubelet.NodeName = "node-3" }},
		{name: "a named variable that is empty does not fall back", text: `node_name_env = "NODE"`, env: map[string]string{"MY_NODE_NAME": "node-3"}, want: func(c *parsed) {
			c.Warnings = []string{"node_name_env: the environment has no NODE, so the kubelet is dialled at 127.0.0.1 and its name is not verified"}
		}},

		{name: "no container selectors", text: `disable_container_selectors = true`, want: func(c *parsed) { c.DisableContainerSelectors = true }},
		{name: "the new locator", text: `use_new_container_locator = true`},
		{name: "the old locator", text: `use_new_container_locator = false`, want: func(c *parsed) {
			c.Warnings = []string{"use_new_container_locator: ignored, podseal has one locator"}
		}},
		{name: "verbose", text: `verbose_container_locator_logs = true`, want: func(c *parsed) { c.VerboseContainerLocatorLogs = true }},
		{name: "what is refused may be off", text: "enable_namespace_labels = false\ndisable_kubelet_client = false"},

		{name: "API server cache", text: `experimental { api_server { cache { enabled = true } } }`, want: func(c *parsed) {
			c.Warnings = []string{"experimental.api_server.cache.enabled: without effect, podseal does not ask the API server"}
		}},
		{name: "API server cache off", text: `experimental { api_server { cache { enabled = false } } }`},
		{name: "empty blocks", text: `experimental { api_server { cache {} } }`},
		{name: "blocks by assignment", text: "experimental = {\n api_server = {\n cache = {\n enabled = false\n }\n }\n }"},
		{name: "keys as labels", text: `experimental "api_server" "cache" { enabled = false }`},

		{name: "brokers as a list, sorted", text: `
			experimental {
				broker {
					access_policy = "permissive"
					brokers = [
						{ id = "spiffe://example.org/b" },
						{ id = "spiffe://example.org/a", pod_reference_scope = "agent_node" },
					]
				}
			}
		`, want: func(c *parsed) { c.Broker = broker("spiffe://example.org/a", "spiffe://example.org/b") }},
		{name: "a list of one broker", text: `
			experimental {
				broker {
					access_policy = "permissive"
					brokers = [{ id = "spiffe://example.org/a", pod_reference_scope = "" }]
				}
			}
		`, want: func(c *parsed) { c.Broker = broker("spiffe://example.org/a") }},
		{name: "brokers as blocks", text: `
			experimental {
				broker {
					access_policy = "permissive"
					brokers { id = "spiffe://example.org/a" }
					brokers { id = "spiffe://example.org/b" }
				}
			}
		`, want: func(c *parsed) { c.Broker = broker("spiffe://example.org/a", "spiffe://example.org/b") }},
		{name: "brokers as the chart wraps them", text: `
			experimental {
				broker {
					access_policy = "permissive"
					brokers = [
						{ broker = { id = "spiffe://example.org/a", pod_reference_scope = "agent_node" } },
						{ broker = { id = "spiffe://example.org/b", pod_reference_scope = "agent_node" } },
					]
				}
			}
		`, want: func(c *parsed) { c.Broker = broker("spiffe://example.org/a", "spiffe://example.org/b") }},
		{name: "brokers with labels", text: `
			experimental "broker" {
				access_policy = "permissive"
				brokers "first" { id = "spiffe://example.org/a" }
				brokers "second" { id = "spiffe://example.org/b" }
			}
		`, want: func(c *parsed) { c.Broker = broker("spiffe://example.org/a", "spiffe://example.org/b") }},
		{name: "blocks given twice are one", text: `
			experimental { broker { access_policy = "permissive" } }
			experimental { broker { brokers { id = "spiffe://example.org/a" } } }
			experimental { api_server { cache { enabled = false } } }
		`, want: func(c *parsed) { c.Broker = broker("spiffe://example.org/a") }},

		{name: "case does not matter", text: `
			Node_Name = "node-1"
			EXPERIMENTAL { Broker { ACCESS_POLICY = "permissive", Brokers { ID = "spiffe://example.org/a" } } }
		`, want: func(c *parsed) {
			c.Kubelet.NodeName = "node-1"
			c.Broker = broker("spiffe://example.org/a")
		}},
		{name: "quoted keys", text: `"node_name" = "node-1"`, want: func(c *parsed) { c.Kubelet.NodeName = "node-1" }},

		{name: "attest timeout", text: `attest_timeout = "3s"`, want: func(c *parsed) { c.AttestTimeout = 3 * time.Second }},
		{name: "attest timeout of zero", text: `attest_timeout = "0s"`},
		{name: "attest timeout where attempts would take for ever", text: "attest_timeout = \"3s\"\nmax_poll_attempts = 9223372036854775807", want: func(c *parsed) {
			c.AttestTimeout = 3 * time.Second
			c.MaxPollAttempts = 9223372036854775807
		}},
		{name: "cgroup root", text: `cgroup_root = "/docker/n/kubelet"`, want: func(c *parsed) { c.CgroupRoot = "/docker/n/kubelet" }},
		{name: "the root as cgroup root", text: `cgroup_root = "/"`},
		{name: "ephemeral containers", text: `ephemeral_containers = true`, want: func(c *parsed) {
			c.EphemeralContainers = true
			c.Warnings = []string{"ephemeral_containers: whoever may add an ephemeral container to a pod gets that pod's identity"}
		}},
		{name: "own pod", env: map[string]string{"MY_POD_UID": "u-1"}, want: func(c *parsed) { c.OwnPodUID = "u-1" }},
		{name: "own pod by another variable", text: `pod_uid_env = "UID"`, env: map[string]string{"MY_POD_UID": "u-1", "UID": "u-2"}, want: func(c *parsed) { c.OwnPodUID = "u-2" }},
		{name: "own pod by a variable that is empty", text: `pod_uid_env = "UID"`, env: map[string]string{"MY_POD_UID": "u-1"}, want: func(c *parsed) {
			c.Warnings = []string{"pod_uid_env: the environment has no UID, so a process in the agent's own pod is sought in all pods, by its container's ID"}
		}},
	} {
		want := defaults()
		if c.want != nil {
			c.want(&want)
		}
		for spelling, text := range spellings(t, c.text) {
			t.Run(c.name+", "+spelling, func(t *testing.T) {
				t.Parallel()
				if diff := cmp.Diff(want, mustParse(t, text, c.env), sameValues); diff != "" {
					t.Errorf("-want +got:\n%s\nof:\n%s", diff, text)
				}
			})
		}
	}
}

const (
	readOnlyWarning  = "kubelet_read_only_port: plain HTTP: every process in the node's network namespace that gets hold of the port decides which selectors workloads get"
	skipWarning      = "skip_kubelet_verification: the kubelet's certificate is not verified: whoever answers in its place decides which selectors workloads get"
	anonymousWarning = "use_anonymous_authentication: works only with a kubelet that shows its pods, and possibly more, to everybody"
)

// sameValues compares what has no fields to look at.
var sameValues = cmp.Options{
	cmp.Comparer(func(a, b spiffeid.ID) bool { return a == b }),
	cmp.Comparer(func(a, b image.ID) bool { return a == b }),
}

func messages(problems config.Problems) []string {
	var all []string
	for _, p := range problems {
		all = append(all, p.Error())
	}
	return all
}

// withoutPlaces makes what spellings answer the same: only their places differ.
func withoutPlaces(answers []string) []string {
	var all []string
	for _, answer := range answers {
		all = append(all, places.ReplaceAllString(answer, "L:C"))
	}
	return all
}

var places = regexp.MustCompile(`\b\d+:\d+\b`)

// checkAnswers checks what Configure and Validate answer, and that every problem has
// its key and place.
func checkAnswers(t *testing.T, text string, env map[string]string, want []string) {
	t.Helper()
	got := config.Parse(text, environment(env))
	if got.Config != nil {
		t.Errorf("a configuration in spite of problems, of:\n%s", text)
	}
	if diff := cmp.Diff(want, withoutPlaces(got.Answers)); diff != "" {
		t.Errorf("-want +got:\n%s\nof:\n%s", diff, text)
	}
	if len(got.Problems) < len(got.Answers) {
		t.Errorf("%d problems, %d answers", len(got.Problems), len(got.Answers))
	}
	for _, p := range append(got.Problems, got.Warnings...) {
		if p.Pos.Line == 0 || p.Pos.Column == 0 || p.Key == "" {
			t.Errorf("%q: key %q, pos %v", p.Message, p.Key, p.Pos)
		}
		if strings.ContainsFunc(p.Message, func(r rune) bool { return r < ' ' }) {
			t.Errorf("control characters in %q", p.Message)
		}
	}
}
