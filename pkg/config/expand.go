package config

import (
	"fmt"
	"strings"
)

// ExpandEnv does to the text of an agent.conf what the agent's -expandEnv does before
// it parses it: $NAME and ${NAME} become what env has for the name, "" for a variable
// that is not set, and $$ becomes $. It knows nothing of HCL: strings, keys and comments
// are all expanded, and a value may be any text.
//
// The agent expands its own file only. What plugin_data_file names is handed to the
// plugin as it is.
func ExpandEnv(text string, env func(string) string) string {
	expanded, _, _ := expandEnv(text, env)
	return expanded
}

// eaten is a reference of which an expansion left nothing.
type eaten struct {
	text, file int // where it stood
	reference  string
}

// expanded is the source of a file's text after the expansion.
func (s *source) expanded(env func(string) string) (*source, error) {
	e := &source{index: s.index}
	e.text, e.pieces, e.eaten = expandEnv(s.text, func(name string) string {
		return strings.ReplaceAll(env(name), "\r\n", "\n")
	})
	if err := checkText(e.text); err != nil {
		return nil, fmt.Errorf("with environment variables expanded: %w", err)
	}
	return e, nil
}

// expandEnv is os.Expand, which does not say what came from where.
func expandEnv(text string, env func(string) string) (string, []piece, []eaten) {
	var b strings.Builder
	pieces := []piece{{}}
	var gone []eaten
	from := 0
	for i := 0; i < len(text); i++ {
		if text[i] != '$' || i+1 == len(text) {
			continue
		}
		name, width := variable(text[i+1:])
		if width == 0 {
			continue // A $ before what is no name stays.
		}
		b.WriteString(text[from:i])
		value := ""
		switch name {
		case "":
		case "$":
			value = "$"
		default:
			value = env(name)
		}
		from = i + 1 + width
		if value == "" {
			gone = append(gone, eaten{text: b.Len(), file: i, reference: text[i:from]})
		}
		pieces = append(pieces, piece{text: b.Len(), file: i, replaced: true})
		b.WriteString(value)
		pieces = append(pieces, piece{text: b.Len(), file: from})
		i = from - 1
	}
	b.WriteString(text[from:])
	return b.String(), pieces, gone
}

// variable is the name that begins after a $, and how many bytes it takes with its
// braces. Braces without a name or without an end have a width and no name: they are
// removed.
func variable(s string) (name string, width int) {
	const special = "*#$@!?-0123456789"
	switch {
	case s[0] == '{':
		end := strings.IndexByte(s, '}')
		if len(s) > 2 && strings.IndexByte(special, s[1]) >= 0 && s[2] == '}' {
			end = 2
		}
		if end < 0 {
			return "", 1
		}
		return s[1:end], end + 1
	case strings.IndexByte(special, s[0]) >= 0:
		return s[:1], 1
	}
	for width < len(s) && isAlphaNumeric(s[width]) {
		width++
	}
	return s[:width], width
}

func isAlphaNumeric(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// eatenIn warns of what an expansion removed in that range of the text.
func (s *source) eatenIn(in span) (warnings Problems) {
	for _, e := range s.eaten {
		if e.text < in.from || e.text > in.to || s.inComment(e.text) {
			continue
		}
		if len(warnings) == maxProblems {
			break
		}
		reference := e.reference
		if len(reference) > maxReference {
			reference = strings.ToValidUTF8(reference[:maxReference], "") + "..."
		}
		warnings.add("", s.index.pos(e.file), "%q: the environment has nothing for it, so the agent's -expandEnv leaves nothing of it; with -expandEnv, a $ that is meant (as in a pattern) is written $$", reference)
	}
	return warnings
}

// maxReference is how much of a reference is shown, in bytes: one that is not closed
// ends at the next brace of the file.
const maxReference = 60
