package conformance_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	configv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/service/common/config/v1"
	"google.golang.org/grpc/codes"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
	"github.com/podseal/podseal/test/testenv"
)

const (
	brokers = "experimental.broker.brokers"

	notYetClient  = "disable_kubelet_client: not yet: podseal knows pods from the kubelet alone; remove it and give podseal access to the kubelet"
	notYetLabels  = "enable_namespace_labels: not yet: remove it and use the selectors ns and pod-label in registration entries"
	notYetScope   = "[spiffe://example.org/a].pod_reference_scope: not yet: podseal knows the pods of its node only; use \"agent_node\" and let the broker ask the agent of the pod's node"
	notYetPolicy  = `experimental.broker.access_policy: not yet: podseal asks the API server nothing; use "permissive" and list only brokers that may see every pod of the node`
	brokerClientA = brokers + `[spiffe://example.org/a].pod_reference_scope must be "cluster" when disable_kubelet_client is true`
)

// brokerBlock is an experimental block with these brokers.
func brokerBlock(policy string, entries ...settings) settings {
	b := settings{"access_policy": policy}
	if entries != nil {
		b["brokers"] = entries
	}
	return settings{"experimental": settings{"broker": b}}
}

// refused are the configurations that Configure and Validate refuse without a
// look at any file, with all that is wrong, in the order in which it is told.
var refused = []struct {
	name     string
	settings settings
	want     []string
}{
	{"both ports", settings{"kubelet_read_only_port": 10255, "kubelet_secure_port": 10250}, []string{"cannot use both the read-only and secure port"}},
	{"port that is none", settings{"kubelet_secure_port": 70000}, []string{"kubelet_secure_port: 70000 is not a port (1 to 65535, or 0 for unset)"}},
	{"poll retry interval", settings{"poll_retry_interval": "soon"}, []string{`unable to parse poll retry interval: time: invalid duration "soon"`}},
	{"reload interval", settings{"reload_interval": "soon"}, []string{`unable to parse reload interval: time: invalid duration "soon"`}},
	{"attest timeout", settings{"attest_timeout": "soon"}, []string{`unable to parse attest timeout: time: invalid duration "soon"`}},
	{"certificate without key", settings{"certificate_path": "/c"}, []string{"the private key path is required with the certificate path"}},
	{"key without certificate", settings{"private_key_path": "/k"}, []string{"the certificate path is required with the private key path"}},
	{"cgroup root", settings{"cgroup_root": "kubelet"}, []string{`cgroup_root: "kubelet" is not an absolute, clean path`}},

	{"unknown keys", settings{"zeta": 1, "alpha": settings{"a": 1}}, []string{"unknown configurations detected: alpha,zeta"}},
	{"unknown keys deep down", settings{"experimental": settings{"a": 1, "api_server": settings{"cache": settings{"b": 1}}}},
		[]string{"unknown configurations detected: experimental.a,experimental.api_server.cache.b"}},
	{"keys of what is not built", settings{"telemetry": settings{"prometheus": settings{"listen": "127.0.0.1:9989"}}, "containers_policy": settings{"path": "/etc/containers/policy.json"}},
		[]string{"unknown configurations detected: containers_policy,telemetry"}},
	{"both blocks of image verification", settings{"sigstore": settings{"allowed_identities": settings{}}, "experimental": settings{"sigstore": settings{"rekor_url": "https://rekor.example.org"}}},
		[]string{"sigstore cannot be used with experimental.sigstore"}},

	{"a word for a number", settings{"max_poll_attempts": "many"}, []string{`unable to decode configuration: max_poll_attempts: a whole number is needed, found "many"`}},
	{"a word for a bool", settings{"skip_kubelet_verification": "yes"}, []string{`unable to decode configuration: skip_kubelet_verification: true or false is needed, found "yes"`}},
	{"a block for a string", settings{"node_name": settings{"a": "b"}}, []string{"unable to decode configuration: node_name: a string is needed, found a block"}},

	{"namespace labels", settings{"enable_namespace_labels": true}, []string{notYetLabels}},
	{"no kubelet client", settings{"disable_kubelet_client": true}, []string{notYetClient}},
	{"no kubelet client and a read-only port", settings{"disable_kubelet_client": true, "kubelet_read_only_port": 1}, []string{"disable_kubelet_client cannot be used with kubelet_read_only_port", notYetClient}},
	{"no kubelet client and a secure port", settings{"disable_kubelet_client": true, "kubelet_secure_port": 1}, []string{"disable_kubelet_client cannot be used with kubelet_secure_port", notYetClient}},
	{"no kubelet client and a CA", settings{"disable_kubelet_client": true, "kubelet_ca_path": "/f"}, []string{"disable_kubelet_client cannot be used with kubelet_ca_path", notYetClient}},
	{"no kubelet client and no verification", settings{"disable_kubelet_client": true, "skip_kubelet_verification": true}, []string{"disable_kubelet_client cannot be used with skip_kubelet_verification", notYetClient}},
	{"no kubelet client and a token", settings{"disable_kubelet_client": true, "token_path": "/f"}, []string{"disable_kubelet_client cannot be used with token_path", notYetClient}},
	{"no kubelet client and a certificate", settings{"disable_kubelet_client": true, "certificate_path": "/f"}, []string{"disable_kubelet_client cannot be used with certificate_path", notYetClient}},
	{"no kubelet client and a key", settings{"disable_kubelet_client": true, "private_key_path": "/f"}, []string{"disable_kubelet_client cannot be used with private_key_path", notYetClient}},
	{"no kubelet client and nobody", settings{"disable_kubelet_client": true, "use_anonymous_authentication": true}, []string{"disable_kubelet_client cannot be used with use_anonymous_authentication", notYetClient}},
	{"no kubelet client and a variable", settings{"disable_kubelet_client": true, "node_name_env": "N"}, []string{"disable_kubelet_client cannot be used with node_name_env", notYetClient}},
	{"no kubelet client and a name", settings{"disable_kubelet_client": true, "node_name": "n"}, []string{"disable_kubelet_client cannot be used with node_name", notYetClient}},
	{"no kubelet client and a reload interval", settings{"disable_kubelet_client": true, "reload_interval": "1m"}, []string{"disable_kubelet_client cannot be used with reload_interval", notYetClient}},
	{"no kubelet client and a broker of the node", brokerBlock("permissive", settings{"id": "spiffe://example.org/a"}).With(settings{"disable_kubelet_client": true}), []string{brokerClientA, notYetClient}},

	{"broker without policy", brokerBlock("", settings{"id": "spiffe://example.org/a"}), []string{"experimental.broker.access_policy: must be specified as one of [permissive, enforced]"}},
	{"broker with another policy", brokerBlock("no", settings{"id": "spiffe://example.org/a"}), []string{`experimental.broker.access_policy: unsupported value "no"; must be one of [permissive, enforced]`}},
	{"enforced", brokerBlock("enforced", settings{"id": "spiffe://example.org/a"}), []string{notYetPolicy}},
	{"no brokers", brokerBlock("permissive"), []string{brokers + ": at least one broker is required"}},
	{"empty brokers", brokerBlock("permissive", []settings{}...), []string{brokers + ": at least one broker is required"}},
	{"broker without ID", brokerBlock("permissive", settings{"pod_reference_scope": "agent_node"}), []string{brokers + "[0].id: must be specified"}},
	{"broker without SPIFFE ID", brokerBlock("permissive", settings{"id": "x"}), []string{brokers + "[x].id: scheme is missing or invalid"}},
	{"broker twice", brokerBlock("permissive", settings{"id": "spiffe://example.org/a"}, settings{"id": "spiffe://example.org/a"}), []string{brokers + "[spiffe://example.org/a].id: duplicate broker id"}},
	{"another scope", brokerBlock("permissive", settings{"id": "spiffe://example.org/a", "pod_reference_scope": "world"}),
		[]string{brokers + `[spiffe://example.org/a].pod_reference_scope: unsupported value "world"; must be one of [agent_node, cluster]`}},
	{"scope of the cluster", brokerBlock("permissive", settings{"id": "spiffe://example.org/a", "pod_reference_scope": "cluster"}), []string{brokers + notYetScope}},
	{"unknown keys of a broker", brokerBlock("permissive", settings{"id": "spiffe://example.org/a", "x": 1}), []string{"unknown configurations detected: " + brokers + "[0].x"}},

	{"several at once", settings{"enable_namespace_labels": true, "private_key_path": "/k", "reload_interval": "x", "poll_retry_interval": "x", "unknown": 1}, []string{
		"unknown configurations detected: unknown",
		`unable to parse poll retry interval: time: invalid duration "x"`,
		`unable to parse reload interval: time: invalid duration "x"`,
		"the certificate path is required with the private key path",
		notYetLabels,
	}},
}

