package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/store"
)

// Store is where evidence is kept, a *store.Store.
type Store interface {
	Get(ref image.Ref) (body []byte, mediaType string, ok bool)
	Put(ref image.Ref, mediaType string, body []byte)
	Record(key store.Key) (body []byte, ok bool)
	PutRecord(key store.Key, tenant string, body []byte, refs []image.Ref)
}

// record is what is kept of a conversation about one image: what was asked and what
// was answered, with digests in place of contents. Neither a verdict is in it nor what
// runs. Both are found out again when it is read, from the image's own name on and
// each content compared with its digest: a record that somebody put there proves no
// more than what he could have put into a registry.
type record struct {
	// Fetched is when the first question was asked.
	Fetched time.Time `json:"fetched"`
	// Version stands for how the repositories are asked; see versions.
	Version string `json:"version"`
	// Elsewhere is whether the image ID's own repository was asked too, where it is
	// another.
	Elsewhere bool `json:"elsewhere"`
	// Missing is why a manifest or configuration is not there, by its reference.
	Missing map[string]string `json:"missing,omitzero"`
	// Tags are what tags named, by repository and tag.
	Tags map[string]recordTag `json:"tags,omitzero"`
	// Places are what there was about digests, by reference.
	Places map[string]recordPlace `json:"places,omitzero"`
}

type recordTag struct {
	Digest    *image.Digest `json:"digest,omitzero"`
	MediaType string        `json:"media_type,omitzero"`
	// Missing is why it names nothing.
	Missing string `json:"missing,omitzero"`
}

type recordPlace struct {
	Items    []recordItem `json:"items,omitzero"`
	Problems []string     `json:"problems,omitzero"`
}

// recordItem is an evidence.Item; its content is in the place's repository.
type recordItem struct {
	Format      evidence.Format   `json:"format"`
	Source      string            `json:"source"`
	Blob        image.Digest      `json:"blob"`
	Annotations map[string]string `json:"annotations,omitzero"`
}

// parseRecord reads a record.
func parseRecord(body []byte) (*record, error) {
	var r record
	if err := json.Unmarshal(body, &r, json.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	return &r, nil
}

// keep stores a conversation in place of the one before: a signature that is gone is
// gone (ADVERSARIAL.md, row 42).
func (i *investigation) keep(found *findings, heard *recorder) {
	r := heard.record
	r.Fetched, r.Elsewhere = found.fetched.UTC().Round(0), found.elsewhere || found.content == nil
	r.Version = i.versions(&r)
	refs := heard.refs
	for _, a := range found.asked {
		place := recordPlace{Problems: texts(a.Problems)}
		for _, item := range a.Items {
			ref := image.Ref{Repository: item.At.Repository, Digest: item.Blob}
			i.store.Put(ref, "", item.Content)
			if !slices.Contains(refs, ref) {
				refs = append(refs, ref)
			}
			place.Items = append(place.Items, recordItem{item.Format, item.Source, item.Blob, item.Annotations})
		}
		r.Places[a.Ref.String()] = place
	}
	// A registry's media type may be any bytes, which must not keep the rest from being
	// written.
	body, err := json.Marshal(r, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil || len(body) > store.MaxRecord || len(refs) > store.MaxRefs {
		body, refs = noRecord, nil
	}
	i.store.PutRecord(i.entry.key, i.who.Tenant, body, refs)
	i.entry.stored = found.fetched
}

// noRecord takes the place of one that can't be kept: it is older than any may be, and
// what was kept before must not stay because somebody has put too much beside it.
var noRecord = []byte("{}")

// kept is what was kept about the image, nil where that is nothing, older than that,
// or not whole any more.
func (i *investigation) kept(ctx context.Context, most time.Duration) *findings {
	body, ok := i.store.Record(i.entry.key)
	if !ok {
		return nil
	}
	r, err := parseRecord(body)
	if err != nil {
		return nil
	}
	now := time.Now()
	age := now.Round(0).Sub(r.Fetched)
	if by := i.entry.stored; by.Round(0).Equal(r.Fetched) {
		age = max(age, now.Sub(by)) // a clock that is set back makes nothing younger
	}
	if age < 0 || age >= most {
		return nil // one of the future is of a clock that was wrong
	}
	again := &replay{store: i.store, record: r}
	found := i.find(ctx, again, i.runs)
	if r.Elsewhere {
		found.findElsewhere(ctx, again)
	}
	if again.torn.Load() || ctx.Err() != nil {
		return nil
	}
	found.fetched, found.stored, found.elsewhere = now.Add(-age), true, r.Elsewhere
	found.fresh = r.Version == i.versions(r)
	return found
}

// versions stands for how the record's repositories are asked now. It is cut: the
// whole would tell on a disk whether somebody has guessed a password.
func (i *investigation) versions(r *record) string {
	repositories := map[image.Repository]bool{i.entry.repository: true}
	for place := range r.Places {
		if ref, err := image.ParseRef(place); err == nil {
			repositories[ref.Repository] = true
		}
	}
	byName := func(a, b image.Repository) int { return strings.Compare(a.String(), b.String()) }
	h := sha256.New()
	for _, repository := range slices.SortedFunc(maps.Keys(repositories), byName) {
		v := i.registry.Version(repository)
		h.Write(v[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:2])
}

func texts(errs []error) []string {
	var all []string
	for _, err := range written(bounded(errs)) {
		all = append(all, err.Error())
	}
	return all
}
