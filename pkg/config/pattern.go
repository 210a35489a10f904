package config

import (
	"errors"
	"regexp"
	"strings"
)

// maxPattern bounds a regular expression, in bytes.
const maxPattern = 4 << 10

// Strings that have nothing in common but what every issuer, or nothing, has: a
// pattern for all of them is one for anything.
var (
	issuerProbes  = []string{"https://a.invalid", "https://b.test/c/d?e=f", "https://0.example:8443/g"}
	subjectProbes = []string{"a@b.invalid", "https://c.test/d/e.yaml@refs/heads/f", "spiffe://g.example/h", "0"}
)

// regularExpression checks a pattern that must match a whole string, and says whether
// it matches anything. It is compiled alone first, since `a)|(?:b` would come out of
// the anchors.
func regularExpression(text string, probes []string) (p Pattern, anything bool, err error) {
	if len(text) > maxPattern {
		return Pattern{}, false, errors.New("it is longer than 4 KiB")
	}
	if _, err := regexp.Compile(text); err != nil {
		return Pattern{}, false, err
	}
	re, err := regexp.Compile(`\A(?:` + text + `)\z`)
	if err != nil {
		return Pattern{}, false, err
	}
	anything = true
	for _, probe := range probes {
		anything = anything && re.MatchString(probe)
	}
	return Pattern{Text: text, Regexp: true}, anything, nil
}

// looksLikePattern is SPIRE's rule for allowed_identities.
func looksLikePattern(s string) bool { return strings.ContainsAny(s, "*+?^${}[]|()") }
