package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/printable"
)

// findings are what there is of evidence for one image.
type findings struct {
	// content is nil where it can't be told what runs.
	content    *image.Content
	candidates []image.Digest
	asked      []Asked
	// items are those of all places, each once, in the order of the places.
	items []evidence.Item
	// refused are things that were there and are no evidence; unknown is why there
	// may be something that was not seen.
	refused, unknown []error
	// unlogged is why a rule's log could not tell whether it has an entry that is
	// missing; lookedUp is what it was asked about.
	unlogged map[rule][]error
	lookedUp map[rule][]evidence.Item

	// fetched is when the lists were, elsewhere whether all places were asked.
	fetched   time.Time
	elsewhere bool
	// stored is whether they were kept from before, fresh whether they would be asked
	// for in the same way now; stale is fetched where they are older than they should
	// be.
	stored, fresh bool
	stale         time.Time
}

func (f *findings) note(err error) {
	if kindOf(err) == NotVerified {
		f.refused = append(f.refused, err)
	} else {
		f.unknown = append(f.unknown, err)
	}
}

// unlog notes why a log could not tell something for a rule.
func (f *findings) unlog(r rule, err error) {
	if f.unlogged == nil {
		f.unlogged = map[rule][]error{}
	}
	f.unlogged[r] = append(f.unlogged[r], err)
}

// complete adds an item that was completed to its place.
func (f *findings) complete(item evidence.Item) {
	is := func(other evidence.Item) bool { return same(item, other) }
	if slices.ContainsFunc(f.items, is) {
		return
	}
	f.items = append(f.items, item)
	for k := range f.asked {
		if f.asked[k].Ref == item.At {
			f.asked[k].Items = append(f.asked[k].Items, item)
		}
	}
}

// nothing is the reason where there is nothing at all.
func (f *findings) nothing() error {
	places := make([]string, len(f.asked))
	for i, a := range f.asked {
		places[i] = a.Ref.String()
	}
	return fmt.Errorf("there is no signature at %s", strings.Join(places, ", "))
}

// find finds out what content runs, and what is said of it in the spec's repository,
// or wherever it was found. What keeps it from that is in the findings.
func (v *Verifier) find(ctx context.Context, ask Conversation, runs Runs) *findings {
	f := &findings{fetched: time.Now()}
	content, err := image.Resolve(ctx, ask, reported(runs, v.cfg.Platform))
	if err != nil {
		f.unidentified(runs, cmp.Or(budget(ctx), err))
		return f
	}
	f.content = content
	f.take(content.Problems)
	f.seek(ctx, ask, content.Candidates)
	return f
}

// unidentified notes why it can't be told what runs.
func (f *findings) unidentified(runs Runs, why error) {
	f.refused = append(f.refused, fmt.Errorf("it can't be told what runs as %q", runs.ImageID))
	if unknown, ok := errors.AsType[*image.UnknownError](why); ok {
		f.take(unknown.Problems)
		return
	}
	f.note(why)
}

// findElsewhere adds what there is in the repository of the image ID, where that is
// another than the spec's, and says whether that is anything. Its owner may be
// somebody else, whose signatures count like everybody's; it is asked last, because
// he can make it slow.
func (f *findings) findElsewhere(ctx context.Context, ask Conversation) bool {
	if f.content == nil || ctx.Err() != nil {
		return false
	}
	f.elsewhere = true
	before := len(f.unknown)
	candidates, problems := f.content.Elsewhere(ctx)
	f.take(problems)
	f.seek(ctx, ask, candidates)
	return len(candidates) > 0 || len(f.unknown) > before
}

// reported is what is known of the image, for package image. A name that can't be
// read names nothing.
func reported(runs Runs, platform image.Platform) image.Reported {
	r := image.Reported{Config: runs.Config, Platform: platform, ComparesLayers: runs.ComparesLayers}
	// All of them leave a zero value with their errors.
	r.Spec, _ = image.ParseName(runs.SpecImage)
	r.Status, _ = image.ParseName(runs.Image)
	r.ID, _ = image.ParseID(runs.ImageID)
	for _, name := range runs.Pulled {
		if ref, err := image.ParseRef(name); err == nil {
			r.Pulled = append(r.Pulled, ref)
		}
	}
	return r
}

func (f *findings) take(problems []error) {
	for _, p := range problems {
		f.note(p)
	}
}

// seek seeks evidence about the candidates.
func (f *findings) seek(ctx context.Context, r Conversation, candidates []image.Candidate) {
	refs := make([]image.Ref, len(candidates))
	for i, c := range candidates {
		refs[i] = c.Ref
		if !slices.Contains(f.candidates, c.Digest) {
			f.candidates = append(f.candidates, c.Digest)
		}
	}
	asked := ask(ctx, r, refs)
	f.asked = append(f.asked, asked...)
	for _, a := range asked {
		for _, item := range a.Items {
			if !slices.ContainsFunc(f.items, func(other evidence.Item) bool { return same(item, other) }) {
				f.items = append(f.items, item)
			}
		}
		f.take(a.Problems)
	}
}

// maxEvidence bounds the evidence about one image, in bytes: a half of it for short
// ones, which signatures are, and each place has its share. Whoever may push decides
// how many places there are and what is in them.
const maxEvidence, short = 32 << 20, 64 << 10

// ask asks the places, two at a time. The failure of one hides nothing of another.
func ask(ctx context.Context, r Conversation, refs []image.Ref) []Asked {
	asked := make([]Asked, len(refs))
	eachOf(len(refs), func(i int) {
		asked[i].Ref = refs[i]
		err := guard.Do(func() error {
			found, err := r.Evidence(ctx, refs[i])
			if err != nil {
				return err
			}
			asked[i].Items, asked[i].Problems = found.Items, found.Problems
			asked[i].bound(maxEvidence / len(refs))
			return nil
		})
		if err != nil {
			asked[i].Problems = append(asked[i].Problems, cmp.Or(budget(ctx), err))
		}
	})
	return asked
}

// bound leaves out what there is no room for, which is a problem.
func (a *Asked) bound(room int) {
	left := map[bool]int{true: room / 2, false: room / 2}
	before := len(a.Items)
	a.Items = slices.DeleteFunc(a.Items, func(item evidence.Item) bool {
		size := len(item.Content)
		for name, value := range item.Annotations {
			size += len(name) + len(value)
		}
		isShort := len(item.Content) <= short
		if size > left[isShort] {
			return true
		}
		left[isShort] -= size
		return false
	})
	if n := before - len(a.Items); n > 0 {
		a.Problems = append(a.Problems, fmt.Errorf("%w: %d of the signatures and attestations at %v were not looked at, for there are more than %d MiB of them for one image", image.ErrLimit, n, a.Ref, maxEvidence>>20))
	}
}

// budget is errBudget when that is what ended the context.
func budget(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, errBudget) {
		return cause
	}
	return nil
}

// same is whether two items are one that is in two places: it would be judged twice
// and counted twice.
func same(a, b evidence.Item) bool {
	return a.Format == b.Format && a.Blob == b.Blob && maps.Equal(a.Annotations, b.Annotations)
}

// describe says for people which item is meant.
func describe(item evidence.Item) string {
	return fmt.Sprintf("%s from %s", item.Format, printable.Line(item.Source, 300))
}
