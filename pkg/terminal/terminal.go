// Package terminal is what the commands write with: tables that fit the terminal,
// sentences, commands to paste, and a line that says what is waited for. Everything
// that is written is escaped here, through package printable, so that no caller can
// forget it; what gives it colour is added after that. On a terminal things are
// wrapped and nothing is ever cut off for want of room. Elsewhere a row is a line,
// for grep and awk. The package knows what a place can show only from the fields
// of Output, and nothing of podseal.
package terminal

import (
	"io"
	"os"
	"strconv"

	"golang.org/x/term"
)

const (
	// defaultWidth is the width of a terminal that does not know its own.
	defaultWidth = 80
	// minWidth is the narrowest terminal that things are fitted to.
	minWidth = 20
)

// Output is a place to write to and what can be shown there. The zero value of all
// but W is a file or a pipe. It must not be changed while it is used; its methods
// may be called by one goroutine at a time.
type Output struct {
	// W is where everything is written. Each method writes once.
	W io.Writer
	// Width is how many columns a line may have. It is 0 where there is no bound; a
	// width below 20 counts as 20.
	Width int
	// Color says whether styles are shown.
	Color bool
	// Rewrite says whether a line that was written can be replaced.
	Rewrite bool
}

// New looks at what f is. On a terminal the width is COLUMNS if that is a positive
// number, else what the terminal says, else 80; there are colours unless NO_COLOR is
// set and not empty (https://no-color.org), and neither colours nor lines that are
// replaced if TERM is empty or "dumb". Anything else than a terminal is the zero
// value with W.
func New(f *os.File, getenv func(string) string) *Output {
	fd := int(f.Fd()) // #nosec G115 -- a file descriptor is a small number
	if !term.IsTerminal(fd) {
		return &Output{W: f}
	}
	kind := getenv("TERM")
	able := kind != "" && kind != "dumb"
	return &Output{
		W:       f,
		Width:   width(fd, getenv("COLUMNS")),
		Color:   able && getenv("NO_COLOR") == "",
		Rewrite: able,
	}
}

func width(fd int, columns string) int {
	if n, err := strconv.Atoi(columns); err == nil && n > 0 {
		return n
	}
	if n, _, err := term.GetSize(fd); err == nil && n > 0 {
		return n
	}
	return defaultWidth
}

// width is the number of columns to fit things to, or 0.
func (o *Output) width() int {
	if o.Width <= 0 {
		return 0
	}
	return max(o.Width, minWidth)
}

// Style is how a text looks where there are colours. It never carries meaning that
// the text itself does not.
type Style int

const (
	Plain   Style = iota
	Bold          // headings
	Dim           // what matters less than what is around it
	Good          // green
	Warning       // yellow
	Bad           // red
)

// codes are the parameters of the escape sequence that begins a style. The first
// eight colours are those that people choose themselves to be readable.
var codes = [...]string{Bold: "1", Dim: "2", Good: "32", Warning: "33", Bad: "31"}

// paint puts a style around a text that is already escaped.
func (o *Output) paint(s Style, text string) string {
	if !o.Color || text == "" || s <= Plain || int(s) >= len(codes) {
		return text
	}
	return "\x1b[" + codes[s] + "m" + text + "\x1b[0m"
}
