package sigstore

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// errLimit is in the errors of what goes beyond a bound.
var errLimit = errors.New("limit exceeded")

// The documents here are read by others as well, and bind a signature to content
// only if nobody can read them differently: a name given twice is an error
// (jsontext's default), and so is one that differs from ours in case only, which
// encoding/json takes for ours (GHSA-qq97-vm5h-rrhg).

// shape bounds what a document makes a decoder remember, whatever its length:
// 8 MiB of `{},` in a bundle would be a gigabyte of log entries. most is how many
// members and elements there may be.
func shape(data []byte, most int) error {
	const maxDepth = 64
	depth, commas := 0, 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			i += afterString(data[i+1:])
		case '{', '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("%w: nested deeper than %d levels", errLimit, maxDepth)
			}
		case '}', ']':
			depth--
		case ',':
			if commas++; commas > most {
				return fmt.Errorf("%w: more than %d members and elements", errLimit, most)
			}
		}
	}
	return nil
}

// afterString returns how long a string is that began just before, its closing
// quote included.
func afterString(data []byte) int {
	for n := 0; ; {
		quote := bytes.IndexByte(data[n:], '"')
		if quote < 0 {
			return len(data)
		}
		n += quote + 1
		escapes := 0
		for escapes < n-1 && data[n-2-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return n
		}
	}
}

// object calls visit for each member of a document that is one object. The value
// is valid until visit returns.
func object(data []byte, visit func(name string, value jsontext.Value) error) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(data))
	if err := open(d, '{', "an object"); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		if err := visit(name, value); err != nil {
			return err
		}
	}
	return end(d)
}

// array calls visit for each element of a document that is one array of at most
// that many.
func array(data []byte, most int, visit func(value jsontext.Value) error) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(data))
	if err := open(d, '[', "an array"); err != nil {
		return err
	}
	for n := 1; d.PeekKind() != ']'; n++ {
		if n > most {
			return fmt.Errorf("%w: more than %d elements", errLimit, most)
		}
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		if err := visit(value); err != nil {
			return fmt.Errorf("number %d: %w", n, err)
		}
	}
	return end(d)
}

func open(d *jsontext.Decoder, kind jsontext.Kind, what string) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() != kind {
		return fmt.Errorf("expected %s", what)
	}
	return nil
}

// end reads the end of the object or array and of the document.
func end(d *jsontext.Decoder) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	if rest := bytes.Trim(d.UnreadBuffer(), " \t\r\n"); len(rest) > 0 {
		return errors.New("something follows the document")
	}
	return nil
}

// members returns the named members of an object. Others are skipped.
func members(data []byte, names ...string) (map[string]jsontext.Value, error) {
	found := make(map[string]jsontext.Value, len(names))
	err := object(data, func(name string, value jsontext.Value) error {
		known, err := find(names, name)
		if known {
			found[name] = value.Clone()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// exactMembers returns the named members of an object that has no others.
func exactMembers(data []byte, names ...string) (map[string]jsontext.Value, error) {
	found := make(map[string]jsontext.Value, len(names))
	err := object(data, func(name string, value jsontext.Value) error {
		known, err := find(names, name)
		if err == nil && !known {
			err = fmt.Errorf("unknown member %q", name)
		}
		found[name] = value.Clone()
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

func find(names []string, name string) (bool, error) {
	for _, n := range names {
		if n == name {
			return true, nil
		}
		if strings.EqualFold(n, name) {
			return false, fmt.Errorf("the member %q would be %q for readers that don't look at case", name, n)
		}
	}
	return false, nil
}

// text reads a string. No member, null and other values are errors.
func text(found map[string]jsontext.Value, name string) (string, error) {
	value := found[name]
	if value.Kind() != '"' {
		return "", fmt.Errorf("%s: expected a string", name)
	}
	s, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return string(s), nil
}

// absent is whether there is no such member, or null.
func absent(value jsontext.Value) bool { return len(value) == 0 || value.Kind() == 'n' }
