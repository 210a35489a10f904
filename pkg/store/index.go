package store

// entry is what an index knows of something that is kept.
type entry struct {
	name   name
	cost   int64 // bytes
	used   int64 // when it was last put or read, in nanoseconds since 1970
	tenant string
	refs   []id
}

// What is in memory costs more than its bytes, and a file has whole blocks: so the
// number of small ones is bounded too.
const (
	memoryOverhead = 512
	block          = 4096
)

func memoryCost(length int) int64 { return int64(length) + memoryOverhead }

func diskCost(size int64) int64 { return (size + block - 1) / block * block }

// amounts are what is bounded.
type amounts [3]int64

const (
	inRecords = iota
	inBytes
	inRefs // of all records: an index knows each
)

// refsPerRecord is how many there may be on average.
const refsPerRecord = 32

// index knows what is kept in one place, in memory or in a directory. Of a directory
// what it knows is a hint: others write there too.
type index struct {
	limits  amounts
	total   amounts
	records map[id]*entry
	blobs   map[id]blob
	// Blobs that no record needs are loose.
	looseBytes, looseCount int64
	// unfinished are bytes of files that somebody writes, or left. total has them.
	unfinished int64
}

// blob is what an index knows of a blob.
type blob struct {
	cost   int64 // 0: it is not there, but needed
	used   int64
	needed int // by so many records
}

func newIndex(maxBytes int64, maxRecords int) *index {
	return &index{
		limits:  amounts{inRecords: int64(maxRecords), inBytes: maxBytes, inRefs: int64(maxRecords) * refsPerRecord},
		records: map[id]*entry{},
		blobs:   map[id]blob{},
	}
}

func (x *index) has(n name) bool {
	if n.kind == records {
		return x.records[n.id] != nil
	}
	return x.blobs[n.id].cost > 0
}

// touch is whether it is there, which is a use of it.
func (x *index) touch(n name, now int64) bool {
	if n.kind == records {
		r := x.records[n.id]
		if r != nil {
			r.used = now
		}
		return r != nil
	}
	b := x.blobs[n.id]
	if b.cost == 0 {
		return false
	}
	b.used = now
	x.blobs[n.id] = b
	return true
}

// put adds e in place of what was there under its name.
func (x *index) put(e entry) {
	if e.name.kind == blobs {
		b := x.blobs[e.name.id]
		x.count(b, -1)
		b.cost, b.used = e.cost, e.used
		x.count(b, 1)
		x.blobs[e.name.id] = b
		return
	}
	x.remove(e.name)
	x.records[e.name.id] = &e
	x.total[inRecords]++
	x.total[inBytes] += e.cost
	x.total[inRefs] += int64(len(e.refs))
	for _, r := range e.refs {
		x.need(r, 1)
	}
}

// remove forgets it, if it is there. Blobs that only it needed are loose then.
func (x *index) remove(n name) {
	if n.kind == blobs {
		b := x.blobs[n.id]
		x.count(b, -1)
		b.cost = 0
		x.set(n.id, b)
		return
	}
	e := x.records[n.id]
	if e == nil {
		return
	}
	delete(x.records, n.id)
	x.total[inRecords]--
	x.total[inBytes] -= e.cost
	x.total[inRefs] -= int64(len(e.refs))
	for _, r := range e.refs {
		x.need(r, -1)
	}
}

// need says that one record more or less needs a blob.
func (x *index) need(i id, more int) {
	b := x.blobs[i]
	x.count(b, -1)
	b.needed += more
	x.count(b, 1)
	x.set(i, b)
}

func (x *index) set(i id, b blob) {
	if b.cost == 0 && b.needed == 0 {
		delete(x.blobs, i)
		return
	}
	x.blobs[i] = b
}

func (x *index) count(b blob, sign int64) {
	x.total[inBytes] += sign * b.cost
	if b.needed == 0 && b.cost > 0 {
		x.looseBytes += sign * b.cost
		x.looseCount += sign
	}
}

// entry returns what is known of it, nil if it is not there.
func (x *index) entry(n name) *entry {
	if n.kind == records {
		return x.records[n.id]
	}
	if b := x.blobs[n.id]; b.cost > 0 {
		return &entry{name: n, cost: b.cost, used: b.used}
	}
	return nil
}

// used takes over when things were used. before knows better than a directory: of
// that only the time of writing comes, and that by a clock that may have been wrong.
func (x *index) used(before *index) {
	for i, e := range x.records {
		if b := before.records[i]; b != nil {
			e.used = b.used
		}
	}
	for i, b := range x.blobs {
		if known := before.blobs[i]; b.cost > 0 && known.cost > 0 {
			b.used = known.used
			x.blobs[i] = b
		}
	}
}