func TestARefusedConfigurationIsToldInFullAndLeavesThePreviousOne(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, nil)
	pid := node.Pod(app("app"))
	for _, test := range refused {
		t.Run(test.name, func(t *testing.T) {
			eachSpelling(t, test.settings, func(t *testing.T, text string) {
				wantStatus(t, plugin.Configure(t.Context(), text), codes.InvalidArgument, test.want[0])
				resp, err := plugin.Config.Validate(t.Context(), &configv1.ValidateRequest{CoreConfiguration: pluginproc.Core(), HclConfiguration: text})
				if err != nil || resp.GetValid() {
					t.Errorf("Validate: valid is %t, %v", resp.GetValid(), err)
				}
				if diff := cmp.Diff(test.want, resp.GetNotes()); diff != "" {
					t.Errorf("notes (-want +got):\n%s", diff)
				}
			})
		})
	}
	wantSelectors(t, plugin, pid, appSelectors("app"))
}

func TestWhatIsNoConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	plugin := pluginproc.Start(t, pluginproc.Options{})
	for name, test := range map[string]struct{ text, want string }{
		"bad HCL":              {`node_name = `, "unable to decode configuration: "},
		"bad JSON":             {`{"node_name": `, "unable to decode configuration: "},
		"a value twice":        {"node_name = \"a\"\nnode_name = \"b\"", "node_name: given more than once"},
		"a value twice, JSON":  {`{"node_name": "a", "node_name": "b"}`, "node_name: given more than once"},
		"not text":             {"node_name = \"\x00\x1b[31m\"", "unable to decode configuration: "},
		"a megabyte":           {strings.Repeat("# ", 1<<20), "unable to decode configuration: "},
		"nested without bound": {strings.Repeat("a {\n", 1<<16), "unable to decode configuration: "},
	} {
		t.Run(name, func(t *testing.T) {
			err := plugin.Configure(t.Context(), test.text)
			wantStatus(t, err, codes.InvalidArgument, test.want)
			if strings.ContainsAny(err.Error(), "\n\x1b\x00") {
				t.Errorf("control characters in %q", err)
			}
			resp, err := plugin.Config.Validate(t.Context(), &configv1.ValidateRequest{CoreConfiguration: pluginproc.Core(), HclConfiguration: test.text})
			if err != nil || resp.GetValid() || len(resp.GetNotes()) != 1 || !strings.HasPrefix(resp.GetNotes()[0], test.want) {
				t.Errorf("Validate: %v, %v", resp, err)
			}
		})
	}
	wantFailure(t, plugin, os.Getpid(), codes.FailedPrecondition, "not configured")
}

