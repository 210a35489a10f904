package registry

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// maxFile is the size up to which files are read.
	maxFile = 1 << 20
	// settled is how long a file must not have been written to for its time of
	// modification to tell that it is the same: two versions can have one time.
	settled = 2 * time.Second
)

// watched is a file of the configuration: what it means, read again when it has
// changed. While it can't be read its last good content stays in use.
type watched[T any] struct {
	path  string
	parse func([]byte) (T, error)
	log   *slog.Logger
	// optional is whether the file may be missing, which means the zero T.
	optional bool

	// mu is held while the file is looked at and read, which is rarely more than
	// looked at, so that of two readers the later one's content stays.
	mu sync.Mutex
	// seen is the file that value was read from, nil if there was none; sure is
	// whether it is known that it was not written to since.
	seen  fs.FileInfo
	sure  bool
	value T
	good  bool
	// warned is the last problem that was logged since there was none.
	warned string
}

// get returns what the file means, an error only if it never was readable.
func (w *watched[T]) get() (T, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.look()
	switch {
	case err == nil:
		w.warned = ""
	case w.good:
		if w.warned != err.Error() {
			w.log.Warn("a file can't be read again, its last good content stays in use", "path", w.path, "error", err)
		}
		w.warned = err.Error()
		err = nil
	}
	return w.value, err
}

func (w *watched[T]) look() error {
	info, err := os.Stat(w.path)
	if w.optional && errors.Is(err, fs.ErrNotExist) {
		var none T
		w.value, w.good, w.seen = none, true, nil
		return nil
	}
	if err != nil {
		return err
	}
	if w.good && w.sure && same(w.seen, info) {
		return nil
	}
	content, info, err := readFile(w.path)
	if err != nil {
		return err
	}
	value, err := w.parse(content)
	if err != nil {
		return fmt.Errorf("%s: %w", w.path, err)
	}
	w.value, w.good, w.seen, w.sure = value, true, info, time.Since(info.ModTime()) > settled
	return nil
}

func same(a, b fs.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// readFile reads a regular file of at most maxFile bytes. A pipe in its place is
// refused and not waited for.
func readFile(path string) ([]byte, fs.FileInfo, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // #nosec G304 -- the operator names it
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a file", path)
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(content) > maxFile {
		return nil, nil, fmt.Errorf("%s is larger than 1 MiB", path)
	}
	return content, info, nil
}
