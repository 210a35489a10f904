package config_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/test/agentconf"
)

// expandAsTheAgent is what SPIRE does where its agent runs with -expandEnv.
func expandAsTheAgent(text string, env func(string) string) string {
	return os.Expand(text, func(name string) string {
		if name == "$" {
			return "$"
		}
		return env(name)
	})
}

var expansions = []string{
	"", "$", "$$", "$$$", "a$", "$A", "${A}", "$A-$B", "${A", "${", "${}", "${$}", "${*}", "${1", "${12}", "$12", "$-", "$ ", "$\"", "$)", "$ü", "${ü}",
	"$A_B", "$A.B", "${A B}", "x${A}y$$z$", "$A$A${A}", "$A\r\n$A", "${\n}",
}

func TestExpandEnvIsTheAgents(t *testing.T) {
	t.Parallel()
	env := environment(map[string]string{"A": "value", "ü": "ue", "A B": "ab", "1": "one"})
	for _, text := range expansions {
		if got, want := config.ExpandEnv(text, env), expandAsTheAgent(text, env); got != want {
			t.Errorf("ExpandEnv(%q) = %q, want %q", text, got, want)
		}
	}
}

func FuzzExpandEnv(f *testing.F) {
	for _, text := range expansions {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		env := func(name string) string { return strings.ToUpper(name) }
		if got, want := config.ExpandEnv(text, env), expandAsTheAgent(text, env); got != want {
			t.Errorf("ExpandEnv(%q) = %q, want %q", text, got, want)
		}
	})
}

func TestPlacesAreThoseBeforeTheExpansion(t *testing.T) {
	t.Parallel()
	env := environment(map[string]string{"CMD": "/opt/a/long/path/to/podseal", "LINES": "\r\n\r\n\r\n", "KEYS": "x1 = 1\nx2 = 2", "CERTS": "/c"})
	const hclConf = `$LINES agent { trust_domain = "${TRUST}example.org" }
plugins { WorkloadAttestor "k8s" { plugin_cmd = "$CMD", plugin_checksum = "ü$$", plugin_data {
  kubelet_ca_path = "$CERTS/ca", node_name = true
    $KEYS
  y = 1
} } }`
	block := mustFind(t, hclConf, config.FindOptions{ExpandEnv: env})
	wantBlock := config.Block{
		Plugin: "k8s", Pos: at(2, 28), Enabled: true,
		Cmd:         config.Value{Text: "/opt/a/long/path/to/podseal", Pos: at(2, 36)},
		Checksum:    config.Value{Text: "ü$", Pos: at(2, 57)},
		TrustDomain: config.Value{Text: "example.org", Pos: at(1, 16)},
	}
	if diff := cmp.Diff(wantBlock, *block, unexportedOfBlock); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	want := map[string]config.Pos{"node_name": at(3, 34), "x1": at(4, 5), "x2": at(4, 5), "y": at(5, 3)}
	if diff := cmp.Diff(want, positions(block.Parse("", env).Problems)); diff != "" {
		t.Errorf("HCL: -want +got:\n%s", diff)
	}

	const jsonConf = `{"agent": {}, "plugins": {"WorkloadAttestor": {"k8s": {"plugin_cmd": "$CMD", "plugin_data": {
  "kubelet_ca_path": "$CERTS/ü", "node_name": true, "y": 1}}}}}`
	block = mustFind(t, jsonConf, config.FindOptions{ExpandEnv: env})
	want = map[string]config.Pos{"node_name": at(2, 34), "y": at(2, 53)}
	if diff := cmp.Diff(want, positions(block.Parse("", env).Problems)); diff != "" {
		t.Errorf("JSON: -want +got:\n%s", diff)
	}

	_, err := config.Find("plugins {}\nx = \"$CMD\" 1 }", config.FindOptions{ExpandEnv: env})
	if problem, _ := errors.AsType[config.Problem](err); problem.Pos != at(2, 12) || !strings.Contains(problem.Message, " At 2:12: ") {
		t.Errorf("%+v", err)
	}
}

