// Package store keeps what was fetched about images, over restarts: blobs
// (manifests, configurations, signatures, bundles) by repository and digest, and
// records, small documents of package verify that say which of them belong
// together. It judges nothing and knows no policies: whoever reads judges again, so
// that nobody becomes trusted by what is kept, only by what was signed.
//
// It never fails its callers. Blobs are hashed when they are read, records have a
// checksum; what is not what was written is deleted and is a miss. What can't be
// written, since the disk is full or may not be written to, is kept in memory.
//
// Several processes may use one directory: files are replaced as a whole, there is
// no lock and no index on the disk. What one of them removes is a miss for others.
package store

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/printable"
)

// The bounds of what is kept where Config says nothing else.
const (
	DefaultBytes       = 256 << 20 // on disk
	DefaultMemoryBytes = 16 << 20  // without a directory
	DefaultRecords     = 2048
)

// The bounds of a single thing. What is beyond them is not kept.
const (
	MaxBlob   = 16 << 20 // bytes
	MaxRecord = 1 << 20  // bytes
	MaxRefs   = 1024     // of a record
	MaxText   = 255      // bytes of a tenant or a media type
)

// Config says where and how much.
type Config struct {
	// Dir is the directory, made with mode 0700 if it is missing. It must belong to
	// this user, and others may not write to it. Empty: everything is in memory, and
	// gone at the end.
	Dir string
	// MaxBytes bounds what is kept; on disk in blocks of 4 KiB, as it is allocated.
	// 0: DefaultBytes, without Dir DefaultMemoryBytes. What waits to be written, or
	// can't be, is in memory in addition, at most 17 MiB.
	MaxBytes int64
	// MaxRecords bounds the records. 0: DefaultRecords.
	MaxRecords int
	// Pinned is whether the record is of a container on this node: it is never
	// evicted. It is called with a lock held, so it must be quick and may not call the
	// store. nil: none is.
	Pinned func(Key) bool
	// Log may be nil.
	Log *slog.Logger
}

// Key names a record.
type Key [sha256.Size]byte

// Store is an evidence store. Its methods may be called at once.
type Store struct {
	cfg  Config
	log  *slog.Logger
	salt []byte

	// mu is never held while a file is read or written.
	mu      sync.Mutex
	memory  *index           // of content
	content map[name]*waiter // all there is without a directory, else what waits to be written
	queue   []ticket         // in the order of writing; some are of what is not there any more
	tickets uint64
	disk    *index    // what the directory is thought to have; nil without one
	dir     *os.Root  // nil if it can't be used
	problem *Error    // why something can't be kept, nil if it can
	warned  *Error    // the problem as it was logged, nil when it was overcome
	warning time.Time // when
	full    time.Time // when it was last logged that there is no room

	wake    chan struct{} // something waits to be written
	closing chan struct{}
	closed  sync.Once
	looked  chan struct{} // the directory was looked at for the first time, or can't be
	ended   chan struct{} // the writer has
}

// waiter is what is in memory, in the form that its file has.
type waiter struct {
	entry
	content []byte
	ticket  uint64 // its place in the queue, 0: it has none, since it can't be written though others can
}

// ticket is a place in the queue. It does not hold what it is for: that may be
// evicted or replaced before its turn.
type ticket struct {
	name   name
	number uint64
}

