package config_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/config"
)

// brokerBlock is an experimental block around the text of a broker block.
func brokerBlock(text string) string {
	return "experimental {\n  broker {\n" + text + "\n  }\n}\n"
}

func oneBroker(entry string) string {
	return brokerBlock("access_policy = \"permissive\"\nbrokers = [\n{\n" + entry + "\n}\n]")
}

// problemCase is a text and what it is answered with.
type problemCase struct {
	name string
	text string
	want []string
}

// problemCases has every message that a configuration can be answered with, but for images, in the
// order in which they are reported.
var problemCases = []problemCase{
	// What the built-in attestor answers too, in its words.
	{"both ports", "kubelet_read_only_port = 10255\nkubelet_secure_port = 10250",
		[]string{"cannot use both the read-only and secure port"}},
	{"poll retry interval", `poll_retry_interval = "blah"`,
		[]string{`unable to parse poll retry interval: time: invalid duration "blah"`}},
	{"poll retry interval without unit", `poll_retry_interval = 5`,
		[]string{`unable to parse poll retry interval: time: missing unit in duration "5"`}},
	{"reload interval", `reload_interval = "blah"`,
		[]string{`unable to parse reload interval: time: invalid duration "blah"`}},
	{"pod cache ttl", `pod_cache_ttl = "soon"`,
		[]string{`unable to parse pod cache ttl: time: invalid duration "soon"`}},
	{"pod source", `pod_source = "cri"`,
		[]string{`pod_source: unsupported value "cri"; must be one of [auto, kubelet, pods_api]`}},
	{"pods API socket", `pods_api_socket = "pods-api.sock"`,
		[]string{`pods_api_socket: "pods-api.sock" is not an absolute, clean path`}},
	{"certificate without key", `certificate_path = "/cert.pem"`,
		[]string{"the private key path is required with the certificate path"}},
	{"key without certificate", `private_key_path = "/key.pem"`,
		[]string{"the certificate path is required with the private key path"}},
	{"unknown keys", "zeta = 1\nalpha = \"x\"\nkubelet_secure_port = 10250",
		[]string{"unknown configurations detected: alpha,zeta"}},
	{"unknown blocks", "zeta { a = 1 }\nalpha \"beta\" { b = 2 }\nalpha \"gamma\" { c = 3 }",
		[]string{"unknown configurations detected: alpha,zeta"}},
	{"broker at the top", "broker {\naccess_policy = \"permissive\"\n}",
		[]string{"unknown configurations detected: broker"}},
	{"unknown keys deep down", "experimental {\n a = 1\n api_server {\n b = 1\n cache {\n c = 1\n }\n }\n broker {\n access_policy = \"permissive\"\n d = 1\n brokers = [{\n id = \"spiffe://example.org/a\"\n e = 1\n }]\n }\n}",
		[]string{"unknown configurations detected: experimental.a,experimental.api_server.b,experimental.api_server.cache.c,experimental.broker.brokers[0].e,experimental.broker.d"}},
	{"keys of what is not built", "policies_dir = \"/etc\"\nsignature_set \"pay\" {\nfrom_file = \"/etc/set\"\n}",
		[]string{"unknown configurations detected: policies_dir,signature_set"}},
	{"keys that could be taken for others", "\"a,b\" = 1\n\"c d\" = 1\n\"e\\tf\" = 1",
		[]string{`unknown configurations detected: "a,b","c d","e\tf"`}},
	{"no access policy", brokerBlock("brokers = [\n{\nid = \"spiffe://example.org/a\"\n}\n]"),
		[]string{"experimental.broker.access_policy: must be specified as one of [permissive, enforced]"}},
	{"another access policy", brokerBlock("access_policy = \"disabled\"\nbrokers = [\n{\nid = \"spiffe://example.org/a\"\n}\n]"),
		[]string{`experimental.broker.access_policy: unsupported value "disabled"; must be one of [permissive, enforced]`}},
	{"no brokers", brokerBlock(`access_policy = "permissive"`),
		[]string{"experimental.broker.brokers: at least one broker is required"}},
	{"empty list of brokers", brokerBlock("access_policy = \"permissive\"\nbrokers = []"),
		[]string{"experimental.broker.brokers: at least one broker is required"}},
	{"nothing about brokers", brokerBlock(""),
		[]string{"experimental.broker.access_policy: must be specified as one of [permissive, enforced]", "experimental.broker.brokers: at least one broker is required"}},
	{"broker without ID", oneBroker(""),
		[]string{"experimental.broker.brokers[0].id: must be specified"}},
	{"broker with an empty ID", oneBroker(`id = ""`),
		[]string{"experimental.broker.brokers[0].id: must be specified"}},
	{"broker twice", brokerBlock("access_policy = \"permissive\"\nbrokers = [\n{\nid = \"spiffe://example.org/a\"\n},\n{\nid = \"spiffe://example.org/a\"\n}\n]"),
		[]string{brokerA + ".id: duplicate broker id"}},
	{"broker that is no SPIFFE ID", oneBroker(`id = "not-a-spiffe-id"`),
		[]string{"experimental.broker.brokers[not-a-spiffe-id].id: scheme is missing or invalid"}},
	{"another scope", oneBroker("id = \"spiffe://example.org/a\"\npod_reference_scope = \"Cluster\""),
		[]string{brokerA + `.pod_reference_scope: unsupported value "Cluster"; must be one of [agent_node, cluster]`}},

	// What the built-in attestor does and podseal does not, yet.
	{"namespace labels", `enable_namespace_labels = true`,
		[]string{notYetLabels}},
	{"no kubelet client", `disable_kubelet_client = true`,
		[]string{notYetClient}},
	{"no kubelet client, with everything about it", `
			disable_kubelet_client       = true
			reload_interval              = "1m"
			node_name                    = "n"
			node_name_env                = "N"
			use_anonymous_authentication = true
			private_key_path             = "/key.pem"
			certificate_path             = "/cert.pem"
			token_path                   = "/token"
			skip_kubelet_verification    = true
			kubelet_ca_path              = "/ca.pem"
			kubelet_secure_port          = 10250
			kubelet_read_only_port       = 10255
			`, []string{
		"disable_kubelet_client cannot be used with kubelet_read_only_port",
		"disable_kubelet_client cannot be used with kubelet_secure_port",
		"disable_kubelet_client cannot be used with kubelet_ca_path",
		"disable_kubelet_client cannot be used with skip_kubelet_verification",
		"disable_kubelet_client cannot be used with token_path",
		"disable_kubelet_client cannot be used with certificate_path",
		"disable_kubelet_client cannot be used with private_key_path",
		"disable_kubelet_client cannot be used with use_anonymous_authentication",
		"disable_kubelet_client cannot be used with node_name_env",
		"disable_kubelet_client cannot be used with node_name",
		"disable_kubelet_client cannot be used with reload_interval",
		"cannot use both the read-only and secure port",
		notYetClient,
	}},
	{"no kubelet client, broker of the node", "disable_kubelet_client = true\n" + oneBroker(`id = "spiffe://example.org/a"`),
		[]string{brokerA + `.pod_reference_scope must be "cluster" when disable_kubelet_client is true`, notYetClient}},
	{"no kubelet client, broker of the cluster", "disable_kubelet_client = true\n" + oneBroker("id = \"spiffe://example.org/a\"\npod_reference_scope = \"cluster\""),
		[]string{notYetClient, brokerA + notYetScope}},
	{"enforced", brokerBlock("access_policy = \"enforced\"\nbrokers = [\n{\nid = \"spiffe://example.org/a\"\n}\n]"),
		[]string{`experimental.broker.access_policy: not yet: podseal asks the API server nothing; use "permissive" and list only brokers that may see every pod of the node`}},
	{"scope of the cluster", oneBroker("id = \"spiffe://example.org/a\"\npod_reference_scope = \"cluster\""),
		[]string{brokerA + notYetScope}},

	// What only podseal refuses.
	{"ports that are none", "kubelet_secure_port = 65536\nkubelet_read_only_port = -1", []string{
		"kubelet_read_only_port: -1 is not a port (1 to 65535, or 0 for unset)",
		"kubelet_secure_port: 65536 is not a port (1 to 65535, or 0 for unset)",
	}},
	{"attempts for ever", `max_poll_attempts = 9223372036854775807`,
		[]string{"max_poll_attempts: 9223372036854775807 times 500ms is longer than a duration can be; use less, or set attest_timeout"}},
	{"attest timeout", `attest_timeout = "soon"`,
		[]string{`unable to parse attest timeout: time: invalid duration "soon"`}},
	{"attest timeout below zero", `attest_timeout = "-1s"`,
		[]string{"attest_timeout: -1s is negative"}},
	{"attest timeout too long", `attest_timeout = "9999999999h"`,
		[]string{`unable to parse attest timeout: time: invalid duration "9999999999h"`}},
	{"relative cgroup root", `cgroup_root = "kubelet"`,
		[]string{`cgroup_root: "kubelet" is not an absolute, clean path`}},
	{"cgroup root that climbs", `cgroup_root = "/kubelet/../x"`,
		[]string{`cgroup_root: "/kubelet/../x" is not an absolute, clean path`}},
	{"cgroup root with a slash at its end", `cgroup_root = "/kubelet/"`,
		[]string{`cgroup_root: "/kubelet/" is not an absolute, clean path`}},
	{"a scalar twice", "node_name = \"a\"\nnode_name = \"a\"",
		[]string{"node_name: given more than once, at L:C and L:C"}},
	{"a scalar twice in other case", "node_name = \"a\"\nNode_Name = \"a\"\nNODE_NAME = \"b\"",
		[]string{"node_name: given more than once, at L:C and L:C and L:C"}},
	{"a scalar twice in a block that is given twice", brokerBlock(`access_policy = "enforced"`) + brokerBlock(`access_policy = "permissive"`),
		[]string{"experimental.broker.access_policy: given more than once, at L:C and L:C"}},
	{"a scalar twice in a list", oneBroker("id = \"spiffe://example.org/a\"\nid = \"spiffe://example.org/b\""),
		[]string{"experimental.broker.brokers[0].id: given more than once, at L:C and L:C"}},

	// What HCL's decoder refuses, each with its key.
	{"fraction for an int", `kubelet_secure_port = 1.5`,
		[]string{"unable to decode configuration: kubelet_secure_port: a whole number is needed, found 1.5"}},
	{"word for an int", `kubelet_secure_port = "many"`,
		[]string{`unable to decode configuration: kubelet_secure_port: a whole number is needed, found "many"`}},
	{"empty string for an int", `kubelet_secure_port = ""`,
		[]string{`unable to decode configuration: kubelet_secure_port: a whole number is needed, found ""`}},
	{"bool for an int", `max_poll_attempts = true`,
		[]string{"unable to decode configuration: max_poll_attempts: a whole number is needed, found true"}},
	{"overflow", `max_poll_attempts = 9223372036854775808`,
		[]string{"unable to decode configuration: max_poll_attempts: 9223372036854775808 is out of range"}},
	{"list for a scalar", `node_name = ["a"]`,
		[]string{"unable to decode configuration: node_name: a string is needed, found a list"}},
	{"block for a scalar", `node_name { a = 1 }`,
		[]string{"unable to decode configuration: node_name: a string is needed, found a block"}},
	{"bool for a string", `node_name = true`,
		[]string{"unable to decode configuration: node_name: a string is needed, found true"}},
	{"fraction for a string", `node_name = 1.5`,
		[]string{"unable to decode configuration: node_name: a string is needed, found 1.5"}},
	{"string for a bool", `skip_kubelet_verification = "true"`,
		[]string{`unable to decode configuration: skip_kubelet_verification: true or false is needed, found "true"`}},
	{"number for a bool", `skip_kubelet_verification = 1`,
		[]string{"unable to decode configuration: skip_kubelet_verification: true or false is needed, found 1"}},
	{"bool for a duration", `attest_timeout = true`,
		[]string{`unable to decode configuration: attest_timeout: a duration, such as "500ms", is needed, found true`}},
	{"scalar for a block", `experimental = 1`,
		[]string{"unable to decode configuration: experimental: a block is needed, found 1"}},
	{"scalar for brokers", brokerBlock("access_policy = \"permissive\"\nbrokers = \"spiffe://example.org/a\""),
		[]string{`unable to decode configuration: experimental.broker.brokers: a list of blocks is needed, found "spiffe://example.org/a"`}},
	{"scalars in brokers", brokerBlock("access_policy = \"permissive\"\nbrokers = [\"spiffe://example.org/a\"]"),
		[]string{"unable to decode configuration: experimental.broker.brokers: a list of blocks is needed, found a list"}},
	{"all that can't be read, then what is unknown, and nothing that follows from it", "unknown = 1\ncgroup_root = \"x\"\nnode_name = true\nkubelet_secure_port = 1.5", []string{
		"unable to decode configuration: kubelet_secure_port: a whole number is needed, found 1.5",
		"unable to decode configuration: node_name: a string is needed, found true",
		"unknown configurations detected: unknown",
	}},
	{"everything at once, in the order of the built-in attestor", `
			cgroup_root             = "x"
			enable_namespace_labels = true
			private_key_path        = "/key.pem"
			reload_interval         = "x"
			poll_retry_interval     = "x"
			unknown                 = 1
			` + brokerBlock(""), []string{
		"unknown configurations detected: unknown",
		"experimental.broker.access_policy: must be specified as one of [permissive, enforced]",
		"experimental.broker.brokers: at least one broker is required",
		`unable to parse poll retry interval: time: invalid duration "x"`,
		`unable to parse reload interval: time: invalid duration "x"`,
		"the certificate path is required with the private key path",
		`cgroup_root: "x" is not an absolute, clean path`,
		notYetLabels,
	}},

	// What can't be meant.
	{"line breaks", "token_path = <<EOF\n/token\nEOF\nkubelet_ca_path = \"/ca\"",
		[]string{`unable to decode configuration: token_path: "/token\n" has control characters`}},
	{"control characters", `node_name = "\x1b[31m"`,
		[]string{`unable to decode configuration: node_name: "\x1b[31m" has control characters`}},
	{"what was not expanded", `token_path = "${HOME}/token"`,
		[]string{`unable to decode configuration: token_path: "${HOME}/token" is not expanded here; start the agent with -expandEnv, or write the value itself`}},
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, c := range slices.Concat(problemCases, imageProblemCases, cacheProblemCases, trustProblemCases) {
		for spelling, text := range spellings(t, c.text) {
			t.Run(c.name+", "+spelling, func(t *testing.T) {
				t.Parallel()
				checkAnswers(t, text, nil, c.want)
			})
		}
	}
}

