package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/podseal/podseal/test/realstack/machine"
)

// folder is where a person finds what is kept: the kubeconfig, the log, the lock,
// and the record of what runs. Whoever may read it is the cluster's administrator,
// so it is its owner's alone.
type folder string

func openFolder(path string) (folder, error) {
	if path == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("folder for the cluster that is kept: %w", err)
		}
		path = filepath.Join(cache, "podseal", "e2e")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return folder(path), os.Chmod(path, 0o700) // #nosec G302 -- a folder
}

func (f folder) lock() string       { return filepath.Join(string(f), "lock") }
func (f folder) log() string        { return filepath.Join(string(f), "log") }
func (f folder) kubeconfig() string { return filepath.Join(string(f), "kubeconfig") }
func (f folder) recorded() string   { return filepath.Join(string(f), "running.json") }

var errHeld = errors.New("another process keeps a cluster already")

// hold takes the lock for as long as this process lives, however it ends. It is a
// record lock, of which the kernel says who holds it: no file has to be believed.
// Such a lock is lost with the first descriptor of the file that is closed, so the
// process that holds it opens the file here and nowhere else.
func (f folder) hold() error {
	fd, err := unix.Open(f.lock(), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600) // never closed
	if err != nil {
		return &os.PathError{Op: "open", Path: f.lock(), Err: err}
	}
	err = unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EAGAIN) {
		return errHeld
	}
	if err != nil {
		return &os.PathError{Op: "lock", Path: f.lock(), Err: err}
	}
	return nil
}

// holder is the process that holds the lock; 0 when there is none.
func (f folder) holder() (pid int, err error) {
	file, err := os.Open(f.lock())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(file.Fd(), unix.F_GETLK, &lock); err != nil {
		return 0, &os.PathError{Op: "look at the lock", Path: f.lock(), Err: err}
	}
	if lock.Type == unix.F_UNLCK {
		return 0, nil
	}
	if lock.Pid <= 0 {
		return 0, fmt.Errorf("%s is locked by a process that can't be seen from here (another container?)", f.lock())
	}
	return int(lock.Pid), nil
}

// record is what runs, for those who use it. All paths are the same inside of the
// machine and outside.
type record struct {
	// Keeper is the process that holds the lock; a record of another is an old one.
	Keeper int `json:"keeper"`
	// Inside is the machine's process that started the stack, as seen from outside;
	// 0 before all is up.
	Inside int `json:"inside"`
	// Machine is the machine's folder.
	Machine string `json:"machine"`

	site
}

// running returns the record of what this keeper runs; nil while that is not up.
func (f folder) running(keeper int) (*record, error) {
	var r record
	err := readJSON(f.recorded(), &r)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (r.Keeper != keeper || r.Inside == 0) {
		return nil, nil
	}
	return &r, err
}

// tidy removes what an earlier keeper left, and says so. The log stays. The lock
// must be held, so that what is recorded here is nobody's any more.
func (f folder) tidy(out io.Writer) error {
	var old record
	err := readJSON(f.recorded(), &old)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		left, err := machine.Remove(old.Machine)
		if err != nil {
			return fmt.Errorf("what %s tells of: %w", f.recorded(), err)
		}
		if left {
			fmt.Fprintf(out, "removed what a killed run left: %s and its cgroups\n", old.Machine)
		}
	}
	var errs []error
	for _, path := range []string{f.kubeconfig(), f.recorded()} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// writeFile writes a file for its owner alone. Who finds it finds all of it.
func writeFile(path string, content []byte) error {
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func writeJSON(path string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, append(text, '\n'))
}

func readJSON(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
