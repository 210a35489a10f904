package diagnosis

import (
	"fmt"
	"strings"
)

// Kinds are the kinds of a package's failures, by their numbers: the name of each, which
// is the Reason of its Diagnosis, and what to do about it.
type Kinds []struct{ Name, Remedy string }

// Name is that of a kind, and its number where there is none of that number.
func (k Kinds) Name(kind int) string {
	if kind < 0 || kind >= len(k) {
		return fmt.Sprintf("kind %d", kind)
	}
	return k[kind].Name
}

// Diagnose is the Diagnosis of a failure of that kind.
func (k Kinds) Diagnose(kind int, cause string) Diagnosis {
	remedy := "look into it"
	if kind >= 0 && kind < len(k) {
		remedy = k[kind].Remedy
	}
	return New(Reason(k.Name(kind)), cause, remedy)
}

// Several are errors of which none comes first, in one line.
type Several []error

func (s Several) Error() string {
	texts := make([]string, len(s))
	for i, err := range s {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the errors.
func (s Several) Unwrap() []error { return s }
