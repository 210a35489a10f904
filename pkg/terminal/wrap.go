package terminal

import (
	"strings"
	"unicode"

	"github.com/rivo/uniseg"
)

// maxCluster is the most columns that a cluster may take. The widest character takes
// 4, but there is no end to how many Hangul consonants make one cluster.
const maxCluster = 4

// cluster is what a reader takes for one character: it is never broken.
type cluster struct {
	text  string
	width int
}

func (c cluster) isSpace() bool { return c.text == " " }

// ends says whether a line may be broken after the cluster inside a word that is
// longer than a line.
func (c cluster) ends() bool {
	return len(c.text) == 1 && strings.Contains("/:@,-.", c.text)
}

type clusters []cluster

// split takes a text apart. There are no control characters in it.
func split(text string) clusters {
	out := make(clusters, 0, len(text))
	for state := -1; text != ""; {
		var c cluster
		c.text, text, c.width, state = uniseg.FirstGraphemeClusterInString(text, state)
		if len(c.text) == 1 {
			out = append(out, c)
			continue
		}
		runes := runesOf(c.text)
		// Many terminals know nothing of clusters and add up their characters. A
		// line that is too wide is torn, one that is not as wide as it was taken
		// for is only out of line: the wider one counts.
		c.width = max(c.width, runes.width())
		if c.width > maxCluster {
			out = append(out, runes...)
			continue
		}
		out = append(out, c)
	}
	return out
}

// runesOf takes a cluster apart. What has no width stays with what is before it.
func runesOf(text string) clusters {
	var out clusters
	for _, r := range text {
		if width := runeWidth(r); width > 0 || len(out) == 0 {
			out = append(out, cluster{string(r), width})
		} else {
			out[len(out)-1].text += string(r)
		}
	}
	return out
}

// runeWidth is how many columns a character takes alone.
func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case 0x1F3FB <= r && r <= 0x1F3FF: // tones of skin, which have no width of their own for uniseg
		return 2
	default:
		return max(1, uniseg.StringWidth(string(r)))
	}
}

// displayWidth is how many columns a text takes.
func displayWidth(text string) int { return split(text).width() }

func (cs clusters) width() int {
	n := 0
	for _, c := range cs {
		n += c.width
	}
	return n
}

func (cs clusters) String() string {
	var b strings.Builder
	for _, c := range cs {
		b.WriteString(c.text)
	}
	return b.String()
}

// upTo is the beginning that takes no more than so many columns.
func (cs clusters) upTo(columns int) clusters {
	for i, c := range cs {
		if columns -= c.width; columns < 0 {
			return cs[:i]
		}
	}
	return cs
}

// cut cuts where f is first true of an index, from that of the second cluster on.
func (cs clusters) cut(f func(i int) bool) (head, tail clusters) {
	for i := 1; i < len(cs); i++ {
		if f(i) {
			return cs[:i], cs[i:]
		}
	}
	return cs, nil
}

// wrap breaks a text into lines of no more than so many columns: first for the first
// one and rest, which is not more, for all others, but at least maxCluster. Lines are
// broken at spaces, which are left out there; a word that is longer than a line after
// one of / : @ , - . if that will do, and anywhere if not. There is always one line.
func wrap(text string, first, rest int) []string {
	w := wrapper{room: first, rest: rest}
	cs := split(text)
	for len(cs) > 0 {
		run, tail := cs.cut(func(i int) bool { return cs[i].isSpace() != cs[i-1].isSpace() })
		if run[0].isSpace() {
			w.gap = run
		} else {
			w.add(run)
		}
		cs = tail
	}
	return append(w.lines, w.line.String())
}

// wrapper has one line in the making.
type wrapper struct {
	lines []string
	line  strings.Builder
	used  int      // columns of line
	room  int      // columns that line may have
	rest  int      // columns that the following ones may have
	gap   clusters // spaces between line and what is added next
}

// end begins a new line, unless nothing stands on this one.
func (w *wrapper) end() {
	w.gap = nil
	if w.used == 0 {
		return
	}
	w.lines = append(w.lines, w.line.String())
	w.line.Reset()
	w.used, w.room = 0, w.rest
}

// put adds to the line if there is room.
func (w *wrapper) put(text clusters) bool {
	columns := w.gap.width() + text.width()
	if w.used+columns > w.room {
		return false
	}
	w.line.WriteString(w.gap.String() + text.String())
	w.used += columns
	w.gap = nil
	return true
}

func (w *wrapper) add(word clusters) {
	if w.put(word) {
		return
	}
	if word.width() <= w.rest {
		w.end()
		w.put(word)
		return
	}
	for len(word) > 0 {
		piece, tail := word.cut(func(i int) bool { return word[i-1].ends() && !word[i].ends() })
		w.addPiece(piece)
		word = tail
	}
}

func (w *wrapper) addPiece(piece clusters) {
	if w.put(piece) {
		return
	}
	w.end()
	for !w.put(piece) {
		head := piece.upTo(w.room)
		piece = piece[len(head):]
		w.put(head)
		w.end()
	}
}
