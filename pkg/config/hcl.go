package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/scanner"
	"github.com/hashicorp/hcl/hcl/token"

	"github.com/podseal/podseal/pkg/guard"
)

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

// readHCL reads HCL 1. The library panics at some texts, for instance at a string with
// the escape \777: that is an error here.
func readHCL(text string) (root *node, err error) {
	err = guard.Do(func() error {
		root, err = parseHCL(text)
		return err
	})
	return root, err
}

func parseHCL(text string) (*node, error) {
	// The parser does so first; done here so that both passes see the same places.
	src := []byte(strings.ReplaceAll(text, "\r\n", "\n"))
	if err := checkShape(src); err != nil {
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
	return objectOf(Pos{Line: 1, Column: 1}, list)
}

// checkShape refuses what the parser must not see: nesting that would exhaust its
// stack, which no recover catches, and a key whose value is missing at the end of the
// text, which it drops without a word.
func checkShape(src []byte) error {
	var scanErr error
	s := scanner.New(src)
	s.Error = func(pos token.Pos, msg string) {
		if scanErr == nil {
			scanErr = &parser.PosError{Pos: pos, Err: errors.New(msg)}
		}
	}
	depth := 0
	var last token.Token
	for {
		tok := s.Scan()
		if scanErr != nil {
			return scanErr
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
				return &parser.PosError{Pos: last.Pos, Err: errors.New("a value is missing after '='")}
			}
			return nil
		}
		if depth > maxDepth {
			return &parser.PosError{Pos: tok.Pos, Err: fmt.Errorf("nested deeper than %d", maxDepth)}
		}
		last = tok
	}
}

func objectOf(pos Pos, list *ast.ObjectList) (*node, error) {
	object := &node{pos: pos, form: objectForm}
	for _, item := range list.Items {
		fields, err := fieldsOf(item)
		if err != nil {
			return nil, err
		}
		object.fields = append(object.fields, fields...)
	}
	return object, nil
}

// fieldsOf is what an item means: `a "b" { c = 1 }` is `a { b { c = 1 } }`.
func fieldsOf(item *ast.ObjectItem) ([]field, error) {
	val, err := nodeOf(item.Val)
	if err != nil {
		return nil, err
	}
	for i := len(item.Keys) - 1; i > 0; i-- {
		key, pos := keyOf(item.Keys[i])
		val = &node{pos: pos, form: objectForm, fields: expand(key, pos, val)}
	}
	key, pos := keyOf(item.Keys[0])
	return expand(key, pos, val), nil
}

func keyOf(k *ast.ObjectKey) (string, Pos) {
	return fmt.Sprint(k.Token.Value()), posOf(k.Token.Pos)
}

func nodeOf(n ast.Node) (*node, error) {
	switch n := n.(type) {
	case *ast.ObjectType:
		return objectOf(posOf(n.Lbrace), n.List)
	case *ast.ListType:
		list := &node{pos: posOf(n.Lbrack), form: listForm}
		for _, element := range n.List {
			val, err := nodeOf(element)
			if err != nil {
				return nil, err
			}
			list.list = append(list.list, val)
		}
		return list, nil
	case *ast.LiteralType:
		return scalarOf(n.Token)
	}
	return nil, fmt.Errorf("unexpected %T", n)
}

func scalarOf(tok token.Token) (*node, error) {
	scalar := &node{pos: posOf(tok.Pos), text: tok.Text}
	switch tok.Type {
	case token.NUMBER:
		scalar.form = intForm
	case token.FLOAT:
		scalar.form = floatForm
	case token.BOOL:
		scalar.form = boolForm
	case token.STRING, token.HEREDOC:
		scalar.form = stringForm
		scalar.text = fmt.Sprint(tok.Value())
	default:
		return nil, &parser.PosError{Pos: tok.Pos, Err: fmt.Errorf("unexpected %s", tok.Type)}
	}
	return scalar, nil
}

func posOf(p token.Pos) Pos { return Pos{Line: p.Line, Column: p.Column} }
