// Command lint runs the linters over podseal, each pinned in test/tools/lint, and
// ends with 1 if any of them finds something. gosec looks at what runs in
// production only: tests start programs and write files all day.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// linter is a command that must succeed and, where silent, print nothing.
type linter struct {
	name   string
	argv   []string
	silent bool
	// excuse is what in the output says that the linter could not do its work
	// here. That is then a note and not a failure.
	excuse string
}

func main() {
	tool := func(args ...string) []string {
		return append([]string{"go", "tool", "-modfile=test/tools/lint/go.mod"}, args...)
	}
	failed := 0
	for _, l := range []linter{
		{name: "gofmt", argv: []string{"gofmt", "-l", "pkg", "plugin", "test"}, silent: true},
		{name: "go vet", argv: []string{"go", "vet", "-tags=e2e", "./..."}},
		{name: "staticcheck", argv: tool("staticcheck", "-tags=e2e", "./...")},
		{name: "errorlint", argv: tool("go-errorlint", "./...")},
		{name: "gosec", argv: tool("gosec", "-quiet", "-color=false", "-exclude=G104", "-exclude-dir=kubelettest", "-exclude-dir=containertest", "./pkg/...", "./plugin/...")},
		{name: "govulncheck", argv: tool("govulncheck", "./plugin/podseal"), excuse: "fetching vulnerabilities"},
	} {
		if !l.run() {
			failed++
		}
	}
	if failed > 0 {
		fmt.Printf("lint: %d of the linters found something\n", failed)
		os.Exit(1)
	}
}

// run runs the linter and tells what it found.
func (l linter) run() bool {
	out, err := exec.Command(l.argv[0], l.argv[1:]...).CombinedOutput() // #nosec G204 -- the table above
	switch {
	case err == nil && !(l.silent && len(out) > 0):
		fmt.Printf("%-12s ok\n", l.name)
		return true
	case l.excuse != "" && bytes.Contains(out, []byte(l.excuse)):
		fmt.Printf("%-12s NOT RUN: %s\n", l.name, strings.TrimSpace(string(out)))
		return true
	}
	fmt.Printf("%-12s %v\n%s", l.name, err, out)
	return false
}
