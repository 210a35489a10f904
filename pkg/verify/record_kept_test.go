package verify_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/store"
	"github.com/podseal/podseal/pkg/verify"
)

// ADVERSARIAL.md row 42: a signature that was taken away is not in the store any more,
// for whoever comes next, also where old evidence counts while a registry is away.
func TestASignatureThatIsGoneIsGoneFromTheStore(t *testing.T) {
	t.Parallel()
	p := newPoisoned(t)
	p.cfg.Policies = set(t, &policy.Policy{Name: "p", Mode: policy.Fail, OnUnavailable: policy.Stale, Authorities: []policy.Authority{{Name: "a"}}})
	synctest.Test(t, func(t *testing.T) {
		s := newTampered()
		p.holds(t, remembering(t, p.cfg, p.shelf, verify.RecordStatuses{}, s))
		time.Sleep(ages.TTL)
		if r := p.holds(t, remembering(t, p.cfg, p.away(), verify.RecordStatuses{}, s)); r.Verdicts[0].Stale.IsZero() {
			t.Error("old evidence counts, and that is not said")
		}
		revoked := &shelf{contents: p.shelf.contents, tags: p.shelf.tags, evidence: p.nothing()}
		p.fails(t, remembering(t, p.cfg, revoked, verify.RecordStatuses{}, s), verify.NotVerified)
		// The next one is told so by the record, and later by nobody.
		away := p.away()
		p.fails(t, remembering(t, p.cfg, away, verify.RecordStatuses{}, s), verify.NotVerified)
		if _, n := away.had(); n != 0 {
			t.Errorf("%d questions", n)
		}
		time.Sleep(ages.NegativeTTL)
		p.fails(t, remembering(t, p.cfg, away, verify.RecordStatuses{}, s), verify.Unavailable)
		p.holds(t, remembering(t, p.cfg, p.shelf, verify.RecordStatuses{}, s))
	})
}

// ADVERSARIAL.md, row 42: a deleted signature is not kept in the store by so much beside
// it that no record holds it.
func TestARecordThatIsTooLargeLeavesNoOlderOne(t *testing.T) {
	t.Parallel()
	s := newSigned(t).orStale()
	synctest.Test(t, func(t *testing.T) {
		kept := memory()
		s.holds(t, s.verifier(t, kept))
		s.shelf.set(func(shelf *shelf) {
			shelf.evidence = map[image.Ref]*registry.Found{}
			for ref := range s.found {
				junk := &registry.Found{}
				for i := range 2 * store.MaxRefs {
					content := fmt.Append(nil, i)
					junk.Items = append(junk.Items, evidence.Item{Format: evidence.Envelope, Source: "junk", At: ref, Blob: image.Of(content), Content: content})
				}
				shelf.evidence[ref] = junk
			}
		})
		time.Sleep(ages.TTL)
		s.fails(t, s.verifier(t, kept), verify.NotVerified)
		s.shelf.set(func(s *shelf) { s.before = away })
		s.fails(t, s.verifier(t, kept), verify.Unavailable)
	})
}

// Only what is whole is stored: where something may be hidden, what was stored before
// stays, and nothing takes its place.
func TestOnlyWholeFindingsAreStored(t *testing.T) {
	t.Parallel()
	p := newPoisoned(t)
	for kind, stored := range map[registry.Kind]bool{
		registry.Unavailable: false, registry.Denied: false, registry.Limit: false,
		registry.NotFound: true, registry.NotAllowed: true, registry.Malformed: true,
	} {
		for name, app := range map[string]sigstoretest.Pushed{"signed": p.app, "unsigned": p.evil} {
			s := newTampered()
			problem := &registry.Error{Repository: app.Ref.Repository, What: "it", Kind: kind, Err: errors.New("says so")}
			v := remembering(t, p.cfg, between{p.shelf, func(_ image.Ref, ask func() (*registry.Found, error)) (*registry.Found, error) {
				found, err := ask()
				found.Problems = append(slices.Clone(found.Problems), problem)
				return found, err
			}}, verify.RecordStatuses{}, s)
			pod := running(app)
			_, err := v.Container(t.Context(), pod, &pod.Containers[0])
			if (err == nil) != (name == "signed") || (len(s.kept) == 1) != stored {
				t.Errorf("%s, %v: %v, and %d records are stored", name, kind, err, len(s.kept))
			}
		}
	}
	// A manifest that could not be had hides an image.
	s := newTampered()
	v := remembering(t, p.cfg, p.away(), verify.RecordStatuses{}, s)
	p.fails(t, v, verify.Unavailable)
	if len(s.kept) > 0 {
		t.Errorf("stored: %s", s.kept[0])
	}
}

// A registry that calls a tag's content by bytes that are no text keeps nothing from
// being stored: what was stored before would count for longer.
func TestAMediaTypeThatIsNoTextIsStored(t *testing.T) {
	t.Parallel()
	p := newPoisoned(t)
	for tag, c := range p.shelf.tags {
		c.mediaType = "\xff\xfe"
		p.shelf.tags[tag] = c
	}
	s := newTampered()
	p.holds(t, remembering(t, p.cfg, p.shelf, verify.RecordStatuses{}, s))
	if _, err := verify.ParseRecord(s.last(t)); err != nil {
		t.Error(err)
	}
	p.holds(t, remembering(t, p.cfg, p.away(), verify.RecordStatuses{}, s))
}

// What is stored of the same findings is the same bytes, and reads as what it is.
func TestARecordIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	p := newPoisoned(t)
	var refs []image.Ref
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		refs = append(refs, p.registry.PushIndex("app", sigstoretest.Index{Tag: name, Children: []sigstoretest.Child{{Pushed: p.app, Platform: p.app.Platform}}}).Ref)
	}
	statuses := manyNames(p.app, refs...)
	app := running(p.app)
	var first []byte
	for range 8 {
		s := newTampered()
		v := remembering(t, p.cfg, verify.Registries(p.client), statuses, s)
		if _, err := v.Container(t.Context(), app, &app.Containers[0]); err != nil {
			t.Fatal(err)
		}
		again, err := verify.ParseRecord(s.last(t))
		if err != nil || !bytes.Equal(again, s.last(t)) {
			t.Fatalf("%v:\n%s\n%s", err, s.last(t), again)
		}
		fetched := edit(t, again, func(r map[string]any) { delete(r, "fetched") })
		if first == nil {
			first = fetched
		}
		if !bytes.Equal(first, fetched) {
			t.Fatalf("another time:\n%s\n%s", first, fetched)
		}
	}
}
