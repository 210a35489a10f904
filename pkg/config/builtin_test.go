package config_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/token"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/test/agentconf"
)

type unused = map[string][]token.Pos

// builtIn has the keys of SPIRE 1.15's attestor that matter here, for HCL's decoder,
// which that attestor reads its configuration with.
type builtIn struct {
	ReadOnlyPort     int    `hcl:"kubelet_read_only_port"`
	SecurePort       int    `hcl:"kubelet_secure_port"`
	CAPath           string `hcl:"kubelet_ca_path"`
	SkipVerification bool   `hcl:"skip_kubelet_verification"`
	TokenPath        string `hcl:"token_path"`
	CertificatePath  string `hcl:"certificate_path"`
	PrivateKeyPath   string `hcl:"private_key_path"`
	Anonymous        bool   `hcl:"use_anonymous_authentication"`
	NodeName         string `hcl:"node_name"`
	NodeNameEnv      string `hcl:"node_name_env"`
	PollInterval     string `hcl:"poll_retry_interval"`
	Sigstore         *struct {
		AllowedIdentities  map[string][]string `hcl:"allowed_identities"`
		SkippedImages      []string            `hcl:"skipped_images"`
		RekorURL           *string             `hcl:"rekor_url,omitempty"`
		IgnoreSCT          *bool               `hcl:"ignore_sct,omitempty"`
		IgnoreTlog         *bool               `hcl:"ignore_tlog,omitempty"`
		IgnoreAttestations *bool               `hcl:"ignore_attestations,omitempty"`
		Credentials        map[string]*struct {
			Username string `hcl:"username,omitempty"`
			Password string `hcl:"password,omitempty"`
		} `hcl:"registry_credentials,omitempty"`
	} `hcl:"sigstore,omitempty"`
	Experimental *struct {
		APIServer *struct {
			Cache *struct {
				Enabled bool   `hcl:"enabled"`
				Unused  unused `hcl:",unusedKeyPositions"`
			} `hcl:"cache"`
			Unused unused `hcl:",unusedKeyPositions"`
		} `hcl:"api_server"`
		Broker *struct {
			AccessPolicy string `hcl:"access_policy"`
			Brokers      []struct {
				ID     string `hcl:"id"`
				Scope  string `hcl:"pod_reference_scope"`
				Unused unused `hcl:",unusedKeyPositions"`
			} `hcl:"brokers"`
			Unused unused `hcl:",unusedKeyPositions"`
		} `hcl:"broker"`
		Unused unused `hcl:",unusedKeyPositions"`
	} `hcl:"experimental"`
	Unused unused `hcl:",unusedKeyPositions"`
}

// builtInRefuses is what the built-in attestor has against the text, of what is
// certain before it opens files.
func builtInRefuses(text string) (reasons []string) {
	var c builtIn
	if err := hcl.Decode(&c, text); err != nil {
		return []string{err.Error()}
	}
	check := func(where string, keys unused) {
		if len(keys) > 0 {
			reasons = append(reasons, fmt.Sprintf("unknown %s: %v", where, keys))
		}
	}
	check("top", c.Unused)
	if c.Experimental == nil {
		return reasons
	}
	check("experimental", c.Experimental.Unused)
	if api := c.Experimental.APIServer; api != nil {
		check("api_server", api.Unused)
		if api.Cache != nil {
			check("cache", api.Cache.Unused)
		}
	}
	if broker := c.Experimental.Broker; broker != nil {
		check("broker", broker.Unused)
		for _, b := range broker.Brokers {
			check("brokers", b.Unused)
			if b.ID == "" {
				reasons = append(reasons, "id: must be specified")
			}
		}
	}
	return reasons
}

const jsonFile = "a plugin_data_file in JSON"

