package terminal_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"github.com/rivo/uniseg"

	"github.com/podseal/podseal/pkg/printable"
	"github.com/podseal/podseal/pkg/terminal"
)

// columnsOf says how many columns each character takes that does not stand with the
// one before, for a terminal that knows clusters and for one that adds up
// characters: the wider one.
func columnsOf(s string) (characters []string, widths []int) {
	g := uniseg.NewGraphemes(s)
	for g.Next() {
		sum := 0
		for _, r := range g.Runes() {
			switch {
			case unicode.In(r, unicode.Mn, unicode.Me):
			case 0x1F3FB <= r && r <= 0x1F3FF:
				sum += 2
			default:
				sum += max(1, uniseg.StringWidth(string(r)))
			}
		}
		characters = append(characters, g.Str())
		widths = append(widths, max(sum, g.Width()))
	}
	return characters, widths
}

func columns(s string) int {
	_, widths := columnsOf(s)
	n := 0
	for _, w := range widths {
		n += w
	}
	return n
}

// from is what stands in a line from one column to another.
func from(line string, begin, end int) string {
	var out strings.Builder
	at := 0
	characters, widths := columnsOf(line)
	for i, c := range characters {
		if begin <= at && at < end {
			out.WriteString(c)
		}
		at += widths[i]
	}
	return out.String()
}

func withoutSpaces(s string) string { return strings.ReplaceAll(s, " ", "") }

// want is what is shown of a cell, but for the spaces, which lines are broken at.
func want(text string) string {
	if text == "" {
		return "<none>"
	}
	return withoutSpaces(printable.Line(text, 4096))
}

// readColumns reads a table with the headers A, B and C: the cells of each column,
// one below the other, without spaces.
func readColumns(lines []string) (got [3]string) {
	header := lines[0]
	offsets := []int{0, strings.Index(header, "B"), strings.Index(header, "C"), 1 << 30}
	for _, line := range lines[1:] {
		for i := range got {
			got[i] += withoutSpaces(from(line, offsets[i], offsets[i+1]))
		}
	}
	return got
}

// readRecords reads what readColumns does from records.
func readRecords(lines []string) (got [3]string) {
	current := 0
	for _, line := range lines {
		if line == "" {
			continue
		}
		if line[0] != ' ' {
			current = int(line[0] - 'A')
			line = line[len("A:"):]
		}
		got[current] += withoutSpaces(line)
	}
	return got
}

func FuzzTable(f *testing.F) {
	nasty := []string{"", " ", "pay", "api-7d9f8c6b5-x2x4z", "registry.example.org/pay/api@" + digest, "a b  c   d", "x\nB  C", "\x1b[2J", "\xff",
		"東京特許許可局", "e\u0301\u0301", strings.Repeat("\u1100", 40), "\u2e3b", "\U0001F3FD\U0001F44D\U0001F3FD\U0001F3FD", strings.Repeat("/:@,-.", 20), strings.Repeat("é ", 100)}
	for i, s := range nasty {
		f.Add(s, nasty[(i+1)%len(nasty)], nasty[(i+5)%len(nasty)], 20+i*4, i%2 == 0)
		f.Add(s, s, s, 34, false)
		f.Add("pay", s, nasty[4], 50, false)
	}
	f.Fuzz(func(t *testing.T, a, b, c string, width int, terminals bool) {
		if width = min(max(width, 0), 300); !terminals && width%7 == 0 {
			width = 0
		}
		rows := [][]terminal.Cell{{terminal.Text(a), terminal.Good.Text(b), terminal.Text(c)}, {terminal.Bad.Text(c), terminal.Text(a), terminal.Text(b)}}
		plain := render(t, terminal.Output{Width: width}, rows)
		lines := strings.Split(strings.TrimSuffix(plain, "\n"), "\n")
		for _, line := range lines {
			if n := columns(line); width > 0 && n > max(width, 20) {
				t.Errorf("%q has %d columns of %d", line, n, width)
			}
			if printable.Line(line, 0) != line {
				t.Errorf("%q does not print", line)
			}
		}
		if width == 0 && len(lines) != 1+len(rows) {
			t.Errorf("%d lines for %d rows", len(lines), len(rows))
		}

		read := readColumns
		if strings.HasPrefix(lines[0], "A:") {
			read = readRecords
		}
		got := read(lines)
		for i := range got {
			if expected := want(rows[0][i].Text) + want(rows[1][i].Text); got[i] != expected {
				t.Errorf("column %d is %q, want %q:\n%s", i, got[i], expected, plain)
			}
		}

		colored := render(t, terminal.Output{Width: width, Color: true}, rows)
		for _, style := range []string{"0", "1", "2", "31", "32"} {
			colored = strings.ReplaceAll(colored, "\x1b["+style+"m", "")
		}
		if colored != plain {
			t.Errorf("with colours another text: %q, want %q", colored, plain)
		}
	})
}

func render(t *testing.T, out terminal.Output, rows [][]terminal.Cell) string {
	var text bytes.Buffer
	out.W = &text
	if err := out.Table([]string{"a", "b", "c"}, rows); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func FuzzParagraph(f *testing.F) {
	f.Add("remedy: ", "mount the host's /proc and set hostPID", 4, 40)
	f.Add("東京: ", strings.Repeat("\u1100\u2e3b", 40), 40, 20)
	f.Add(strings.Repeat("label ", 20), "\x1b[2J\n", -1, 30)
	f.Add("", "", 0, 0)
	f.Fuzz(func(t *testing.T, label, text string, indent, width int) {
		width = min(max(width, 1), 300)
		var written bytes.Buffer
		out := terminal.Output{W: &written, Width: width}
		if err := out.Paragraph(terminal.Paragraph{Indent: indent, Label: label, Text: text}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(written.String(), "\n"), "\n") {
			if n := columns(line); n > max(width, 20) || printable.Line(line, 0) != line {
				t.Errorf("%q has %d columns of %d", line, n, width)
			}
		}
		got := withoutSpaces(strings.ReplaceAll(written.String(), "\n", ""))
		if expected := withoutSpaces(printable.Line(label, 16<<10) + printable.Line(text, 16<<10)); got != expected {
			t.Errorf("got %q, want %q", got, expected)
		}
	})
}
