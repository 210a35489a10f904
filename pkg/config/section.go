package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// section is a block after it was read by the schema: what it has is known, given once
// and of the right type. A nil section is a block that is not there.
type section struct {
	pos    Pos
	keys   []key
	values map[string]value
	blocks map[string][]*section
}

type value struct {
	pos    Pos
	text   string
	number int
	flag   bool
}

// text, number, flag and at are the key's value and place, or zero where it was not
// given.
func (s *section) text(name string) string { return s.value(name).text }
func (s *section) number(name string) int  { return s.value(name).number }
func (s *section) flag(name string) bool   { return s.value(name).flag }
func (s *section) at(name string) Pos      { return s.value(name).pos }

func (s *section) given(name string) bool {
	s.mustKnow(name)
	_, ok := s.values[name]
	return ok
}

func (s *section) value(name string) value {
	if s == nil {
		return value{}
	}
	s.mustKnow(name)
	return s.values[name]
}

// block is the block of that name, or nil.
func (s *section) block(name string) *section {
	if blocks := s.all(name); len(blocks) > 0 {
		return blocks[0]
	}
	return nil
}

// all is the blocks of that name, in the order of the text.
func (s *section) all(name string) []*section {
	if s == nil {
		return nil
	}
	s.mustKnow(name)
	return s.blocks[name]
}

// mustKnow keeps the schema and those who read by it together: a misspelt name would
// otherwise be a key that is never set.
func (s *section) mustKnow(name string) {
	if _, ok := find(s.keys, name); !ok {
		panic("config: the schema has no key " + strconv.Quote(name))
	}
}

// walk reads the tree by the schema. unreadable is what is of a wrong type or given
// twice, in the schema's order; unknown is at most one problem for all unknown keys.
func walk(root *node) (s *section, unreadable, unknown Problems) {
	var w walker
	s = w.section("", root.pos, schema, root.fields)
	return s, w.problems, unknownKeys(w.unknown)
}

type walker struct {
	problems Problems
	unknown  []field // with their paths as keys
}

func (w *walker) section(path string, pos Pos, keys []key, fields []field) *section {
	s := &section{pos: pos, keys: keys, values: map[string]value{}, blocks: map[string][]*section{}}
	given := map[string][]field{}
	for _, f := range fields {
		if k, ok := find(keys, f.key); ok {
			given[k.name] = append(given[k.name], f)
		} else {
			w.unknown = append(w.unknown, field{key: join(path, quoteOdd(f.key)), pos: f.pos})
		}
	}
	for _, k := range keys {
		if len(given[k.name]) > 0 {
			w.key(s, join(path, k.name), k, given[k.name])
		}
	}
	return s
}

func (w *walker) key(s *section, path string, k key, given []field) {
	switch k.kind {
	case blockKind:
		s.blocks[k.name] = []*section{w.block(path, k, given)}
	case blocksKind:
		s.blocks[k.name] = w.blocks(path, k, given)
	default:
		w.scalar(s, path, k, given)
	}
}

// block puts together what is given in parts, as HCL does. The JSON form of a
// configuration comes in parts because its parser takes blocks of blocks apart.
func (w *walker) block(path string, k key, given []field) *section {
	var fields []field
	for _, f := range given {
		if f.val.form != objectForm {
			w.wrongType(path, f, k.kind)
			continue
		}
		fields = append(fields, f.val.fields...)
	}
	return w.section(path, given[0].pos, k.keys, fields)
}

func (w *walker) blocks(path string, k key, given []field) []*section {
	var sections []*section
	for _, f := range given {
		if f.val.form == listForm && len(f.val.list) == 0 {
			continue
		}
		if f.val.form != objectForm {
			w.wrongType(path, f, k.kind)
			continue
		}
		for _, object := range unlabelled(k, f.val) {
			element := fmt.Sprintf("%s[%d]", path, len(sections))
			sections = append(sections, w.section(element, f.pos, k.keys, object.fields))
		}
	}
	return sections
}

