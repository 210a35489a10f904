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
	span   span // where it stands in the text that is parsed
	form   form
	text   string  // of a scalar: the string's value, or the number as written
	list   []*node // of a list
	fields []field // of an object: in the order of the text, repeats included
	// labels is true for an object that is made of a key's labels, with no braces of
	// its own. One object may have many such parts.
	labels bool
	// fault is why it can't be read. It counts where the node is needed: an
	// agent.conf has much in it that is not podseal's.
	fault *textError
}

// field is a key and its value. A key with several labels is nested objects, and a list
// of objects is the key repeated, for that is what the agent's print makes of them.
type field struct {
	key   string
	pos   Pos
	val   *node
	fault *textError // as node.fault, for the key
	// How an HCL key is written decides whether the built-in attestor finds an
	// unknown one: quoted; followed by labels; and that not first in its object.
	quoted, labelled, laterLabelled bool
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

// read turns the text into a tree. The error, a *textError where it has a place, says
// what is wrong with the text as a whole; what is wrong with a part is its fault.
func read(src *source) (*node, error) {
	if isJSON(src.text) {
		return readJSON(src)
	}
	return readHCL(src)
}

func isJSON(text string) bool { return strings.HasPrefix(strings.TrimSpace(text), "{") }

// expand is the fields that one key and its value stand for.
func (f field) expand() []field {
	if !f.val.isObjects() {
		return []field{f}
	}
	fields := make([]field, len(f.val.list))
	for i, object := range f.val.list {
		fields[i] = f
		fields[i].val = object
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

// firstFault is the first thing in it that can't be read, or nil.
func (n *node) firstFault() *textError {
	for _, f := range n.fields {
		if f.fault != nil {
			return f.fault
		}
		if fault := f.val.firstFault(); fault != nil {
			return fault
		}
	}
	for _, element := range n.list {
		if fault := element.firstFault(); fault != nil {
			return fault
		}
	}
	return n.fault
}
