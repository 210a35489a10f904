package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// resolver is one look-up on its way.
type resolver struct {
	Reported
	fetch Fetcher

	// config is the running configuration, zero while it is not known.
	config Digest
	// anchors are the digests that the image ID led to when config became known by
	// it: the ID's, and that of the one manifest of the index if it is one.
	anchors []Digest
	// layers are those of a manifest that the runtime named, nil while there is none.
	layers []Descriptor
	// away is whether the image ID's own repository was searched.
	away bool

	// manifests, configs and tag are what was fetched, so that nothing is asked
	// twice: a tag could say something else the next time.
	manifests map[Ref]fetched[*Manifest]
	size      int // of all manifests, in bytes
	configs   map[Ref]fetched[*Config]
	tag       *fetched[Ref]

	candidates []Candidate
	problems   []error
}

// fetched is what a question gave. It is asked once.
type fetched[T any] struct {
	value T
	err   error
}

// note keeps a problem, once.
func (x *resolver) note(err error) {
	if !slices.ContainsFunc(x.problems, func(p error) bool { return errors.Is(p, err) }) {
		x.problems = append(x.problems, err)
	}
}

// add keeps a candidate, once.
func (x *resolver) add(ref Ref, origin Origin, index Digest) {
	if !slices.ContainsFunc(x.candidates, func(c Candidate) bool { return c.Ref == ref }) {
		x.candidates = append(x.candidates, Candidate{ref, origin, index})
	}
}

// identify finds the running configuration by the image ID alone.
func (x *resolver) identify(ctx context.Context) {
	ref, ok := x.ID.Ref()
	if !ok {
		x.identifyBare(ctx)
		return
	}
	for _, repository := range []Repository{x.Spec.Repository, ref.Repository} {
		err := x.anchor(ctx, Ref{repository, ref.Digest})
		if err == nil || errors.Is(err, ErrAmbiguous) {
			return // the same digest says the same elsewhere
		}
	}
}

// identifyBare does so for an image ID without a repository, which is a
// configuration's digest: something in the spec's repository must have that. No other
// registry is asked, since the ID names none, and a default one would be somebody
// else's.
//
// It is not taken for a manifest's: whoever may push gives an image of his the bytes
// of a signed manifest for its configuration, where the runtime does not mind, or a
// configuration that reads as the manifest of a signed image. His image has that
// digest then, and what it says as a manifest is about another one.
func (x *resolver) identifyBare(ctx context.Context) {
	x.config = x.ID.Digest
	x.seek(ctx)
	if len(x.candidates) == 0 {
		x.config = Digest{}
		x.problems = append([]error{ErrNoRepository}, x.problems...)
	}
}

// anchor makes the configuration of what the image ID names the running one.
func (x *resolver) anchor(ctx context.Context, ref Ref) error {
	m, err := x.manifest(ctx, ref)
	leaf := ref
	if err == nil && m.IsIndex() {
		leaf, m, err = x.child(ctx, ref, m)
	}
	if err != nil {
		x.note(err)
		return err
	}
	x.config, x.anchors, x.layers = m.Config.Digest, []Digest{ref.Digest, leaf.Digest}, m.Layers
	return nil
}

// seek looks for what has the running configuration: in the spec's repository, and
// in the image ID's if there is nothing.
func (x *resolver) seek(ctx context.Context) {
	if _, ok := x.ID.Ref(); ok {
		x.try(ctx, Ref{x.Spec.Repository, x.ID.Digest}, FromID)
	}
	if !x.Spec.Digest.IsZero() {
		x.try(ctx, Ref{x.Spec.Repository, x.Spec.Digest}, FromSpec)
	}
	for _, ref := range x.pulled() {
		x.try(ctx, ref, FromRuntime)
	}
	if x.Spec.Digest.IsZero() {
		x.tryTag(ctx)
	}
	if len(x.candidates) == 0 {
		x.goAway(ctx)
	}
}

