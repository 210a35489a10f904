package trustroot

import (
	"io/fs"
	"os"
	"syscall"
	"time"
)

// maxFile is the size up to which files of the operator are read: he may have given
// the path of something else.
const maxFile = 1 << 20

// settled is how long a file must not have been written to for its time of
// modification to tell that it is the same: two versions can have one time.
const settled = 2 * time.Second

// watched is a file that the operator named, read again when it has changed. What
// can't be used takes nothing from what was read before.
type watched[T any] struct {
	path  string
	parse func([]byte) (T, error)

	// value is the last good content, modified the time of its file.
	value    T
	modified time.Time
	good     bool

	// seen is the file as it was last read, good or not, and err what was wrong with
	// it; sure is whether it is known that it was not written to since.
	seen fs.FileInfo
	sure bool
	err  error
}

// look reads the file if it may have changed. The error is about the file as it is
// now.
func (w *watched[T]) look() error {
	info, err := os.Stat(w.path)
	if err != nil {
		w.seen = nil
		return &Error{What: w.path, Kind: File, Err: err}
	}
	if w.sure && same(w.seen, info) {
		return w.err
	}
	w.seen, w.sure = nil, false
	w.err = w.read()
	return w.err
}

func (w *watched[T]) read() error {
	// A pipe in its place is refused and not waited for.
	file, err := os.OpenFile(w.path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // #nosec G304 -- the operator names it
	if err != nil {
		return &Error{What: w.path, Kind: File, Err: err}
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return &Error{What: w.path, Kind: File, Err: err}
	}
	content, err := readBounded(file, maxFile)
	if err != nil {
		return &Error{What: w.path, Kind: File, Err: err}
	}
	w.seen, w.sure = info, time.Since(info.ModTime()) > settled
	value, err := guarded(func() (T, error) { return w.parse(content) })
	if err != nil {
		return &Error{What: w.path, Kind: File, Err: err}
	}
	w.value, w.modified, w.good = value, info.ModTime(), true
	return nil
}

func same(a, b fs.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
