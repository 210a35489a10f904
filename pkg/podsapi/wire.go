package podsapi

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrLimit is what is beyond one of our bounds.
var ErrLimit = errors.New("limit exceeded")

// maxList is how many elements any list of a pod may have: empty ones cost two
// bytes each on the wire and far more here.
const maxList = 2048

// field is one field of a protobuf message.
type field struct {
	number protowire.Number
	kind   protowire.Type
	// bytes is the content of a length-delimited field, varint that of a varint.
	bytes  []byte
	varint uint64
}

// cut takes the first field off a message. It reads no deeper than that, except
// through groups, which it skips.
func cut(b []byte) (f field, rest []byte, err error) {
	number, kind, n := protowire.ConsumeTag(b)
	if n < 0 {
		return field{}, nil, errMalformed(n)
	}
	if !number.IsValid() {
		return field{}, nil, fmt.Errorf("no valid protobuf: a field has the number %d", number)
	}
	b = b[n:]
	f = field{number: number, kind: kind}
	switch kind {
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b)
	case protowire.VarintType:
		f.varint, n = protowire.ConsumeVarint(b)
	default:
		n = protowire.ConsumeFieldValue(number, kind, b)
	}
	if n < 0 {
		return field{}, nil, errMalformed(n)
	}
	return f, b[n:], nil
}

func errMalformed(n int) error {
	return fmt.Errorf("no valid protobuf: %w", protowire.ParseError(n))
}

// each calls visit with every field of a message in turn. What visit does not
// know it ignores.
func each(b []byte, visit func(f field) error) error {
	for len(b) > 0 {
		f, rest, err := cut(b)
		if err != nil {
			return err
		}
		if err := visit(f); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// text sets s to a string field. One that is there twice counts as it was last.
func (f field) text(s *string) error {
	b, err := f.message()
	if err != nil {
		return err
	}
	if !utf8.Valid(b) {
		return fmt.Errorf("field %d is not valid UTF-8", f.number)
	}
	*s = string(b)
	return nil
}

// message is the content of a field that must be length-delimited.
func (f field) message() ([]byte, error) {
	if f.kind != protowire.BytesType {
		return nil, fmt.Errorf("field %d has the wire type %d", f.number, f.kind)
	}
	return f.bytes, nil
}

// into reads a message into target, in addition to what is there: a message
// that is there twice is merged.
func into[T any](f field, target *T, visit func(*T, field) error) error {
	b, err := f.message()
	if err != nil {
		return err
	}
	return each(b, func(f field) error { return visit(target, f) })
}

// extend reads an element of a list.
func extend[T any](f field, list *[]T, visit func(*T, field) error) error {
	if len(*list) == maxList {
		return fmt.Errorf("%w: more than %d elements in field %d", ErrLimit, maxList, f.number)
	}
	*list = append(*list, *new(T))
	return into(f, &(*list)[len(*list)-1], visit)
}