// pulled are the runtime's names in the spec's repository.
func (x *resolver) pulled() []Ref {
	all := slices.DeleteFunc(slices.Clone(x.Pulled), func(r Ref) bool { return r.Repository != x.Spec.Repository })
	slices.SortFunc(all, func(a, b Ref) int { return a.Digest.Compare(b.Digest) })
	all = slices.Compact(all)
	if len(all) > maxPulled {
		x.note(fmt.Errorf("%w: the runtime has %d names for the image in %v, of which only %d are looked up", ErrLimit, len(all), x.Spec.Repository, maxPulled))
		all = all[:maxPulled]
	}
	return all
}

// goAway looks in the image ID's own repository, if that is another one.
func (x *resolver) goAway(ctx context.Context) {
	x.away = true
	if ref, ok := x.ID.Ref(); ok && ref.Repository != x.Spec.Repository {
		x.try(ctx, ref, FromID)
	}
}

// tryTag tries what the tag of the pod's spec names now. That it named something
// else when the container was made shows in the configuration.
func (x *resolver) tryTag(ctx context.Context) {
	if x.tag == nil {
		body, mediaType, err := x.fetch.Tag(ctx, x.Spec.Repository, x.Spec.Tag)
		x.tag = &fetched[Ref]{Ref{x.Spec.Repository, Of(body)}, err}
		if got := x.manifests[x.tag.value]; err == nil && got.value == nil {
			x.read(x.tag.value, body, mediaType)
		}
	}
	if x.tag.err != nil {
		x.note(x.tag.err)
		return
	}
	x.try(ctx, x.tag.value, FromTag)
}

// try makes a candidate of a manifest or index that stands for what runs.
func (x *resolver) try(ctx context.Context, ref Ref, origin Origin) {
	m, err := x.manifest(ctx, ref)
	switch {
	case err != nil:
	case m.IsIndex():
		var leaf Ref
		if leaf, m, err = x.child(ctx, ref, m); err != nil {
			break
		}
		if err = x.same(ctx, leaf, m); err == nil {
			x.add(ref, origin, Digest{})
			x.add(leaf, origin, ref.Digest)
		}
	default:
		if err = x.same(ctx, ref, m); err == nil {
			x.add(ref, origin, Digest{})
		}
	}
	if err != nil {
		x.note(err)
	}
}

// same returns nil if a manifest is one of the image that runs.
func (x *resolver) same(ctx context.Context, ref Ref, m *Manifest) error {
	switch {
	case m.Config.Digest != x.config:
		return fmt.Errorf("%v is another image: its configuration is %v, and %v runs", ref, m.Config.Digest, x.config)
	case slices.Contains(x.anchors, ref.Digest):
		return nil // the runtime named it, and not only its configuration
	case x.named(ref.Digest) && x.layers == nil:
		x.layers = m.Layers
	case !x.ComparesLayers && !x.named(ref.Digest) && !sameLayers(x.layers, m.Layers):
		return fmt.Errorf("%v: %w", ref, ErrLayers)
	}
	c, err := x.configuration(ctx, ref.Repository)
	if err != nil {
		return err
	}
	if err := c.Identifies(m); err != nil {
		return fmt.Errorf("%v does not stand for what runs: %w", ref, err)
	}
	return nil
}

// sameLayers is whether two manifests have the same layers. No layers are no
// evidence of anything.
func sameLayers(a, b []Descriptor) bool {
	return len(a) > 0 && slices.EqualFunc(a, b, func(a, b Descriptor) bool { return a.Digest == b.Digest })
}

// child is the manifest of an index that runs here: the only one that could, or the
// one that the runtime named, by its digest or by its configuration's.
func (x *resolver) child(ctx context.Context, index Ref, m *Manifest) (Ref, *Manifest, error) {
	leaves, err := x.leaves(ctx, index, m)
	switch {
	case err != nil:
		return Ref{}, nil, err
	case len(leaves) == 0:
		return Ref{}, nil, fmt.Errorf("the index %v lists nothing that could run on %v", index, x.Platform)
	case len(leaves) == 1:
		return x.leaf(ctx, index, leaves[0])
	}
	for _, d := range leaves {
		if x.named(d) {
			return x.leaf(ctx, index, d)
		}
	}
	if !x.config.IsZero() && len(leaves) <= maxSiblings {
		for _, d := range leaves {
			leaf, m, err := x.leaf(ctx, index, d)
			if err != nil {
				return Ref{}, nil, err
			}
			if m.Config.Digest == x.config {
				return leaf, m, nil
			}
		}
	}
	return Ref{}, nil, fmt.Errorf("index %v: %w", index, ErrAmbiguous)
}

