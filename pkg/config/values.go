package config

import "fmt"

// item is an element of a list, entry one of a map: a string, or a list.
type item struct {
	pos  Pos
	text string
}

type entry struct {
	pos  Pos
	name string
	text string
	list []item
}

// stringList is the strings of a list. One string is a list of one, as HCL's decoder
// has it.
func stringList(n *node) ([]item, error) {
	elements := n.list
	if n.form != listForm {
		elements = []*node{n}
	}
	list := make([]item, 0, len(elements))
	for _, element := range elements {
		v, err := scalarValue(stringKind, element)
		if err != nil {
			return nil, err
		}
		list = append(list, item{pos: element.pos, text: v.text})
	}
	return list, nil
}

// entries puts together what is given in parts, as block does.
func (w *walker) entries(path string, k key, given []field) value {
	v := value{pos: given[0].pos}
	seen := map[string][]field{}
	for _, f := range given {
		if f.val.form != objectForm {
			w.wrongType(path, f, k.kind)
			continue
		}
		for _, e := range f.val.fields {
			if len(seen[e.key]) == 0 {
				v.entries = append(v.entries, w.entry(path, k.kind, e))
			}
			seen[e.key] = append(seen[e.key], e)
		}
	}
	for _, e := range v.entries {
		if len(seen[e.name]) > 1 {
			w.twice(inBrackets(path, e.name), seen[e.name])
		}
	}
	return v
}

func (w *walker) entry(path string, k kind, f field) entry {
	path = inBrackets(path, f.key)
	of := key{kind: stringKind}
	if k == listMapKind {
		of.kind = listKind
	}
	v, err := scalarValue(of.kind, f.val)
	if err == nil {
		err = checkString(f.key)
	}
	if err != nil {
		w.refuse(path, f, of, err)
	}
	return entry{pos: f.pos, name: f.key, text: v.text, list: v.list}
}

// named is the blocks of a key with names. A name that is given twice is reported,
// except for the parts that HCL's JSON parser makes of an object of objects.
func (w *walker) named(path string, k key, given []field) (sections []*section) {
	parts := map[string][]field{}
	var order []string
	for _, f := range given {
		switch {
		case f.val.form != objectForm:
			w.wrongType(path, f, k.kind)
			continue
		case !hasNames(k, f.val):
			w.unreadable.add(path, f.pos, "%s: a name is needed: %s \"NAME\" { ... }", path, k.name)
			return nil
		}
		for _, label := range f.val.fields {
			if len(parts[label.key]) == 0 {
				order = append(order, label.key)
			}
			parts[label.key] = append(parts[label.key], label)
		}
	}
	for _, name := range order {
		sections = append(sections, w.namedSection(inBrackets(path, name), name, k, parts[name]))
	}
	return sections
}

// hasNames is whether an object has labels and no keys: in `image_policy { match { ... } }`
// a policy lacks its name, and none is called match.
func hasNames(k key, object *node) bool {
	for _, f := range object.fields {
		known, ok := find(k.keys, f.key)
		if f.val.form != objectForm || ok && (known.kind == blockKind || known.kind == namedKind || known.kind == stringMapKind) {
			return false
		}
	}
	return len(object.fields) > 0 || k.mayBeEmpty
}

func (w *walker) namedSection(path, name string, k key, parts []field) *section {
	var fields []field
	braces := false
	for _, part := range parts {
		fields = append(fields, part.val.fields...)
		braces = braces || !part.val.labels
	}
	if err := checkString(name); err != nil {
		w.refuse(path, parts[0], k, err)
	}
	if braces && len(parts) > 1 {
		w.twice(path, parts)
	}
	s := w.section(path, parts[0].pos, k, fields, false)
	s.name = name
	return s
}

func inBrackets(path, name string) string { return fmt.Sprintf("%s[%s]", path, quoteOdd(name)) }

func lineBreakAsSpace(r rune) rune {
	if r == '\n' {
		return ' '
	}
	return r
}
