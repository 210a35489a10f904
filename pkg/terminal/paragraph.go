package terminal

import (
	"fmt"
	"io"
	"strings"

	"github.com/podseal/podseal/pkg/printable"
)

// maxParagraph is how many bytes of a paragraph are shown.
const maxParagraph = 16 << 10

// Paragraph is a text for people.
type Paragraph struct {
	// Indent is how many spaces stand before each line.
	Indent int
	// Label stands before the text, such as "remedy: ", and further lines of the text
	// begin below its beginning.
	Label      string
	LabelStyle Style
	// Text is what is said. Of one of more than 16 KiB the beginning is shown with a
	// mark.
	Text  string
	Style Style
}

// Paragraph writes p, on as many lines as it takes where the width is bound and on
// one elsewhere.
func (o *Output) Paragraph(p Paragraph) error {
	label := printable.Line(p.Label, maxParagraph)
	text := printable.Line(p.Text, maxParagraph)
	return o.write(o.hanging(p.Indent, label, p.LabelStyle, text, p.Style))
}

// Command writes the command that these words are, for people to paste: quoted, on
// one line of its own, and never wrapped. The error is printable.ErrUnprintable for a
// word that may not be pasted, and then nothing is written.
func (o *Output) Command(indent int, words ...string) error {
	command, err := printable.ShellCommand(words...)
	if err != nil {
		return err
	}
	return o.write(strings.Repeat(" ", max(indent, 0)) + command + "\n")
}

// hanging lays out a label and a text that are already escaped. A label that takes
// more than half of a line stands alone, with the text below.
func (o *Output) hanging(indent int, label string, labelStyle Style, text string, style Style) string {
	indent = max(indent, 0)
	room := o.width()
	if room == 0 {
		return strings.Repeat(" ", indent) + o.paint(labelStyle, label) + o.paint(style, text) + "\n"
	}
	indent = min(indent, room/4)
	begin := indent + displayWidth(label)
	var out strings.Builder
	lead := strings.Repeat(" ", indent) + o.paint(labelStyle, label)
	if begin > room/2 {
		for _, line := range wrap(label, room-indent, room-indent) {
			out.WriteString(strings.Repeat(" ", indent) + o.paint(labelStyle, line) + "\n")
		}
		begin = indent + len(hang)
		lead = strings.Repeat(" ", begin)
	}
	for _, line := range wrap(text, room-begin, room-begin) {
		out.WriteString(lead + o.paint(style, line) + "\n")
		lead = strings.Repeat(" ", begin)
	}
	return out.String()
}

func (o *Output) write(text string) error {
	if text == "" {
		return nil
	}
	if _, err := io.WriteString(o.W, text); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	return nil
}