func TestTheCoreConfigurationIsNeeded(t *testing.T) {
	t.Parallel()
	plugin := pluginproc.Start(t, pluginproc.Options{})
	for name, test := range map[string]struct {
		core *configv1.CoreConfiguration
		want string
	}{
		"none":            {nil, "server core configuration is required"},
		"no trust domain": {&configv1.CoreConfiguration{}, "server core configuration must contain trust_domain"},
		"malformed":       {&configv1.CoreConfiguration{TrustDomain: "a b"}, "server core configuration trust_domain is malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := plugin.Config.Configure(t.Context(), &configv1.ConfigureRequest{CoreConfiguration: test.core, HclConfiguration: "unknown = 1"})
			wantStatus(t, err, codes.InvalidArgument, test.want)
			resp, err := plugin.Config.Validate(t.Context(), &configv1.ValidateRequest{CoreConfiguration: test.core, HclConfiguration: "unknown = 1"})
			if err != nil || resp.GetValid() || len(resp.GetNotes()) != 2 || !strings.HasPrefix(resp.GetNotes()[0], test.want) ||
				resp.GetNotes()[1] != "unknown configurations detected: unknown" {
				t.Errorf("Validate: %v, %v", resp, err)
			}
		})
	}
}

// What the files hold is Configure's affair: Validate looks at none.
func TestFilesThatConfigureCantUse(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	plugin := pluginproc.Start(t, pluginproc.Options{})
	garbage := filepath.Join(t.TempDir(), "garbage")
	replace(t, garbage, []byte("no PEM\n"))
	const none = "/no/such/file"
	const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

	for _, test := range []struct {
		name   string
		change settings
		want   []string
	}{
		{"CA that is missing", settings{"kubelet_ca_path": none}, []string{"unable to load kubelet CA: open " + none, "kubelet_ca_path"}},
		{"CA of the service account", settings{"kubelet_ca_path": nil}, []string{"unable to load kubelet CA: open " + serviceAccount + "/ca.crt"}},
		{"CA that is none", settings{"kubelet_ca_path": garbage}, []string{"unable to parse kubelet CA: ", "kubelet_ca_path"}},
		{"CA that is a key", settings{"kubelet_ca_path": node.Files.Key}, []string{`unable to parse kubelet CA: expected certificates, found a "PRIVATE KEY"`}},
		{"token that is missing", settings{"token_path": none}, []string{"unable to load token: open " + none, "token_path"}},
		{"token of the service account", settings{"token_path": nil}, []string{"unable to load token: open " + serviceAccount + "/token"}},
		{"certificate that is missing", settings{"certificate_path": none, "private_key_path": node.Files.Key}, []string{"unable to load certificate: open " + none, "certificate_path"}},
		{"key that is missing", settings{"certificate_path": node.Files.Certificate, "private_key_path": none}, []string{"unable to load private key: open " + none, "private_key_path"}},
		{"key that is none", settings{"certificate_path": node.Files.Certificate, "private_key_path": garbage}, []string{"unable to load keypair: ", "private_key_path"}},
		{"key of another", settings{"certificate_path": node.Files.Serving, "private_key_path": node.Files.Key}, []string{"unable to load keypair: "}},
		{"node name that is no host", settings{"node_name": "node@evil.example.org/"}, []string{`node_name "node@evil.example.org/" is neither a host name nor an IP address`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if strings.Contains(test.want[0], serviceAccount) {
				testenv.Require(t, !exists(serviceAccount), "this machine is a pod, with a service account")
			}
			text := node.Settings().With(test.change).HCL()
			wantStatus(t, plugin.Configure(t.Context(), text), codes.InvalidArgument, test.want...)
			resp, err := plugin.Config.Validate(t.Context(), &configv1.ValidateRequest{CoreConfiguration: pluginproc.Core(), HclConfiguration: text})
			if err != nil || !resp.GetValid() {
				t.Errorf("Validate: %v, %v", resp, err)
			}
		})
	}
	wantFailure(t, plugin, os.Getpid(), codes.FailedPrecondition, "not configured")
}

