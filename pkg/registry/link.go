package registry

import "strings"

// nextLink returns the target of the first link to the next page (RFC 8288), if
// there is one.
func nextLink(values []string) (string, bool) {
	for _, s := range values {
		for s != "" {
			begin := strings.IndexByte(s, '<')
			if begin < 0 {
				break
			}
			target, rest, ok := strings.Cut(s[begin+1:], ">")
			if !ok {
				break
			}
			parameters, after := cut(rest, ',')
			if isNext(parameters) {
				return target, true
			}
			s = after
		}
	}
	return "", false
}

// cut splits at the first separator that is not in a quoted string.
func cut(s string, separator byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == separator && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// isNext is whether one of a link's relations is "next".
func isNext(parameters string) bool {
	for parameters != "" {
		var p string
		p, parameters = cut(parameters, ';')
		name, value, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "rel") {
			continue
		}
		for relation := range strings.FieldsSeq(strings.Trim(strings.TrimSpace(value), `"`)) {
			if strings.EqualFold(relation, "next") {
				return true
			}
		}
	}
	return false
}
