package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/test/agentconf"
)

func mustFind(t *testing.T, text string, o config.FindOptions) *config.Block {
	t.Helper()
	block, err := config.Find(text, o)
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return block
}

func at(line, column int) config.Pos { return config.Pos{Line: line, Column: column} }

// chartConf is an agent.conf as SPIRE's chart renders it.
const chartConf = `{
  "agent": {"data_dir": "/run/spire", "trust_domain": "example.org"},
  "plugins": {
    "KeyManager": [{"memory": {"plugin_data": null}}],
    "NodeAttestor": [{"k8s_psat": {"plugin_data": {"cluster": "c"}}}],
    "WorkloadAttestor": [
      {"unix": {"plugin_data": {}}},
      {"k8s": {
        "plugin_cmd": "/opt/podseal/podseal",
        "plugin_checksum": "abc",
        "plugin_data": {
          "node_name_env": "NODE",
          "kubelet_secure_prot": 10250
        }
      }}
    ]
  }
}`

func TestTheBlockOfAWholeFile(t *testing.T) {
	t.Parallel()
	const hclConf = `
agent {
  trust_domain = "example.org"
}
plugins {
  WorkloadAttestor "unix" {}
  WorkloadAttestor "pods" {
    plugin_cmd      = "bin/podseal"
    plugin_checksum = "abc"
    plugin_args     = ["-x", "y"]
    enabled         = false
    plugin_data_file = "data.conf"
  }
}`
	block := mustFind(t, hclConf, config.FindOptions{})
	want := config.Block{
		Plugin:      "pods",
		Pos:         at(7, 20),
		Cmd:         config.Value{Text: "bin/podseal", Pos: at(8, 5)},
		Checksum:    config.Value{Text: "abc", Pos: at(9, 5)},
		Args:        []config.Value{{Text: "-x", Pos: at(10, 24)}, {Text: "y", Pos: at(10, 30)}},
		DataFile:    config.Value{Text: "data.conf", Pos: at(12, 5)},
		TrustDomain: config.Value{Text: "example.org", Pos: at(3, 3)},
		Warnings: config.Problems{{Key: "plugin_args", Pos: at(10, 5), Message: "plugin_args: podseal serves the agent only when it is started without arguments: remove them"},
			{Key: "enabled", Pos: at(11, 5), Message: `enabled: false, so the agent does not start the plugin "pods"`}},
	}
	if diff := cmp.Diff(want, *block, unexportedOfBlock); diff != "" {
		t.Errorf("HCL: -want +got:\n%s", diff)
	}

	block = mustFind(t, chartConf, config.FindOptions{})
	want = config.Block{
		Plugin:      "k8s",
		Pos:         at(8, 8),
		Enabled:     true,
		Cmd:         config.Value{Text: "/opt/podseal/podseal", Pos: at(9, 9)},
		Checksum:    config.Value{Text: "abc", Pos: at(10, 9)},
		TrustDomain: config.Value{Text: "example.org", Pos: at(2, 39)},
	}
	if diff := cmp.Diff(want, *block, unexportedOfBlock); diff != "" {
		t.Errorf("JSON: -want +got:\n%s", diff)
	}
	got := block.Parse("", environment(nil))
	problems := config.Problems{{
		Key: "kubelet_secure_prot", Pos: at(13, 11), BuiltInIgnores: true,
		Message: "unknown configurations detected: kubelet_secure_prot; did you mean kubelet_secure_port?",
	}}
	if diff := cmp.Diff(problems, got.Problems); diff != "" {
		t.Errorf("JSON: -want +got:\n%s", diff)
	}
	if len(got.Warnings) != 1 || got.Warnings[0].Pos != at(12, 11) {
		t.Errorf("warnings: %+v", got.Warnings)
	}
}

var unexportedOfBlock = cmp.FilterPath(func(p cmp.Path) bool {
	name := p.Last().String()
	return name == ".data" || name == ".json"
}, cmp.Ignore())