// Open opens a store. It never fails: why the directory can't be used is
// Status().Err, and as long as that is so, everything is kept in memory.
func Open(cfg Config) *Store {
	s := &Store{
		cfg:     cfg,
		log:     cfg.Log,
		content: map[name]*waiter{},
		wake:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		looked:  make(chan struct{}),
		ended:   make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.cfg.MaxRecords <= 0 {
		s.cfg.MaxRecords = DefaultRecords
	}
	if cfg.Dir == "" {
		if s.cfg.MaxBytes <= 0 {
			s.cfg.MaxBytes = DefaultMemoryBytes
		}
		s.memory = newIndex(s.cfg.MaxBytes, s.cfg.MaxRecords)
		s.salt = newSalt()
		close(s.looked)
		close(s.ended)
		return s
	}
	if s.cfg.MaxBytes <= 0 {
		s.cfg.MaxBytes = DefaultBytes
	}
	s.memory = newIndex(min(maxWaiting, s.cfg.MaxBytes), s.cfg.MaxRecords)
	s.disk = newIndex(s.cfg.MaxBytes, s.cfg.MaxRecords)
	w := &writer{Store: s}
	w.start()
	go w.run()
	return s
}

// Close writes what waits, for at most some seconds, and ends the writing. What is
// put later is kept in memory.
func (s *Store) Close() {
	s.closed.Do(func() { close(s.closing) })
	select {
	case <-s.ended:
	case <-time.After(2 * closeTimeout): // the disk answers nothing at all
	}
}

// Get returns the blob and its media type. It is hashed: nothing but the bytes with
// that digest ever comes back.
func (s *Store) Get(ref image.Ref) (body []byte, mediaType string, ok bool) {
	if ref.IsZero() || ref.Digest.IsZero() {
		return nil, "", false
	}
	n := blobName(ref)
	e, ok := s.read(n)
	if !ok {
		return nil, "", false
	}
	if !bytes.Equal(e.sum[:], ref.Digest.Bytes()) {
		s.discard(n)
		return nil, "", false
	}
	return e.body, e.text, true
}

// Put keeps a blob. One that does not have the digest is not kept. A blob that no
// record needs is the first to go.
func (s *Store) Put(ref image.Ref, mediaType string, body []byte) {
	if ref.IsZero() || len(body) > MaxBlob || len(mediaType) > MaxText {
		return
	}
	n := blobName(ref)
	s.mu.Lock()
	known := s.touch(n)
	s.mu.Unlock()
	if !known && image.Of(body) == ref.Digest {
		s.add(envelope{kind: blobs, id: n.id, text: mediaType, body: body})
	}
}

// Record returns the record that PutRecord kept.
func (s *Store) Record(key Key) (body []byte, ok bool) {
	e, ok := s.read(name{records, id(key)})
	return e.body, ok
}

// PutRecord keeps a record in place of what was there under this key. tenant is the
// namespace that caused it: when there is no more room, the tenant with the most
// loses what it used least recently. refs are the blobs that it needs, which are
// kept as long as it is.
func (s *Store) PutRecord(key Key, tenant string, body []byte, refs []image.Ref) {
	if len(body) > MaxRecord || len(tenant) > MaxText || len(refs) > MaxRefs {
		s.log.Warn("the evidence of an image is not kept: it is beyond the bounds of a record", "tenant", printable.Line(tenant, MaxText),
			"bytes", len(body), "max_bytes", MaxRecord, "refs", len(refs), "max_refs", MaxRefs)
		return
	}
	needs := make([]id, 0, len(refs))
	for _, r := range refs {
		if !r.IsZero() {
			needs = append(needs, blobName(r).id)
		}
	}
	slices.SortFunc(needs, id.compare)
	s.add(envelope{kind: records, id: id(key), text: tenant, refs: slices.Compact(needs), body: body})
}

// Salt returns 32 random bytes that are the same as long as the directory is there,
// for all who use it: a key for hashes of secrets.
func (s *Store) Salt() []byte { return slices.Clone(s.salt) }

// Status is how a Store is.
type Status struct {
	// Dir is empty where everything is in memory.
	Dir string
	// Bytes are those of everything that is kept, unfinished files included.
	Bytes   int64
	Records int
	// Err is an *Error that says why something can't be kept, nil if all can.
	Err error
}

// Status returns how the store is now. After Open it waits, for at most some seconds,
// until it is known what is in the directory.
func (s *Store) Status() Status {
	select {
	case <-s.looked:
	case <-time.After(lookTimeout):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	status := Status{Dir: s.cfg.Dir, Bytes: s.memory.total[inBytes], Records: len(s.memory.records)}
	if s.disk != nil {
		status.Bytes += s.disk.total[inBytes]
		status.Records = len(s.disk.records)
		for key := range s.memory.records {
			if s.disk.records[key] == nil {
				status.Records++
			}
		}
	}
	if s.problem != nil {
		status.Err = s.problem
	}
	return status
}

// touch is whether n is known to be there, which is a use of it. mu is held.
func (s *Store) touch(n name) bool {
	now := time.Now().UnixNano()
	inMemory := s.memory.touch(n, now)
	return s.disk != nil && s.disk.touch(n, now) || inMemory
}

// add keeps e in memory, and has it written where there is a directory.
func (s *Store) add(e envelope) {
	w := &waiter{entry: e.entry(), content: e.encode()}
	w.cost = memoryCost(len(w.content))
	if !s.keep(w) {
		s.refused()
		return
	}
	select {
	case s.wake <- struct{}{}:
	default: // the writer knows, or there is none
	}
}

// keep is whether there was room for w in memory.
func (s *Store) keep(w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.used = time.Now().UnixNano()
	gone, ok := s.memory.admit(w.entry, s.cfg.Pinned)
	if !ok {
		return false
	}
	for _, g := range gone {
		delete(s.content, g)
	}
	s.content[w.name] = w
	if s.disk == nil {
		return true
	}
	s.tickets++
	w.ticket = s.tickets
	s.queue = append(s.queue, ticket{w.name, w.ticket})
	if len(s.queue) > 2*len(s.content)+queueSlack {
		s.queue = slices.DeleteFunc(s.queue, func(t ticket) bool { return s.waits(t) == nil })
	}
	return true
}

// waits returns what a ticket is for, nil if that is not there any more. mu is held.
func (s *Store) waits(t ticket) *waiter {
	if w := s.content[t.name]; w != nil && w.ticket == t.number {
		return w
	}
	return nil
}

// refused says, once an hour, that there is no room.
func (s *Store) refused() {
	s.mu.Lock()
	now := time.Now()
	say := s.full.IsZero() || now.Sub(s.full) >= time.Hour
	if say {
		s.full = now
	}
	s.mu.Unlock()
	if say {
		s.log.Warn("there is no room for the evidence of an image: what is there is of containers on this node, or new, or of tenants that have less. It is fetched again when it is needed",
			"dir", s.cfg.Dir, "max_bytes", s.cfg.MaxBytes, "max_records", s.cfg.MaxRecords)
	}
}

func newSalt() []byte {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // it never fails
	return salt
}
