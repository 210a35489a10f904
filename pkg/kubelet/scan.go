package kubelet

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// scanBuffer is the size of the buffer to begin with, and the largest that
	// is kept between answers.
	scanBuffer = 128 << 10
	// maxValue is the highest limit that value may be called with.
	maxValue = 2 << 20
	// maxName is the longest name of a member of an object that is read here.
	maxName = 4 << 10
)

// scanner cuts a stream of JSON into values without looking into them. The end
// of an object or array is found by counting brackets outside strings, so that
// a value of any length costs a pass over its bytes and no memory beyond the
// caller's limit. It is not a validator: who uses a value has to parse it.
type scanner struct {
	r io.Reader
	// buf[pos:end] was read and not passed yet.
	buf      []byte
	pos, end int
	// start is where the value that is being read begins in buf, -1 between
	// values and where nothing is kept.
	start int
	// before is how many bytes were dropped in front of buf[0].
	before int64

	// The state within a value: open brackets, the most there were at a time,
	// whether pos is in a string or right behind a backslash in one, and whether
	// the value is a number or a literal.
	depth, deepest             int
	inString, escaped, literal bool
	// over is whether the value is at its end.
	over bool
}

// readError is a failure to read, as opposed to one of what was read.
type readError struct {
	Err error
	// After is how many bytes came before it.
	After int64
}

func (e *readError) Error() string { return e.Err.Error() }
func (e *readError) Unwrap() error { return e.Err }

func newScanner(r io.Reader, buf []byte) *scanner {
	if len(buf) < scanBuffer {
		buf = make([]byte, scanBuffer)
	}
	return &scanner{r: r, buf: buf, start: -1}
}

// offset is the position in the stream.
func (s *scanner) offset() int64 { return s.before + int64(s.pos) }

// fill reads more, at least one byte, when everything read was passed. It moves
// or replaces the buffer.
func (s *scanner) fill() error {
	keep := s.pos
	if s.start >= 0 {
		keep = s.start
	}
	switch {
	case keep == s.end:
		s.drop(keep)
	case s.end < len(s.buf):
	case keep > 0:
		s.drop(keep)
	default:
		// Larger than maxValue by something, so that a value that is too long
		// shows before the buffer is full.
		bigger := make([]byte, min(2*len(s.buf), maxValue+scanBuffer))
		copy(bigger, s.buf)
		s.buf = bigger
	}
	for range 100 {
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		switch {
		case n > 0:
			return nil
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return io.EOF
		case errors.Is(err, ErrLimit):
			return err
		default:
			return &readError{Err: err, After: s.before + int64(s.end)}
		}
	}
	return &readError{Err: io.ErrNoProgress, After: s.before + int64(s.end)}
}

// drop forgets the first n bytes of the buffer.
func (s *scanner) drop(n int) {
	copy(s.buf, s.buf[n:s.end])
	s.before += int64(n)
	s.pos -= n
	s.end -= n
	if s.start >= 0 {
		s.start -= n
	}
}

