package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/podseal/podseal/pkg/image"
)

// The times and bounds that tests wait for.
const (
	Young      = young
	Abandoned  = abandoned
	RetryPause = retryPause
	ScanPeriod = scanPeriod
	MaxWaiting = maxWaiting

	Unfinished = unfinished
	SaltFile   = saltFile
	VersionAt  = len(magic) + 1
)

// BlobFile is the name of the file of a blob.
func BlobFile(ref image.Ref) string { return blobName(ref).file() }

// RecordFile is the name of the file of a record.
func RecordFile(key Key) string { return name{records, id(key)}.file() }

// ParseRecord reads a record of any key, and writes it again.
func ParseRecord(content []byte) (again []byte, ok bool) {
	n := name{kind: records}
	if len(content) >= headAt+len(n.id) {
		n.id = id(content[headAt:])
	}
	e, ok := parse(content, n)
	if !ok {
		return nil, false
	}
	return e.encode(), true
}

// Check compares what a store has counted with what it has, and with its bounds.
func (s *Store) Check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range s.content {
		if !s.memory.has(n) {
			return fmt.Errorf("%s is in memory, but not in its index", n.file())
		}
	}
	var bytes int64
	for _, w := range s.content {
		bytes += memoryCost(cap(w.content))
	}
	if bytes != s.memory.total[inBytes] {
		return fmt.Errorf("there are %d bytes in memory, %d were counted", bytes, s.memory.total[inBytes])
	}
	for _, x := range []*index{s.memory, s.disk} {
		if x == nil {
			continue
		}
		counted := newIndex(x.limits[inBytes], s.cfg.MaxRecords)
		for i, b := range x.blobs {
			if b.cost == 0 && b.needed == 0 {
				return fmt.Errorf("blob %x is neither there nor needed", i)
			}
			if b.cost > 0 {
				counted.put(entry{name: name{blobs, i}, cost: b.cost})
			}
		}
		counted.total[inBytes] += x.unfinished
		for _, r := range x.records {
			counted.put(*r)
		}
		if counted.total != x.total || counted.looseBytes != x.looseBytes || counted.looseCount != x.looseCount {
			return fmt.Errorf("counted %v, %d loose with %d bytes; there are %v, %d with %d",
				x.total, x.looseCount, x.looseBytes, counted.total, counted.looseCount, counted.looseBytes)
		}
		if len(counted.blobs) != len(x.blobs) {
			return fmt.Errorf("%d blobs are known, %d are there or needed", len(x.blobs), len(counted.blobs))
		}
		if amount, over := x.over(); over {
			return fmt.Errorf("bound %d is passed: %v of %v", amount, x.total, x.limits)
		}
	}
	return nil
}

// Sealed makes a record of content, whatever that is: its first 64 KiB are taken for
// what stands before the body, or less if it says so.
func Sealed(content []byte) []byte {
	b := bytes.Clone(content)
	if len(b) < headAt+minHead {
		return b
	}
	copy(b, magic)
	b[len(magic)], b[len(magic)+1] = byte(records), version
	end := min(len(b), maxHead, max(headAt+minHead, int(binary.BigEndian.Uint16(b[lengthsAt+2:]))))
	binary.BigEndian.PutUint32(b[lengthsAt:], uint32(end))
	binary.BigEndian.PutUint32(b[lengthsAt+4:], uint32(len(b)-end))
	sum := sha256.Sum256(b[end:])
	copy(b[headAt+len(sum):], sum[:])
	sum = sha256.Sum256(b[lengthsAt:end])
	copy(b[sumAt:], sum[:])
	return b
}

// Forged is the file of a blob with right checksums and another body.
func Forged(ref image.Ref, body []byte) []byte {
	e := envelope{kind: blobs, id: blobName(ref).id, body: body}
	return e.encode()
}
