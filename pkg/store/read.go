package store

import (
	"bytes"
	"time"
)

// read returns what is kept under a name. Its checksums are right, and it is of this
// name; its body is the caller's.
func (s *Store) read(n name) (envelope, bool) {
	s.mu.Lock()
	w := s.content[n]
	s.touch(n)
	dir := s.dir
	s.mu.Unlock()
	if w != nil {
		e, ok := parse(w.content, n)
		e.body = bytes.Clone(e.body)
		return e, ok
	}
	if dir == nil {
		return envelope{}, false
	}
	content, err := readFile(dir, n.file(), int64(maxFile))
	if err != nil {
		s.unread(n, err)
		return envelope{}, false
	}
	e, ok := parse(content, n)
	if !ok {
		s.discard(n)
		return envelope{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.disk.has(n) { // another process wrote it
		found := e.entry()
		found.cost, found.used = diskCost(int64(len(content))), time.Now().UnixNano()
		s.disk.put(found)
	}
	return e, true
}

// unread deals with a file that could not be read.
func (s *Store) unread(n name, err error) {
	if isForeign(err) {
		s.discard(n)
		return
	}
	s.mu.Lock()
	s.disk.remove(n) // so that it is written again
	s.mu.Unlock()
	if !isMissing(err) {
		s.report(err)
	}
}

// discard deletes a file that is not what was written under this name.
func (s *Store) discard(n name) {
	s.mu.Lock()
	dir := s.dir
	if s.disk != nil {
		s.disk.remove(n)
	}
	s.mu.Unlock()
	if dir != nil {
		s.log.Debug("a file of the evidence store is damaged or not ours, it is deleted", "dir", s.cfg.Dir, "file", n.file())
		_ = dir.Remove(n.file()) // what stays is a miss again
	}
}
