package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/podseal/podseal/pkg/terminal"
)

// validation is what `validate` finds.
type validation struct {
	header
	// File is where the configuration is, Plugin the WorkloadAttestor in it.
	File   string `json:"file"`
	Plugin string `json:"plugin,omitempty"`
	Valid  bool   `json:"valid"`
	// Problems are why the plugin refuses it, Warnings what it takes up with a
	// warning.
	Problems []finding `json:"problems"`
	Warnings []finding `json:"warnings"`
}

// finding is one thing to say about a place in a configuration.
type finding struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Key     string `json:"key,omitempty"`
	Message string `json:"message"`
	// BuiltInIgnores is whether SPIRE's built-in attestor takes the same without
	// a word and without effect.
	BuiltInIgnores bool `json:"built_in_ignores"`
}

func (c *command) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate [FILE]",
		Short: "Check a configuration and name the place of every problem",
		Long: `validate reads a whole agent configuration or a file with plugin_data alone and
says, with file, line, column and key, everything that is wrong with podseal's
part of it, and warns about what weakens what podseal vouches for and about what
the built-in attestor ignores in silence. It opens no other file than the
plugin_data_file that the configuration names, and no connection.

The exit code is 1 when there is a problem.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("validate takes one file, not %d", len(args))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			var path string
			if len(args) > 0 {
				path = args[0]
			}
			return c.validate(path)
		},
	}
}

func (c *command) validate(path string) error {
	cfg, err := c.loadConfig(path)
	if err != nil {
		return err
	}
	v := validation{
		header:   kind("Validation"),
		File:     cfg.path,
		Plugin:   cfg.block.Plugin,
		Valid:    len(cfg.problems) == 0,
		Problems: nonNil(cfg.problems),
		Warnings: nonNil(cfg.warnings),
	}
	if c.json() {
		err = writeJSON(c.Stdout.W, v)
	} else {
		err = v.write(c.Stdout)
	}
	if err == nil && !v.Valid {
		err = errReported
	}
	return err
}

func nonNil(all []finding) []finding { return append([]finding{}, all...) }

// write writes the validation as compilers do, a line for each place.
func (v validation) write(out *terminal.Output) error {
	for _, part := range []struct {
		label    string
		style    terminal.Style
		findings []finding
	}{{"error: ", terminal.Bad, v.Problems}, {"warning: ", terminal.Warning, v.Warnings}} {
		for _, f := range part.findings {
			text := f.sentence()
			if f.BuiltInIgnores {
				text += " (the built-in attestor takes it without a word)"
			}
			if err := out.Paragraph(terminal.Paragraph{Label: f.place() + part.label, LabelStyle: part.style, Text: text}); err != nil {
				return err
			}
		}
	}
	text := "valid"
	style := terminal.Good
	if !v.Valid {
		text, style = "not valid: the agent would not start with it, or keep its previous configuration", terminal.Bad
	}
	return out.Paragraph(terminal.Paragraph{Label: v.File + ": ", Text: text, Style: style})
}

// sentence is the message with the key before it, unless that is in it anyway.
func (f finding) sentence() string {
	if strings.Contains(f.Message, f.Key) {
		return f.Message
	}
	return f.Key + ": " + f.Message
}

// place is where it is, with a colon and a space behind; empty for the defaults.
func (f finding) place() string {
	switch {
	case f.File == "":
		return ""
	case f.Line == 0:
		return f.File + ": "
	}
	return fmt.Sprintf("%s:%d:%d: ", f.File, f.Line, f.Column)
}
