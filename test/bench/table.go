package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// unit is what a figure is in.
type unit struct {
	name  string
	size  float64
	exact bool // a number of pieces, of which a ratio says nothing
}

var (
	milliseconds = unit{name: "ms", size: 1e6}
	mebibytes    = unit{name: "MiB", size: 1 << 20}
	count        = unit{size: 1, exact: true}
)

// format writes a value with three significant digits.
func (u unit) format(v float64) string {
	v /= u.size
	if u.exact {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	digits := 0
	if v > 0 {
		digits = min(max(2-int(math.Floor(math.Log10(v))), 0), 4)
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + " " + u.name
}

// print writes all results as a table that can be read and is Markdown.
func (r *results) print(w io.Writer) {
	rows := [][]string{{"figure", "pods", "podseal", "built-in", "ratio", "over the rounds", "target", "budget"}}
	for f := range figures {
		for _, pods := range r.sizes {
			rows = append(rows, r.row(f, pods))
		}
	}
	printTable(w, rows)
}

func (r *results) row(f figure, pods int) []string {
	ours, theirs := r.of[pods][f][podseal], r.of[pods][f][builtIn]
	u := about[f].unit
	row := []string{about[f].name, strconv.Itoa(pods), u.format(median(ours)), u.format(median(theirs)), "", ""}
	if !u.exact {
		all := ratios(ours, theirs)
		row[4], row[5] = fmt.Sprintf("%.2f", all.median), fmt.Sprintf("%.2f to %.2f", all.min, all.max)
	}
	return append(row, goal(about[f].target, pods), goal(about[f].budget, pods))
}

func goal(goals map[int]string, pods int) string { return cmp.Or(goals[pods], goals[anyPods]) }

// printTable writes rows of the same length, the first one as the heading. All
// columns but the first are aligned to the right.
func printTable(w io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, row := range rows {
		for i, cell := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > 0 {
				cell, space = space+cell, ""
			}
			fmt.Fprintf(w, "| %s%s ", cell, space)
		}
		fmt.Fprintln(w, "|")
		if n > 0 {
			continue
		}
		for i, width := range widths {
			if i == 0 {
				fmt.Fprintf(w, "| %s ", strings.Repeat("-", width))
			} else {
				fmt.Fprintf(w, "| %s: ", strings.Repeat("-", width-1))
			}
		}
		fmt.Fprintln(w, "|")
	}
}
