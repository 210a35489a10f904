// Package cli is podseal's command line: attest, list, verify, validate, doctor and
// version. It shows operators what the plugin sees, with the same parts that the
// plugin runs, and decides nothing of its own.
package cli

//go:generate go test . -update

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/podseal/podseal/pkg/terminal"
)

// Exit codes.
const (
	exitOK = 0
	// exitFailed is a command that did its work and found a failure, or could not
	// do it.
	exitFailed = 1
	// exitUsage is a command line that makes no sense.
	exitUsage = 2
	// exitUntold is what verify answers when it could not be told.
	exitUntold = 2
	// exitInterrupted is what shells say of a program that was ended by SIGINT.
	exitInterrupted = 130
)

// Env is what a command line runs in. All fields must be set.
type Env struct {
	// Args are the arguments, without the program's name.
	Args  []string
	Stdin io.Reader
	// Stdout is for what was asked for, Stderr for what is said beside it.
	Stdout, Stderr *terminal.Output
	// Getenv looks up an environment variable, as os.Getenv.
	Getenv func(string) string
	// Proc is where procfs is mounted, "/proc".
	Proc string
	// Executable is the path of this program's file.
	Executable string
}

// Main runs a command line and returns the exit code. It ends soon after ctx.
func Main(ctx context.Context, env Env) int {
	root := Command(env)
	root.SetArgs(env.Args)
	err := root.ExecuteContext(ctx)
	usage, isUsage := errors.AsType[*usageError](err)
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil:
		say(env.Stderr, "interrupted", terminal.Plain, "")
		return exitInterrupted
	case errors.Is(err, errReported):
		return exitFailed
	case errors.Is(err, errUntold):
		return exitUntold
	}
	if isUsage {
		fail(env.Stderr, &failure{Cause: usage.Error()})
		return exitUsage
	}
	fail(env.Stderr, diagnose(err))
	return exitFailed
}

// errReported is a failure that was already written where it belongs.
var errReported = errors.New("the command found a failure")

// errUntold is a question of which the answer could not be told; why was already
// written.
var errUntold = errors.New("it could not be told")

// usageError is a command line that makes no sense.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// say writes a sentence with a label. Where standard error is closed there is
// nobody to tell.
func say(out *terminal.Output, label string, style terminal.Style, text string) {
	_ = out.Paragraph(terminal.Paragraph{Label: label, LabelStyle: style, Text: text})
}

// fail writes a failure in its two sentences.
func fail(out *terminal.Output, f *failure) {
	say(out, "error: ", terminal.Bad, f.Cause)
	if f.Remedy != "" {
		say(out, "remedy: ", terminal.Bold, f.Remedy)
	}
}

func (c *command) note(format string, args ...any) {
	say(c.Stderr, "note: ", terminal.Warning, fmt.Sprintf(format, args...))
}
