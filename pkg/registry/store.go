package registry

import "github.com/podseal/podseal/pkg/image"

// Store keeps what has a digest. Nobody believes it: what comes from it is hashed
// again. It is safe for concurrent use, and keeps no body that is changed later.
type Store interface {
	Get(ref image.Ref) (body []byte, mediaType string, ok bool)
	Put(ref image.Ref, mediaType string, body []byte)
}
