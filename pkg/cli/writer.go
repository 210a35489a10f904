package cli

import (
	"github.com/podseal/podseal/pkg/printable"
	"github.com/podseal/podseal/pkg/terminal"
)

// writer writes a document for people and keeps the first error.
type writer struct {
	out   *terminal.Output
	begun bool
	err   error
}

func (w *writer) do(err error) {
	w.begun = true
	if w.err == nil {
		w.err = err
	}
}

// heading begins a section, with an empty line before all but the first.
func (w *writer) heading(text string) {
	if w.begun {
		w.line("")
	}
	w.sentence("", terminal.Bold, text)
}

// sentence writes a text that is wrapped; the style is the label's, or the text's
// where there is no label.
func (w *writer) sentence(label string, style terminal.Style, text string) {
	p := terminal.Paragraph{Label: label, LabelStyle: style, Text: text}
	if label == "" {
		p.Style = style
	}
	w.do(w.out.Paragraph(p))
}

// line writes a text that is not wrapped, so that it can be copied.
func (w *writer) line(text string) {
	_, err := w.out.W.Write([]byte(printable.Line(text, 0) + "\n"))
	w.do(err)
}

func (w *writer) table(headers []string, rows [][]terminal.Cell) {
	w.do(w.out.Table(headers, rows))
}
