package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

const (
	// maxMessage is the longest message, in bytes. A message travels in a gRPC status,
	// which is an HTTP/2 header, and the text that it quotes may be a megabyte.
	maxMessage = 2048
	// maxProblems is how many problems are told apart. All of them travel in one
	// answer of Validate, and a megabyte has room for 300,000.
	maxProblems = 100
)

// Pos is a place in the text, counted from 1. The zero Pos is no place.
//
// SPIRE Agent prints plugin_data again before it hands it over, so what the plugin
// parses has the places of that print. Find keeps those of the file.
type Pos struct {
	Line, Column int
}

// String is "line:column", or "" for no place.
func (p Pos) String() string {
	if p == (Pos{}) {
		return ""
	}
	return fmt.Sprintf("%d:%d", p.Line, p.Column)
}

// Problem is one reason why a configuration is refused, or one to think it over.
type Problem struct {
	// Key is the dotted path of the key, such as "experimental.broker.brokers".
	// It is "" where the text as a whole is at fault.
	Key string
	// Pos is where the key stands in the text, or, with no key, where the text stops
	// to make sense. It is zero where that is no single place.
	Pos Pos
	// Message is one line for people, free of control characters. Where the built-in
	// attestor has a message for the same mistake it is the same one.
	Message string
	// BuiltInIgnores is true for what SPIRE 1.15's built-in attestor, when it is
	// configured with the same text, takes without a word although what was meant
	// has no effect: a key that it does not look for, a value that another one
	// replaces, a port that is none. A configuration that it has served for years
	// may have such mistakes. For keys beside plugin_data it is the agent that takes
	// them. It is about this problem alone: the built-in attestor may refuse the
	// text because of another one, and it is false where that is not certain.
	BuiltInIgnores bool
}

// Error is the Message.
func (p Problem) Error() string { return p.Message }

// Problems are in the order in which the built-in attestor reports those that it has
// too; what only podseal refuses follows.
type Problems []Problem

func newProblem(key string, pos Pos, format string, args ...any) Problem {
	return Problem{Key: key, Pos: pos, Message: oneLine(fmt.Sprintf(format, args...))}
}

func (ps *Problems) add(key string, pos Pos, format string, args ...any) {
	*ps = append(*ps, newProblem(key, pos, format, args...))
}

// cut keeps the first of that many problems, or warnings, and says how many there are
// besides.
func (ps Problems) cut(total int, of string) Problems {
	if total <= maxProblems {
		return ps
	}
	ps = ps[:maxProblems:maxProblems]
	ps.add("", Pos{}, "and %d more %s", total-maxProblems, of)
	return ps
}

func (ps Problems) messages() []string {
	var messages []string
	for _, p := range ps {
		messages = append(messages, p.Message)
	}
	return messages
}

// oneLine escapes what is not printable, for the text may come from anybody who may
// edit a ConfigMap while the message ends in other people's terminals, and cuts what
// is too long.
func oneLine(s string) string {
	var b strings.Builder
	for _, r := range s {
		if b.Len() > maxMessage {
			b.WriteString("... (cut)")
			break
		}
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}
