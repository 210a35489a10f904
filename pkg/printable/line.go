// Package printable makes what strangers wrote fit for a line of a log or of a
// terminal, and for a command that a person pastes. Pod names, images, paths of
// cgroups, bodies of HTTP answers: whoever wrote them must not be able to move the
// cursor, to end a line and begin one that looks like ours, or to hide a part of
// what is shown. It knows nothing of podseal.
package printable

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// cutMark ends what was cut.
const cutMark = "... (cut)"

// Line returns s as one line without anything that does not show: control
// characters, line and paragraph separators, every space but the ASCII one, what
// reorders or joins text, what is invisible, private or unassigned. Those are
// written as Go writes them in a string, \n, \x1b or \u202e, and each byte that is
// no UTF-8 as \xNN. A combining mark is escaped where nothing stands before it
// that it belongs to, for it would change what is written before the line. U+FFFD
// stays where it was really written. Letters that look like others, or that are
// written from right to left, are letters.
//
// A result of more than max bytes is cut, never inside an escape, and ends in
// "... (cut)", which counts; max below 1 means no bound.
//
// Quotes and backslashes stay as they are. So a line does not tell an escape from
// the same characters really written, and in return Line is idempotent: a message
// that quotes another one is escaped as a whole, and nothing is escaped twice.
func Line(s string, max int) string {
	if max < 1 {
		max = math.MaxInt
	}
	if len(s) <= max && isLine(s) {
		return s
	}
	var out strings.Builder
	cut := 0 // where the line ends if there turns out to be too much of it
	stands := false
	for rest := s; rest != ""; {
		r, size := utf8.DecodeRuneInString(rest)
		text := rest[:size]
		if stands = shows(r, size, stands); !stands {
			text = escape(r, text)
		}
		if out.Len()+len(text) > max {
			return (out.String()[:cut] + cutMark)[:min(max, cut+len(cutMark))]
		}
		out.WriteString(text)
		if out.Len()+len(cutMark) <= max {
			cut = out.Len()
		}
		rest = rest[size:]
	}
	return out.String()
}

// isLine says whether there is nothing to escape.
func isLine(s string) bool {
	stands := false
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if stands = shows(r, size, stands); !stands {
			return false
		}
		i += size
	}
	return true
}

// shows says whether a rune is written as it is. stands says whether the one
// before it was.
func shows(r rune, size int, stands bool) bool {
	switch {
	case ' ' <= r && r <= '~':
		return true
	case r == utf8.RuneError && size == 1: // no UTF-8
		return false
	case !unicode.IsPrint(r) || unicode.In(r, invisible...):
		return false
	case unicode.In(r, joining...):
		return stands
	default:
		return true
	}
}

// invisible are the characters that count as letters, marks or symbols but show
// nothing: two names that differ in them alone look the same.
var invisible = []*unicode.RangeTable{
	unicode.Other_Default_Ignorable_Code_Point, // Hangul fillers, the grapheme joiner
	unicode.Variation_Selector,
	{R16: []unicode.Range16{{Lo: 0x2800, Hi: 0x2800, Stride: 1}}}, // the Braille cell without a dot
}

// joining are the characters that are drawn with the one before.
var joining = []*unicode.RangeTable{
	unicode.M,
	{
		R16: []unicode.Range16{
			{Lo: 0x0E33, Hi: 0x0E33, Stride: 1}, // a Thai vowel
			{Lo: 0x0EB3, Hi: 0x0EB3, Stride: 1}, // a Lao one
			{Lo: 0xFF9E, Hi: 0xFF9F, Stride: 1}, // half-width voiced sound marks
		},
		R32: []unicode.Range32{{Lo: 0x1F3FB, Hi: 0x1F3FF, Stride: 1}}, // tones of skin
	},
}

// escape is the escape of a rune, or of a byte that is no UTF-8.
func escape(r rune, text string) string {
	if r == utf8.RuneError && len(text) == 1 {
		return fmt.Sprintf(`\x%02x`, text[0])
	}
	quoted := strconv.QuoteRuneToASCII(r)
	return quoted[1 : len(quoted)-1]
}