// Every form that the agent takes, each with the node name "n".
func TestFormsOfABlock(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"labels":                         `plugins { WorkloadAttestor "k8s" { plugin_data { node_name = "n" } } }`,
		"blocks in blocks":               `plugins { WorkloadAttestor { k8s { plugin_data { node_name = "n" } } } }`,
		"assignments":                    `plugins = { WorkloadAttestor = { k8s = { plugin_data = { node_name = "n" } } } }`,
		"every label in one line":        `plugins "WorkloadAttestor" "k8s" "plugin_data" { node_name = "n" }`,
		"labels of the plugins":          "plugins \"WorkloadAttestor\" \"unix\" {}\nplugins \"WorkloadAttestor\" \"k8s\" { plugin_data { node_name = \"n\" } }",
		"a label for plugin_data":        `plugins { WorkloadAttestor "k8s" plugin_data { node_name = "n" } }`,
		"types given twice":              "plugins {\n WorkloadAttestor \"unix\" {}\n KeyManager \"memory\" {}\n WorkloadAttestor \"k8s\" { plugin_data { node_name = \"n\" } }\n}",
		"quoted keys":                    `"plugins" { "WorkloadAttestor" "k8s" { "plugin_data" { "node_name" = "n" } } }`,
		"keys in other case":             `Plugins { WorkloadAttestor "k8s" { PLUGIN_DATA { Node_Name = "n" } } }`,
		"Windows line ends":              "plugins {\r\n  WorkloadAttestor \"k8s\" {\r\n    plugin_data {\r\n      node_name = \"n\"\r\n    }\r\n  }\r\n}\r\n",
		"JSON with a list":               `{"plugins": {"WorkloadAttestor": [{"k8s": {"plugin_data": {"node_name": "n"}}}]}}`,
		"JSON without a list":            `{"plugins": {"WorkloadAttestor": {"k8s": {"plugin_data": {"node_name": "n"}}}}}`,
		"JSON with lists everywhere":     `{"plugins": [{"WorkloadAttestor": [{"unix": []}, {"k8s": [{"plugin_data": [{"node_name": "n"}]}]}]}]}`,
		"JSON with two in one object":    `{"plugins": {"WorkloadAttestor": {"unix": {}, "k8s": {"plugin_data": {"node_name": "n"}}}}}`,
		"a body":                         `node_name = "n"`,
		"a body in JSON":                 `{"node_name": "n"}`,
		"a name of another selector":     `plugins { WorkloadAttestor "k8s" {} WorkloadAttestor "x" { plugin_cmd = "/a/podseal", plugin_data { node_name = "n" } } }`,
		"podseal that is not enabled":    `plugins { WorkloadAttestor "y" { plugin_cmd = "podseal", enabled = false } WorkloadAttestor "x" { plugin_cmd = "./podseal", plugin_data { node_name = "n" } } }`,
		"only podseal, not enabled":      `plugins { WorkloadAttestor "k8s" {} WorkloadAttestor "x" { plugin_cmd = "podseal", enabled = false, plugin_data { node_name = "n" } } }`,
		"a command that is no podseal":   `plugins { WorkloadAttestor "x" { plugin_cmd = "/opt/podseal/" } WorkloadAttestor "y" { plugin_cmd = "/opt/nopodseal" } WorkloadAttestor "k8s" { plugin_data { node_name = "n" } } }`,
		"another attestor's podseal":     `plugins { NodeAttestor "x" { plugin_cmd = "podseal" } WorkloadAttestor "k8s" { plugin_data { node_name = "n" } } }`,
		"what the rest may have":         restOfConf + `plugins { WorkloadAttestor "k8s" { plugin_data { node_name = "n" } } }`,
		"what the rest may have, at end": `plugins { WorkloadAttestor "k8s" { plugin_data { node_name = "n" } } }` + "\n" + restOfConf + "x = \n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			block := mustFind(t, text, config.FindOptions{})
			result := block.Parse("", environment(nil))
			if result.Config == nil || result.Config.Kubelet.NodeName != "n" {
				t.Errorf("%+v of:\n%s", result, text)
			}
		})
	}
}

// restOfConf has what plugin_data can't have, outside of podseal's block.
const restOfConf = `
health_checks { ratio = 1.5, note = <<EOF
two
lines
EOF
}
telemetry { strange = "\777", "\777" = 1, list = [[1, "a"], {}, true] }
plugin_data = 1
`

func TestThePluginThatIsNamed(t *testing.T) {
	t.Parallel()
	text := "plugins {\n  WorkloadAttestor \"k8s\" {}\n  WorkloadAttestor \"a\" { plugin_cmd = \"podseal\" }\n  WorkloadAttestor \"b\" { plugin_cmd = \"/x/podseal\" }\n}"
	for _, name := range []string{"k8s", "a", "b"} {
		if block := mustFind(t, text, config.FindOptions{Plugin: name}); block.Plugin != name || block.BuiltIn != (name == "k8s") {
			t.Errorf("%+v", block)
		}
	}
}