// peek passes white space and returns the byte behind it, io.EOF at the end.
func (s *scanner) peek() (byte, error) {
	for {
		for s.pos < s.end {
			switch c := s.buf[s.pos]; c {
			case ' ', '\t', '\r', '\n':
				s.pos++
			default:
				return c, nil
			}
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
}

// next is peek where the stream must go on, and passes what it returns.
func (s *scanner) next() (byte, error) {
	c, err := s.peek()
	if err != nil {
		return 0, notEOF(err)
	}
	s.pos++
	return c, nil
}

// expect passes one byte that must be c.
func (s *scanner) expect(c byte) error {
	got, err := s.next()
	if err == nil && got != c {
		s.pos--
		return s.unexpected(string(c), got)
	}
	return err
}

func (s *scanner) unexpected(want string, got byte) error {
	return fmt.Errorf("expected %s, found %q at byte %d", want, got, s.offset())
}

// value returns the bytes of the next value; they are good until the scanner
// moves on. whole is false when the value is longer than limit: then they are
// its beginning, and skipRest must be called.
func (s *scanner) value(limit int) (v []byte, whole bool, err error) {
	c, err := s.peek()
	if err != nil {
		return nil, false, notEOF(err)
	}
	switch c {
	case '}', ']', ',', ':':
		return nil, false, s.unexpected("a value", c)
	}
	s.start = s.pos
	s.depth, s.deepest = 0, 0
	s.inString, s.escaped, s.over = false, false, false
	s.literal = c != '{' && c != '[' && c != '"'
	defer func() { s.start = -1 }()
	for {
		s.advance()
		if s.pos-s.start > limit {
			return s.buf[s.start : s.start+limit], false, nil
		}
		if s.over {
			return s.buf[s.start:s.pos], true, nil
		}
		if err := s.more(); err != nil {
			return nil, false, err
		}
	}
}

// ahead returns the next n bytes, at most maxValue, without passing them; fewer at
// the stream's end. They are good until the scanner moves on.
func (s *scanner) ahead(n int) ([]byte, error) {
	s.start = s.pos
	defer func() { s.start = -1 }()
	for s.end-s.pos < n {
		if err := s.fill(); errors.Is(err, io.EOF) {
			return s.buf[s.pos:s.end], nil
		} else if err != nil {
			return nil, err
		}
	}
	return s.buf[s.pos : s.pos+n], nil
}

// skipRest passes what value has left of a value.
func (s *scanner) skipRest() error {
	for !s.over {
		if err := s.more(); err != nil {
			return err
		}
		s.advance()
	}
	return nil
}

// more is fill within a value, which only a number or a literal may end at the
// stream's end.
func (s *scanner) more() error {
	err := s.fill()
	if errors.Is(err, io.EOF) && s.literal {
		s.over = true
		return nil
	}
	return notEOF(err)
}

// advance moves pos to the end of the value, or of what was read.
func (s *scanner) advance() {
	if s.literal {
		s.advanceLiteral()
		return
	}
	for s.pos < s.end && !s.over {
		if s.inString {
			s.advanceString()
		} else {
			s.advanceBrackets()
		}
	}
}

func (s *scanner) advanceLiteral() {
	if i := bytes.IndexAny(s.buf[s.pos:s.end], ",:]} \t\r\n"); i >= 0 {
		s.pos += i
		s.over = true
		return
	}
	s.pos = s.end
}

// inStrings and outside mark the bytes that mean something there; most don't.
var (
	inStrings = [256]bool{'"': true, '\\': true}
	outside   = [256]bool{'"': true, '{': true, '}': true, '[': true, ']': true}
)

// advanceString moves behind the closing quote. What a backslash escapes need
// not be known to find that.
func (s *scanner) advanceString() {
	b, i := s.buf[:s.end], s.pos
	if s.escaped {
		i++
		s.escaped = false
	}
	for i < len(b) {
		if !inStrings[b[i]] {
			i++
			continue
		}
		if b[i] == '\\' {
			i += 2
			continue
		}
		s.pos = i + 1
		s.inString = false
		s.over = s.depth == 0
		return
	}
	// i is beyond the end when the last byte is a backslash and what it escapes
	// was not read yet.
	s.escaped = i > len(b)
	s.pos = len(b)
}

func (s *scanner) advanceBrackets() {
	b := s.buf[:s.end]
	for i := s.pos; i < len(b); i++ {
		if !outside[b[i]] {
			continue
		}
		switch b[i] {
		case '"':
			s.inString = true
			s.pos = i + 1
			return
		case '{', '[':
			s.depth++
			s.deepest = max(s.deepest, s.depth)
		default:
			if s.depth--; s.depth == 0 {
				s.over = true
				s.pos = i + 1
				return
			}
		}
	}
	s.pos = len(b)
}

// object calls member for each member of the object whose brace was passed,
// with its name. member must read the value.
func (s *scanner) object(member func(name string) error) error {
	c, err := s.peek()
	if err != nil {
		return notEOF(err)
	}
	if c == '}' {
		s.pos++
		return nil
	}
	for {
		if c, err := s.peek(); err != nil {
			return notEOF(err)
		} else if c != '"' {
			return s.unexpected("a name", c)
		}
		name, err := s.name()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
		if more, err := s.another('}'); err != nil || !more {
			return err
		}
	}
}

func (s *scanner) name() (string, error) {
	v, whole, err := s.value(maxName)
	if err != nil {
		return "", err
	}
	if !whole {
		return "", fmt.Errorf("%w: a name is longer than %d bytes", ErrLimit, maxName)
	}
	name, err := jsontext.AppendUnquote(nil, v)
	return string(name), err
}

// array calls element for each element of the array whose bracket was passed.
// element must read the value.
func (s *scanner) array(element func() error) error {
	c, err := s.peek()
	if err != nil {
		return notEOF(err)
	}
	if c == ']' {
		s.pos++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if more, err := s.another(']'); err != nil || !more {
			return err
		}
	}
}

// another passes a comma, or the bracket that closes what is being read.
func (s *scanner) another(closing byte) (bool, error) {
	c, err := s.next()
	switch {
	case err != nil:
		return false, err
	case c == ',':
		return true, nil
	case c == closing:
		return false, nil
	}
	s.pos--
	return false, s.unexpected("a comma or "+string(closing), c)
}

// notEOF is for places where the stream must not end.
func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