const (
	brokerA      = "experimental.broker.brokers[spiffe://example.org/a]"
	notYetLabels = "enable_namespace_labels: not yet: remove it and use the selectors ns and pod-label in registration entries"
	notYetClient = "disable_kubelet_client: not yet: podseal knows pods from the kubelet alone; remove it and give podseal access to the kubelet"
	notYetScope  = `.pod_reference_scope: not yet: podseal knows the pods of its node only; use "agent_node" and let the broker ask the agent of the pod's node`
)

func TestAProblemSaysWhereItIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		key  string
		pos  config.Pos
	}{
		{"# a comment\n  node_name = true\n", "node_name", config.Pos{Line: 2, Column: 3}},
		{"experimental {\r\n  broker {\r\n    access_policy = \"no\"\r\n    brokers { id = \"spiffe://example.org/a\" }\r\n  }\r\n}", "experimental.broker.access_policy", config.Pos{Line: 3, Column: 5}},
		{"node_name = \"a\"\nnode_name = \"b\"", "node_name", config.Pos{Line: 2, Column: 1}},
		{"{\n  \"kubelet_ca_path\": \"ü\", \"node_name\": true\n}", "node_name", config.Pos{Line: 2, Column: 27}},
		{"{\n\"experimental\":\n {\"broker\": {\"access_policy\": \"permissive\", \"brokers\": [{\n\"id\": \"x\"}]}}}", "experimental.broker.brokers[x].id", config.Pos{Line: 4, Column: 1}},
	} {
		problems := config.Parse(c.text, environment(nil)).Problems
		if len(problems) != 1 || problems[0].Key != c.key || problems[0].Pos != c.pos {
			t.Errorf("%+v, want one problem of %s at %v, of:\n%s", problems, c.key, c.pos, c.text)
		}
	}
	if got := (config.Pos{Line: 3, Column: 14}).String(); got != "3:14" {
		t.Errorf("String() = %q, want 3:14", got)
	}
	if got := (config.Pos{}).String(); got != "" {
		t.Errorf("String() of no place = %q", got)
	}
}

