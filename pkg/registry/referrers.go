package registry

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
)

// maxPages is how many pages of a list are read.
const maxPages = 4

// bundles takes the Sigstore bundles that refer to the image. The registry's list
// of referrers and the tag that stands in for it where there is no list are read
// both: somebody may have used the tag before the registry had a list.
func (s *search) bundles(ctx context.Context) part {
	var p part
	byList, byTag := newListing(s.client.limits.MaxReferrers), newListing(s.client.limits.MaxReferrers)
	fallback := s.tagged("")
	whats := []string{"referrers of " + s.ref.Digest.String(), "tag " + fallback}
	for i, err := range sideBySide(2, func(i int) error {
		if i == 0 {
			return s.listReferrers(ctx, byList)
		}
		return s.listTag(ctx, fallback, byTag)
	}) {
		if err != nil {
			p.problem(s, whats[i], err)
		}
	}
	for i, l := range []*listing{byList, byTag} {
		if l.answered {
			p.answered++
		}
		if l.unfit > 0 {
			p.problem(s, whats[i], fail(Malformed, "%d of the entries have no SHA-256 digest", l.unfit))
		}
	}
	candidates, dropped := merge(byList, byTag, s.client.limits.MaxReferrers)
	if dropped > 0 {
		p.problem(s, whats[0], fail(Limit, "more than %d manifests refer to it: %d were not looked at", s.client.limits.MaxReferrers, dropped))
	}
	room := s.room()
	for batch := range slices.Chunk(candidates, together) {
		s.takeBundles(ctx, &p, room, batch)
	}
	slices.SortStableFunc(p.items, func(a, b evidence.Item) int {
		return cmp.Or(a.Blob.Compare(b.Blob), cmp.Compare(a.Source, b.Source))
	})
	p.items = slices.CompactFunc(p.items, func(a, b evidence.Item) bool { return a.Blob == b.Blob })
	return p
}

// takeBundles fetches some manifests, and those of their layers that are bundles.
func (s *search) takeBundles(ctx context.Context, p *part, room *room, manifests []image.Digest) {
	layers := make([]*image.Descriptor, len(manifests))
	whats := make([]string, len(manifests))
	for i, err := range sideBySide(len(manifests), func(i int) (err error) {
		whats[i] = "referrer " + manifests[i].String()
		layers[i], err = s.bundleLayer(ctx, manifests[i])
		return err
	}) {
		if err != nil {
			p.problem(s, whats[i], err)
			layers[i] = nil // one of several is none
		} else if layers[i] != nil {
			if err := room.take(layers[i]); err != nil {
				p.problem(s, whats[i], err)
				layers[i] = nil
			}
		}
	}
	var wanted []image.Descriptor
	for _, d := range layers {
		if d != nil {
			wanted = append(wanted, *d)
		}
	}
	contents := s.blobs(ctx, p, wanted)
	for i, d := range layers {
		if d == nil {
			continue
		}
		if content, ok := contents[blobKey{d.Digest, d.Size}]; ok {
			p.items = append(p.items, evidence.Item{Format: evidence.Bundle, Source: whats[i], At: s.ref, Blob: d.Digest, Content: content})
		}
	}
}

// bundleLayer returns the layer of a manifest that is a bundle, nil if it has none.
func (s *search) bundleLayer(ctx context.Context, d image.Digest) (layer *image.Descriptor, err error) {
	err = s.reading(ctx, s.aboutManifest(image.Ref{Repository: s.ref.Repository, Digest: d}), func(a *answer) error {
		m, err := parseManifest(a)
		if err == nil {
			layer, err = onlyBundle(m)
		}
		return err
	})
	return layer, err
}

func onlyBundle(m *image.Manifest) (*image.Descriptor, error) {
	bundles := slices.DeleteFunc(m.Layers, func(d image.Descriptor) bool { return formatOf(d.MediaType) != evidence.Bundle })
	switch len(bundles) {
	case 0:
		return nil, nil
	case 1:
		// Not the descriptor itself, which would keep its neighbours.
		return &image.Descriptor{MediaType: bundles[0].MediaType, Digest: bundles[0].Digest, Size: bundles[0].Size}, nil
	}
	return nil, fail(Malformed, "it has %d bundles, and one manifest holds one", len(bundles))
}

// listReferrers reads the registry's list (OCI distribution 1.1, "Listing
// Referrers"), page by page. No list is an empty one.
func (s *search) listReferrers(ctx context.Context, to *listing) error {
	q := s.aboutReferrers(s.ref)
	visited := map[string]bool{}
	for page := 1; ; page++ {
		visited[q.url.String()] = true
		var link string
		var base *url.URL
		err := s.reading(ctx, q, func(a *answer) error {
			link, _ = nextLink(a.links)
			base = a.url
			return to.read(a)
		})
		if page == 1 && hasNoList(err) {
			to.answered = true
			return nil
		}
		if err != nil || link == "" {
			return err
		}
		next, err := base.Parse(link)
		switch {
		case err != nil:
			return fail(Malformed, "the next page is at %q, which is no place", clip(link))
		case !s.isOwn(next):
			return fail(Malformed, "the next page is at %q, which is another host", clip(next.Host))
		case visited[next.String()]:
			return fail(Malformed, "the pages go round in a circle")
		case page == maxPages:
			return fail(Limit, "there are more than %d pages", maxPages)
		}
		q.url = next
	}
}

