package main

import (
	"cmp"
	"slices"

	"github.com/podseal/podseal/test/bench/chart"
)

// draw draws latency and memory against the pods on the node.
func (r *results) draw(about string) ([]byte, error) {
	c := chart.Chart{
		Title: "An attestation on an idle node, and resident memory after load, against the pods on the node",
		About: about,
		Names: []string{https: "podseal, HTTPS", podsAPI: "podseal, Pods API", builtIn: "built-in attestor"},
		Panels: []chart.Panel{
			r.panel(idleP50, "An attestation on an idle node, p50", "milliseconds"),
			r.panel(memoryAfter, "Resident memory after load", "MiB"),
		},
	}
	return c.SVG()
}

func (r *results) panel(f figure, title, y string) chart.Panel {
	p := chart.Panel{Title: title, X: "pods on the node", Y: y, Lines: make([][]chart.Point, sides)}
	for side := range p.Lines {
		for _, pods := range r.sizes {
			if v, ok := r.value(f, pods, side); ok {
				p.Lines[side] = append(p.Lines[side], chart.Point{X: float64(pods), Y: v / about[f].unit.size})
			}
		}
		slices.SortFunc(p.Lines[side], func(a, b chart.Point) int { return cmp.Compare(a.X, b.X) })
	}
	return p
}
