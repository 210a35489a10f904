package config

import "strings"

// Bounds on the text. It comes from an operator, but a generated one can go wrong and
// the plugin must survive it: the HCL parser calls itself for every brace.
const (
	maxText  = 1 << 20
	maxDepth = 32
)

// node is a value of the text, whatever it was written in: HCL, HCL as SPIRE Agent
// prints it, or JSON.
type node struct {
	pos    Pos
	form   form
	text   string  // of a scalar: the string's value, or the number as written
	list   []*node // of a list
	fields []field // of an object: in the order of the text, repeats included
}

// field is a key and its value. A key with several labels is nested objects, and a list
// of objects is the key repeated, for that is what the agent's print makes of them.
type field struct {
	key string
	pos Pos
	val *node
}

type form int

const (
	stringForm form = iota
	intForm
	floatForm
	boolForm
	listForm
	objectForm
)

// read turns the text into a tree. The error says what is wrong with the text as a
// whole and where.
func read(text string) (*node, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		return readJSON(text)
	}
	return readHCL(text)
}

// expand is the fields that one key and its value stand for.
func expand(key string, pos Pos, val *node) []field {
	if !val.isObjects() {
		return []field{{key: key, pos: pos, val: val}}
	}
	fields := make([]field, 0, len(val.list))
	for _, object := range val.list {
		fields = append(fields, field{key: key, pos: pos, val: object})
	}
	return fields
}

// isObjects is true for a list of nothing but objects. An empty list is none: it says
// something that the absence of the key does not.
func (n *node) isObjects() bool {
	if n.form != listForm || len(n.list) == 0 {
		return false
	}
	for _, element := range n.list {
		if element.form != objectForm {
			return false
		}
	}
	return true
}