// situations are the files in which one plugin_data, given in HCL, is found, and what
// the agent hands over of each.
func situations(t *testing.T, text string) map[string]struct{ file, handedOver string } {
	t.Helper()
	asJSON := toJSON(t, text)
	inHCL, inJSON := agentconf.HCL(text), agentconf.JSON(asJSON)
	return map[string]struct{ file, handedOver string }{
		"a plugin_data_file in HCL": {text, text},
		jsonFile:                    {asJSON, asJSON},
		"an agent.conf in HCL":      {inHCL, agentPrints(t, inHCL)},
		"an agent.conf in JSON":     {inJSON, agentPrints(t, inJSON)},
	}
}

// TestWhatTheBuiltInAttestorIgnores compares BuiltInIgnores with the decoder that the
// built-in attestor uses.
func TestWhatTheBuiltInAttestorIgnores(t *testing.T) {
	t.Parallel()
	labelledBroker := func(text string) string {
		return brokerBlock("access_policy = \"permissive\"\nbrokers \"broker\" {\nid = \"spiffe://example.org/a\"\n" + text + "\n}\nbrokers \"broker\" {\nid = \"spiffe://example.org/b\"\n}")
	}
	for _, c := range []struct {
		name, text string
		// cautious is where podseal may say less than is true.
		cautious bool
		// deep is for blocks that HCL's parser for JSON makes such a tree of that
		// the built-in attestor refuses them in a JSON file, whatever they have.
		deep bool
	}{
		{name: "an unknown key", text: "node_name = \"n\"\nunknown = 1"},
		{name: "an unknown key in quotes", text: "node_name = \"n\"\n\"unknown\" = 1"},
		{name: "an unknown block", text: "node_name = \"n\"\nunknown {\na = 1\n}"},
		{name: "an unknown block with a label, first", text: "unknown \"a\" {\na = 1\n}"},
		{name: "an unknown block with a label, later", text: "node_name = \"n\"\nunknown \"a\" {\na = 1\n}", cautious: true},
		{name: "an unknown key in experimental", text: "experimental {\nunknown = 1\n}"},
		{name: "an unknown label in experimental", text: "experimental \"unknown\" {\na = 1\n}", cautious: true},
		{name: "an unknown quoted key in experimental", text: "experimental {\n\"unknown\" = 1\n}"},
		{name: "an unknown key deep in experimental", text: "experimental {\napi_server {\ncache {\nunknown = 1\n}\n}\n}"},
		{name: "an unknown key in broker", text: brokerBlock("access_policy = \"permissive\"\nunknown = 1\nbrokers = [\n{\nid = \"spiffe://example.org/a\"\n},\n{\nid = \"spiffe://example.org/b\"\n}\n]")},
		{name: "an unknown key in a list of one broker", text: oneBroker("id = \"spiffe://example.org/a\"\nunknown = 1"), cautious: true},
		{name: "an unknown key in a labelled broker", text: labelledBroker("unknown = 1")},
		{name: "an unknown quoted key in a labelled broker", text: labelledBroker("\"unknown\" = 1")},
		{name: "a scalar twice", text: "node_name = \"a\"\nnode_name = \"b\""},
		{name: "a scalar twice in other case", text: "node_name = \"a\"\nNode_Name = \"b\""},
		{name: "a scalar twice in blocks", text: "experimental {\napi_server {\ncache {\nenabled = false\nenabled = false\n}\n}\n}", deep: true},
		{name: "a scalar twice in a block in parts", text: "experimental \"api_server\" \"cache\" {\nenabled = false\n}\nexperimental \"api_server\" \"cache\" {\nenabled = false\n}", deep: true},
		{name: "an ID twice in a labelled broker", text: labelledBroker(`id = "spiffe://example.org/c"`)},
		{name: "an ID twice in a list of one broker", text: oneBroker("id = \"spiffe://example.org/a\"\nid = \"spiffe://example.org/b\""), cautious: true},
		{name: "an added key twice", text: "cgroup_root = \"/a\"\ncgroup_root = \"/a\"", cautious: true},
		{name: "a port below zero", text: `kubelet_secure_port = -1`},
		{name: "a port that is too high", text: `kubelet_read_only_port = 65536`},
		{name: "a port that is no int", text: `kubelet_read_only_port = 9223372036854775808`},
		{name: "a port that is no number", text: `kubelet_read_only_port = "x"`},
		{name: "a node name that was not expanded", text: `node_name = "${NODE}"`},
		{name: "a variable's name with a line break", text: `node_name_env = "A\nB"`},
		// It opens the file when it is configured, and fails.
		{name: "a path that was not expanded", text: `token_path = "${HOME}/token"`, cautious: true},
		{name: "an unknown key in sigstore", text: "sigstore {\nrekor_uri = \"https://rekor.example.org\"\n}"},
		{name: "an unknown block in sigstore", text: "sigstore {\nrekor {\nurl = \"https://rekor.example.org\"\n}\n}", deep: true},
		{name: "an unknown key in registry_credentials", text: "sigstore {\nregistry_credentials \"registry.example.org\" {\nuser = \"u\"\n}\n}", cautious: true},
		{name: "a scalar twice in sigstore", text: "sigstore {\nignore_tlog = false\nignore_tlog = true\n}"},
		{name: "an issuer twice", text: "sigstore {\nallowed_identities = {\n\"https://a\" = [\"x\"]\n\"https://a\" = [\"y\"]\n}\n}", cautious: true},
		{name: "a skipped image that no image ID equals", text: "sigstore {\nskipped_images = [\"app:latest\"]\n}"},
		{name: "a password for Rekor", text: "sigstore {\nrekor_url = \"https://u:p@rekor.example.org\"\n}"},
		{name: "a pattern that can't be read", text: "sigstore {\nallowed_identities = {\n\"https://a\" = [\"*@example.org\"]\n}\n}", cautious: true},
		{name: "what only podseal has in sigstore", text: "sigstore {\ntrust_root = \"none\"\n}", cautious: true},
		{name: "the older sigstore block", text: "experimental {\nsigstore {\nenforce_sct = true\n}\n}", cautious: true},
		{name: "an unknown key in the older sigstore block", text: "experimental {\nsigstore {\nrekor_url = \"https://rekor.example.org\"\nunknown = 1\n}\n}", cautious: true},
		{name: "a wrong type", text: `skip_kubelet_verification = "true"`},
		{name: "a list for a scalar", text: `node_name = ["a"]`},
		{name: "a block for a scalar", text: "node_name {\na = 1\n}"},
		{name: "a scalar for a block", text: `experimental = 1`},
	} {
		for situation, s := range situations(t, c.text) {
			if c.deep && situation == jsonFile {
				continue
			}
			t.Run(c.name+", "+situation, func(t *testing.T) {
				t.Parallel()
				block, err := config.Find(s.file, config.FindOptions{})
				if err != nil {
					t.Fatal(err)
				}
				problems := block.Parse("", environment(nil)).Problems
				if len(problems) != 1 {
					t.Fatalf("%q, want one problem of:\n%s", problems, s.file)
				}
				reasons := builtInRefuses(s.handedOver)
				switch silent := len(reasons) == 0; {
				case problems[0].BuiltInIgnores && !silent:
					t.Errorf("%q is said to be ignored, but the built-in attestor says %q of:\n%s", problems, reasons, s.handedOver)
				case !problems[0].BuiltInIgnores && silent && !c.cautious:
					t.Errorf("%q is ignored by the built-in attestor, in:\n%s", problems, s.handedOver)
				}
			})
		}
	}
}

