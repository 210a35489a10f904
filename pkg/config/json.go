package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// readJSON reads a text that begins with a brace, as a plugin_data_file may.
//
// HCL has a parser for that, which stops in silence at a missing comma, a list in a
// list or a superfluous brace and drops the rest of the configuration: a strict one is
// used instead.
func readJSON(src *source) (*node, error) {
	r := &jsonReader{
		src: src,
		dec: jsontext.NewDecoder(strings.NewReader(src.text), jsontext.AllowDuplicateNames(true)),
	}
	root, err := r.value(0)
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		return nil, &textError{pos: src.pos(int(syntax.ByteOffset)), err: err}
	}
	if err != nil {
		return nil, err
	}
	rest := strings.TrimSpace(src.text[root.span.to:])
	if rest != "" {
		pos := src.pos(root.span.to)
		return nil, &textError{pos: pos, ignored: true, err: fmt.Errorf("at %s: something follows the object", pos)}
	}
	return root, nil
}

type jsonReader struct {
	src *source
	dec *jsontext.Decoder
}

func (r *jsonReader) value(depth int) (*node, error) {
	switch r.dec.PeekKind() {
	case '{':
		return r.object(depth + 1)
	case '[':
		return r.list(depth + 1)
	}
	raw, in, err := r.raw()
	if err != nil {
		return nil, err
	}
	scalar := &node{pos: r.src.pos(in.from), span: in, text: string(raw)}
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
	object, err := r.open(depth, objectForm)
	if err != nil {
		return nil, err
	}
	for r.dec.PeekKind() != '}' {
		raw, in, err := r.raw()
		if err != nil {
			return nil, err
		}
		key := unquote(raw)
		val, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		f := field{key: key, pos: r.src.pos(in.from), val: val}
		object.fields = append(object.fields, f.expand()...)
	}
	return object, r.end(object)
}

func (r *jsonReader) list(depth int) (*node, error) {
	list, err := r.open(depth, listForm)
	if err != nil {
		return nil, err
	}
	for r.dec.PeekKind() != ']' {
		val, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		list.list = append(list.list, val)
	}
	return list, r.end(list)
}

func (r *jsonReader) open(depth int, form form) (*node, error) {
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, err
	}
	from := int(r.dec.InputOffset()) - 1
	pos := r.src.pos(from)
	if depth > maxDepth {
		return nil, &textError{pos: pos, err: fmt.Errorf("at %s: nested deeper than %d", pos, maxDepth)}
	}
	return &node{pos: pos, span: span{from: from}, form: form}, nil
}

func (r *jsonReader) end(n *node) error {
	_, err := r.dec.ReadToken()
	n.span.to = int(r.dec.InputOffset())
	return err
}

// raw is the next key or scalar. It copies it, for the decoder uses its buffer again.
func (r *jsonReader) raw() (jsontext.Value, span, error) {
	raw, err := r.dec.ReadValue()
	if err != nil {
		return nil, span{}, err
	}
	to := int(r.dec.InputOffset())
	return raw.Clone(), span{to - len(raw), to}, nil
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
