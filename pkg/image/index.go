package image

import (
	"errors"
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

// Contains is whether the index, or one of those that it lists, lists the manifest.
// nested are the indexes that Nested names, read from bytes with those digests;
// what is not among them contains nothing.
func (m *Manifest) Contains(manifest Digest, nested map[Digest]*Manifest) bool {
	lists := func(d Descriptor) bool { return d.Digest == manifest && !d.IsIndex() }
	return slices.ContainsFunc(m.Manifests, func(d Descriptor) bool {
		inner := nested[d.Digest]
		return lists(d) || d.IsIndex() && inner != nil && slices.ContainsFunc(inner.Manifests, lists)
	})
}

// StandsFor returns nil if what is signed by the index's digest is the manifest and
// nothing else that could run on the node; otherwise it says why not. nested are
// the indexes that Nested names, read from bytes with those digests.
//
// Who signs an index signs whatever it lists. Where two entries could run here, the
// signature does not say which of them was meant to, and somebody who makes the
// index could put his own image beside a good one. What an entry says of its
// platform is all that the signer has said, so an entry under another platform does
// not count even if its content would run.
func (m *Manifest) StandsFor(manifest Digest, node Platform, nested map[Digest]*Manifest) error {
	if !m.IsIndex() {
		return errors.New("it is no index")
	}
	entries, err := m.flat(nested)
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(d Descriptor) bool {
		return d.Platform != nil && !d.Platform.couldRun(node)
	})
	switch {
	case !slices.ContainsFunc(entries, func(d Descriptor) bool { return d.Digest == manifest }):
		return fmt.Errorf("the index does not list %v for %v", manifest, node)
	case len(entries) > 1:
		return fmt.Errorf("%d of the manifests that the index lists could run on %v", len(entries), node)
	}
	return nil
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
