package config

import (
	"errors"
	"fmt"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/scanner"
	"github.com/hashicorp/hcl/hcl/token"

	"github.com/podseal/podseal/pkg/guard"
)

// readHCL reads HCL 1. The library panics at some texts: that is an error here.
func readHCL(src *source) (root *node, err error) {
	r := hclReader{src: src}
	err = guard.Do(func() error {
		root, err = r.read()
		return err
	})
	var at *parser.PosError
	if errors.As(err, &at) {
		return nil, r.fault(at)
	}
	return root, err
}

type hclReader struct{ src *source }

func (r hclReader) read() (*node, error) {
	src := []byte(r.src.text)
	dangling, err := checkShape(src)
	if err != nil {
		return nil, err
	}
	// Keys may repeat: that is how the agent prints a list of objects. What may not is
	// decided with the schema at hand.
	file, err := parser.ParseDontErrorOnDuplicateKeys(src)
	if err != nil {
		return nil, err
	}
	list, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return nil, fmt.Errorf("unexpected %T", file.Node)
	}
	for _, group := range file.Comments {
		for _, comment := range group.List {
			r.src.comments = append(r.src.comments, span{comment.Start.Offset, comment.Start.Offset + len(comment.Text)})
		}
	}
	root := r.object(Pos{Line: 1, Column: 1}, span{0, len(src)}, list)
	if dangling != nil {
		root.fault = r.fault(dangling)
		root.fault.ignored = true
	}
	return root, nil
}

// checkShape refuses what the parser must not see: nesting that would exhaust its
// stack, which no recover catches. dangling is a key whose value is missing at the end
// of the text, which the parser drops without a word.
func checkShape(src []byte) (dangling *parser.PosError, err error) {
	s := scanner.New(src)
	s.Error = func(pos token.Pos, msg string) {
		if err == nil {
			err = &parser.PosError{Pos: pos, Err: errors.New(msg)}
		}
	}
	depth := 0
	var last token.Token
	for {
		tok := s.Scan()
		if err != nil {
			return nil, err
		}
		switch tok.Type {
		case token.LBRACE, token.LBRACK:
			depth++
		case token.RBRACE, token.RBRACK:
			depth--
		case token.COMMENT:
			continue
		case token.EOF:
			if last.Type == token.ASSIGN {
				return &parser.PosError{Pos: last.Pos, Err: errors.New("a value is missing after '='")}, nil
			}
			return nil, nil
		}
		if depth > maxDepth {
			return nil, &parser.PosError{Pos: tok.Pos, Err: fmt.Errorf("nested deeper than %d", maxDepth)}
		}
		last = tok
	}
}

func (r hclReader) object(pos Pos, in span, list *ast.ObjectList) *node {
	object := &node{pos: pos, span: in, form: objectForm}
	for i, item := range list.Items {
		fields := r.fields(item)
		for j := range fields {
			fields[j].laterLabelled = i > 0 && len(item.Keys) > 1
		}
		object.fields = append(object.fields, fields...)
	}
	return object
}

// fields is what an item means: `a "b" { c = 1 }` is `a { b { c = 1 } }`.
func (r hclReader) fields(item *ast.ObjectItem) []field {
	val := r.node(item.Val)
	for i := len(item.Keys) - 1; i > 0; i-- {
		f := r.field(item.Keys[i], val)
		val = &node{pos: f.pos, span: span{item.Keys[i].Token.Pos.Offset, val.span.to}, form: objectForm, fields: f.expand(), labels: true}
	}
	f := r.field(item.Keys[0], val)
	f.labelled = len(item.Keys) > 1
	return f.expand()
}

func (r hclReader) field(k *ast.ObjectKey, val *node) field {
	f := field{pos: r.pos(k.Token.Pos), quoted: k.Token.Type == token.STRING, val: val}
	f.key, f.fault = r.value(k.Token)
	return f
}

func (r hclReader) node(n ast.Node) *node {
	switch n := n.(type) {
	case *ast.ObjectType:
		return r.object(r.pos(n.Lbrace), span{n.Lbrace.Offset, n.Rbrace.Offset}, n.List)
	case *ast.ListType:
		list := &node{pos: r.pos(n.Lbrack), span: span{n.Lbrack.Offset, n.Rbrack.Offset}, form: listForm}
		for _, element := range n.List {
			list.list = append(list.list, r.node(element))
		}
		return list
	case *ast.LiteralType:
		return r.scalar(n.Token)
	}
	// The parser makes no others.
	panic(fmt.Sprintf("unexpected %T", n))
}

func (r hclReader) scalar(tok token.Token) *node {
	scalar := &node{pos: r.pos(tok.Pos), span: span{tok.Pos.Offset, tok.Pos.Offset + len(tok.Text)}, text: tok.Text}
	switch tok.Type {
	case token.NUMBER:
		scalar.form = intForm
	case token.FLOAT:
		scalar.form = floatForm
	case token.BOOL:
		scalar.form = boolForm
	case token.STRING, token.HEREDOC:
		scalar.form = stringForm
		scalar.text, scalar.fault = r.value(tok)
	default:
		scalar.fault = r.fault(&parser.PosError{Pos: tok.Pos, Err: fmt.Errorf("unexpected %s", tok.Type)})
	}
	return scalar
}

// value is the string that a token stands for. The library panics at some, for instance
// at the escape \777: that is a fault of what it is part of, and of nothing else.
func (r hclReader) value(tok token.Token) (string, *textError) {
	text := tok.Text
	err := guard.Do(func() error {
		text = fmt.Sprint(tok.Value())
		return nil
	})
	if err != nil {
		return text, &textError{pos: r.pos(tok.Pos), err: err}
	}
	return text, nil
}

// fault is the parser's error with its place in the file.
func (r hclReader) fault(err *parser.PosError) *textError {
	pos := r.pos(err.Pos)
	inFile := &parser.PosError{Pos: token.Pos{Line: pos.Line, Column: pos.Column}, Err: err.Err}
	return &textError{pos: pos, err: inFile}
}

func (r hclReader) pos(p token.Pos) Pos {
	if len(r.src.pieces) == 0 {
		return Pos{Line: p.Line, Column: p.Column}
	}
	return r.src.pos(p.Offset)
}
