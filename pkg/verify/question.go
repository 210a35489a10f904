package verify

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/store"
)

// question is all of what a container runs that decides which evidence there is
// about it and where that is sought. Containers with one question share the answer,
// whosever they are: nothing of it is kept by what an image is called alone, nor by
// its content alone, since each would let one pod's author choose where the evidence
// of another's image comes from (ADVERSARIAL.md, rows 29 and 36).
type question struct {
	spec, id       string
	config         image.Digest
	pulled         string
	comparesLayers bool
}

func questionOf(r Runs) question {
	q := question{spec: r.SpecImage, id: r.ImageID, config: r.Config, comparesLayers: r.ComparesLayers}
	switch len(r.Pulled) {
	case 0:
	case 1:
		q.pulled = r.Pulled[0]
	default:
		q.pulled = strings.Join(slices.Sorted(slices.Values(r.Pulled)), "\n")
	}
	return q
}

// recordFormat is the form of what is stored. A new one makes the old ones unknown.
const recordFormat = "podseal evidence 1"

// key is what the evidence is stored under.
func (q question) key(p image.Platform) store.Key {
	h := sha256.New()
	compares := "no"
	if q.comparesLayers {
		compares = "yes"
	}
	for _, s := range []string{recordFormat, q.spec, q.id, q.config.String(), q.pulled, compares, p.String()} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	return store.Key(h.Sum(nil))
}
