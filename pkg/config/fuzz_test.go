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
		got, problems := config.Parse(text, environment(nil))
		if (got == nil) != (len(problems) > 0) {
			t.Fatalf("%v and %q", got, problems)
		}
		for _, p := range problems {
			if !utf8.ValidString(p.Message) || strings.ContainsAny(p.Message, "\n\x1b\x00") || p.Message == "" {
				t.Errorf("message %q", p.Message)
			}
		}
		again, problemsAgain := config.Parse(text, environment(nil))
		if diff := cmp.Diff(got, again, cmp.Comparer(sameID)) + cmp.Diff(problems, problemsAgain); diff != "" {
			t.Fatalf("read twice:\n%s", diff)
		}
		if got != nil {
			sameInOtherSpellings(t, text, got)
		}
	})
}

func sameInOtherSpellings(t *testing.T, text string, want *config.Config) {
	t.Helper()
	if !agentKeeps(text) {
		return
	}
	for spelling, other := range spellings(t, text) {
		got, problems := config.Parse(other, environment(nil))
		if len(problems) > 0 {
			t.Fatalf("%s: %q of:\n%s\nwhich was:\n%s", spelling, problems, other, text)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(sameID)); diff != "" {
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