func (e *endpoint) aboutReferrers(ref image.Ref) question {
	u := e.url(ref.Repository, "referrers", ref.Digest.String())
	return question{repository: ref.Repository, url: u, accept: image.OCIIndex, max: e.client.limits.MaxManifest, size: -1}
}

// hasNoList is whether an answer says that the registry has no list of referrers.
// Registries of before there were such answer in several ways.
func hasNoList(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && slices.Contains([]int{http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented}, f.status)
}

// listTag reads the list under the tag that stands in for the registry's ("Referrers
// Tag Schema").
func (s *search) listTag(ctx context.Context, tag string, to *listing) error {
	err := s.reading(ctx, s.aboutTag(s.ref.Repository, tag), to.read)
	if err != nil && kindOf(err) == NotFound {
		to.answered = true
		return nil
	}
	return err
}

// listing is what lists say refers to an image. What they say of an entry decides
// only about when it is looked at: registries get it wrong, and everybody who may
// push chooses it.
type listing struct {
	most int
	// ranks are the digests of the entries in the order of the list, at most so many
	// of each rank: those that are said to be bundles, those of which nothing is
	// said, and the others.
	ranks [3][]image.Digest
	known map[image.Digest]bool
	// answered is whether there was a list to be read, or surely none.
	answered bool
	// dropped is how many there was no room for, unfit how many have no digest.
	dropped, unfit int
}

func newListing(most int) *listing { return &listing{most: most, known: map[image.Digest]bool{}} }

func (l *listing) add(d image.Digest, rank int) {
	switch {
	case l.known[d]:
	case len(l.ranks[rank]) == l.most:
		l.dropped++
	default:
		l.known[d] = true
		l.ranks[rank] = append(l.ranks[rank], d)
	}
}

// merge takes entries of both lists by turns, those of the better ranks first, and
// says how many it leaves out.
func merge(a, b *listing, most int) (candidates []image.Digest, dropped int) {
	dropped = a.dropped + b.dropped
	known := map[image.Digest]bool{}
	for rank := range a.ranks {
		for i := range max(len(a.ranks[rank]), len(b.ranks[rank])) {
			for _, l := range []*listing{a, b} {
				if i >= len(l.ranks[rank]) || known[l.ranks[rank][i]] {
					continue
				}
				d := l.ranks[rank][i]
				known[d] = true
				if len(candidates) == most {
					dropped++
					continue
				}
				candidates = append(candidates, d)
			}
		}
	}
	return candidates, dropped
}

// read adds the entries of a page. It is lenient where image.ParseManifest is not:
// nothing in a list is believed, it may be long, and one entry that nobody can read
// must not hide the others.
func (l *listing) read(a *answer) error {
	l.answered = true
	if a.mediaType != image.OCIIndex && a.mediaType != image.DockerIndex {
		return fail(Malformed, "it is a %q and not a list of manifests", clip(a.mediaType))
	}
	if err := l.parse(a.body); err != nil {
		return fail(Malformed, "%w", err)
	}
	return nil
}

func (l *listing) parse(body []byte) error {
	// Duplicates are allowed so that the decoder need not remember what names there
	// were; it goes 10,000 levels deep and no further. A buffer, and no other reader,
	// is not copied.
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	listed := false
	err := eachMember(d, func(name string) error {
		if name != "manifests" || d.PeekKind() != '[' {
			listed = listed || name == "manifests" && d.PeekKind() == 'n'
			return d.SkipValue()
		}
		listed = true
		if _, err := d.ReadToken(); err != nil {
			return err
		}
		for d.PeekKind() != ']' {
			if err := l.parseEntry(d); err != nil {
				return err
			}
		}
		_, err := d.ReadToken()
		return err
	})
	if err == nil && !listed {
		err = errors.New("it lists no manifests")
	}
	return err
}

func (l *listing) parseEntry(d *jsontext.Decoder) error {
	if d.PeekKind() != '{' {
		l.unfit++
		return d.SkipValue()
	}
	var digest image.Digest
	rank := 1
	err := eachMember(d, func(name string) error {
		switch {
		case name == "digest" && d.PeekKind() == '"':
			token, err := d.ReadToken()
			if err == nil {
				digest, _ = image.ParseDigest(token.String()) // without one it is unfit
			}
			return err
		case name == "artifactType" && d.PeekKind() == '"':
			token, err := d.ReadToken()
			if err == nil {
				rank = rankOf(token.String())
			}
			return err
		}
		return d.SkipValue()
	})
	if digest.IsZero() {
		l.unfit++
	} else {
		l.add(digest, rank)
	}
	return err
}

// rankOf is where an entry stands that is said to be of that type. Some registries
// give the type of the configuration, which for a bundle says nothing.
func rankOf(artifactType string) int {
	switch {
	case isBundle(artifactType):
		return 0
	case artifactType == "", artifactType == image.OCIConfig, artifactType == image.DockerConfig, strings.HasPrefix(artifactType, "application/vnd.oci.empty."):
		return 1
	}
	return 2
}

// eachMember calls f for the members of an object, which must read their values.
func eachMember(d *jsontext.Decoder, f func(name string) error) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() != '{' {
		return errors.New("expected an object")
	}
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		if err := f(token.String()); err != nil {
			return err
		}
	}
	_, err = d.ReadToken()
	return err
}
