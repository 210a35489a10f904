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
// SPIRE Agent prints plugin_data again before it hands it over, so the places of a
// block in agent.conf are those of that print, not of the file.
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

// Problem is one reason why a configuration is refused.
type Problem struct {
	// Key is the dotted path of the key, such as "experimental.broker.brokers".
	// It is "" where the text as a whole is at fault.
	Key string
	// Pos is where the key stands in the text, or zero.
	Pos Pos
	// Message is one line for people, free of control characters. Where the built-in
	// attestor has a message for the same mistake it is the same one.
	Message string
}

// Error is the Message.
func (p Problem) Error() string { return p.Message }

// Problems are all reasons why a configuration is refused, those that the built-in
// attestor has too in the order in which it reports them: the first one is what
// Configure answers.
type Problems []Problem

func (ps *Problems) add(key string, pos Pos, format string, args ...any) {
	*ps = append(*ps, Problem{Key: key, Pos: pos, Message: oneLine(fmt.Sprintf(format, args...))})
}

// cut keeps the first problems and says how many there are besides.
func (ps Problems) cut() Problems {
	if len(ps) <= maxProblems {
		return ps
	}
	more := len(ps) - maxProblems
	ps = ps[:maxProblems:maxProblems]
	ps.add("", Pos{}, "and %d more problems", more)
	return ps
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