// What is accepted but weakens something, or has no effect, is a note of Validate
// and a warning in the log.
func TestWarnings(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	for _, test := range []struct {
		name   string
		change settings
		want   []string // how they begin
	}{
		{"nothing to warn of", nil, nil},
		{"read-only port", settings{"kubelet_secure_port": nil, "kubelet_read_only_port": 10255},
			[]string{"kubelet_read_only_port: plain HTTP", "kubelet_ca_path, token_path: not used, because of kubelet_read_only_port"}},
		{"no verification", settings{"skip_kubelet_verification": true}, []string{"skip_kubelet_verification: ", "kubelet_ca_path: not used"}},
		{"anonymous", settings{"use_anonymous_authentication": true}, []string{"use_anonymous_authentication: ", "token_path: not used"}},
		{"certificate over token", settings{"certificate_path": node.Files.Certificate, "private_key_path": node.Files.Key}, []string{"token_path: not used, because of certificate_path"}},
		{"a variable that is empty", settings{"node_name_env": "NO_SUCH_VARIABLE"}, []string{"node_name_env: the environment has no NO_SUCH_VARIABLE"}},
		{"another locator", settings{"use_new_container_locator": false}, []string{"use_new_container_locator: ignored, podseal has one locator"}},
		{"this locator", settings{"use_new_container_locator": true}, nil},
		{"cache of the API server", settings{"experimental": settings{"api_server": settings{"cache": settings{"enabled": true}}}}, []string{"experimental.api_server.cache.enabled: without effect"}},
		{"ephemeral containers", settings{"ephemeral_containers": true}, []string{"ephemeral_containers: "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			eachSpelling(t, node.Settings().With(test.change), func(t *testing.T, text string) {
				plugin := pluginproc.Start(t, pluginproc.Options{})
				resp, err := plugin.Config.Validate(t.Context(), &configv1.ValidateRequest{CoreConfiguration: pluginproc.Core(), HclConfiguration: text})
				if err != nil || !resp.GetValid() {
					t.Fatalf("Validate: %v, %v", resp, err)
				}
				if !slices.EqualFunc(test.want, resp.GetNotes(), func(w, got string) bool { return strings.HasPrefix(got, w) }) {
					t.Errorf("the notes are %q, want them to begin as %q", resp.GetNotes(), test.want)
				}
				if err := plugin.Configure(t.Context(), text); err != nil {
					t.Fatal(err)
				}
				for _, note := range resp.GetNotes() {
					plugin.WaitFor(t, func(l pluginproc.Line) bool { return l.Level == "warn" && l.Message == note })
				}
			})
		})
	}
}

// Process IDs would be taken for other processes', all of them silently in no pod.
func TestAnAgentThatSeesOtherProcessIDsIsNotConfigured(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	plugin := pluginproc.Start(t, pluginproc.Options{PrivatePIDs: true})
	err := plugin.Configure(t.Context(), node.Settings().HCL())
	wantStatus(t, err, codes.InvalidArgument, "/proc shows this process as ", "hostPID: true")
}
