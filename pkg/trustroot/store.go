package trustroot

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
)

// store is where the last good state of a repository is kept over restarts: one
// file in a directory of our own. The file is replaced as a whole, so that what
// ends in the middle of writing leaves the one before, and is verified when it is
// read, so that it can make nobody trusted.
type store struct {
	dir  string // absent when empty
	name string
	// readOnly is for a process that another one's store is shown to.
	readOnly bool
}

// maxStored bounds the file: base64 of all that is bounded above.
const maxStored = 16 << 20

// How often and for how long another process that writes is waited for. It holds the
// lock for a few milliseconds, unless it was stopped.
const (
	lockTries = 50
	lockPause = 10 * time.Millisecond
)

// newStore keeps the repository of a mirror in dir. Several may share dir.
func newStore(dir, mirror string) store {
	sum := sha256.Sum256([]byte(mirror))
	return store{dir: dir, name: "tuf-" + hex.EncodeToString(sum[:12]) + ".json"}
}

// open opens the directory. One that others may change, or read to learn what this
// node trusts, is not used at all.
func (s store) open(create bool) (*os.Root, error) {
	if create {
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return nil, &failure{Cache, err}
		}
	}
	dir, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, &failure{Cache, err}
	}
	info, err := dir.Stat(".")
	if err == nil {
		err = ours(info)
	}
	if err != nil {
		dir.Close()
		return nil, &failure{Cache, err}
	}
	return dir, nil
}

// ours checks that a directory is this user's alone.
func ours(info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) != os.Geteuid() {
		return errors.New("the directory belongs to another user")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("the directory has mode %#o: others than its owner have rights on it", mode)
	}
	return nil
}

// load returns what was kept, nil if nothing was. It must be verified.
func (s store) load() (*documents, error) {
	if s.dir == "" {
		return nil, nil
	}
	dir, err := s.open(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return s.read(dir)
}

func (s store) read(dir *os.Root) (*documents, error) {
	file, err := dir.OpenFile(s.name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &failure{Cache, err}
	}
	defer file.Close()
	content, err := readBounded(file, maxStored)
	if err != nil {
		return nil, &failure{Cache, err}
	}
	return parseStored(content)
}

// parseStored reads what encode wrote.
func parseStored(content []byte) (*documents, error) {
	d := &documents{}
	if err := json.Unmarshal(content, d, json.RejectUnknownMembers(true)); err != nil {
		return nil, fail(Cache, "%w", err)
	}
	return d, nil
}

// save keeps a state. initial is what it was verified by: a newer state that another
// process kept in the meantime stays.
func (s store) save(initial []byte, kept *state) error {
	if s.dir == "" || s.readOnly {
		return nil
	}
	dir, err := s.open(true)
	if err != nil {
		return err
	}
	defer dir.Close()
	unlock, err := s.lock(dir)
	if err != nil {
		return &failure{Cache, err}
	}
	defer unlock()
	if there, err := s.read(dir); err == nil && there != nil {
		other, err := replay(initial, *there)
		if err == nil && other.newer(kept) {
			return nil
		}
	}
	s.sweep(dir)
	if err := s.replace(dir, kept.documents); err != nil {
		return &failure{Cache, err}
	}
	return nil
}

// lock keeps other processes from writing. It ends with the process.
func (s store) lock(dir *os.Root) (unlock func(), err error) {
	file, err := dir.OpenFile(s.name+".lock", os.O_RDWR|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) // #nosec G115 -- a file descriptor
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || try == lockTries {
			file.Close()
			return nil, fmt.Errorf("another process has the lock: %w", err)
		}
		time.Sleep(lockPause)
	}
}

const unfinished = ".new-"

// sweep removes what others who ended in the middle of writing left.
func (s store) sweep(dir *os.Root) {
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), s.name+unfinished) {
			_ = dir.Remove(e.Name()) // what stays is tried again at the next writing
		}
	}
}

// replace writes a new file and puts it in the place of the old one.
func (s store) replace(dir *os.Root, d documents) (err error) {
	content, err := json.Marshal(d)
	if err != nil {
		return err
	}
	name := s.name + unfinished + rand.Text()
	file, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = dir.Remove(name)
		}
	}()
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err = dir.Rename(name, s.name); err != nil {
		return err
	}
	// The new name must be on the disk too.
	if parent, err := dir.Open("."); err == nil {
		_ = parent.Sync()
		parent.Close()
	}
	return nil
}

// readBounded reads a regular file of at most most bytes.
func readBounded(file *os.File, most int64) ([]byte, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a file", clip(file.Name()))
	}
	content, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > most {
		return nil, fail(Limit, "%q is larger than %d bytes", clip(file.Name()), most)
	}
	return content, nil
}
