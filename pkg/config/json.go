package config

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// readJSON reads a text that begins with a brace, as a plugin_data_file may.
//
// HCL has a parser for that, which stops in silence at a missing comma, a list in a
// list or a superfluous brace and drops the rest of the configuration: a strict one is
// used instead.
func readJSON(text string) (*node, error) {
	r := &jsonReader{
		text: text,
		dec:  jsontext.NewDecoder(strings.NewReader(text), jsontext.AllowDuplicateNames(true)),
		at:   Pos{Line: 1, Column: 1},
	}
	root, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if rest := strings.TrimSpace(text[r.dec.InputOffset():]); rest != "" {
		return nil, fmt.Errorf("at %s: something follows the object", r.pos(r.dec.InputOffset()))
	}
	return root, nil
}

type jsonReader struct {
	text string
	dec  *jsontext.Decoder
	at   Pos // the place of offset
	// offset is how far the text was looked at for places: they are asked for in order.
	offset int64
}

func (r *jsonReader) value(depth int) (*node, error) {
	switch r.dec.PeekKind() {
	case '{':
		return r.object(depth + 1)
	case '[':
		return r.list(depth + 1)
	}
	raw, pos, err := r.raw()
	if err != nil {
		return nil, err
	}
	scalar := &node{pos: pos, text: string(raw)}
	switch raw.Kind() {
	case '"':
		scalar.form = stringForm
		scalar.text = unquote(raw)
	case 'n':
		// As HCL has it: null is an empty string.
		scalar.form = stringForm
		scalar.text = ""
	case 't', 'f':
		scalar.form = boolForm
	default:
		scalar.form = intForm
		if strings.ContainsAny(scalar.text, ".eE") {
			scalar.form = floatForm
		}
	}
	return scalar, nil
}

func (r *jsonReader) object(depth int) (*node, error) {
	pos, err := r.open(depth)
	if err != nil {
		return nil, err
	}
	object := &node{pos: pos, form: objectForm}
	for r.dec.PeekKind() != '}' {
		raw, pos, err := r.raw()
		if err != nil {
			return nil, err
		}
		key := unquote(raw)
		val, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		object.fields = append(object.fields, expand(key, pos, val)...)
	}
	_, err = r.dec.ReadToken()
	return object, err
}

func (r *jsonReader) list(depth int) (*node, error) {
	pos, err := r.open(depth)
	if err != nil {
		return nil, err
	}
	list := &node{pos: pos, form: listForm}
	for r.dec.PeekKind() != ']' {
		val, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		list.list = append(list.list, val)
	}
	_, err = r.dec.ReadToken()
	return list, err
}

func (r *jsonReader) open(depth int) (Pos, error) {
	if _, err := r.dec.ReadToken(); err != nil {
		return Pos{}, err
	}
	pos := r.pos(r.dec.InputOffset() - 1)
	if depth > maxDepth {
		return pos, fmt.Errorf("at %s: nested deeper than %d", pos, maxDepth)
	}
	return pos, nil
}

// raw is the next key or scalar. It copies it, for the decoder uses its buffer again.
func (r *jsonReader) raw() (jsontext.Value, Pos, error) {
	raw, err := r.dec.ReadValue()
	if err != nil {
		return nil, Pos{}, err
	}
	return raw.Clone(), r.pos(r.dec.InputOffset() - int64(len(raw))), nil
}

func (r *jsonReader) pos(offset int64) Pos {
	between := r.text[r.offset:offset]
	if i := strings.LastIndexByte(between, '\n'); i >= 0 {
		r.at.Line += strings.Count(between, "\n")
		r.at.Column = 1
		between = between[i+1:]
	}
	r.at.Column += utf8.RuneCountInString(between)
	r.offset = offset
	return r.at
}

// unquote is the string that a valid JSON string stands for.
func unquote(raw jsontext.Value) string {
	unquoted, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		// The decoder read it as a string.
		panic(err)
	}
	return string(unquoted)
}