func positions(problems config.Problems) map[string]config.Pos {
	all := map[string]config.Pos{}
	for _, p := range problems {
		all[p.Key] = p.Pos
	}
	return all
}

// Places by offset, which an expansion needs, are those that HCL's parser counts.
func TestAnExpansionOfNothingChangesNoPlace(t *testing.T) {
	t.Parallel()
	for _, c := range problemCases {
		if strings.Contains(c.text, "$") {
			continue
		}
		file := strings.ReplaceAll("# ü\n\n"+agentconf.HCL("x = \"üü\", "+c.text), "\n", "\r\n")
		want := mustFind(t, file, config.FindOptions{}).Parse("", environment(nil))
		got := mustFind(t, file+"# $$", config.FindOptions{ExpandEnv: environment(nil)}).Parse("", environment(nil))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-without +with:\n%s\nof:\n%s", diff, file)
		}
	}
}

func TestWhatAnExpansionEatsIsAWarning(t *testing.T) {
	t.Parallel()
	warning := func(reference string, pos config.Pos) config.Problem {
		return config.Problem{Pos: pos, Message: fmt.Sprintf("%q: the environment has nothing for it, so the agent's -expandEnv leaves nothing of it; with -expandEnv, a $ that is meant (as in a pattern) is written $$", reference)}
	}
	const around = "plugins {\n WorkloadAttestor \"unix\" { x = \"$OUTSIDE\" }\n WorkloadAttestor \"k8s\" {\n  plugin_cmd = \"podseal\"\n  plugin_data {\n%s\n  }\n }\n KeyManager \"$OUTSIDE\" {}\n}"
	long := "${" + strings.Repeat("ü", 40) + "}"
	for _, c := range []struct {
		text string
		want config.Problems
	}{
		{`node_name = "$NODE"`, nil},
		{`node_name = "^a$"`, nil},
		{`node_name = "(a$|b$)$$1"`, nil},
		{`# costs $5 or ${}`, nil},
		{`node_name = "a$1b"`, config.Problems{warning("$1", at(6, 15))}},
		{"node_name = \"x\"\n  token_path = \"ü$MISSING\"", config.Problems{warning("$MISSING", at(7, 18))}},
		{`node_name = "${}x$-"`, config.Problems{warning("${}", at(6, 14)), warning("$-", at(6, 18))}},
		{`node_name = "` + long + `"`, config.Problems{warning(long[:60]+"...", at(6, 14))}},
	} {
		block := mustFind(t, fmt.Sprintf(around, c.text), config.FindOptions{ExpandEnv: environment(map[string]string{"NODE": "n"})})
		if diff := cmp.Diff(c.want, block.Warnings); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.text, diff)
		}
	}
}

// A body is what plugin_data_file names, which the agent doesn't expand.
func TestABodyIsExpandedWithAWarning(t *testing.T) {
	t.Parallel()
	block := mustFind(t, "node_name = \"$NODE\"\ntoken_path = \"/t$1\"", config.FindOptions{ExpandEnv: environment(map[string]string{"NODE": "n"})})
	got := block.Parse("", environment(nil))
	if got.Config == nil || got.Config.Kubelet.NodeName != "n" || got.Config.Kubelet.TokenPath != "/t" {
		t.Errorf("%+v", got)
	}
	if len(block.Warnings) != 2 || !strings.Contains(block.Warnings[0].Message, "plugin_data_file") || block.Warnings[1].Pos != at(2, 17) {
		t.Errorf("%+v", block.Warnings)
	}
}

func TestAnExpansionThatIsTooLong(t *testing.T) {
	t.Parallel()
	_, err := config.Find(`x = "$A"`, config.FindOptions{ExpandEnv: func(string) string { return strings.Repeat("a", 1<<20) }})
	if err == nil || !strings.Contains(err.Error(), "with environment variables expanded: the text has 1048582 bytes") {
		t.Error(err)
	}
}
