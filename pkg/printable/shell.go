package printable

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnprintable is what a word of a command is refused for that holds anything
// that Line would escape. Quotes do not help there: a terminal acts on the bytes of
// a paste before the shell sees them, and may end a bracketed paste at an escape
// sequence inside the quotes, so that what follows is typed.
var ErrUnprintable = errors.New("it has characters that don't print and must not be pasted into a terminal")

// maxShown is how much of a refused word an error shows, in bytes.
const maxShown = 200

// ShellQuote returns s as one word of a POSIX shell's command. ASCII letters and
// digits and _ - . / : @ % + = , need no quotes; a word that is empty, begins with
// "=" (zsh takes it for a command's path) or has anything else is put into single
// quotes. It says nothing about what a program makes of the word: one that begins
// with "-" is still an option. The error is ErrUnprintable, with the word.
func ShellQuote(s string) (string, error) {
	if !isLine(s) {
		return "", fmt.Errorf("no command can be made of \"%s\": %w", Line(s, maxShown), ErrUnprintable)
	}
	if s != "" && s[0] != '=' && strings.IndexFunc(s, needsQuotes) < 0 {
		return s, nil
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'", nil
}

func needsQuotes(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	default:
		return !strings.ContainsRune("_-./:@%+=,", r)
	}
}

// ShellCommand returns the words of a command on one line, each as ShellQuote
// returns it. The first one is the name of a program.
func ShellCommand(words ...string) (string, error) {
	quoted := make([]string, len(words))
	for i, word := range words {
		var err error
		if quoted[i], err = ShellQuote(word); err != nil {
			return "", err
		}
	}
	return strings.Join(quoted, " "), nil
}
