// Scale says what podseal costs a cluster of 10,000 nodes, against SPIRE's
// built-in attestor: it prints the tables of docs/scale.md. What happens on the
// nodes is simulated, from figures that were measured on one (figures.go), facts
// about Kubernetes (kubernetes.go), and assumptions about workloads
// (scenario.go). Nothing is measured here, and chance has a seed: it always
// prints the same.
//
// With -doc FILE it puts the tables into that file, between its marks.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
)

//go:generate go run . -doc ../../docs/scale.md

func main() {
	doc := flag.String("doc", "", "put the tables into this document")
	flag.Parse()
	if err := run(*doc); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(doc string) error {
	var tables bytes.Buffer
	if err := report(&tables); err != nil {
		return err
	}
	if doc == "" {
		_, err := os.Stdout.Write(tables.Bytes())
		return err
	}
	text, err := os.ReadFile(doc) // #nosec G304 -- the developer's own argument
	if err != nil {
		return err
	}
	before, _, after, err := split(text)
	if err != nil {
		return fmt.Errorf("%s: %w", doc, err)
	}
	return os.WriteFile(doc, bytes.Join([][]byte{before, tables.Bytes(), after}, nil), 0o644) // #nosec G306 -- a document
}

var (
	begin = []byte("<!-- begin of what `go run ./test/scale` prints -->\n\n")
	end   = []byte("<!-- end of what `go run ./test/scale` prints -->\n")
)

// split cuts a document at the marks, which stay with what is around them.
func split(text []byte) (before, tables, after []byte, err error) {
	from, to := bytes.Index(text, begin), bytes.Index(text, end)
	if from < 0 || to < from {
		return nil, nil, nil, errors.New("the marks are not there")
	}
	from += len(begin)
	return text[:from], text[from:to], text[to:], nil
}
