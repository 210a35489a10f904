package verify

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
)

// recorder is a conversation of which a record is made.
type recorder struct {
	Conversation
	store Store

	mu     sync.Mutex // guards the rest: questions are asked side by side
	record record
	// refs are the contents that there were.
	refs []image.Ref
}

func newRecorder(c Conversation, s Store) *recorder {
	return &recorder{Conversation: c, store: s, record: record{
		Missing: map[string]string{}, Tags: map[string]recordTag{}, Places: map[string]recordPlace{},
	}}
}

// Manifest implements image.Fetcher.
func (r *recorder) Manifest(ctx context.Context, in image.Repository, d image.Digest) ([]byte, string, error) {
	body, mediaType, err := r.Conversation.Manifest(ctx, in, d)
	r.note(image.Ref{Repository: in, Digest: d}, body, mediaType, err)
	return body, mediaType, err
}

// Blob implements image.Fetcher.
func (r *recorder) Blob(ctx context.Context, in image.Repository, d image.Digest, most int64) ([]byte, error) {
	body, err := r.Conversation.Blob(ctx, in, d, most)
	r.note(image.Ref{Repository: in, Digest: d}, body, "", err)
	return body, err
}

func (r *recorder) note(ref image.Ref, body []byte, mediaType string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.record.Missing[ref.String()] = texts([]error{err})[0]
		return
	}
	r.store.Put(ref, mediaType, body)
	r.refs = append(r.refs, ref)
}

// Tag implements image.Fetcher.
func (r *recorder) Tag(ctx context.Context, in image.Repository, tag string) ([]byte, string, error) {
	body, mediaType, err := r.Conversation.Tag(ctx, in, tag)
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := recordTag{MediaType: mediaType}
	if err != nil {
		kept.Missing = texts([]error{err})[0]
	} else {
		ref := image.Ref{Repository: in, Digest: image.Of(body)}
		r.store.Put(ref, mediaType, body)
		r.refs = append(r.refs, ref)
		kept.Digest = &ref.Digest
	}
	r.record.Tags[nameOfTag(in, tag)] = kept
	return body, mediaType, err
}

func nameOfTag(in image.Repository, tag string) string { return in.String() + ":" + tag }

// replay is a conversation that was had before. What it is asked that was not asked
// then, or was lost since, makes it torn.
type replay struct {
	store  Store
	record *record
	torn   atomic.Bool
}

var errTorn = errors.New("what was kept is not whole any more")

// Manifest implements image.Fetcher.
func (r *replay) Manifest(_ context.Context, in image.Repository, d image.Digest) ([]byte, string, error) {
	ref := image.Ref{Repository: in, Digest: d}
	if why, ok := r.record.Missing[ref.String()]; ok {
		return nil, "", reason(why)
	}
	body, mediaType, ok := r.store.Get(ref)
	if !ok {
		return nil, "", r.tear()
	}
	return body, mediaType, nil
}

// Blob implements image.Fetcher.
func (r *replay) Blob(ctx context.Context, in image.Repository, d image.Digest, most int64) ([]byte, error) {
	body, _, err := r.Manifest(ctx, in, d)
	if int64(len(body)) > most {
		return nil, r.tear()
	}
	return body, err
}

// Tag implements image.Fetcher.
func (r *replay) Tag(_ context.Context, in image.Repository, tag string) ([]byte, string, error) {
	kept, ok := r.record.Tags[nameOfTag(in, tag)]
	switch {
	case !ok:
		return nil, "", r.tear()
	case kept.Digest == nil:
		return nil, "", reason(kept.Missing)
	}
	body, mediaType, ok := r.store.Get(image.Ref{Repository: in, Digest: *kept.Digest})
	if !ok {
		return nil, "", r.tear()
	}
	return body, mediaType, nil
}

// Evidence implements Conversation.
func (r *replay) Evidence(_ context.Context, ref image.Ref) (*registry.Found, error) {
	place, ok := r.record.Places[ref.String()]
	if !ok {
		return nil, r.tear()
	}
	found := &registry.Found{}
	for _, kept := range place.Items {
		content, _, ok := r.store.Get(image.Ref{Repository: ref.Repository, Digest: kept.Blob})
		if !ok || image.Of(content) != kept.Blob {
			return nil, r.tear()
		}
		found.Items = append(found.Items, evidence.Item{Format: kept.Format, Source: kept.Source, At: ref, Blob: kept.Blob, Content: content, Annotations: kept.Annotations})
	}
	for _, text := range place.Problems {
		found.Problems = append(found.Problems, reason(text))
	}
	return found, nil
}

// tear is the error for what is not there. ask asks two places side by side.
func (r *replay) tear() error {
	r.torn.Store(true)
	return errTorn
}
