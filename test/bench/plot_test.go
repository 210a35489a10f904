package main

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/test/bench/chart"
)

func TestAPlotHasTheMediansOfAllSidesFromLeftToRight(t *testing.T) {
	t.Parallel()
	var r results
	for _, pods := range []int{100, 10} {
		for round := range 3 {
			scale := float64(pods * (round + 1))
			r.add(pods, of([sides]float64{https: 2e5 * scale, podsAPI: 1e6, builtIn: 1e6 * scale}))
		}
	}
	want := [][]chart.Point{
		https:   {{X: 10, Y: 4}, {X: 100, Y: 40}},
		podsAPI: {{X: 10, Y: 1}, {X: 100, Y: 1}},
		builtIn: {{X: 10, Y: 20}, {X: 100, Y: 200}},
	}
	if diff := cmp.Diff(want, r.panel(idleP50, "", "ms").Lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	svg, err := r.draw("of a test")
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"podseal, HTTPS", "podseal, Pods API", "built-in attestor", "milliseconds", "MiB", "pods on the node", "of a test"} {
		if !bytes.Contains(svg, []byte(what)) {
			t.Errorf("the plot has no %q", what)
		}
	}
}
