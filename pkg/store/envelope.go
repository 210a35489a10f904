package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/podseal/podseal/pkg/image"
)

// kind is what is kept.
type kind byte

const (
	blobs   kind = 'b'
	records kind = 'r'
)

// id is a record's key, or the hash of a blob's repository and digest.
type id [sha256.Size]byte

func (i id) compare(j id) int { return bytes.Compare(i[:], j[:]) }

// name is what something is kept under.
type name struct {
	kind kind
	id   id
}

func blobName(ref image.Ref) name {
	return name{blobs, sha256.Sum256([]byte(ref.Repository.String() + "@" + ref.Digest.String()))}
}

const (
	blobPrefix   = "blob-"
	recordPrefix = "record-"
)

// file is the name of the file.
func (n name) file() string {
	if n.kind == records {
		return recordPrefix + hex.EncodeToString(n.id[:])
	}
	return blobPrefix + hex.EncodeToString(n.id[:])
}

// parseName reads what file returns.
func parseName(file string) (n name, ok bool) {
	n.kind = blobs
	text, ok := strings.CutPrefix(file, blobPrefix)
	if !ok {
		n.kind = records
		text, ok = strings.CutPrefix(file, recordPrefix)
	}
	if !ok || len(text) != hex.EncodedLen(len(n.id)) {
		return name{}, false
	}
	if _, err := hex.Decode(n.id[:], []byte(text)); err != nil || n.file() != file {
		return name{}, false
	}
	return n, true
}

// envelope is what is in a file:
//
//	"podseal" and the kind, the version of the format    9 bytes
//	SHA-256 of all that follows but the body            32
//	lengths of what stands here up to the body, and of the body   2 x 4
//	id, SHA-256 of the body                             2 x 32
//	length of the text, text                            2 + n
//	number of refs, refs                                2 + 32 n
//	body
//
// So each bit is either compared or hashed, and who needs only what stands before
// the body need not read that.
type envelope struct {
	kind kind
	id   id
	sum  id     // of the body; encode computes it
	text string // a blob's media type, a record's tenant
	refs []id   // the blobs that a record needs, in ascending order
	body []byte
}

const (
	magic      = "podseal"
	version    = 1
	sumAt      = len(magic) + 2
	lengthsAt  = sumAt + sha256.Size
	headAt     = lengthsAt + 4 + 4
	minHead    = 2*sha256.Size + 2 + 2
	maxHead    = headAt + minHead + MaxText + MaxRefs*sha256.Size
	maxFile    = maxHead + MaxBlob
	refsLength = 2
)

func (e *envelope) name() name { return name{e.kind, e.id} }

// entry is what an index knows of it, but for its cost and its use.
func (e *envelope) entry() entry {
	n := entry{name: e.name(), refs: e.refs}
	if e.kind == records {
		n.tenant = e.text
	}
	return n
}

// encode writes what parse reads.
func (e *envelope) encode() []byte {
	head := minHead + len(e.text) + len(e.refs)*sha256.Size
	sum := sha256.Sum256(e.body)
	b := make([]byte, lengthsAt, headAt+head+len(e.body))
	copy(b, magic)
	b[len(magic)], b[len(magic)+1] = byte(e.kind), version
	b = binary.BigEndian.AppendUint32(b, uint32(headAt+head)) // #nosec G115 -- at most maxHead
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.body))) // #nosec G115 -- at most MaxBlob
	b = append(b, e.id[:]...)
	b = append(b, sum[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.text))) // #nosec G115 -- at most MaxText
	b = append(b, e.text...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.refs))) // #nosec G115 -- at most MaxRefs
	for _, r := range e.refs {
		b = append(b, r[:]...)
	}
	headSum := sha256.Sum256(b[lengthsAt:])
	copy(b[sumAt:], headSum[:])
	return append(b, e.body...)
}

// parse reads what is kept under a name. The body is a part of content.
func parse(content []byte, n name) (e envelope, ok bool) {
	e, size, ok := parseHead(content, n)
	if !ok || size != int64(len(content)) {
		return envelope{}, false
	}
	e.body = content[size-int64(bodyLength(content)):]
	if sha256.Sum256(e.body) != e.sum {
		return envelope{}, false
	}
	return e, true
}

func bodyLength(content []byte) uint32 { return binary.BigEndian.Uint32(content[lengthsAt+4:]) }

// parseHead reads what stands before the body, and returns the size of the whole
// that it says. start is at least as long as that part, and may go on.
func parseHead(start []byte, n name) (e envelope, size int64, ok bool) {
	if len(start) < headAt+minHead || string(start[:len(magic)]) != magic ||
		start[len(magic)] != byte(n.kind) || start[len(magic)+1] != version {
		return envelope{}, 0, false
	}
	end := binary.BigEndian.Uint32(start[lengthsAt:])
	if end < uint32(headAt+minHead) || int64(end) > int64(min(len(start), maxHead)) {
		return envelope{}, 0, false
	}
	if id(sha256.Sum256(start[lengthsAt:end])) != id(start[sumAt:lengthsAt]) {
		return envelope{}, 0, false
	}
	// From here on it is what encode wrote, or somebody's who can compute a checksum.
	head := start[headAt:end]
	e = envelope{kind: n.kind, id: id(head), sum: id(head[sha256.Size:])}
	head = head[2*sha256.Size:]
	length := int(binary.BigEndian.Uint16(head))
	head = head[2:]
	if e.id != n.id || length > MaxText || len(head) < length+refsLength {
		return envelope{}, 0, false
	}
	e.text, head = string(head[:length]), head[length:]
	count := int(binary.BigEndian.Uint16(head))
	head = head[refsLength:]
	if count > MaxRefs || len(head) != count*sha256.Size || n.kind == blobs && count > 0 {
		return envelope{}, 0, false
	}
	for ref := range slices.Chunk(head, sha256.Size) {
		if r := id(ref); len(e.refs) == 0 || e.refs[len(e.refs)-1].compare(r) < 0 {
			e.refs = append(e.refs, r)
		}
	}
	most := MaxBlob
	if n.kind == records {
		most = MaxRecord
	}
	if len(e.refs) != count || bodyLength(start) > uint32(most) { // #nosec G115 -- a constant
		return envelope{}, 0, false
	}
	return e, int64(end) + int64(bodyLength(start)), true
}
