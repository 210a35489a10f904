package store

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	saltFile = "salt"
	saltSize = 32
	// unfinished is what the names of files begin with that are being written.
	unfinished = "new-"
	// abandoned is the age at which nobody is at an unfinished file any more.
	abandoned = time.Hour
	// maxNames bounds how many files are looked at. There are never so many of ours.
	maxNames = 1 << 18
)

// openDir opens the directory, which is made if it is missing. One that others may
// change is not used at all: they could not make anybody trusted, but fill it, keep
// things from being found, and know the salt.
func openDir(path string) (*os.Root, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	info, err := dir.Stat(".")
	if err == nil {
		err = ours(info)
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

func ours(info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: the directory belongs to another user", errUnsafe)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%w: the directory has mode %#o, others than its owner may write to it", errUnsafe, mode)
	}
	return nil
}

// still is whether path is the directory that was opened, and may be used: it may
// have been removed, and something may have been mounted there.
func still(dir *os.Root, path string) bool {
	opened, err := dir.Stat(".")
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(opened, there) && ours(there) == nil
}

// openFile opens a regular file and returns its size. What else is there, a link or a
// pipe that somebody put there, is an errForeign.
func openFile(dir *os.Root, file string) (*os.File, int64, error) {
	info, err := dir.Lstat(file)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errForeign
	}
	f, err := dir.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = errForeign
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// readFile reads a file of at most most bytes. A larger one is an errForeign.
func readFile(dir *os.Root, file string, most int64) ([]byte, error) {
	f, size, err := openFile(dir, file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > most {
		return nil, errForeign
	}
	content := make([]byte, size)
	if _, err = io.ReadFull(f, content); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errForeign // files of ours never become shorter
		}
		return nil, err
	}
	return content, nil
}

// writeFile writes a new file and then puts it in the place of the old one, so that
// everybody sees the one or the other. The directory is not flushed: if the machine
// dies now, what was there before is.
func writeFile(dir *os.Root, file string, content []byte) error {
	temporary, err := writeTemporary(dir, content)
	if err != nil {
		return err
	}
	err = dir.Rename(temporary, file)
	if info, e := dir.Lstat(file); err != nil && e == nil && info.IsDir() {
		// Nothing of ours. If something is in it, it is not ours to remove either.
		if err = errOccupied; dir.Remove(file) == nil {
			err = dir.Rename(temporary, file)
		}
	}
	if err != nil {
		_ = dir.Remove(temporary) // or it is removed when it is abandoned
	}
	return err
}

func writeTemporary(dir *os.Root, content []byte) (file string, err error) {
	var unique [16]byte
	_, _ = rand.Read(unique[:]) // it never fails
	file = unfinished + hex.EncodeToString(unique[:])
	f, err := dir.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = dir.Remove(file) // or it is removed when it is abandoned
		return "", err
	}
	return file, nil
}

// keepSalt returns the salt of the directory. If it has none, it is given this one;
// of several processes that do so, one wins.
func keepSalt(dir *os.Root, salt []byte) ([]byte, error) {
	there, err := readFile(dir, saltFile, saltSize)
	if err == nil && len(there) == saltSize {
		return there, nil
	}
	if err != nil && !isMissing(err) && !isForeign(err) {
		return nil, err
	}
	if !isMissing(err) {
		_ = dir.Remove(saltFile) // if it stays, that is an error below
	}
	temporary, err := writeTemporary(dir, salt)
	if err != nil {
		return nil, err
	}
	// Unlike a rename, a link fails if there is one, and unlike a file that is made
	// with O_EXCL and then written, it is never seen half written.
	err = dir.Link(temporary, saltFile)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		// A file system without links. Of two who start at the same time there, one has
		// a salt of its own until its next start.
		err = dir.Rename(temporary, saltFile)
	}
	_ = dir.Remove(temporary) // or it is removed when it is abandoned
	if err == nil {
		return salt, nil
	}
	if there, e := readFile(dir, saltFile, saltSize); e == nil && len(there) == saltSize {
		return there, nil
	}
	return nil, fmt.Errorf("its salt: %w", err)
}

// scan adds to an empty index what is in the directory. all is false if that is too
// much to look at.
func scan(dir *os.Root, x *index, now time.Time) (all bool, err error) {
	d, err := dir.Open(".")
	if err != nil {
		return true, err
	}
	defer d.Close()
	for seen := 0; seen < maxNames; {
		names, err := d.Readdirnames(1024)
		for _, file := range names {
			x.found(dir, file, now)
		}
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return true, err
		}
		seen += len(names)
	}
	return false, nil
}

// found adds a file. What can't be looked at is left out: it is looked at again when
// somebody asks for it.
func (x *index) found(dir *os.Root, file string, now time.Time) {
	n, known := parseName(file)
	temporary := strings.HasPrefix(file, unfinished)
	if !known && !temporary {
		return // not ours
	}
	info, err := dir.Lstat(file)
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	cost, written := diskCost(info.Size()), info.ModTime()
	if written.After(now) {
		written = now // the clock was wrong; it would stay new for long
	}
	if temporary {
		if now.Sub(written) > abandoned && dir.Remove(file) == nil {
			return
		}
		x.unfinished += cost
		x.total[inBytes] += cost
		return
	}
	e := entry{name: n, cost: cost, used: written.UnixNano()}
	if n.kind == records {
		head, err := readHead(dir, n)
		if isForeign(err) {
			_ = dir.Remove(file) // torn, or of another version
			return
		}
		if err != nil {
			return
		}
		e.tenant, e.refs = head.text, head.refs
	}
	x.put(e)
}

// readHead reads what stands before the body of a record.
func readHead(dir *os.Root, n name) (envelope, error) {
	f, size, err := openFile(dir, n.file())
	if err != nil {
		return envelope{}, err
	}
	defer f.Close()
	start, err := io.ReadAll(io.LimitReader(f, int64(maxHead)))
	if err != nil {
		return envelope{}, err
	}
	e, said, ok := parseHead(start, n)
	if !ok || said != size {
		return envelope{}, errForeign
	}
	return e, nil
}
