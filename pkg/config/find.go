package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// FindOptions say how a file is to be read.
type FindOptions struct {
	// Plugin is the name of the WorkloadAttestor that is meant, "" for the one that
	// is podseal.
	Plugin string
	// ExpandEnv looks up an environment variable, for an agent that runs with
	// -expandEnv; nil for one that does not.
	ExpandEnv func(string) string
}

// Find finds podseal's block in the text of a whole agent.conf, which has a key
// "plugins" or "agent" at its top; any other text is itself taken for the body of
// plugin_data, or of a plugin_data_file. Both are HCL, or JSON where they begin with a
// brace.
//
// The block is the WorkloadAttestor that Plugin names. Without one it is the
// WorkloadAttestor whose plugin_cmd's last element is "podseal", those that are not
// enabled counting only where no other is; else the one that is named k8s. The rest of
// an agent.conf is not judged, as long as it can be parsed. JSON is read more strictly
// than by the agent, which drops what follows some mistakes without a word.
//
// An error is a Problem, with its place where it has one. All places are those of the
// file; what an expanded variable brought is where the variable is written.
func Find(text string, o FindOptions) (*Block, error) {
	src, err := newSource(text)
	if err != nil {
		return nil, undecodable(err)
	}
	if o.ExpandEnv != nil {
		if src, err = src.expanded(o.ExpandEnv); err != nil {
			return nil, undecodable(err)
		}
	}
	root, err := read(src)
	if err != nil {
		return nil, undecodable(err)
	}
	if !isAgentConf(root) {
		return body(src, root, o)
	}
	all, err := workloadAttestors(root)
	if err != nil {
		return nil, err
	}
	chosen, err := choose(all, o.Plugin)
	if err != nil {
		return nil, err
	}
	block, err := readBlock(chosen)
	if err != nil {
		return nil, err
	}
	block.TrustDomain = trustDomain(root)
	block.json = isJSON(src.text)
	block.Warnings = append(block.Warnings, src.eatenIn(chosen.val.span)...)
	return block, nil
}

func isAgentConf(root *node) bool {
	return slices.ContainsFunc(root.fields, func(f field) bool { return f.is("plugins") || f.is("agent") })
}

// is compares as HCL's decoder does for the keys that it knows.
func (f field) is(name string) bool { return strings.EqualFold(f.key, name) }

func body(src *source, root *node, o FindOptions) (*Block, error) {
	if o.Plugin != "" {
		return nil, newProblem("", Pos{}, "the plugin %q can't be looked for: the file is a plugin_data body, not a whole agent configuration", o.Plugin)
	}
	block := &Block{Enabled: true, data: root}
	if o.ExpandEnv != nil {
		block.Warnings.add("", Pos{}, "environment variables were expanded in a plugin_data body: the agent's -expandEnv expands its own file, and leaves what plugin_data_file names as it is")
		block.Warnings = append(block.Warnings, src.eatenIn(root.span)...)
	}
	return block, nil
}

// workloadAttestors is the agent's plugins of that type, in the order of the file. In
// JSON it is what the agent makes of lists of objects, too.
func workloadAttestors(root *node) ([]field, error) {
	plugins, err := parts(root, "plugins")
	if err != nil {
		return nil, err
	}
	var all []field
	for _, p := range plugins {
		for _, types := range p.val.fields {
			// A type and a name are compared with regard to case, as by the agent.
			if types.key == "WorkloadAttestor" {
				all = append(all, types.val.fields...)
			}
		}
	}
	return all, nil
}

// parts is the fields of that name. Where there are several, the agent puts them
// together if each has labels, and else uses only one of them without a word.
func parts(object *node, name string) ([]field, error) {
	var given []field
	bare := false
	for _, f := range object.fields {
		if f.is(name) {
			given = append(given, f)
			bare = bare || !f.labelled
		}
	}
	if bare && len(given) > 1 {
		p := newProblem(name, given[1].pos, "%s: given more than once, at %s; the agent uses only one of them", name, placesOf(given))
		p.BuiltInIgnores = true
		return nil, p
	}
	return given, nil
}

func choose(all []field, plugin string) (field, error) {
	if plugin != "" {
		return named(all, plugin)
	}
	podseals := slices.DeleteFunc(slices.Clone(all), func(f field) bool { return !runsPodseal(f) })
	if slices.ContainsFunc(podseals, enabled) {
		podseals = slices.DeleteFunc(podseals, func(f field) bool { return !enabled(f) })
	}
	switch len(podseals) {
	case 0:
		return named(all, "k8s")
	case 1:
		return named(all, podseals[0].key)
	}
	if first := podseals[0].key; !slices.ContainsFunc(podseals, func(f field) bool { return f.key != first }) {
		return named(all, first)
	}
	return field{}, newProblem("", podseals[1].pos, "the WorkloadAttestors %s are podseal: say with --plugin NAME which one is meant", listed(podseals))
}

func named(all []field, name string) (field, error) {
	found := slices.DeleteFunc(slices.Clone(all), func(f field) bool { return f.key != name })
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return field{}, newProblem("", found[1].pos, "plugin \"WorkloadAttestor\"/%q declared more than once, at %s", name, placesOf(found))
	case len(all) == 0:
		return field{}, newProblem("", Pos{}, "there is no WorkloadAttestor %q: the configuration has no WorkloadAttestor at all", name)
	}
	return field{}, newProblem("", Pos{}, "there is no WorkloadAttestor %q: the configuration has %s", name, listed(all))
}

// runsPodseal is whether the plugin's command is a file named podseal.
func runsPodseal(plugin field) bool {
	cmd := peek(plugin, "plugin_cmd")
	return cmd != nil && cmd.form == stringForm && cmd.text[strings.LastIndexByte(cmd.text, '/')+1:] == "podseal"
}

func enabled(plugin field) bool {
	n := peek(plugin, "enabled")
	return n == nil || n.form != boolForm || n.text == "true"
}

// peek is the value of a plugin's key before it is certain that the plugin is meant,
// the last one as the agent has it; or nil.
func peek(plugin field, name string) *node {
	for _, f := range slices.Backward(plugin.val.fields) {
		if f.is(name) {
			return f.val
		}
	}
	return nil
}

// trustDomain is the agent's, or no value. It may come from the agent's command line.
func trustDomain(root *node) (found Value) {
	for _, agent := range root.fields {
		if !agent.is("agent") {
			continue
		}
		for _, f := range agent.val.fields {
			if v, err := scalarValue(stringKind, f.val); f.is("trust_domain") && f.val.fault == nil && err == nil {
				found = Value{Text: v.text, Pos: f.pos}
			}
		}
	}
	return found
}

func listed(plugins []field) string {
	const most = 20
	var names []string
	for i, f := range plugins {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(plugins)-most))
			break
		}
		names = append(names, fmt.Sprintf("%s (%s)", strconv.Quote(f.key), f.pos))
	}
	return strings.Join(names, ", ")
}

func placesOf(fields []field) string {
	places := make([]string, len(fields))
	for i, f := range fields {
		places[i] = f.pos.String()
	}
	return strings.Join(places, " and ")
}
