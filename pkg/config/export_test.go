package config

import (
	"fmt"
	"slices"
	"strings"
)

// Tables is the part of docs/configuration.md that is made from the schema.
func Tables() string {
	var builtIn, added []key
	for _, k := range schema {
		if k.added {
			added = append(added, k)
		} else {
			builtIn = append(builtIn, k)
		}
	}
	return "### Keys of the built-in attestor\n\n" + table(builtIn) + "\n### Keys that podseal adds\n\n" + table(added)
}

func table(keys []key) string {
	var b strings.Builder
	b.WriteString("| key | type | default | meaning | errors |\n| --- | --- | --- | --- | --- |\n")
	rows(&b, "", keys)
	return b.String()
}

func rows(b *strings.Builder, path string, keys []key) {
	for _, k := range keys {
		name := join(path, k.name)
		messages := make([]string, len(k.errors))
		for i, message := range k.errors {
			messages[i] = code(message)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", code(name), k.kind, byDefault(k), k.meaning, strings.Join(messages, "<br>"))
		rows(b, name, k.keys)
	}
}

// byDefault shows a value as one, and words as words.
func byDefault(k key) string {
	words := []string{"", "none", "any", "all", "nobody"}
	if strings.ContainsAny(k.byDefault, " `") || slices.Contains(words, k.byDefault) {
		return k.byDefault
	}
	return code(k.byDefault)
}

func code(s string) string { return "`" + s + "`" }

// ErrorPatterns are the messages that the documentation names.
func ErrorPatterns() []string {
	var patterns []string
	var collect func(keys []key)
	collect = func(keys []key) {
		for _, k := range keys {
			patterns = append(patterns, k.errors...)
			collect(k.keys)
		}
	}
	collect(schema)
	return patterns
}
