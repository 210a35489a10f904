package sigstore

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
)

// Pattern is what an issuer or a subject must be: one exact string, or what a
// regular expression matches as a whole. The zero Pattern matches nothing.
type Pattern struct {
	text string
	re   *regexp.Regexp
}

// Exact returns the Pattern that matches s alone. Nothing matches Exact("").
func Exact(s string) Pattern { return Pattern{text: s} }

// maxPattern bounds a regular expression, in bytes.
const maxPattern = 4 << 10

// Regexp returns the Pattern that matches the strings that the expression, in Go's
// syntax, matches from their beginning to their end: \A(?:expr)\z. So
// "https://github\.com/org/.+" does not match
// "https://evil.example/https://github.com/org/x".
func Regexp(expr string) (Pattern, error) {
	switch {
	case expr == "":
		return Pattern{}, errors.New("an empty pattern matches nobody: leave it out or write one")
	case len(expr) > maxPattern:
		return Pattern{}, fmt.Errorf("the pattern is longer than %d bytes", maxPattern)
	}
	// Alone first: `a)|(b` is an error, but would be an expression within the
	// brackets, and one that is not anchored.
	if _, err := syntax.Parse(expr, syntax.Perl); err != nil {
		return Pattern{}, err
	}
	re, err := regexp.Compile(`\A(?:` + expr + `)\z`)
	if err != nil {
		return Pattern{}, err
	}
	return Pattern{text: expr, re: re}, nil
}

// IsZero is whether the Pattern is none.
func (p Pattern) IsZero() bool { return p.text == "" }

// IsRegexp is whether the Pattern is a regular expression.
func (p Pattern) IsRegexp() bool { return p.re != nil }

// Match is whether s is what the Pattern says.
func (p Pattern) Match(s string) bool {
	switch {
	case p.IsZero():
		return false
	case p.re != nil:
		return p.re.MatchString(s)
	}
	return p.text == s
}

// MatchesAnything is whether a regular expression says nothing at all about what
// it matches, as `.*` and `.+` do.
func (p Pattern) MatchesAnything() bool {
	if p.re == nil {
		return false
	}
	for _, s := range unlikely {
		if !p.re.MatchString(s) {
			return false
		}
	}
	return true
}

// unlikely are subjects and issuers that nobody means to allow, of each form.
var unlikely = []string{"https://Q7.invalid/zk/9?x=_", "zk.9+Q7@w-3.invalid", "Zk9_Q!w-3.invalid", "spiffe://q7.invalid/Zk-9"}

// String is the string or the expression.
func (p Pattern) String() string { return p.text }
