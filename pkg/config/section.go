package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// section is a block after it was read by the schema: what it has is known, given once
// and of the right type. A nil section is a block that is not there.
type section struct {
	pos Pos
	// path is its key, "" at the top; name is the label of a named block.
	path, name string
	keys       []key
	// certain is whether the built-in attestor reads this block as one, too.
	certain bool
	values  map[string]value
	blocks  map[string][]*section
}

type value struct {
	pos     Pos
	text    string
	number  int
	flag    bool
	list    []item
	entries []entry
}

// text, number, flag, list, entries and at are the key's value and place, or zero
// where it was not given. A block has a place only, its first.
func (s *section) text(name string) string     { return s.value(name).text }
func (s *section) number(name string) int      { return s.value(name).number }
func (s *section) flag(name string) bool       { return s.value(name).flag }
func (s *section) list(name string) []item     { return s.value(name).list }
func (s *section) entries(name string) []entry { return s.value(name).entries }
func (s *section) at(name string) Pos          { return s.value(name).pos }

// key is the dotted path of one of its keys.
func (s *section) key(name string) string { return join(s.path, name) }

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

// walker reads the tree by the schema.
type walker struct {
	// quoted is true where the agent prints every key quoted before it hands the
	// text over, because its own file is JSON: HCL's decoder, which the built-in
	// attestor asks for unknown keys, then finds none.
	quoted bool

	unreadable Problems // what is of a wrong type or given twice
	unknown    []unknownKey
}

// section reads a block of that key.
func (w *walker) section(path string, pos Pos, of key, fields []field, certain bool) *section {
	s := &section{pos: pos, path: path, keys: of.keys, certain: certain, values: map[string]value{}, blocks: map[string][]*section{}}
	given := map[string][]field{}
	for _, f := range fields {
		if k, ok := find(of.keys, f.key); ok {
			given[k.name] = append(given[k.name], f)
			continue
		}
		w.unknown = append(w.unknown, unknownKey{
			path: join(path, quoteOdd(f.key)), name: f.key, pos: f.pos, known: of.keys,
			ignored: certain && (of.unchecked || w.quoted || f.quoted || f.laterLabelled),
		})
	}
	for _, k := range of.keys {
		if len(given[k.name]) > 0 {
			w.key(s, join(path, k.name), k, given[k.name])
		}
	}
	return s
}

func (w *walker) key(s *section, path string, k key, given []field) {
	switch k.kind {
	case blockKind:
		s.values[k.name] = value{pos: given[0].pos}
		s.blocks[k.name] = []*section{w.block(path, k, given)}
	case blocksKind:
		s.values[k.name] = value{pos: given[0].pos}
		s.blocks[k.name] = w.blocks(path, k, given)
	case namedKind:
		s.values[k.name] = value{pos: given[0].pos}
		s.blocks[k.name] = w.named(path, k, given)
	case stringMapKind, listMapKind:
		s.values[k.name] = w.entries(path, k, given)
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
	return w.section(path, given[0].pos, k, fields, !k.added)
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
		objects, labelled := unlabelled(k, f.val)
		// Without a label HCL's decoder takes every key of a block, and of a list of
		// one object in JSON, for an object of its own.
		certain := labelled && (f.labelled || w.quoted)
		for _, object := range objects {
			element := fmt.Sprintf("%s[%d]", path, len(sections))
			sections = append(sections, w.section(element, f.pos, k, object.fields, certain))
		}
	}
	return sections
}

// unlabelled is the objects that are meant by one that may have labels: SPIRE's chart
// writes `brokers: [{broker: {id: ...}}]`, because without a label HCL takes a list of
// one object, in JSON, for the object's keys. Every label is accepted there.
func unlabelled(k key, object *node) (objects []*node, labelled bool) {
	for _, f := range object.fields {
		if _, known := find(k.keys, f.key); known || f.val.form != objectForm {
			return []*node{object}, false
		}
		objects = append(objects, f.val)
	}
	if len(objects) == 0 {
		return []*node{object}, false
	}
	return objects, true
}

func (w *walker) scalar(s *section, path string, k key, given []field) {
	for _, f := range given {
		v, err := scalarValue(k.kind, f.val)
		if err != nil {
			w.refuse(path, f, k, err)
			_, unfit := errors.AsType[unfitError](err)
			w.lastIgnored(s.certain && k.anyText && unfit)
			continue
		}
		v.pos = f.pos
		s.values[k.name] = v
	}
	if len(given) > 1 {
		w.twice(path, given)
		w.lastIgnored(s.certain && !k.added)
	}
}

// refuse reports what is wrong with a value.
func (w *walker) refuse(path string, f field, k key, err error) {
	unfit, ok := errors.AsType[unfitError](err)
	switch {
	case k.secret:
		w.unreadable.add(path, f.pos, "unable to decode configuration: %s: a string without control characters and ${ is needed; what was found is not shown", path)
	case ok:
		w.unreadable.add(path, f.pos, "unable to decode configuration: %s: %v", path, unfit)
	default:
		w.wrongType(path, f, k.kind)
	}
}

// twice reports what is given more than once. The built-in attestor takes the last
// one. Which one is meant is anybody's guess, and a reader of the file sees only the
// first.
func (w *walker) twice(path string, given []field) {
	w.unreadable.add(path, given[1].pos, "%s: given more than once, at %s", path, placesOf(given))
}

func (w *walker) lastIgnored(ignored bool) {
	w.unreadable[len(w.unreadable)-1].BuiltInIgnores = ignored
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
	case stringKind, durationKind, timeKind, sizeKind:
		if n.form == intForm || n.form == stringForm {
			return value{text: n.text}, checkString(n.text)
		}
	case linesKind:
		if n.form == stringForm {
			return value{text: n.text}, checkString(strings.Map(lineBreakAsSpace, n.text))
		}
	case listKind:
		list, err := stringList(n)
		return value{list: list}, err
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
	w.unreadable.add(path, f.pos, "unable to decode configuration: %s: %s is needed, found %s", path, needed[k], found(f.val))
}

var needed = map[kind]string{
	stringKind:    "a string",
	intKind:       "a whole number",
	boolKind:      "true or false",
	durationKind:  `a duration, such as "500ms",`,
	timeKind:      `a time, such as "2026-01-31T00:00:00Z",`,
	sizeKind:      `a size, such as "4MiB",`,
	linesKind:     "a string",
	listKind:      "a list of strings",
	blockKind:     "a block",
	blocksKind:    "a list of blocks",
	namedKind:     "a block with a name",
	stringMapKind: "a map of strings",
	listMapKind:   "a map of lists of strings",
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