func TestEveryUnknownKeyHasItsPlace(t *testing.T) {
	t.Parallel()
	got := config.Parse("x = 1\nexperimental {\n  kubelet_secure_port = 1\n}\n  kubelet_secure_prot = 1\nx = 2\n", environment(nil))
	want := config.Problems{
		{Key: "experimental.kubelet_secure_port", Pos: config.Pos{Line: 3, Column: 3}, Message: "unknown configurations detected: experimental.kubelet_secure_port"},
		{Key: "kubelet_secure_prot", Pos: config.Pos{Line: 5, Column: 3}, Message: "unknown configurations detected: kubelet_secure_prot; did you mean kubelet_secure_port?"},
		{Key: "x", Pos: config.Pos{Line: 1, Column: 1}, Message: "unknown configurations detected: x"},
		{Key: "x", Pos: config.Pos{Line: 6, Column: 1}, Message: "unknown configurations detected: x"},
	}
	if diff := cmp.Diff(want, got.Problems); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	answers := []string{"unknown configurations detected: experimental.kubelet_secure_port,kubelet_secure_prot,x"}
	if diff := cmp.Diff(answers, got.Answers); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAKeyThatIsNearlyAnotherIsSuggested(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"kubelet_ca_pat":           "kubelet_ca_path",
		"Kubelet_CA_Paht":          "kubelet_ca_path",
		"skip_kublet_verification": "skip_kubelet_verification",
		"nodename":                 "node_name",
		"node_name_evn":            "node_name_env",
		"experimentel":             "experimental",
		"x":                        "",
		"node":                     "",
		"certificate":              "",
		strings.Repeat("x", 70):    "",
	} {
		problems := config.Parse(name+" = 1", environment(nil)).Problems
		message := "unknown configurations detected: " + name
		if want != "" {
			message += "; did you mean " + want + "?"
		}
		if len(problems) != 1 || problems[0].Message != message {
			t.Errorf("%q, want %q", problems, message)
		}
	}
}

