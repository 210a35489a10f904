package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Fetcher gets documents from registries. Its errors name what was asked for, and
// where; a registry that it may not ask is one of them. What it returns is hashed
// here in any case: a registry that answers one thing to one question and another to
// the next deceives nobody.
type Fetcher interface {
	// Manifest returns the manifest or index with that digest, and the media type
	// that the registry gives for it.
	Manifest(ctx context.Context, r Repository, d Digest) (body []byte, mediaType string, err error)
	// Tag returns what the tag names at the moment.
	Tag(ctx context.Context, r Repository, tag string) (body []byte, mediaType string, err error)
	// Blob returns the blob with that digest, of at most max bytes.
	Blob(ctx context.Context, r Repository, d Digest, max int64) ([]byte, error)
}

// Reported is what is known of the image of one container.
type Reported struct {
	// Spec is what the pod's spec says: where its author meant the image to be.
	Spec Name
	// Status is the name in the container's status, zero where that is none. It is
	// a name for people, and for policies to match.
	Status Name
	// ID is the imageID of the container's status: a name of the content that the
	// runtime chose. It is zero for a container that never started.
	ID ID
	// Config is the digest of the image's configuration where the runtime was asked
	// for it (pkg/cri), else zero.
	Config Digest
	// Pulled are the names by digest that the runtime has for the content. Any of
	// them may be another pod's author's; those in the spec's repository help to
	// find what a tag named when the container was made.
	Pulled []Ref
	// Platform is the node's.
	Platform Platform
	// ComparesLayers is whether the runtime compares each layer with the
	// configuration's diff_ids when it unpacks it, so that what has the configuration
	// has the content. Where it does not, who may push could have other layers run
	// under a signed image's configuration; there only what the runtime names counts,
	// and what has the very same layers.
	ComparesLayers bool
}

// Origin is how a candidate became one, for people.
type Origin string

// The origins of candidates.
const (
	FromID      Origin = "the image ID of the container's status"
	FromSpec    Origin = "the digest in the pod's spec"
	FromRuntime Origin = "a name that the runtime has for the image"
	FromTag     Origin = "what the tag in the pod's spec names now"
)

// Candidate is a manifest or index that stands for what runs: evidence about its
// digest is evidence about the running container.
type Candidate struct {
	// Ref is where it was found, and so where evidence is to be sought.
	Ref
	Origin Origin
	// Index is the index by which it was found, zero for what was named itself.
	Index Digest
}

// Content is what runs.
type Content struct {
	// Config is the digest of the image's configuration: the identity of what runs.
	Config Digest
	// Candidates are what stands for it in the spec's repository, or if there is
	// nothing, in the image ID's. Each is there once. They may be none: then no
	// evidence is about what runs, or Problems says why it can't be told.
	Candidates []Candidate
	// Names are all names of the image that policies match: by the spec, the status
	// and the image ID, each once. None of them says that the content is there.
	Names []Name
	// Problems are what kept other manifests from being candidates, in the order of
	// the questions.
	Problems []error

	// elsewhere is the image ID's repository where that is another than the spec's
	// and was not asked.
	elsewhere *resolver
}

// The reasons why it can't be told what runs.
var (
	// ErrNotReported is a container whose status has no image ID: it never started.
	ErrNotReported = errors.New("the container's status has no image ID: it has not started")
	// ErrNoRepository is an image ID without a repository that nothing in the
	// spec's repository agrees with.
	ErrNoRepository = errors.New("the image ID names no repository, and nothing that it could mean was found in the spec's")
	// ErrLayers is a manifest with the running configuration of which it can't be told
	// whether its layers run.
	ErrLayers = errors.New("its configuration runs, but the runtime is not known to compare layers with that, and these are not known to be those that run")
	// ErrAmbiguous is an index of which more than one manifest could run here.
	ErrAmbiguous = errors.New("more than one of the manifests that the index lists could run on this node, and the runtime does not say which does")
)

// UnknownError is why it can't be told what runs. It is all of Problems.
type UnknownError struct {
	ID       ID
	Problems []error
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("it can't be told what runs as %q: %v", e.ID, errors.Join(e.Problems...))
}

// Unwrap returns the problems.
func (e *UnknownError) Unwrap() []error { return e.Problems }

// The bounds of one look-up.
const (
	// maxConfig is the longest configuration that is read.
	maxConfig = 4 << 20
	// maxPulled is how many of the runtime's names are looked up, maxSiblings how
	// many manifests of an index to find the one with the running configuration,
	// maxManifests and maxManifestBytes bound all kinds together.
	maxPulled, maxSiblings, maxManifests = 8, 8, 24
	maxManifestBytes                     = 16 << 20
)

// Resolve finds out what runs, and what stands for it in registries.
//
// An image ID is a name that the runtime chose, and another pod's author can make
// it a name of his for the same content (ADVERSARIAL.md, row 36). So what runs is
// known by the digest of its configuration: from the runtime if it was asked, else
// from the manifest that the image ID names, which is hashed. A manifest counts
// only if it has that configuration, whatever it is called and wherever it is: a
// tag that has moved since is a problem and no candidate (row 22).
//
// The spec's repository is asked first. The image ID's own, where it is another, is
// asked only when there is no other way to know what runs or nothing stands for it
// in the spec's, and by Elsewhere. The error is an *UnknownError, or the context's
// cause.
func Resolve(ctx context.Context, f Fetcher, r Reported) (*Content, error) {
	switch {
	case r.ID.IsZero():
		return nil, &UnknownError{Problems: []error{ErrNotReported}} // row 41: without any look-up
	case r.Spec.IsZero():
		return nil, &UnknownError{r.ID, []error{errors.New("the pod's spec names no image")}}
	}
	x := &resolver{Reported: r, fetch: f, config: r.Config}
	if x.config.IsZero() {
		x.identify(ctx)
	}
	if !x.config.IsZero() {
		x.seek(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case x.config.IsZero():
		return nil, &UnknownError{r.ID, x.problems}
	}
	c := &Content{Config: x.config, Candidates: x.candidates, Names: r.names(), Problems: x.problems}
	if !x.away {
		c.elsewhere = &resolver{Reported: r, fetch: f, config: x.config, anchors: x.anchors, layers: x.layers}
	}
	return c, nil
}

// Elsewhere looks in the image ID's own repository, where that is another than the
// spec's and was not asked yet, for what stands for the content there. Its owner may
// be another pod's author, who can make this slow: so it is for when there is no
// evidence in the spec's. What keeps it from an answer is a problem, and so is the
// context's end.
func (c *Content) Elsewhere(ctx context.Context) (candidates []Candidate, problems []error) {
	if c.elsewhere == nil {
		return nil, nil
	}
	x := *c.elsewhere
	x.goAway(ctx)
	return x.candidates, x.problems
}

// names are all names of the image that policies match.
func (r Reported) names() []Name {
	all := []Name{r.Spec, r.Status}
	if ref, ok := r.ID.Ref(); ok {
		all = append(all, Name{Repository: ref.Repository, Digest: ref.Digest})
	}
	var names []Name
	for _, n := range all {
		if !n.IsZero() && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}
