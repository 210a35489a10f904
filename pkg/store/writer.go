package store

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/guard"
)

const (
	// maxWaiting bounds what waits to be written: one of the largest and some more.
	maxWaiting = MaxBlob + 1<<20
	// queueSlack is how much of the queue may have been overtaken before it is tidied.
	queueSlack = 64
	// retryPause is how long nothing is written after a failure.
	retryPause = 30 * time.Second
	// scanPeriod is how old what is known of the directory may be when something is
	// written, and so evicted. It is no longer than a blob is young: when a blob goes
	// that no record needs, a record of another process that needs it is known.
	scanPeriod = young
	// closeTimeout is for how long what waits is written at the end.
	closeTimeout = 2 * time.Second
	// lookTimeout is how long somebody waits who wants to know how much is kept.
	lookTimeout = 5 * time.Second
)

// writer is the one goroutine of a Store that writes: nobody waits for a disk.
type writer struct {
	*Store
	scanned  time.Time // when the directory was last listed
	unopened bool      // it could not be opened
	retry    time.Time // nothing is tried before then; zero: nothing went wrong
	end      time.Time // when writing ends, zero until the Store is closed
}

// start opens the directory for the first time. What is in it is looked at later: that
// may be much, and nobody who reads needs it.
func (w *writer) start() {
	err := guard.Do(w.open)
	if w.unopened = err != nil; w.unopened {
		w.failed(err)
	}
	if w.salt == nil {
		w.salt = newSalt()
	}
}

func (w *writer) run() {
	defer close(w.ended)
	defer w.use(nil)
	looked := sync.OnceFunc(func() { close(w.looked) })
	for {
		if err := guard.Do(w.work); err != nil {
			w.failed(err)
		}
		looked()
		if !w.end.IsZero() {
			return
		}
		var later <-chan time.Time
		if !w.retry.IsZero() {
			later = time.After(time.Until(w.retry))
		}
		select {
		case <-w.wake:
		case <-later:
		case <-w.closing:
		}
		w.closes()
	}
}

// closes is whether the Store was closed and no time is left.
func (w *writer) closes() bool {
	select {
	case <-w.closing:
		if w.end.IsZero() {
			w.end = time.Now().Add(closeTimeout)
		}
		return time.Now().After(w.end)
	default:
		return false
	}
}

func (w *writer) failed(err error) {
	w.retry = time.Now().Add(retryPause)
	w.report(err)
}

// work writes what waits.
func (w *writer) work() error {
	if time.Now().Before(w.retry) {
		return nil
	}
	if next := w.next(); next == nil && w.retry.IsZero() && !w.scanned.IsZero() {
		return nil
	}
	if err := w.ready(); err != nil {
		return err
	}
	for next := w.next(); next != nil && !w.closes(); next = w.next() {
		if err := w.write(next); err != nil {
			return err
		}
	}
	w.retry = time.Time{}
	return nil
}

// ready sees that the directory is open, and known well enough to evict from it.
func (w *writer) ready() error {
	err := w.open()
	if err == nil && time.Since(w.scanned) >= scanPeriod {
		err = w.scan()
	}
	if err == nil && w.unopened {
		w.overcome()
	}
	w.unopened = err != nil
	return err
}

// open opens the directory unless it is open and still the same.
func (w *writer) open() error {
	if w.dir != nil && !still(w.dir, w.cfg.Dir) {
		w.use(nil)
	}
	if w.dir == nil {
		dir, err := openDir(w.cfg.Dir)
		if err != nil {
			return err
		}
		w.use(dir)
	}
	salt, err := keepSalt(w.dir, w.ownSalt())
	if w.salt == nil {
		w.salt = salt
	}
	return err
}

// ownSalt is the salt for a directory that has none. That of this process never
// changes: where the directory turns up later and has another one, that one is for
// the next start.
func (w *writer) ownSalt() []byte {
	if w.salt != nil {
		return w.salt
	}
	return newSalt()
}

// use replaces the directory. Only the writer does that, so that it alone reads dir
// without the lock.
func (w *writer) use(dir *os.Root) {
	w.mu.Lock()
	was := w.dir
	w.dir = dir
	w.scanned = time.Time{}
	if dir == nil {
		w.disk = newIndex(w.cfg.MaxBytes, w.cfg.MaxRecords)
	}
	w.mu.Unlock()
	if was != nil {
		was.Close()
	}
}

func (w *writer) scan() error {
	now := time.Now()
	found := newIndex(w.cfg.MaxBytes, w.cfg.MaxRecords)
	all, err := scan(w.dir, found, now)
	if !all {
		w.log.Warn("the directory of the evidence store has too many files, not all of them are looked at: empty it", "dir", w.cfg.Dir, "max_files", maxNames)
	}
	w.mu.Lock()
	found.used(w.disk)
	w.disk = found
	w.mu.Unlock()
	if err == nil {
		w.scanned = now
	}
	return err
}

// next is what was put first of what waits, nil if nothing does.
func (w *writer) next() *waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 {
		if first := w.waits(w.queue[0]); first != nil {
			return first
		}
		w.queue = w.queue[1:]
	}
	w.queue = nil
	return nil
}

// write writes one thing. If it fails, everything but what had to go is as it was.
func (w *writer) write(next *waiter) error {
	e := next.entry
	e.cost = diskCost(int64(len(next.content)))
	before, gone, ok := w.admit(e)
	if !ok {
		w.refused()
		w.drop(next)
		return nil
	}
	for _, g := range gone {
		_ = w.dir.Remove(g.file()) // what stays is found by the next scan
	}
	err := writeFile(w.dir, next.name.file(), next.content)
	if err != nil {
		w.mu.Lock()
		w.disk.remove(e.name)
		if before != nil {
			w.disk.put(*before)
		}
		w.mu.Unlock()
	}
	if errors.Is(err, errOccupied) {
		w.log.Warn("a directory is in the place of a file of the evidence store: what belongs there stays in memory", "dir", w.cfg.Dir, "file", next.name.file())
		w.mu.Lock()
		next.ticket = 0
		w.mu.Unlock()
		return nil
	}
	if err != nil {
		return err
	}
	w.drop(next)
	w.overcome()
	return nil
}

func (w *writer) admit(e entry) (before *entry, gone []name, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before = w.disk.entry(e.name)
	gone, ok = w.disk.admit(e, w.cfg.Pinned)
	return before, gone, ok
}

// drop forgets what was in memory, unless it was replaced in the meantime.
func (w *writer) drop(was *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.content[was.name] == was {
		delete(w.content, was.name)
		w.memory.remove(was.name)
	}
}
