package verify

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
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
	q := question{spec: nameOrHash(r.SpecImage), id: nameOrHash(r.ImageID), config: r.Config, comparesLayers: r.ComparesLayers}
	switch len(r.Pulled) {
	case 0:
	case 1:
		q.pulled = nameOrHash(r.Pulled[0])
	default:
		q.pulled = nameOrHash(strings.Join(slices.Sorted(slices.Values(r.Pulled)), "\n"))
	}
	return q
}

// maxSaid is how long a part of a question may be, in bytes. Names of images are
// shorter.
const maxSaid = 4 << 10

// nameOrHash is s, or its hash where it is longer than any name: a pod's author may write a
// million bytes, a new million each time, and questions are kept.
func nameOrHash(s string) string {
	if len(s) <= maxSaid {
		return s
	}
	return fmt.Sprintf("%d bytes: %x", len(s), sha256.Sum256([]byte(s)))
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
