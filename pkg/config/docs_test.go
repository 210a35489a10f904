package config_test

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/config"
)

var update = flag.Bool("update", false, "write the tables of docs/configuration.md anew")

const (
	manual = "../../docs/configuration.md"
	begin  = "<!-- begin of what `go generate ./pkg/config` writes -->\n"
	end    = "<!-- end of what `go generate ./pkg/config` writes -->\n"
)

func TestTheManualHasTheKeysOfTheSchema(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	got, after, foundEnd := strings.Cut(rest, end)
	if !found || !foundEnd {
		t.Fatalf("%s lacks its marks:\n%s%s", manual, begin, end)
	}
	want := "\n" + config.Tables() + "\n"
	if *update {
		if err := os.WriteFile(manual, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s is not what the schema says; run go generate ./pkg/config\n-want +got:\n%s", manual, diff)
	}
}

// placeholder stands for what varies and is not shown.
var placeholder = regexp.MustCompile(`<[^>]+>`)

// Every message that the manual names is one of the table of problems, or one of
// pkg/kubelet's about the files.
func TestTheManualNamesMessagesThatExist(t *testing.T) {
	t.Parallel()
	var messages []string
	for _, c := range slices.Concat(problemCases, imageProblemCases, cacheProblemCases, trustProblemCases) {
		messages = append(messages, c.want...)
	}
	for _, pattern := range config.ErrorPatterns() {
		if strings.HasPrefix(pattern, "unable to load ") || strings.HasPrefix(pattern, "unable to parse kubelet CA") {
			continue
		}
		quoted := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\.\.\.`, `.*`)
		re := regexp.MustCompile(`\A` + placeholder.ReplaceAllString(quoted, `.*`) + `\z`)
		if !slices.ContainsFunc(messages, re.MatchString) {
			t.Errorf("no test has the message %s", pattern)
		}
	}
}
