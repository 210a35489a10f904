package image

import (
	"fmt"
	"slices"
)

// maxNested is how many indexes an index may list. They have to be fetched.
const maxNested = 8

// Nested returns the indexes that an index lists, which have to be known to say
// what it contains: each once, in the order of the list.
func (m *Manifest) Nested() ([]Digest, error) {
	var found []Digest
	for i := range m.Manifests {
		if d := &m.Manifests[i]; d.IsIndex() && !slices.Contains(found, d.Digest) {
			found = append(found, d.Digest)
		}
	}
	if len(found) > maxNested {
		return nil, fmt.Errorf("%w: the index lists more than %d indexes", ErrLimit, maxNested)
	}
	return found, nil
}

// Runnable returns the manifests of the index, and of those that it lists, that
// could run on the node, each once. nested are the indexes that Nested names, read
// from bytes with those digests. Of what is no index nothing is listed.
//
// Who signs an index signs whatever it lists. Where two entries could run here, the
// signature does not say which of them was meant to, and somebody who makes the
// index could put his own image beside a good one. What an entry says of its
// platform is all that the signer has said, so an entry under another platform does
// not count even if its content would run.
func (m *Manifest) Runnable(node Platform, nested map[Digest]*Manifest) ([]Digest, error) {
	entries, err := m.flat(nested)
	if err != nil {
		return nil, err
	}
	var runnable []Digest
	for _, d := range entries {
		if (d.Platform == nil || d.Platform.couldRun(node)) && !slices.Contains(runnable, d.Digest) {
			runnable = append(runnable, d.Digest)
		}
	}
	return runnable, nil
}

// flat returns the entries of the index and of those that it lists, whatever
// platform it gives for them: runtimes differ in whether they look at it.
func (m *Manifest) flat(nested map[Digest]*Manifest) ([]Descriptor, error) {
	if _, err := m.Nested(); err != nil {
		return nil, err
	}
	var entries []Descriptor
	for i := range m.Manifests {
		d := &m.Manifests[i]
		if !d.IsIndex() {
			entries = append(entries, *d)
			continue
		}
		inner := nested[d.Digest]
		if inner == nil || !inner.IsIndex() {
			return nil, fmt.Errorf("the index lists the index %v, which is not known", d.Digest)
		}
		for j := range inner.Manifests {
			if inner.Manifests[j].IsIndex() {
				return nil, fmt.Errorf("%w: the index lists an index that lists an index", ErrLimit)
			}
			entries = append(entries, inner.Manifests[j])
		}
	}
	return entries, nil
}