// Every key is in the answer, as far as a message goes, however many are told apart.
func TestManyUnknownKeysAreCounted(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 150 {
		fmt.Fprintf(&text, "x%03d = 1\n", i)
	}
	got := config.Parse(text.String()+"poll_retry_interval = \"x\"", environment(nil))
	if len(got.Problems) != 101 || got.Problems[100].Message != "and 51 more problems" {
		t.Errorf("%d problems, the last one %q", len(got.Problems), got.Problems[len(got.Problems)-1].Message)
	}
	if len(got.Answers) != 2 || !strings.HasSuffix(got.Answers[0], ",x148,x149") {
		t.Errorf("%q", got.Answers)
	}
}

// TestWhatCantBeRead has texts that are at fault as a whole. The message begins as the
// built-in attestor's does.
func TestWhatCantBeRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		text string
		want string // what follows "unable to decode configuration: "
	}{
		{"a word", "bad", "At 1:5: key 'bad' expected start of object ('{') or assignment ('=')"},
		{"a value is missing in the middle", "node_name =\nkubelet_secure_port = 1", "At 2:1: Unknown token: 2:1 IDENT kubelet_secure_port"},
		{"a value is missing at the end, which HCL drops", "kubelet_secure_port = 10250\nskip_kubelet_verification = # later\n", "At 2:27: a value is missing after '='"},
		{"an open block", "experimental {", "At 1:16: object expected closing RBRACE got: EOF"},
		{"a block too many closed", "experimental {\n}\n}", "At 3:1: expected: IDENT | STRING | ASSIGN | LBRACE got: RBRACE"},
		{"an open string", `node_name = "a`, "At 1:15: literal not terminated"},
		{"an open heredoc", "node_name = <<EOF\na", "At 2:2: heredoc not terminated"},
		{"an escape that does not exist", `node_name = "\777"`, `panic: unquote "\777" err: invalid syntax`},
		{"an open template", `node_name = "${a"`, "At 1:18: literal not terminated"},
		{"no UTF-8", "node_name = \"\xff\"", "the text is not UTF-8"},
		{"NUL", "node_name = \"a\x00\"", "the text has a NUL character"},
		{"a byte order mark", "\ufeffnode_name = \"a\"", "At 1:1: illegal char"},
		{"too long", strings.Repeat(" ", 1<<20) + " ", "the text has 1048577 bytes, more than the 1048576 that are read"},
		{"deep blocks", strings.Repeat("a {", 33), "At 1:99: nested deeper than 32"},
		{"deep lists", "a = " + strings.Repeat("[", 1<<19), "At 1:37: nested deeper than 32"},

		{"JSON: a comma is missing, which HCL takes for the end", `{"kubelet_secure_port": 1 "skip_kubelet_verification": true}`, "jsontext: "},
		{"JSON: something follows, which HCL drops", `{"kubelet_secure_port": 1} {"node_name": "a"}`, "at 1:27: something follows the object"},
		{"JSON: a brace is missing", `{"kubelet_secure_port": 1`, "jsontext: "},
		{"JSON: deep", strings.Repeat(`{"a":`, 33) + strings.Repeat("}", 33), "at 1:161: nested deeper than 32"},
		{"JSON: deep lists", `{"a":` + strings.Repeat(`[`, 1<<19), "at 1:37: nested deeper than 32"},
		{"JSON: half a surrogate", `{"node_name": "\ud800"}`, "jsontext: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := config.Parse(c.text, environment(nil))
			if got.Config != nil || len(got.Problems) != 1 || len(got.Answers) != 1 {
				t.Fatalf("%+v, want one problem", got)
			}
			if message := got.Answers[0]; !strings.HasPrefix(message, "unable to decode configuration: "+c.want) {
				t.Errorf("%s\nwant unable to decode configuration: %s", message, c.want)
			}
		})
	}
}

