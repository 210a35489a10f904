package registry

import "github.com/podseal/podseal/pkg/image"

// Store keeps what has a digest. Nobody believes it: what comes from it is hashed
// again. It is safe for concurrent use. Nobody changes a body that was put there or
// taken from there.
type Store interface {
	Get(ref image.Ref) (body []byte, mediaType string, ok bool)
	Put(ref image.Ref, mediaType string, body []byte)
}

// stored returns what the store has, if that is what is asked for and would be taken
// from the registry too; else nil.
func (t talk) stored(q question) *answer {
	if t.client.cfg.Store == nil {
		return nil
	}
	body, mediaType, ok := t.client.cfg.Store.Get(image.Ref{Repository: q.repository, Digest: q.digest})
	if !ok || int64(len(body)) > q.max || q.size >= 0 && int64(len(body)) != q.size || compare(body, q.digest) != nil {
		return nil
	}
	return &answer{url: q.url, mediaType: mediaType, body: body}
}

// store keeps an answer. A long one of many, which had to wait to be read, is not
// kept: it would be in memory before it could wait again.
func (t talk) store(q question, a *answer) {
	if t.client.cfg.Store != nil && (q.load == nil || !q.load.held) {
		t.client.cfg.Store.Put(image.Ref{Repository: q.repository, Digest: q.digest}, a.mediaType, a.body)
	}
}
