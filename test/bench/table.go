package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
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
	times        = unit{name: "x", size: 1}
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
	rows := [][]string{{"figure", "pods", "built-in", "HTTPS", "ratio", "over the rounds", "budget", "Pods API", "ratio", "budget"}}
	for f := range figures {
		for _, pods := range r.sizes {
			if row := r.row(f, pods); row != nil {
				rows = append(rows, row)
			}
		}
	}
	printTable(w, rows)
}

// row is nil where the figure was not measured of any side.
func (r *results) row(f figure, pods int) []string {
	a := about[f]
	var cells [sides]string
	var measured [sides]float64
	var known [sides]bool
	for side := range sides {
		if measured[side], known[side] = r.value(f, pods, side); known[side] {
			cells[side] = a.unit.format(measured[side])
		}
	}
	if !slices.Contains(known[:], true) {
		return nil
	}
	var ratio [sides]string
	spread := ""
	of := r.of[pods][f]
	for side := range builtIn {
		switch {
		case a.unit.exact || !known[side] || !known[builtIn]:
		case a.tries > 0: // they are not pairs
			ratio[side] = fmt.Sprintf("%.2f", measured[side]/measured[builtIn])
		default:
			all := ratios(of[side], of[builtIn])
			ratio[side] = fmt.Sprintf("%.2f", all.median)
			if side == https {
				spread = fmt.Sprintf("%.2f to %.2f", all.min, all.max)
			}
		}
	}
	return []string{
		a.name, strconv.Itoa(pods), cells[builtIn],
		cells[https], ratio[https], spread, goal(a.budget, pods),
		cells[podsAPI], ratio[podsAPI], goal(a.apiBudget, pods),
	}
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
