package config

import "errors"

// Block is what an agent.conf says of podseal, or the body of plugin_data alone.
type Block struct {
	// Plugin is the plugin's name, which is the type of its selectors too; "" for a
	// body.
	Plugin string
	// Pos is where the block begins; zero for a body.
	Pos Pos
	// Enabled is false for a plugin that the agent does not start.
	Enabled bool
	// BuiltIn is true where the block has no plugin_cmd and so configures SPIRE's own
	// attestor. It is false for a body, which does not say.
	BuiltIn bool
	// Cmd is the plugin's binary, relative to the working directory of the agent.
	Cmd Value
	// Checksum is the hexadecimal SHA-256 of it that the agent asks for.
	Checksum Value
	// Args are the arguments that the agent starts it with.
	Args []Value
	// DataFile is the file that has the data in place of the block, relative to the
	// working directory of the agent. The agent reads it as it is, also where it runs
	// with -expandEnv.
	DataFile Value
	// TrustDomain is the agent's, not given where its command line may say it.
	TrustDomain Value
	// Warnings are about the block itself. Those about the data are Parse's.
	Warnings Problems

	data *node
	json bool
}

// Value is a value of an agent.conf and the place of its key.
type Value struct {
	Text string
	Pos  Pos
}

// Given is false where the key is not there.
func (v Value) Given() bool { return v.Pos != Pos{} }

// Parse reads the block's data as the function Parse does. dataFile is the text of
// DataFile, and not looked at where none is given: what Parse then says has the places
// of that file.
func (b *Block) Parse(dataFile string, env func(string) string) Result {
	if b.DataFile.Given() {
		return Parse(dataFile, env)
	}
	return parse(b.data, &walker{quoted: b.json}, env)
}

// pluginKeys is what the agent knows of a plugin. It takes other keys without a word.
var pluginKeys = []string{"plugin_cmd", "plugin_args", "plugin_checksum", "plugin_data", "plugin_data_file", "enabled"}

func readBlock(plugin field) (*Block, error) {
	if plugin.val.form != objectForm {
		return nil, newProblem("", plugin.pos, "the plugin %q: a block is needed, found %s", plugin.key, found(plugin.val))
	}
	r := blockReader{object: plugin.val}
	b := &Block{
		Plugin:   plugin.key,
		Pos:      plugin.pos,
		Enabled:  r.flag("enabled", true),
		Cmd:      r.text("plugin_cmd"),
		Checksum: r.text("plugin_checksum"),
		Args:     r.texts("plugin_args"),
		DataFile: r.text("plugin_data_file"),
		data:     r.data(),
	}
	if r.err == nil && b.data != nil && b.DataFile.Given() {
		r.fail(newProblem("plugin_data_file", b.DataFile.Pos, "only one of [plugin_data, plugin_data_file] can be used"))
	}
	if r.err != nil {
		return nil, r.err
	}
	if b.data == nil {
		b.data = &node{pos: plugin.pos, form: objectForm}
	}
	b.BuiltIn = b.Cmd.Text == ""
	b.warn(r)
	return b, nil
}

func (b *Block) warn(r blockReader) {
	if b.BuiltIn {
		b.Warnings.add("plugin_cmd", b.Pos, "plugin_cmd: not given, so this configures SPIRE's built-in attestor, not podseal")
	}
	if !b.BuiltIn && len(b.Args) > 0 {
		f, _ := r.one("plugin_args")
		b.Warnings.add("plugin_args", f.pos, "plugin_args: podseal serves the agent only when it is started without arguments: remove them")
	}
	if !b.Enabled {
		f, _ := r.one("enabled")
		b.Warnings.add("enabled", f.pos, "enabled: false, so the agent does not start the plugin %q", b.Plugin)
	}
	for _, f := range r.object.fields {
		if containsFold(pluginKeys, f.key) || len(b.Warnings) >= maxProblems {
			continue
		}
		b.Warnings.add(quoteOdd(f.key), f.pos, "%s: the agent does not know this key of a plugin and ignores it%s", quoteOdd(f.key), didYouMean(f.key, pluginKeys))
		b.Warnings[len(b.Warnings)-1].BuiltInIgnores = true
	}
}

func containsFold(names []string, name string) bool {
	for _, n := range names {
		if (field{key: name}).is(n) {
			return true
		}
	}
	return false
}

// blockReader reads the keys of a plugin and keeps the first error.
type blockReader struct {
	object *node
	err    error
}

func (r *blockReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// one is the field of that name, which must not be there twice.
func (r *blockReader) one(name string) (field, bool) {
	given, err := parts(r.object, name)
	if err != nil {
		r.fail(err)
	}
	if len(given) == 0 {
		return field{}, false
	}
	f := given[0]
	for _, more := range given[1:] {
		// Labelled ones: their labels are keys of one object.
		merged := *f.val
		merged.fields = append(merged.fields[:len(merged.fields):len(merged.fields)], more.val.fields...)
		f.val = &merged
	}
	return f, true
}

// scalar is the value of a key of that kind, or nothing where it is not given.
func (r *blockReader) scalar(k kind, name string, f field) value {
	if f.val.fault != nil {
		r.fail(undecodable(f.val.fault))
		return value{}
	}
	v, err := scalarValue(k, f.val)
	switch {
	case errors.Is(err, errType):
		r.fail(newProblem(name, f.pos, "%s: %s is needed, found %s", name, needed[k], found(f.val)))
	case err != nil:
		r.fail(newProblem(name, f.pos, "%s: %v", name, err))
	}
	return v
}

func (r *blockReader) text(name string) Value {
	f, ok := r.one(name)
	if !ok {
		return Value{}
	}
	return Value{Text: r.scalar(stringKind, name, f).text, Pos: f.pos}
}

func (r *blockReader) flag(name string, byDefault bool) bool {
	f, ok := r.one(name)
	if !ok {
		return byDefault
	}
	return r.scalar(boolKind, name, f).flag
}

func (r *blockReader) texts(name string) []Value {
	f, ok := r.one(name)
	if !ok {
		return nil
	}
	if f.val.form != listForm {
		r.fail(newProblem(name, f.pos, "%s: a list of strings is needed, found %s", name, found(f.val)))
	}
	var values []Value
	for _, element := range f.val.list {
		at := field{pos: element.pos, val: element}
		values = append(values, Value{Text: r.scalar(stringKind, name, at).text, Pos: element.pos})
	}
	return values
}

// data is what stands in plugin_data, or nil.
func (r *blockReader) data() *node {
	f, ok := r.one("plugin_data")
	if !ok {
		return nil
	}
	if f.val.form != objectForm {
		r.fail(newProblem("plugin_data", f.pos, "plugin_data: a block is needed, found %s", found(f.val)))
	}
	return f.val
}
