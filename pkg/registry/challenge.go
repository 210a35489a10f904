package registry

import "strings"

const (
	// maxChallenges and maxParameters bound what is read of a 401's headers.
	maxChallenges = 16
	maxParameters = 16
)

// challenge is one way in which a registry lets itself be convinced (RFC 9110,
// section 11.3).
type challenge struct {
	// scheme is in lower case, and so are the names of the parameters.
	scheme     string
	parameters map[string]string
}

// parseChallenges reads the values of WWW-Authenticate, as far as they make sense.
func parseChallenges(values []string) []challenge {
	var found []challenge
	for _, s := range values {
		for s != "" && len(found) < maxChallenges {
			var c challenge
			if c, s = parseChallenge(s); c.scheme == "" {
				break
			}
			found = append(found, c)
		}
	}
	return found
}

// parseChallenge reads a scheme and its parameters and returns what follows them.
func parseChallenge(s string) (c challenge, rest string) {
	s = strings.TrimLeft(s, " \t,")
	n := tokenLength(s)
	c = challenge{scheme: strings.ToLower(s[:n]), parameters: map[string]string{}}
	for rest = s[n:]; ; {
		next := strings.TrimLeft(rest, " \t,")
		n := tokenLength(next)
		name := strings.ToLower(next[:n])
		value, ok := strings.CutPrefix(strings.TrimLeft(next[n:], " \t"), "=")
		if n == 0 || !ok {
			return c, next // the next scheme, or nothing
		}
		text, after, ok := parseValue(strings.TrimLeft(value, " \t"))
		if !ok || len(c.parameters) == maxParameters {
			return c, ""
		}
		// The first counts: of two readers none must find another one.
		if _, twice := c.parameters[name]; !twice {
			c.parameters[name] = text
		}
		rest = after
	}
}

// parseValue reads a token or a quoted string.
func parseValue(s string) (value, rest string, ok bool) {
	quoted, isQuoted := strings.CutPrefix(s, `"`)
	if !isQuoted {
		n := tokenLength(s)
		return s[:n], s[n:], n > 0
	}
	var text strings.Builder
	for i := 0; i < len(quoted); i++ {
		switch c := quoted[i]; {
		case c == '"':
			return text.String(), quoted[i+1:], true
		case c == '\\' && i+1 < len(quoted):
			i++
			text.WriteByte(quoted[i])
		default:
			text.WriteByte(c)
		}
	}
	return "", "", false
}

// tokenLength is how much of the beginning of s is a token.
func tokenLength(s string) int {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return i
		}
	}
	return len(s)
}
