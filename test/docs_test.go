package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sources is the text of all production code.
func sources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range []string{"../pkg", "../plugin"} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			all.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

// column returns a column of the table that follows a heading in a document.
func column(t *testing.T, document, heading string, n int) []string {
	t.Helper()
	_, section, ok := strings.Cut(document, heading)
	if !ok {
		t.Fatalf("there is no %q", heading)
	}
	var cells []string
	inTable := false
	for l := range strings.Lines(section) {
		if !strings.HasPrefix(l, "|") {
			if inTable {
				break
			}
			continue
		}
		inTable = true
		cells = append(cells, strings.TrimSpace(strings.Split(l, "|")[n]))
	}
	if len(cells) < 3 {
		t.Fatalf("there is no table below %q", heading)
	}
	return cells[2:]
}

var quoted = regexp.MustCompile("`([^`]+)`")

func TestTheErrorsOfTheManualAreThoseOfTheProgram(t *testing.T) {
	t.Parallel()
	code := sources(t)
	manual := read(t, "docs/operations.md")
	messages := 0
	for _, cell := range slices.Concat(column(t, manual, "## What the errors mean", 2), column(t, manual, "### Errors about images", 1)) {
		for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
			messages++
			for part := range strings.SplitSeq(m[1], " ... ") {
				// Codes of HTTP and what ConflictError is told are put in when it runs.
				part = strings.TrimRight(strings.TrimPrefix(part, "multiple "), "0123456789")
				part = strings.TrimSuffix(part, " found")
				if !strings.Contains(code, part) {
					t.Errorf("docs/operations.md explains %q, but nothing says %q", m[1], part)
				}
			}
		}
	}
	if messages < 60 {
		t.Errorf("only %d messages were looked at", messages)
	}
}

var named = regexp.MustCompile("`(Test[A-Za-z0-9]+)`")

// What docs/security.md says of attacks is shown by tests, as long as they are there.
func TestTheTestsThatAreNamedAreThere(t *testing.T) {
	t.Parallel()
	var tests strings.Builder
	for _, dir := range []string{"../pkg", "../plugin", "../test"} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			tests.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	all := named.FindAllStringSubmatch(read(t, "docs/security.md"), -1)
	for _, m := range all {
		if !strings.Contains(tests.String(), "func "+m[1]+"(t *testing.T)") {
			t.Errorf("docs/security.md names %s, which is nowhere", m[1])
		}
	}
	if len(all) < 20 {
		t.Errorf("only %d tests were looked for", len(all))
	}
}

var link = regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)

func TestLinksBetweenDocumentsLeadSomewhere(t *testing.T) {
	t.Parallel()
	documents, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Glob("../*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range slices.Concat(documents, top) {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), m[1])); err != nil {
				t.Errorf("%s: %v", document, err)
			}
		}
	}
}