// named is whether the runtime has a manifest among its names for the image.
func (x *resolver) named(d Digest) bool {
	return d == x.ID.Digest || slices.ContainsFunc(x.Pulled, func(r Ref) bool { return r.Digest == d })
}

// leaves are the manifests of an index, each once, that could run on the node.
func (x *resolver) leaves(ctx context.Context, index Ref, m *Manifest) ([]Digest, error) {
	nested := map[Digest]*Manifest{}
	inner, err := m.Nested()
	for _, d := range inner {
		if nested[d], err = x.manifest(ctx, Ref{index.Repository, d}); err != nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("index %v: %w", index, err)
	}
	leaves, err := m.Runnable(x.Platform, nested)
	if err != nil {
		return nil, fmt.Errorf("index %v: %w", index, err)
	}
	return leaves, nil
}

// leaf is a manifest that an index lists.
func (x *resolver) leaf(ctx context.Context, index Ref, d Digest) (Ref, *Manifest, error) {
	leaf := Ref{index.Repository, d}
	m, err := x.manifest(ctx, leaf)
	switch {
	case err != nil:
		return Ref{}, nil, fmt.Errorf("index %v: %w", index, err)
	case m.IsIndex():
		return Ref{}, nil, fmt.Errorf("index %v: %v is an index, and listed as something else", index, d)
	}
	return leaf, m, nil
}

// manifest fetches and hashes a manifest.
func (x *resolver) manifest(ctx context.Context, ref Ref) (*Manifest, error) {
	if got, ok := x.manifests[ref]; ok {
		return got.value, got.err
	}
	if len(x.manifests) >= maxManifests {
		return nil, fmt.Errorf("%v: %w: it would be one more than %d manifests for one image", ref, ErrLimit, maxManifests)
	}
	body, mediaType, err := x.fetch.Manifest(ctx, ref.Repository, ref.Digest)
	if err != nil {
		return x.keep(ref, nil, err)
	}
	return x.read(ref, body, mediaType)
}

func (x *resolver) read(ref Ref, body []byte, mediaType string) (*Manifest, error) {
	if Of(body) != ref.Digest {
		return x.keep(ref, nil, fmt.Errorf("%v: the registry answers with other bytes, whose digest is %v", ref, Of(body)))
	}
	if x.size += len(body); x.size > maxManifestBytes {
		return x.keep(ref, nil, fmt.Errorf("%v: %w: with it there would be more than %d MiB of manifests for one image", ref, ErrLimit, maxManifestBytes>>20))
	}
	m, err := ParseManifest(body, mediaType)
	if err != nil {
		err = fmt.Errorf("%v: %w", ref, err)
	}
	return x.keep(ref, m, err)
}

func (x *resolver) keep(ref Ref, m *Manifest, err error) (*Manifest, error) {
	if x.manifests == nil {
		x.manifests = make(map[Ref]fetched[*Manifest])
	}
	x.manifests[ref] = fetched[*Manifest]{m, err}
	return m, err
}

// configuration fetches and hashes the running configuration.
func (x *resolver) configuration(ctx context.Context, r Repository) (*Config, error) {
	ref := Ref{r, x.config}
	if got, ok := x.configs[ref]; ok {
		return got.value, got.err
	}
	c, err := x.fetchConfiguration(ctx, ref)
	if x.configs == nil {
		x.configs = make(map[Ref]fetched[*Config])
	}
	x.configs[ref] = fetched[*Config]{c, err}
	return c, err
}

func (x *resolver) fetchConfiguration(ctx context.Context, ref Ref) (*Config, error) {
	body, err := x.fetch.Blob(ctx, ref.Repository, ref.Digest, maxConfig)
	switch {
	case err != nil:
		return nil, err
	case Of(body) != ref.Digest:
		return nil, fmt.Errorf("configuration %v: the registry answers with other bytes, whose digest is %v", ref, Of(body))
	}
	c, err := ParseConfig(body)
	if err != nil {
		return nil, fmt.Errorf("configuration %v: %w", ref, err)
	}
	return c, nil
}