// Texts that HCL's parsers cut off without a word.
func TestWhatHCLDropsIsIgnored(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"node_name = \"n\"\nskip_kubelet_verification = # later\n",
		`{"node_name": "n"} {"skip_kubelet_verification": "x"}`,
	} {
		problems := config.Parse(text, environment(nil)).Problems
		if len(problems) != 1 || !problems[0].BuiltInIgnores || problems[0].Pos.Line == 0 {
			t.Errorf("%+v of %s", problems, text)
		}
		if reasons := builtInRefuses(text); len(reasons) > 0 {
			t.Errorf("the built-in attestor refuses %s: %q", text, reasons)
		}
	}
	for _, text := range []string{`node_name = "a`, `{"node_name": `, `bad`} {
		problems := config.Parse(text, environment(nil)).Problems
		if len(problems) != 1 || problems[0].BuiltInIgnores {
			t.Errorf("%+v of %s", problems, text)
		}
	}
}

func TestWarningsHavePlacesAndSayWhatTheBuiltInAttestorIgnores(t *testing.T) {
	t.Parallel()
	const noNode = "node_name_env: the environment has no NODE, so the kubelet is dialled at 127.0.0.1 and its name is not verified"
	for _, c := range []struct {
		text string
		want config.Problems
	}{
		{"# A comment.\nkubelet_read_only_port = 10255\n  token_path = \"/t\"\n  node_name = \"n\"", config.Problems{
			{Key: "kubelet_read_only_port", Pos: config.Pos{Line: 2, Column: 1}, Message: readOnlyWarning},
			{Key: "token_path", Pos: config.Pos{Line: 3, Column: 3}, Message: "token_path, node_name: not used, because of kubelet_read_only_port", BuiltInIgnores: true},
		}},
		{"skip_kubelet_verification = true\nkubelet_server_name = \"n\"", config.Problems{
			{Key: "skip_kubelet_verification", Pos: config.Pos{Line: 1, Column: 1}, Message: skipWarning},
			{Key: "kubelet_server_name", Pos: config.Pos{Line: 2, Column: 1}, Message: "kubelet_server_name: not used, because of skip_kubelet_verification"},
		}},
		{"\n node_name_env = \"NODE\"", config.Problems{
			{Key: "node_name_env", Pos: config.Pos{Line: 2, Column: 2}, Message: noNode, BuiltInIgnores: true},
		}},
		{"experimental {\n  api_server {\n    cache {\n      enabled = true\n    }\n  }\n}", config.Problems{
			{Key: "experimental.api_server.cache.enabled", Pos: config.Pos{Line: 4, Column: 7}, Message: "experimental.api_server.cache.enabled: without effect, podseal does not ask the API server"},
		}},
		{"sigstore {\n  allowed_identities = {}\n}\ncri_socket = \"/s\"", config.Problems{
			{Key: "sigstore.allowed_identities", Pos: config.Pos{Line: 2, Column: 3}, Message: "sigstore.allowed_identities: empty: nobody's signature is accepted", BuiltInIgnores: true},
		}},
		{"# A comment.\nexperimental {\n  sigstore {\n    rekor_url = \"https://r.example.org\"\n    allowed_subjects_list = {\n    }\n  }\n}", config.Problems{
			{Key: "experimental.sigstore.allowed_subjects_list", Pos: config.Pos{Line: 5, Column: 5}, Message: "experimental.sigstore.allowed_subjects_list: empty: nobody's signature is accepted"},
			{Key: "experimental.sigstore", Pos: config.Pos{Line: 3, Column: 3}, Message: olderWarning},
			{Key: "image_status_source", Pos: config.Pos{Line: 3, Column: 3}, Message: copyWarning},
		}},
		// Beside problems, as far as they are certain.
		{"unknown = 1\nuse_new_container_locator = false", config.Problems{
			{Key: "use_new_container_locator", Pos: config.Pos{Line: 2, Column: 1}, Message: "use_new_container_locator: ignored, podseal has one locator"},
		}},
		{"node_name = true\nskip_kubelet_verification = true\nnode_name_env = \"NODE\"", config.Problems{
			{Key: "skip_kubelet_verification", Pos: config.Pos{Line: 2, Column: 1}, Message: skipWarning},
		}},
		{"kubelet_secure_port = true\nnode_name_env = \"NODE\"", config.Problems{
			{Key: "node_name_env", Pos: config.Pos{Line: 2, Column: 1}, Message: noNode, BuiltInIgnores: true},
		}},
	} {
		got := config.Parse(c.text, environment(nil)).Warnings
		if !slices.Equal(c.want, got) {
			t.Errorf("%+v\nwant %+v\nof:\n%s", got, c.want, c.text)
		}
	}
}
