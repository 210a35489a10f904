// Package chart draws lines through points, both axes logarithmic, as SVG. The
// same points give the same bytes. The drawing brings its own background, and
// colours for light and for dark; lines differ in their dashes and markers too.
package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"math"
)

// Chart is a row of panels with one legend.
type Chart struct {
	// Title and About are for who can't see the drawing, and shown on demand.
	Title, About string
	// Names are the lines', the same ones in every panel; at most MaxLines.
	Names  []string
	Panels []Panel
}

// MaxLines is how many lines can be told apart.
const MaxLines = 4

// Panel is a pair of axes.
type Panel struct {
	// Title is above it; X and Y say what the axes have, with their units.
	Title, X, Y string
	// Lines are points from left to right, in the order of Chart.Names.
	Lines [][]Point
}

// Point is a point of a line. Both numbers must be positive.
type Point struct{ X, Y float64 }

// The measures of the drawing, in pixels.
const (
	panelWidth  = 420
	panelHeight = 300
	left        = 64
	right       = 20
	top         = 70
	bottom      = 52
)

// SVG is the drawing.
func (c *Chart) SVG() ([]byte, error) {
	if len(c.Names) > MaxLines {
		return nil, fmt.Errorf("%d lines are more than can be told apart", len(c.Names))
	}
	var d drawing
	width, height := panelWidth*len(c.Panels), top+panelHeight+bottom
	d.put(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`, width, height, width, height)
	d.put(`<title>%s</title>`, text(c.Title))
	d.put(`<desc>%s</desc>`, text(c.About))
	d.put("<style>%s</style>", style)
	d.put(`<rect class="paper" width="%d" height="%d"/>`, width, height)
	for i, name := range c.Names {
		x := float64(left + i*200)
		d.put(`<g class="s%d">`, i)
		d.put(`<path class="line" d="M%g 22H%g"/>`, x, x+36)
		d.marker(i, x+18, 22)
		d.put(`</g>`)
		d.put(`<text x="%g" y="26">%s</text>`, x+44, text(name))
	}
	for i, p := range c.Panels {
		if err := d.panel(float64(i*panelWidth), p); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Title, err)
		}
	}
	d.put(`</svg>`)
	return d.Bytes(), nil
}

const style = `
text{font:12px system-ui,sans-serif;fill:#1f2328}
.title{font-weight:600;font-size:13px}
.end{text-anchor:end}.middle{text-anchor:middle}
.paper{fill:#fff}.grid{stroke:#d8dee4;fill:none}.axis{stroke:#6e7781;fill:none}
.line{fill:none;stroke-width:2}
.s0{stroke:#0969da;fill:#0969da}.s1{stroke:#1a7f37;fill:#1a7f37}.s2{stroke:#cf222e;fill:#cf222e}.s3{stroke:#8250df;fill:#8250df}
.s1 .line{stroke-dasharray:7 3}.s2 .line{stroke-dasharray:2 3}.s3 .line{stroke-dasharray:9 3 2 3}
@media(prefers-color-scheme:dark){
text{fill:#e6edf3}
.paper{fill:#0d1117}.grid{stroke:#30363d}.axis{stroke:#8b949e}
.s0{stroke:#58a6ff;fill:#58a6ff}.s1{stroke:#3fb950;fill:#3fb950}.s2{stroke:#ff7b72;fill:#ff7b72}.s3{stroke:#d2a8ff;fill:#d2a8ff}
}
`

type drawing struct{ bytes.Buffer }

func (d *drawing) put(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

func text(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a Buffer takes everything
	return b.String()
}

func (d *drawing) panel(offset float64, p Panel) error {
	var xs, ys []float64
	for _, line := range p.Lines {
		for _, point := range line {
			xs, ys = append(xs, point.X), append(ys, point.Y)
		}
	}
	x, err := newAxis(xs, offset+left, offset+panelWidth-right)
	if err != nil {
		return err
	}
	y, err := newAxis(ys, top+panelHeight, top)
	if err != nil {
		return err
	}
	middle := (x.from + x.to) / 2
	d.put(`<text class="title middle" x="%g" y="%d">%s</text>`, middle, top-14, text(p.Title))
	for _, tick := range x.ticks {
		d.put(`<path class="grid" d="M%.1f %gV%g"/>`, x.at(tick), y.from, y.to)
		d.put(`<text class="middle" x="%.1f" y="%g">%s</text>`, x.at(tick), y.from+18, number(tick))
	}
	for _, tick := range y.ticks {
		d.put(`<path class="grid" d="M%g %.1fH%g"/>`, x.from, y.at(tick), x.to)
		d.put(`<text class="end" x="%g" y="%.1f">%s</text>`, x.from-8, y.at(tick)+4, number(tick))
	}
	d.put(`<path class="axis" d="M%g %gV%gH%g"/>`, x.from, y.to, y.from, x.to)
	d.put(`<text class="middle" x="%g" y="%g">%s</text>`, middle, y.from+40, text(p.X))
	d.put(`<text class="middle" transform="translate(%g %g) rotate(-90)">%s</text>`, offset+16, (y.from+y.to)/2, text(p.Y))
	for i, line := range p.Lines {
		d.line(i, x, y, line)
	}
	return nil
}

func (d *drawing) line(i int, x, y axis, points []Point) {
	d.put(`<g class="s%d">`, i)
	if len(points) > 1 {
		d.WriteString(`<path class="line" d="`)
		for n, p := range points {
			command := 'L'
			if n == 0 {
				command = 'M'
			}
			fmt.Fprintf(d, "%c%.1f %.1f", command, x.at(p.X), y.at(p.Y))
		}
		d.put(`"/>`)
	}
	for _, p := range points {
		d.marker(i, x.at(p.X), y.at(p.Y))
	}
	d.put(`</g>`)
}

// marker draws the point of the i-th line.
func (d *drawing) marker(i int, x, y float64) {
	switch i {
	case 0:
		d.put(`<circle cx="%.1f" cy="%.1f" r="3.5"/>`, x, y)
	case 1:
		d.put(`<path d="M%.1f %.1fh6v6h-6z"/>`, x-3, y-3)
	case 2:
		d.put(`<path d="M%.1f %.1fl4 7h-8z"/>`, x, y-4)
	default:
		d.put(`<path d="M%.1f %.1fl4 4l-4 4l-4 -4z"/>`, x, y-4)
	}
}

// axis is logarithmic, from its first tick to its last.
type axis struct {
	from, to float64 // in pixels
	ticks    []float64
}

var errNoPoint = errors.New("there is no point to draw")

func newAxis(values []float64, from, to float64) (axis, error) {
	if len(values) == 0 {
		return axis{}, errNoPoint
	}
	least, most := math.Inf(1), 0.0
	for _, v := range values {
		if !(v > 0) || math.IsInf(v, 1) {
			return axis{}, fmt.Errorf("%g has no place on a logarithmic axis", v)
		}
		least, most = min(least, v), max(most, v)
	}
	return axis{from, to, ticks(least, most)}, nil
}

// ticks are those of 1, 2, 5, 10 and so on that enclose the values: two at least.
func ticks(least, most float64) []float64 {
	var all []float64
	for power := math.Floor(math.Log10(least)); ; power++ {
		for _, step := range []float64{1, 2, 5} {
			tick := step * math.Pow(10, power)
			if tick <= least {
				all = all[:0]
			}
			all = append(all, tick)
			if tick >= most && len(all) > 1 {
				return all
			}
		}
	}
}

// at is where a value is, in pixels.
func (a axis) at(v float64) float64 {
	first, last := math.Log(a.ticks[0]), math.Log(a.ticks[len(a.ticks)-1])
	return a.from + (math.Log(v)-first)/(last-first)*(a.to-a.from)
}

// number is a tick's: 0.05, 2, 1,000.
func number(v float64) string {
	if v < 1000 {
		return fmt.Sprintf("%.4g", v)
	}
	return fmt.Sprintf("%.0f,%03.0f", math.Floor(v/1000), math.Mod(v, 1000))
}
