package registry

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/image"
)

const (
	// The media types of the layers that are signatures and attestations; a bundle's
	// begins and ends so, with its version between.
	simpleSigningType = "application/vnd.dev.cosign.simplesigning.v1+json"
	envelopeType      = "application/vnd.dsse.envelope.v1+json"
	bundleTypePrefix  = "application/vnd.dev.sigstore.bundle"

	// maxPayload is the length of a simple signing payload, and maxAnnotations that
	// of the annotations of a layer, in bytes.
	maxPayload     = 64 << 10
	maxAnnotations = 64 << 10
	// small is the length in bytes up to which something is taken whatever else
	// there is. The longer ones of one place may together have no more than MaxBundle:
	// somebody's huge attestations take no room from signatures.
	small = 64 << 10
	// together is how many things are fetched at once for one image and place.
	together = 4
)

// Found is what there is about an image.
type Found struct {
	// Items are signatures and attestations, or what is in their place, in an order
	// that depends only on what there is.
	Items []evidence.Item
	// Problems are of type *Error: what was there, or may have been, and could not be
	// taken. They are sorted. Items that were taken are not less for it; but who finds
	// none that is good enough must look here before saying that there is none.
	Problems []error
}

// Evidence fetches what the repository has about the image: the signatures and
// attestations under cosign's tags, and the Sigstore bundles that refer to it, by
// the registry's list of referrers and by the tag that stands in for it. All of it
// is sought side by side, and each candidate is taken for what it is, not for what
// a list says of it.
//
// An error means that it can't be told what there is: no place where something
// could be has answered. It is of type *Error; if the places have failed
// differently, of the kind that waiting helps least.
func (c *Conversation) Evidence(ctx context.Context, ref image.Ref) (*Found, error) {
	var found *Found
	err := c.ask(ref.Repository, "evidence for "+ref.Digest.String(), func(t talk) (err error) {
		if ref.Digest.IsZero() {
			return fail(Malformed, "no digest is asked for")
		}
		found, err = (&search{t, ref}).all(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// search is for the evidence about one image.
type search struct {
	talk
	ref image.Ref
}

// part is what one place has.
type part struct {
	items    []evidence.Item
	problems []error
	// answered is how many lists were there to be read, or not there at all.
	answered int
}

func (p *part) problem(s *search, what string, err error) {
	p.problems = append(p.problems, about(s.ref.Repository, what, err))
}

func (s *search) all(ctx context.Context) (*Found, error) {
	parts := make([]part, 3)
	searches := []func(context.Context) part{
		func(ctx context.Context) part { return s.underTag(ctx, s.tagged(".sig")) },
		func(ctx context.Context) part { return s.underTag(ctx, s.tagged(".att")) },
		s.bundles,
	}
	for i, err := range sideBySide(len(searches), func(i int) error {
		parts[i] = searches[i](ctx)
		return nil
	}) {
		if err != nil { // a panic
			parts[i].problem(s, "evidence", err)
		}
	}
	found := &Found{}
	answered := 0
	for _, p := range parts {
		found.Items = append(found.Items, p.items...)
		found.Problems = append(found.Problems, p.problems...)
		answered += p.answered
	}
	if answered == 0 {
		return nil, s.nothingAnswered(found.Problems)
	}
	for i, p := range found.Problems {
		found.Problems[i] = notAway(p)
	}
	found.Problems = sorted(found.Problems)
	return found, nil
}

// sorted returns the errors by their texts, each once.
func sorted(errs []error) []error {
	byText := func(a, b error) int { return strings.Compare(a.Error(), b.Error()) }
	slices.SortFunc(errs, byText)
	return slices.CompactFunc(errs, func(a, b error) bool { return byText(a, b) == 0 })
}

// nothingAnswered is an error of why each of the lists could not be had.
func (s *search) nothingAnswered(problems []error) error {
	kind := Unavailable
	var why []error
	for _, p := range problems {
		kind = max(kind, kindOf(p))
		why = append(why, errors.Unwrap(p))
	}
	return &Error{Repository: s.ref.Repository, What: "evidence for " + s.ref.Digest.String(), Kind: kind, Err: diagnosis.Several(sorted(why))}
}

// tagged is the tag under which something about the image is, by convention.
func (s *search) tagged(suffix string) string { return "sha256-" + s.ref.Digest.Hex() + suffix }

// underTag takes the layers of the image that one of cosign's tags names.
func (s *search) underTag(ctx context.Context, tag string) part {
	var p part
	what := "tag " + tag
	var m *image.Manifest
	err := s.reading(ctx, s.aboutTag(s.ref.Repository, tag), func(a *answer) (err error) {
		p.answered++
		m, err = parseManifest(a)
		if err == nil && m.IsIndex() {
			err = fail(Malformed, "it is an index and not an image whose layers are signatures")
		}
		return err
	})
	switch {
	case err != nil && kindOf(err) == NotFound:
		p.answered++
		return p
	case err != nil:
		p.problem(s, what, err)
		return p
	}
	layers := slices.DeleteFunc(m.Layers, func(d image.Descriptor) bool {
		return formatOf(d.MediaType) == "" || formatOf(d.MediaType) == evidence.Bundle
	})
	if n := len(layers) - s.client.limits.MaxSignatures; n > 0 {
		p.problem(s, what, fail(Limit, "it has more than %d signatures: %d were not looked at", s.client.limits.MaxSignatures, n))
		layers = layers[:s.client.limits.MaxSignatures]
	}
	room := s.room()
	layers = slices.DeleteFunc(layers, func(d image.Descriptor) bool {
		err := room.take(&d)
		if err != nil {
			p.problem(s, what+", layer "+d.Digest.String(), err)
		}
		return err != nil
	})
	contents := s.blobs(ctx, &p, layers)
	for _, d := range layers {
		if content, ok := contents[blobKey{d.Digest, d.Size}]; ok {
			p.items = append(p.items, evidence.Item{Format: formatOf(d.MediaType), Source: what, At: s.ref, Blob: d.Digest, Content: content, Annotations: d.Annotations})
		}
	}
	return p
}

// reading fetches something and calls read with it, and lets at most one long answer
// of the registry be read at a time.
func (s *search) reading(ctx context.Context, q question, read func(*answer) error) error {
	q.load = &load{slot: s.heavy}
	defer q.load.done()
	a, err := s.get(ctx, q)
	if err != nil {
		return err
	}
	return read(a)
}

func parseManifest(a *answer) (*image.Manifest, error) {
	m, err := image.ParseManifest(a.body, a.mediaType)
	if err != nil && kindOf(err) != Limit {
		err = fail(Malformed, "%w", err)
	}
	return m, err
}

// formatOf is what a layer of that media type is, nothing if it is none of ours.
func formatOf(mediaType string) evidence.Format {
	switch {
	case mediaType == simpleSigningType:
		return evidence.SimpleSigning
	case mediaType == envelopeType:
		return evidence.Envelope
	case isBundle(mediaType):
		return evidence.Bundle
	}
	return ""
}

// isBundle knows both "...bundle.v0.3+json" and "...bundle+json;version=0.1".
func isBundle(mediaType string) bool {
	rest, ok := strings.CutPrefix(mediaType, bundleTypePrefix)
	kind, _, _ := strings.Cut(rest, ";")
	return ok && strings.HasSuffix(kind, "json") && (kind[0] == '.' || kind[0] == '+')
}

// room is what is left for the contents of one place, in bytes.
type room struct {
	limits Limits
	left   int64
}

func (s *search) room() *room { return &room{s.client.limits, s.client.limits.MaxBundle} }

// take says why a layer is not fetched. What it says of its length is what will be
// fetched at most.
func (r *room) take(d *image.Descriptor) error {
	most := r.limits.MaxBundle
	if formatOf(d.MediaType) == evidence.SimpleSigning {
		most = min(most, maxPayload)
	}
	length := 0
	for name, value := range d.Annotations {
		length += len(name) + len(value)
	}
	switch {
	case d.Size > most:
		return fail(Limit, "it is %d bytes long, and no more than %d are taken", d.Size, most)
	case length > maxAnnotations:
		return fail(Limit, "its annotations are %d bytes long, and no more than %d are taken", length, maxAnnotations)
	case d.Size > small && d.Size > r.left:
		return fail(Limit, "there is too much that is long, and this one is %d bytes long", d.Size)
	case d.Size > small:
		r.left -= d.Size
	}
	return nil
}

// blobKey is a blob of the length that somebody says that it has. Another one who
// says something wrong of the same blob spoils only his own.
type blobKey struct {
	digest image.Digest
	size   int64
}

func (k blobKey) compare(l blobKey) int {
	return cmp.Or(k.digest.Compare(l.digest), cmp.Compare(k.size, l.size))
}

// blobs fetches the contents of layers, each once.
func (s *search) blobs(ctx context.Context, p *part, layers []image.Descriptor) map[blobKey][]byte {
	var keys []blobKey
	for _, d := range layers {
		keys = append(keys, blobKey{d.Digest, d.Size})
	}
	slices.SortFunc(keys, blobKey.compare)
	contents := map[blobKey][]byte{}
	for batch := range slices.Chunk(slices.Compact(keys), together) {
		got := make([][]byte, len(batch))
		for i, err := range sideBySide(len(batch), func(i int) (err error) {
			got[i], err = s.blobOf(ctx, s.ref.Repository, batch[i].digest, batch[i].size, batch[i].size)
			return err
		}) {
			if err != nil {
				p.problem(s, "blob "+batch[i].digest.String(), err)
				continue
			}
			contents[batch[i]] = got[i]
		}
	}
	return contents
}

// sideBySide calls f for 0 to n-1 at once, waits for all and returns their errors. A
// panic is an error.
func sideBySide(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = guard.Do(func() error { return f(i) }) })
	}
	all.Wait()
	return errs
}
