package terminal_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/terminal"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares what write writes to outputs of several widths, with and without
// colours, with testdata/name.golden.
func golden(t *testing.T, name string, write func(*terminal.Output) error) {
	t.Helper()
	var all bytes.Buffer
	for _, color := range []bool{false, true} {
		for _, width := range []int{40, 60, 160, 0} {
			var text bytes.Buffer
			out := &terminal.Output{W: &text, Width: width, Color: color}
			if err := write(out); err != nil {
				t.Fatalf("%s, %d columns: %v", name, width, err)
			}
			what := fmt.Sprintf("%d columns", width)
			if width == 0 {
				what = "unlimited"
			}
			if color {
				what += ", colours"
			}
			fmt.Fprintf(&all, "==== %s\n%s", what, strings.ReplaceAll(text.String(), "\x1b", "^["))
		}
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, all.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(all.String(), "\n")); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

func row(texts ...string) []terminal.Cell {
	cells := make([]terminal.Cell, len(texts))
	for i, text := range texts {
		cells[i] = terminal.Text(text)
	}
	return cells
}

const digest = "sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"

func TestTables(t *testing.T) {
	t.Parallel()
	for name, table := range map[string]struct {
		headers []string
		rows    [][]terminal.Cell
	}{
		"table-small": {[]string{"check", "status"}, [][]terminal.Cell{
			{terminal.Text("cgroups"), terminal.Good.Text("ok")},
			{terminal.Text("kubelet-permission"), terminal.Warning.Text("warning")},
			{terminal.Text("clock"), terminal.Bad.Text("failed")},
			{terminal.Text("tmpdir"), terminal.Dim.Text("skipped")},
			{terminal.Bold.Text("all"), terminal.Style(99).Text("a style that is none")},
		}},
		"table-containers": {[]string{"Namespace", "Pod", "Container", "Image"}, [][]terminal.Cell{
			row("pay", "api-7d9f8c6b5-x2x4z", "api", "registry.example.org/pay/api@"+digest),
			row("kube-system", "coredns-5d78c9869d-4kq2v", "coredns", "registry.k8s.io/coredns/coredns:v1.13.1"),
			{terminal.Text("pay"), terminal.Text("batch"), terminal.Text("init"), terminal.Bad.Text("registry.example.org/pay/batch:2026-11-21")},
		}},
		"table-many-columns": {[]string{"namespace", "pod", "container", "type", "state", "a-header-that-is-longer-than-half-a-line", "image"}, [][]terminal.Cell{
			row("kube-system", "coredns-5d78c9869d-4kq2v", "coredns", "regular", "running", "", "registry.k8s.io/coredns/coredns@"+digest),
			row("pay", "api", "api", "init", "terminated", "a sentence that says why there are no selectors for it", "registry.example.org/pay/api:1"),
		}},
		"table-nasty": {[]string{"pod", "text"}, [][]terminal.Cell{
			row("forged", "x\nok  all checks passed"),
			row("escape", "\x1b[31mred\x1b[0m\x1b]0;title\a"),
			row("byte", "\x9b2J \xff"),
			row("reordered", "gpj.\u202egnp.exe"),
			row("東京の名前", "東京特許許可局の長い長い長い名前東京特許許可局の長い長い長い名前"),
			row("cafe\u0301", strings.Repeat("e\u0301", 50)),
			row("", ""),
			row("hangul", strings.Repeat("\u1100", 50)),
			row("flags", strings.Repeat("\U0001F1E8\U0001F1ED", 10)),
			row("skin", "\U0001F44D"+strings.Repeat("\U0001F3FD", 30)),
			row("spaces", "two  spaces   and    more     between      the       words        here"),
			row("dots", strings.Repeat(".", 70)),
		}},
		"table-no-rows":         {[]string{"namespace", "pod", "container"}, nil},
		"table-no-rows-no-room": {[]string{"namespace", "pod", "container", "image", "state", "selectors"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, name, func(out *terminal.Output) error { return out.Table(table.headers, table.rows) })
		})
	}
}

func TestParagraphs(t *testing.T) {
	t.Parallel()
	for name, paragraphs := range map[string][]terminal.Paragraph{
		"paragraph-check": {
			{Label: "failed   ", LabelStyle: terminal.Bad, Text: "the kubelet at node-1.example.org:10250 refused the request: 403 forbidden"},
			{Indent: 9, Label: "remedy: ", LabelStyle: terminal.Bold, Text: "grant get on nodes/pods to the agent's service account with the ClusterRole of docs/operations.md"},
			{Indent: 9, Text: "the file /var/run/secrets/kubernetes.io/serviceaccount/token was read 3 s ago"},
		},
		"paragraph-plain": {
			{Text: "one line"},
			{Text: ""},
			{Label: "empty:"},
			{Text: "All checks passed.", Style: terminal.Good},
		},
		"paragraph-nasty": {
			{Label: "a label that\nis far too long for any half of a line: ", LabelStyle: terminal.Bold, Text: "and its text, of which there is more than there is room"},
			{Indent: -3, Text: "x\ny \x1b[2J"},
			{Indent: 1000, Label: "deep: ", Text: "indented as far as there is room, and wrapped"},
			{Label: "東京: ", Text: "東京特許許可局 東京特許許可局 東京特許許可局 東京特許許可局"},
			{Label: "   ", Text: "   spaces   in   front   of   it   and   behind   "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, name, func(out *terminal.Output) error {
				for _, p := range paragraphs {
					// An indentation of 1000 columns is for terminals, which bound it.
					if out.Width == 0 {
						p.Indent = min(p.Indent, 100)
					}
					if err := out.Paragraph(p); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}
