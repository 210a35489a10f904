package config_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"

	"github.com/podseal/podseal/pkg/config"
)

// FuzzParse: any text is a configuration or has problems that can be printed, twice the
// same, and a configuration is the same in all spellings.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		got := config.Parse(text, environment(nil))
		checkResult(t, text, got)
		if diff := cmp.Diff(got, config.Parse(text, environment(nil)), sameValues); diff != "" {
			t.Fatalf("read twice:\n%s", diff)
		}
		if got.Config != nil {
			sameInOtherSpellings(t, text, got)
		}
	})
}

// checkResult checks what is true of any text's result.
func checkResult(t *testing.T, text string, got config.Result) {
	t.Helper()
	if (got.Config == nil) != (len(got.Problems) > 0) || (got.Config == nil) != (len(got.Answers) > 0) {
		t.Fatalf("%+v", got)
	}
	for _, p := range append(got.Problems, got.Warnings...) {
		checkProblem(t, text, p)
	}
}

func checkProblem(t *testing.T, text string, p config.Problem) {
	t.Helper()
	if !utf8.ValidString(p.Message) || strings.ContainsAny(p.Message, "\n\x1b\x00") || p.Message == "" {
		t.Errorf("message %q", p.Message)
	}
	// HCL's scanner counts on each time that it is asked at the end of the text.
	if p.Pos.Line > strings.Count(text, "\n")+1 || p.Pos.Column > len(text)+10 {
		t.Errorf("%v is not in the text: %s", p.Pos, p.Message)
	}
}

func sameInOtherSpellings(t *testing.T, text string, want config.Result) {
	t.Helper()
	if !agentKeeps(text) {
		return
	}
	for spelling, other := range spellings(t, text) {
		got := config.Parse(other, environment(nil))
		if len(got.Problems) > 0 {
			t.Fatalf("%s: %q of:\n%s\nwhich was:\n%s", spelling, got.Problems, other, text)
		}
		diff := cmp.Diff(want.Config, got.Config, sameValues) + cmp.Diff(messages(want.Warnings), messages(got.Warnings))
		if diff != "" {
			t.Fatalf("%s: -want +got:\n%s\nof:\n%s\nwhich was:\n%s", spelling, diff, other, text)
		}
	}
}

// agentKeeps is false for texts that the agent's print changes: a comment can swallow
// what follows it, a heredoc loses its end. It is false for JSON too, and for numbers
// that JSON does not have.
func agentKeeps(text string) bool {
	if strings.HasPrefix(strings.TrimSpace(text), "{") || strings.Contains(text, "<<") {
		return false
	}
	file, err := parser.ParseDontErrorOnDuplicateKeys([]byte(text))
	if err != nil || len(file.Comments) > 0 {
		return false
	}
	_, ok := file.Node.(*ast.ObjectList)
	return ok && json.Valid([]byte(jsonOf(file.Node)))
}