func TestAFileWithoutTheBlock(t *testing.T) {
	t.Parallel()
	const two = "plugins {\n  WorkloadAttestor \"a\" { plugin_cmd = \"podseal\" }\n  WorkloadAttestor \"b\" { plugin_cmd = \"/x/podseal\" }\n}"
	inBlock := func(text string) string {
		return "plugins {\nWorkloadAttestor \"k8s\" {\nplugin_cmd = \"podseal\"\n" + text + "\n}\n}"
	}
	for _, c := range []struct {
		name, text, plugin string
		want               config.Problem
	}{
		{name: "two", text: two,
			want: config.Problem{Pos: at(3, 20), Message: `the WorkloadAttestors "a" (2:20), "b" (3:20) are podseal: say with --plugin NAME which one is meant`}},
		{name: "none of that name", text: two, plugin: "c",
			want: config.Problem{Message: `there is no WorkloadAttestor "c": the configuration has "a" (2:20), "b" (3:20)`}},
		{name: "none by default", text: `plugins { WorkloadAttestor "unix" {} }`,
			want: config.Problem{Message: `there is no WorkloadAttestor "k8s": the configuration has "unix" (1:28)`}},
		{name: "a type in other case, which the agent refuses", text: `plugins { workloadattestor "k8s" {} }`,
			want: config.Problem{Message: `there is no WorkloadAttestor "k8s": the configuration has no WorkloadAttestor at all`}},
		{name: "no plugins", text: `agent { trust_domain = "example.org" }`,
			want: config.Problem{Message: `there is no WorkloadAttestor "k8s": the configuration has no WorkloadAttestor at all`}},
		{name: "a name in a body", text: `node_name = "n"`, plugin: "k8s",
			want: config.Problem{Message: `the plugin "k8s" can't be looked for: the file is a plugin_data body, not a whole agent configuration`}},
		{name: "declared twice", text: "plugins {\nWorkloadAttestor \"k8s\" {}\nWorkloadAttestor \"k8s\" {}\n}",
			want: config.Problem{Pos: at(3, 18), Message: `plugin "WorkloadAttestor"/"k8s" declared more than once, at 2:18 and 3:18`}},
		{name: "plugins twice", text: "plugins {}\nplugins { WorkloadAttestor \"k8s\" {} }",
			want: config.Problem{Key: "plugins", Pos: at(2, 1), Message: "plugins: given more than once, at 1:1 and 2:1; the agent uses only one of them", BuiltInIgnores: true}},
		{name: "data and a file", text: inBlock("plugin_data {}\nplugin_data_file = \"\""),
			want: config.Problem{Key: "plugin_data_file", Pos: at(5, 1), Message: "only one of [plugin_data, plugin_data_file] can be used"}},
		{name: "data twice", text: inBlock("plugin_data {}\nplugin_data {}"),
			want: config.Problem{Key: "plugin_data", Pos: at(5, 1), Message: "plugin_data: given more than once, at 4:1 and 5:1; the agent uses only one of them", BuiltInIgnores: true}},
		{name: "a command twice", text: inBlock(`Plugin_Cmd = "podseal"`),
			want: config.Problem{Key: "plugin_cmd", Pos: at(4, 1), Message: "plugin_cmd: given more than once, at 3:1 and 4:1; the agent uses only one of them", BuiltInIgnores: true}},
		{name: "data that is none", text: inBlock(`plugin_data = "x"`),
			want: config.Problem{Key: "plugin_data", Pos: at(4, 1), Message: `plugin_data: a block is needed, found "x"`}},
		{name: "a checksum that is none", text: inBlock(`plugin_checksum = true`),
			want: config.Problem{Key: "plugin_checksum", Pos: at(4, 1), Message: "plugin_checksum: a string is needed, found true"}},
		{name: "a checksum that can't be read", text: inBlock(`plugin_checksum = "\777"`),
			want: config.Problem{Pos: at(4, 19), Message: `unable to decode configuration: panic: unquote "\777" err: invalid syntax`}},
		{name: "a checksum that was not expanded", text: inBlock(`plugin_checksum = "${SUM}"`),
			want: config.Problem{Key: "plugin_checksum", Pos: at(4, 1), Message: `plugin_checksum: "${SUM}" is not expanded here; start the agent with -expandEnv, or write the value itself`}},
		{name: "arguments that are no list", text: inBlock(`plugin_args = "x"`),
			want: config.Problem{Key: "plugin_args", Pos: at(4, 1), Message: `plugin_args: a list of strings is needed, found "x"`}},
		{name: "arguments that are no strings", text: inBlock(`plugin_args = ["x", true]`),
			want: config.Problem{Key: "plugin_args", Pos: at(4, 21), Message: "plugin_args: a string is needed, found true"}},
		{name: "enabled or not", text: inBlock(`enabled = "no"`),
			want: config.Problem{Key: "enabled", Pos: at(4, 1), Message: `enabled: true or false is needed, found "no"`}},
		{name: "no block", text: `{"plugins": {"WorkloadAttestor": {"k8s": "x"}}}`,
			want: config.Problem{Pos: at(1, 35), Message: `the plugin "k8s": a block is needed, found "x"`}},
		{name: "bad HCL", text: "plugins {\n  WorkloadAttestor \"k8s\" {\n    plugin_data {\n      a = \n    }\n  }\n}",
			want: config.Problem{Pos: at(5, 5), Message: "unable to decode configuration: At 5:5: Unknown token: 5:5 RBRACE }"}},
		{name: "deep", text: "plugins " + strings.Repeat("{ a ", 33),
			want: config.Problem{Pos: at(1, 137), Message: "unable to decode configuration: At 1:137: nested deeper than 32"}},
		{name: "long", text: strings.Repeat(" ", 1<<20) + " ",
			want: config.Problem{Message: "unable to decode configuration: the text has 1048577 bytes, more than the 1048576 that are read"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Find(c.text, config.FindOptions{Plugin: c.plugin})
			got, ok := errors.AsType[config.Problem](err)
			if !ok {
				t.Fatalf("%v is no problem", err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestBadJSONHasItsPlace(t *testing.T) {
	t.Parallel()
	_, err := config.Find("{\"plugins\": {},\n \"ü\": 1 \"agent\": {}}", config.FindOptions{})
	got, ok := errors.AsType[config.Problem](err)
	if !ok || got.Pos != at(2, 9) || !strings.HasPrefix(got.Message, "unable to decode configuration: jsontext: ") {
		t.Errorf("%+v", err)
	}
}

// The agent takes any key of a plugin, so a checksum can be missing because of a letter.
func TestWarningsAboutTheBlock(t *testing.T) {
	t.Parallel()
	text := "plugins {\n  WorkloadAttestor \"k8s\" {\n    plugin_cheksum = \"abc\"\n    \"node name\" = \"n\"\n    plugin_data {}\n  }\n}"
	want := config.Problems{
		{Key: "plugin_cmd", Pos: at(2, 20), Message: "plugin_cmd: not given, so this configures SPIRE's built-in attestor, not podseal"},
		{Key: "plugin_cheksum", Pos: at(3, 5), Message: "plugin_cheksum: the agent does not know this key of a plugin and ignores it; did you mean plugin_checksum?", BuiltInIgnores: true},
		{Key: `"node name"`, Pos: at(4, 5), Message: `"node name": the agent does not know this key of a plugin and ignores it`, BuiltInIgnores: true},
	}
	block := mustFind(t, text, config.FindOptions{})
	if diff := cmp.Diff(want, block.Warnings); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	agentPrints(t, text)
}

func TestADataFileHasItsOwnPlaces(t *testing.T) {
	t.Parallel()
	block := mustFind(t, "plugins {\n\n\nWorkloadAttestor \"k8s\" {\nplugin_cmd = \"podseal\"\nplugin_data_file = \"/etc/x\"\n}\n}", config.FindOptions{})
	got := block.Parse("\n  node_name = true", environment(nil))
	if len(got.Problems) != 1 || got.Problems[0].Pos != at(2, 3) {
		t.Errorf("%+v", got.Problems)
	}
	if block := mustFind(t, `plugins { WorkloadAttestor "k8s" { plugin_data_file = "" } }`, config.FindOptions{}); !block.DataFile.Given() {
		t.Error("an empty name of a file is one")
	}
}

// The block is parsed to the same configuration, or the same answers, as what the agent
// hands over of the file.
func TestTheBlockIsWhatTheAgentHandsOver(t *testing.T) {
	t.Parallel()
	texts := []string{`pod_uid_env = "UID"`}
	for _, c := range problemCases {
		texts = append(texts, c.text)
	}
	for _, text := range texts {
		for _, file := range []string{agentconf.HCL(text), agentconf.JSON(toJSON(t, text))} {
			want := config.Parse(agentPrints(t, file), environment(nil))
			got := mustFind(t, file, config.FindOptions{}).Parse("", environment(nil))
			diff := cmp.Diff(want.Config, got.Config, sameValues) +
				cmp.Diff(withoutPlaces(want.Answers), withoutPlaces(got.Answers)) +
				cmp.Diff(messages(want.Warnings), messages(got.Warnings))
			if diff != "" {
				t.Errorf("-handed over +found:\n%s\nin:\n%s", diff, file)
			}
			checkPlaces(t, file, append(got.Problems, got.Warnings...))
		}
	}
}

// checkPlaces checks that the key of a problem stands at its place. What is missing is
// missed where its block is.
func checkPlaces(t *testing.T, file string, problems config.Problems) {
	t.Helper()
	for _, p := range problems {
		rest := strings.ToLower(strings.Split(file, "\n")[p.Pos.Line-1][p.Pos.Column-1:])
		missing := strings.Contains(p.Message, "must be") || strings.Contains(p.Message, "is required")
		name := p.Key[strings.LastIndexByte(p.Key, '.')+1:]
		if !missing && !strings.Contains(rest, strings.ToLower(name)) {
			t.Errorf("%s is not at %v in:\n%s", p.Key, p.Pos, file)
		}
	}
}

func TestTheBlocksOfConf(t *testing.T) {
	t.Parallel()
	for _, text := range confFiles(t) {
		for _, agentConf := range []string{text, toJSON(t, text)} {
			block := mustFind(t, agentConf, config.FindOptions{})
			if block.Plugin != "k8s" || block.Cmd.Text != "/opt/podseal/podseal" || len(block.Checksum.Text) != 64 || block.TrustDomain.Text != "example.org" || len(block.Warnings) > 0 {
				t.Errorf("%+v of:\n%s", block, text)
			}
			if result := block.Parse("", environment(nil)); len(result.Problems) > 0 {
				t.Errorf("%q of:\n%s", result.Problems, text)
			}
		}
	}
}

func confFiles(t testing.TB) (texts []string) {
	t.Helper()
	files, err := filepath.Glob("../../conf/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

// FuzzFind: any text is a block or a problem that can be printed, twice the same.
func FuzzFind(f *testing.F) {
	f.Add(chartConf, "", false)
	for _, text := range confFiles(f) {
		f.Add(text, "", true)
	}
	for _, text := range []string{
		agentconf.HCL(brokerBlock(`access_policy = "permissive"`)),
		agentconf.JSON(`{"experimental": {"broker": {"brokers": [{"broker": {"id": "spiffe://example.org/a"}}]}}}`),
		restOfConf + "plugins \"WorkloadAttestor\" \"k8s\" \"plugin_data\" { node_name = \"$A ${B} $$ ${\" }",
		"plugins { WorkloadAttestor \"a\" { plugin_cmd = \"podseal\" } WorkloadAttestor \"b\" { plugin_cmd = \"podseal\" } }",
		`node_name = "${NODE}"`,
	} {
		f.Add(text, "", true)
		f.Add(text, "k8s", false)
	}
	f.Fuzz(func(t *testing.T, text, plugin string, expand bool) {
		o := config.FindOptions{Plugin: plugin}
		if expand {
			o.ExpandEnv = func(name string) string { return strings.Repeat(name+"\r\n", len(name)%3) }
		}
		found := func() any {
			block, err := config.Find(text, o)
			if err != nil {
				problem, ok := errors.AsType[config.Problem](err)
				if !ok || block != nil {
					t.Fatalf("%T: %v", err, err)
				}
				checkProblem(t, text, problem)
				return problem
			}
			for _, p := range block.Warnings {
				checkProblem(t, text, p)
			}
			result := block.Parse("", environment(nil))
			checkResult(t, text, result)
			return []any{*block, result}
		}
		first, second := found(), found()
		if diff := cmp.Diff(first, second, sameValues, unexportedOfBlock); diff != "" {
			t.Fatalf("read twice:\n%s", diff)
		}
	})
}