// A list in a list ends HCL's JSON parser in silence: what stands after it is lost.
func TestJSONAfterAListInAListIsRead(t *testing.T) {
	t.Parallel()
	checkAnswers(t, `{"unknown": [[1]], "skip_kubelet_verification": "x"}`, nil, []string{
		`unable to decode configuration: skip_kubelet_verification: true or false is needed, found "x"`,
		"unknown configurations detected: unknown",
	})
}

func TestNullIsAnEmptyString(t *testing.T) {
	t.Parallel()
	mustParse(t, `{"node_name": null, "token_path": null}`, nil)
	checkAnswers(t, `{"skip_kubelet_verification": null, "kubelet_secure_port": null}`, nil, []string{
		`unable to decode configuration: kubelet_secure_port: a whole number is needed, found ""`,
		`unable to decode configuration: skip_kubelet_verification: true or false is needed, found ""`,
	})
}

func TestALongMessageIsCut(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`node_name = true` + "\n" + strings.Repeat("x", 10000) + " = 1",
		`poll_retry_interval = "` + strings.Repeat("x", 10000) + `"`,
	} {
		answers := config.Parse(text, environment(nil)).Answers
		last := answers[len(answers)-1]
		if len(last) > 2100 || !strings.HasSuffix(last, "... (cut)") {
			t.Errorf("a message of %d bytes", len(last))
		}
	}
}

func TestManyProblemsAreCounted(t *testing.T) {
	t.Parallel()
	got := config.Parse(brokerBlock(`access_policy = "permissive"`+"\n"+strings.Repeat("brokers {}\n", 150)), environment(nil))
	if len(got.Problems) != 101 || got.Problems[100].Message != "and 50 more problems" {
		t.Errorf("%d problems, the last one %q", len(got.Problems), got.Problems[len(got.Problems)-1].Message)
	}
	if diff := cmp.Diff(messages(got.Problems), got.Answers); diff != "" {
		t.Errorf("-problems +answers:\n%s", diff)
	}
}
