package cli

import (
	"encoding/json"
	"io"
	"time"
)

// The documents that `-o json` writes. docs/cli.md is their manual; a field is
// never removed, renamed or given another meaning within one format.

// format is the version of all documents.
const format = "podseal/v1"

// header begins every document.
type header struct {
	Format string `json:"format"`
	Kind   string `json:"kind"`
}

func kind(name string) header { return header{Format: format, Kind: name} }

// failure is an error for people, in two sentences.
type failure struct {
	Cause  string `json:"cause"`
	Remedy string `json:"remedy,omitempty"`
}

// writeJSON writes a document, indented and without HTML's escapes.
func writeJSON(w io.Writer, document any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(document)
}

// writeJSONLine writes a document on one line, as one of a stream.
func writeJSONLine(w io.Writer, document any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(document)
}

// seconds is a duration in the unit of all documents.
func seconds(d time.Duration) float64 { return d.Seconds() }
