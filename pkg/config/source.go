package config

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"
)

// source is a text that is read, and where its bytes stand in the file.
type source struct {
	// text is what is parsed: the file's text, or what an expansion made of it.
	text string
	// pieces are what text is made of, in order; none where it is the file's text.
	pieces []piece
	// eaten is what an expansion left nothing of.
	eaten []eaten
	// comments are the places of text that nobody reads, in order.
	comments []span
	index    lineIndex
}

// piece is a part of the text that begins at an offset of it and at one of the file.
type piece struct {
	text, file int
	// replaced is true for a value that stands where its variable stood.
	replaced bool
}

// span is a range of offsets, its end not included.
type span struct{ from, to int }

// newSource is a file's text as it is.
func newSource(text string) (*source, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	// The HCL parser does so first; done here so that all see the same offsets.
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return &source{text: text, index: indexLines(text)}, nil
}

func checkText(text string) error {
	switch {
	case len(text) > maxText:
		return fmt.Errorf("the text has %d bytes, more than the %d that are read", len(text), maxText)
	case !utf8.ValidString(text):
		return errors.New("the text is not UTF-8")
	case strings.ContainsRune(text, 0):
		return errors.New("the text has a NUL character")
	}
	return nil
}

// pos is the place in the file of what stands at an offset of the text. What an
// expansion put there is where its variable was written.
func (s *source) pos(offset int) Pos {
	if len(s.pieces) == 0 {
		return s.index.pos(offset)
	}
	i := sort.Search(len(s.pieces), func(i int) bool { return s.pieces[i].text > offset }) - 1
	p := s.pieces[max(i, 0)]
	if p.replaced {
		return s.index.pos(p.file)
	}
	return s.index.pos(p.file + offset - p.text)
}

// inComment is true up to a comment's end, that included: what was removed there was
// its last.
func (s *source) inComment(offset int) bool {
	i := sort.Search(len(s.comments), func(i int) bool { return s.comments[i].to >= offset })
	return i < len(s.comments) && s.comments[i].from <= offset
}

// lineIndex finds lines and columns. A text may be one long line, so characters are
// counted once, and what it asks for need not be in order.
type lineIndex struct {
	text  string
	lines []int // offset of each line
	runes []int // how many characters begin before each multiple of stride
}

const stride = 512

func indexLines(text string) lineIndex {
	index := lineIndex{text: text, lines: []int{0}}
	count := 0
	for i := range len(text) {
		if i%stride == 0 {
			index.runes = append(index.runes, count)
		}
		if utf8.RuneStart(text[i]) {
			count++
		}
		if text[i] == '\n' {
			index.lines = append(index.lines, i+1)
		}
	}
	if len(text)%stride == 0 {
		index.runes = append(index.runes, count)
	}
	return index
}

func (x lineIndex) pos(offset int) Pos {
	offset = min(max(offset, 0), len(x.text))
	line := sort.SearchInts(x.lines, offset+1)
	return Pos{Line: line, Column: x.before(offset) - x.before(x.lines[line-1]) + 1}
}

// before is how many characters begin before offset.
func (x lineIndex) before(offset int) int {
	from := offset / stride * stride
	count := x.runes[offset/stride]
	for i := from; i < offset; i++ {
		if utf8.RuneStart(x.text[i]) {
			count++
		}
	}
	return count
}

// textError is why a text can't be read.
type textError struct {
	pos Pos // zero where the reader gives no place
	// ignored is true for what HCL's parser drops without a word.
	ignored bool
	err     error
}

func (e *textError) Error() string { return e.err.Error() }
func (e *textError) Unwrap() error { return e.err }

// undecodable is the problem of a text, in the built-in attestor's words.
func undecodable(err error) Problem {
	p := newProblem("", Pos{}, "unable to decode configuration: %v", err)
	var at *textError
	if errors.As(err, &at) {
		p.Pos, p.BuiltInIgnores = at.pos, at.ignored
	}
	return p
}