// unlabelled is the objects that are meant by one that may have labels: SPIRE's chart
// writes `brokers: [{broker: {id: ...}}]`, because without a label HCL takes a list of
// one object, in JSON, for the object's keys. Every label is accepted there.
func unlabelled(k key, object *node) []*node {
	var inner []*node
	for _, f := range object.fields {
		if _, known := find(k.keys, f.key); known || f.val.form != objectForm {
			return []*node{object}
		}
		inner = append(inner, f.val)
	}
	if len(inner) == 0 {
		return []*node{object}
	}
	return inner
}

func (w *walker) scalar(s *section, path string, k key, given []field) {
	for _, f := range given {
		v, err := scalarValue(k.kind, f.val)
		var unfit unfitError
		switch {
		case errors.As(err, &unfit):
			w.problems.add(path, f.pos, "unable to decode configuration: %s: %v", path, err)
		case err != nil:
			w.wrongType(path, f, k.kind)
		default:
			v.pos = f.pos
			s.values[k.name] = v
		}
	}
	if len(given) > 1 {
		// The built-in attestor takes the last one. Which one is meant is anybody's
		// guess, and a reader of the file sees only the first.
		places := make([]string, len(given))
		for i, f := range given {
			places[i] = f.pos.String()
		}
		w.problems.add(path, given[1].pos, "%s: given more than once, at %s", path, strings.Join(places, " and "))
	}
}

var errType = errors.New("wrong type")

// unfitError says why a value of the right type can't be meant.
type unfitError string

func (e unfitError) Error() string { return string(e) }

// scalarValue converts as weakly as HCL's decoder does, and no weaker: a number may be
// a string and a string may be a number, but a bool is a bool.
func scalarValue(k kind, n *node) (value, error) {
	switch k {
	case boolKind:
		if n.form == boolForm {
			return value{flag: n.text == "true"}, nil
		}
	case intKind:
		if n.form == intForm || n.form == stringForm {
			// Base 0: 0x10 and, in HCL, 010 are numbers too.
			number, err := strconv.ParseInt(n.text, 0, strconv.IntSize)
			if errors.Is(err, strconv.ErrRange) {
				err = unfitError(n.text + " is out of range")
			}
			return value{number: int(number)}, err
		}
	case stringKind, durationKind:
		if n.form == intForm || n.form == stringForm {
			return value{text: n.text}, checkString(n.text)
		}
	}
	return value{}, errType
}

// checkString refuses what no path, name or duration has. A value with a line break
// comes from a heredoc; one with ${ was meant to be expanded, and nothing here does.
func checkString(s string) error {
	switch {
	case !utf8.ValidString(s):
		return unfitError(fmt.Sprintf("%q is not UTF-8", s))
	case strings.ContainsFunc(s, unicode.IsControl):
		return unfitError(fmt.Sprintf("%q has control characters", s))
	case strings.Contains(s, "${"):
		return unfitError(fmt.Sprintf("%q is not expanded here; start the agent with -expandEnv, or write the value itself", s))
	}
	return nil
}

func (w *walker) wrongType(path string, f field, k kind) {
	w.problems.add(path, f.pos, "unable to decode configuration: %s: %s is needed, found %s", path, needed[k], found(f.val))
}

var needed = map[kind]string{
	stringKind:   "a string",
	intKind:      "a whole number",
	boolKind:     "true or false",
	durationKind: `a duration, such as "500ms",`,
	blockKind:    "a block",
	blocksKind:   "a list of blocks",
}

func found(n *node) string {
	switch n.form {
	case listForm:
		return "a list"
	case objectForm:
		return "a block"
	case stringForm:
		return strconv.Quote(n.text)
	default:
		return n.text
	}
}

// unknownKeys is one problem for all, as from the built-in attestor, which however
// looks only at what it calls by name and not into all blocks.
func unknownKeys(unknown []field) (problems Problems) {
	if len(unknown) == 0 {
		return nil
	}
	slices.SortStableFunc(unknown, func(a, b field) int { return strings.Compare(a.key, b.key) })
	var keys []string
	for _, f := range unknown {
		keys = append(keys, f.key)
	}
	problems.add(keys[0], unknown[0].pos, "unknown configurations detected: %s", strings.Join(slices.Compact(keys), ","))
	return problems
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// quoteOdd quotes a key that would be taken for several, or for something else.
func quoteOdd(name string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(` ,"\`, r) }
	if name == "" || strings.ContainsFunc(name, odd) {
		return strconv.Quote(name)
	}
	return name
}
