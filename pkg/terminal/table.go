package terminal

import (
	"fmt"
	"strings"

	"github.com/podseal/podseal/pkg/printable"
)

const (
	// maxCell is how many bytes of a cell are shown: what a pod's author wrote into
	// one must not push everybody else's rows off the screen, or fill a log with
	// the spaces that line them up. Names, images and selectors are shorter.
	maxCell = 4096
	// minColumn is the number of columns to which the table leaves a wide one.
	minColumn = 10
	// between is what stands between two columns of a table.
	between = "  "
	// hang is the indentation of a cell's further lines, by which one sees that
	// they belong to the row above.
	hang = "  "
	// nothing stands for an empty cell: a row has a word in each column.
	nothing = "<none>"
)

// Cell is one value of a table.
type Cell struct {
	Text  string
	Style Style
}

// Text is a cell without a style.
func Text(text string) Cell { return Cell{Text: text} }

// Text is a cell of that style.
func (s Style) Text(text string) Cell { return Cell{Text: text, Style: s} }

// Table writes rows below a header in upper case, each with a cell for each
// header; another number of cells is an error, and then nothing is written.
//
// Where the width is bound, columns that are too wide are made narrower and their
// cells wrapped, with further lines indented. Where that would leave less than 10
// columns to one, each row is written as a record of "HEADER: value" lines with an
// empty line between. Elsewhere each row is one line. Columns are two spaces apart or
// more; an empty cell is "<none>"; of a cell of more than 4 KiB the beginning is shown
// with a mark.
func (o *Output) Table(headers []string, rows [][]Cell) error {
	t := table{out: o}
	for _, h := range headers {
		t.headers = append(t.headers, newCell(Bold.Text(strings.ToUpper(h))))
	}
	for i, row := range rows {
		if len(row) != len(headers) {
			return fmt.Errorf("row %d of the table has %d cells for %d columns", i+1, len(row), len(headers))
		}
		cells := make([]cell, len(row))
		for j, c := range row {
			cells[j] = newCell(c)
		}
		t.rows = append(t.rows, cells)
	}
	if widths, ok := t.fit(); ok {
		t.columns(widths)
	} else {
		t.records()
	}
	return o.write(t.text.String())
}

// cell is a Cell that is escaped and measured.
type cell struct {
	Cell
	width int
}

func newCell(c Cell) cell {
	c.Text = printable.Line(c.Text, maxCell)
	if c.Text == "" {
		c = Dim.Text(nothing)
	}
	return cell{Cell: c, width: displayWidth(c.Text)}
}

// table is one table on its way to the output.
type table struct {
	out     *Output
	headers []cell
	rows    [][]cell
	text    strings.Builder
}

// fit gives each column its width, or says that there is not enough room.
func (t *table) fit() (widths []int, ok bool) {
	widths = make([]int, len(t.headers))
	least := make([]int, len(t.headers))
	for i, h := range t.headers {
		widths[i] = h.width
		for _, row := range t.rows {
			widths[i] = max(widths[i], row[i].width)
		}
		least[i] = min(widths[i], max(h.width, minColumn))
	}
	if t.out.width() == 0 || len(widths) == 0 {
		return widths, true
	}
	return shrink(widths, least, t.out.width()-len(between)*(len(widths)-1))
}

// shrink makes the widest columns narrower until all have room, all alike, but none
// narrower than its least width.
func shrink(widths, least []int, room int) ([]int, bool) {
	most := 0
	for _, w := range widths {
		most = max(most, w)
	}
	with := func(most int) (sum int) {
		for i, w := range widths {
			sum += min(w, max(most, least[i]))
		}
		return sum
	}
	if with(0) > room {
		return nil, false
	}
	for with(most) > room {
		most--
	}
	spare := room - with(most)
	out := make([]int, len(widths))
	for i, w := range widths {
		out[i] = min(w, max(most, least[i]))
		if out[i] == most && w > most && spare > 0 {
			out[i]++
			spare--
		}
	}
	return out, true
}

func (t *table) columns(widths []int) {
	for _, row := range append([][]cell{t.headers}, t.rows...) {
		lines := make([][]string, len(row))
		height := 0
		for i, c := range row {
			lines[i] = []string{c.Text}
			if c.width > widths[i] {
				lines[i] = wrap(c.Text, widths[i], widths[i]-len(hang))
				for j := range lines[i][1:] {
					lines[i][j+1] = hang + lines[i][j+1]
				}
			}
			height = max(height, len(lines[i]))
		}
		for n := range height {
			t.line(row, lines, widths, n)
		}
	}
}

// line writes the n-th line of a row.
func (t *table) line(row []cell, lines [][]string, widths []int, n int) {
	padding := 0 // spaces that are due if anything follows
	for i, c := range row {
		if n >= len(lines[i]) {
			padding += widths[i] + len(between)
			continue
		}
		text := lines[i][n]
		t.text.WriteString(strings.Repeat(" ", padding) + t.out.paint(c.Style, text))
		padding = widths[i] - displayWidth(text) + len(between)
	}
	t.text.WriteByte('\n')
}

// records writes each row as lines of its own.
func (t *table) records() {
	for i, row := range t.rows {
		if i > 0 {
			t.text.WriteByte('\n')
		}
		for j, c := range row {
			t.text.WriteString(t.out.hanging(0, t.headers[j].Text+": ", Bold, c.Text, c.Style))
		}
	}
	if len(t.rows) == 0 {
		names := make([]string, len(t.headers))
		for i, h := range t.headers {
			names[i] = h.Text
		}
		t.text.WriteString(t.out.hanging(0, "", Plain, strings.Join(names, between), Bold))
	}
}
