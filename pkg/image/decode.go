package image

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxDepth and maxMembers bound what a document makes a decoder remember,
	// whatever its length: 4 MiB of `"aaa":0,` would be a table of 500,000 names.
	maxDepth   = 32
	maxMembers = 32 << 10
	// maxAnnotations is for each descriptor.
	maxAnnotations = 256
)

// decode reads a document that is one object with the given members.
//
// Documents are read by others as well, the container runtime first, and mean
// only one thing if nobody can read them differently: a name given twice is an
// error, and so is a name that differs from one of ours in case only, which
// encoding/json takes for it (GHSA-qq97-vm5h-rrhg).
func decode(body []byte, members ...member) error {
	if err := checkShape(body); err != nil {
		return err
	}
	// A buffer, and no other reader, is not copied.
	d := jsontext.NewDecoder(bytes.NewBuffer(body))
	if err := object(d, members); err != nil {
		return err
	}
	if d.PeekKind() != 0 || int(d.InputOffset()) < len(bytes.TrimRight(body, " \t\r\n")) {
		return errors.New("something follows the document")
	}
	return nil
}

// checkShape bounds nesting and the number of members and elements.
func checkShape(body []byte) error {
	depth, commas := 0, 0
	inString := false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("%w: it is nested deeper than %d levels", ErrLimit, maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		case c == ',':
			if commas++; commas > maxMembers {
				return fmt.Errorf("%w: it has more than %d members and elements", ErrLimit, maxMembers)
			}
		}
	}
	return nil
}

// member is a member of an object that we read; read gets its value unless that is
// null, which is the same as no member.
type member struct {
	name string
	read func(*jsontext.Decoder) error
}

// object reads an object. Members that are not named are skipped.
func object(d *jsontext.Decoder, members []member) error {
	if err := open(d, '{', "an object"); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		m, err := find(members, token.String())
		switch {
		case err != nil:
		case m == nil || d.PeekKind() == 'n':
			err = d.SkipValue()
		default:
			if err = m.read(d); err != nil {
				err = fmt.Errorf("%s: %w", m.name, err)
			}
		}
		if err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

func find(members []member, name string) (*member, error) {
	for i := range members {
		if members[i].name == name {
			return &members[i], nil
		}
	}
	for i := range members {
		if strings.EqualFold(members[i].name, name) {
			return nil, fmt.Errorf("the member %q would be %q for readers that don't look at case", name, members[i].name)
		}
	}
	return nil, nil
}

// array reads an array of at most that many elements.
func array(most int, read func(*jsontext.Decoder) error) func(*jsontext.Decoder) error {
	return func(d *jsontext.Decoder) error {
		if err := open(d, '[', "an array"); err != nil {
			return err
		}
		for n := 0; d.PeekKind() != ']'; n++ {
			if n == most {
				return fmt.Errorf("%w: there are more than %d", ErrLimit, most)
			}
			if err := read(d); err != nil {
				return fmt.Errorf("number %d: %w", n+1, err)
			}
		}
		_, err := d.ReadToken()
		return err
	}
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

func text(to *string) func(*jsontext.Decoder) error {
	return func(d *jsontext.Decoder) error {
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		if token.Kind() != '"' {
			return errors.New("expected a string")
		}
		*to = token.String()
		return nil
	}
}

func digest(to *Digest) func(*jsontext.Decoder) error {
	return func(d *jsontext.Decoder) error {
		var s string
		err := text(&s)(d)
		if err == nil {
			*to, err = ParseDigest(s)
		}
		return err
	}
}

// whole reads a number that is not negative and has no fraction or exponent.
func whole(to *int64) func(*jsontext.Decoder) error {
	return func(d *jsontext.Decoder) error {
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is not a whole number of at least 0", clip(string(value)))
		}
		*to = n
		return nil
	}
}

func annotations(to *map[string]string) func(*jsontext.Decoder) error {
	return func(d *jsontext.Decoder) error {
		if err := open(d, '{', "an object"); err != nil {
			return err
		}
		found := map[string]string{}
		for d.PeekKind() != '}' {
			if len(found) == maxAnnotations {
				return fmt.Errorf("%w: there are more than %d", ErrLimit, maxAnnotations)
			}
			var name, value string
			if err := text(&name)(d); err != nil {
				return err
			}
			if err := text(&value)(d); err != nil {
				return fmt.Errorf("%q: %w", clip(name), err)
			}
			found[name] = value
		}
		*to = found
		_, err := d.ReadToken()
		return err
	}
}
