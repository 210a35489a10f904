package doctor

import (
	"context"
	"fmt"
)

func (x *examination) configuration(context.Context) []Check {
	return []Check{judgeConfiguration(x.Settings)}
}

func judgeConfiguration(s Settings) Check {
	const (
		fix   = "correct what is named; `podseal validate` shows every place"
		weigh = "change the settings that are named, or keep them knowing what they allow"
	)
	switch problems, warnings := s.Problems, s.Warnings; {
	case len(problems) == 1:
		return failed(Configuration, "the configuration is refused: "+problems[0].String(), fix, sentences(warnings)...)
	case len(problems) > 1:
		return failed(Configuration, fmt.Sprintf("the configuration is refused for %d reasons, first %s", len(problems), problems[0]), fix,
			append(sentences(problems), sentences(warnings)...)...)
	case len(warnings) == 1:
		return warning(Configuration, "the configuration holds, but "+warnings[0].String(), weigh)
	case len(warnings) > 1:
		return warning(Configuration, fmt.Sprintf("the configuration holds, with %d warnings, first %s", len(warnings), warnings[0]), weigh, sentences(warnings)...)
	}
	return ok(Configuration, "the configuration holds")
}

// String is the place, the key and the message.
func (n Notice) String() string {
	text := n.Message
	// Many messages begin with their key already.
	if n.Key != "" && !startsWithKey(n.Message, n.Key) {
		text = n.Key + ": " + text
	}
	if n.Place != "" {
		text = n.Place + ": " + text
	}
	return text
}

func startsWithKey(message, key string) bool {
	return len(message) > len(key) && message[:len(key)] == key && message[len(key)] == ':'
}

func sentences(notices []Notice) []string {
	all := make([]string, len(notices))
	for i, n := range notices {
		all[i] = n.String()
	}
	return all
}
