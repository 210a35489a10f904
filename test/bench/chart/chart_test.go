package chart_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/test/bench/chart"
)

var update = flag.Bool("update", false, "write testdata anew")

func example() *chart.Chart {
	return &chart.Chart{
		Title: "Latency & memory",
		About: "a < b",
		Names: []string{"podseal, HTTPS", "podseal, Pods API", "built-in"},
		Panels: []chart.Panel{
			{
				Title: "an attestation", X: "pods", Y: "ms",
				Lines: [][]chart.Point{{{10, 2}, {100, 9}, {1000, 45}}, {{10, 1.5}, {100, 1.5}, {1000, 1.6}}, {{10, 5}, {100, 21}, {1000, 260}}},
			},
			{
				Title: "memory", X: "pods", Y: "MiB",
				Lines: [][]chart.Point{{{10, 20}, {1000, 25}}, {{10, 20}, {1000, 24}}, {{10, 60}, {1000, 800}}},
			},
		},
	}
}

func TestTheDrawingIsTheSameEveryTime(t *testing.T) {
	t.Parallel()
	const golden = "testdata/example.svg"
	got, err := example().SVG()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("go test ./test/bench/chart -update, and look at it (-want +got):\n%s", diff)
	}
}

func TestWhateverTheNamesAreItIsXML(t *testing.T) {
	t.Parallel()
	c := example()
	c.Title, c.About, c.Names[0], c.Panels[0].Y = "<script>", "]]>", `"&'`, "\x00µs"
	svg, err := c.SVG()
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "script" {
			t.Error("a name became an element")
		}
	}
}

func TestTheAxesEncloseThePoints(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		points []chart.Point
		labels []string
	}{
		{"on ticks", []chart.Point{{10, 1}, {1000, 2}}, []string{">10<", ">1,000<", ">1<", ">2<"}},
		{"between ticks", []chart.Point{{11, 0.03}, {30, 0.04}}, []string{">10<", ">50<", ">0.02<", ">0.05<"}},
		{"one point", []chart.Point{{110, 7}}, []string{">100<", ">200<", ">5<", ">10<"}},
		{"one point on a tick", []chart.Point{{100, 10}}, []string{">100<", ">200<", ">10<", ">20<"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			svg, err := (&chart.Chart{Names: []string{"a"}, Panels: []chart.Panel{{Lines: [][]chart.Point{test.points}}}}).SVG()
			if err != nil {
				t.Fatal(err)
			}
			for _, label := range test.labels {
				if !strings.Contains(string(svg), label) {
					t.Errorf("no label %s:\n%s", label, svg)
				}
			}
		})
	}
}

func TestWhatCannotBeDrawnIsRefused(t *testing.T) {
	t.Parallel()
	for name, points := range map[string][]chart.Point{
		"none": nil, "zero": {{10, 0}}, "negative": {{-1, 1}}, "not a number": {{1, math.NaN()}}, "infinite": {{math.Inf(1), 1}},
	} {
		if _, err := (&chart.Chart{Panels: []chart.Panel{{Lines: [][]chart.Point{points}}}}).SVG(); err == nil {
			t.Errorf("%s was drawn", name)
		}
	}
	if _, err := (&chart.Chart{Names: make([]string, chart.MaxLines+1)}).SVG(); err == nil {
		t.Error("more lines than can be told apart were drawn")
	}
}
