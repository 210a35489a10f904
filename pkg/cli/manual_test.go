package cli

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/podseal/podseal/pkg/terminal"
)

// tree is the command line for looking at it.
func tree() *cobra.Command {
	root := Command(Env{Stdout: &terminal.Output{W: &bytes.Buffer{}}, Stderr: &terminal.Output{W: &bytes.Buffer{}}, Getenv: func(string) string { return "" }})
	root.InitDefaultCompletionCmd("completion")
	root.DisableAutoGenTag = true
	return root
}

// The manual pages are what the commands say of themselves.
func TestManualPages(t *testing.T) {
	t.Parallel()
	var page func(cmd *cobra.Command)
	page = func(cmd *cobra.Command) {
		if !cmd.IsAvailableCommand() && cmd.HasParent() {
			return
		}
		var b bytes.Buffer
		day := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
		if err := doc.GenMan(cmd, &doc.GenManHeader{Title: "PODSEAL", Section: "1", Source: "podseal", Manual: "podseal", Date: &day}, &b); err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.Join("..", "..", "docs", "man", strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1"), b.Bytes())
		for _, child := range cmd.Commands() {
			page(child)
		}
	}
	page(tree())
}
