package machine

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// self is the cgroup of the tests and of what they start: beside the pods, as a
// service of the node would be. In a v2 hierarchy a cgroup with children that have
// controllers may hold no processes.
const self = "node"

// hierarchy is one mounted cgroup hierarchy.
type hierarchy struct {
	mount   string // where it is mounted
	kind    string // cgroup or cgroup2
	options string // what mounts it again: the controllers or the name
}

// cgroupHierarchies lists those of this machine whose root is mounted.
func cgroupHierarchies() ([]hierarchy, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var found []hierarchy
	seen := make(map[string]bool)
	for lines := bufio.NewScanner(file); lines.Scan(); {
		mount, source, ok := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(mount), strings.Fields(source)
		if !ok || len(left) < 5 || len(right) < 3 || left[3] != "/" || !strings.HasPrefix(right[0], "cgroup") {
			continue
		}
		h := hierarchy{mount: left[4], kind: right[0]}
		if h.kind == "cgroup" {
			h.options = controllers(right[2])
		}
		if !seen[h.options] {
			seen[h.options] = true
			found = append(found, h)
		}
	}
	if len(found) == 0 {
		return nil, errors.New("no cgroup hierarchy is mounted")
	}
	return found, nil
}

// controllers leaves of a v1 hierarchy's options those that name it.
func controllers(options string) string {
	var names []string
	for _, option := range strings.Split(options, ",") {
		switch option {
		case "rw", "ro", "xattr", "clone_children", "noprefix":
		default:
			if !strings.HasPrefix(option, "release_agent=") {
				names = append(names, option)
			}
		}
	}
	return strings.Join(names, ",")
}

// makeTrees makes the machine's cgroup in each hierarchy.
func makeTrees(hierarchies []hierarchy, tree string) error {
	for _, h := range hierarchies {
		dir := filepath.Join(h.mount, tree)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := inheritCPUs(h.mount, dir); err != nil {
			return err
		}
		if err := os.Mkdir(filepath.Join(dir, self), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// inheritCPUs lets a v1 cpuset cgroup and its children take processes: a new one
// has no CPUs.
func inheritCPUs(parent, dir string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // no v1 cpuset
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), value, 0o644)
		}
		if err != nil {
			return err
		}
	}
	err := os.WriteFile(filepath.Join(dir, "cgroup.clone_children"), []byte("1"), 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// enterTrees moves this process into the machine's cgroup, makes that the root of
// what the machine sees, and mounts it and /proc anew.
func enterTrees(tree string) error {
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		if err := os.WriteFile(filepath.Join(h.mount, tree, "cgroup.procs"), []byte("0"), 0); err != nil {
			return err
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("new namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	for _, h := range hierarchies {
		// The kernel refuses to mount a hierarchy on top of itself.
		if err := unix.Unmount(h.mount, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", h.mount, err)
		}
		if err := unix.Mount("cgroup", h.mount, h.kind, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, h.options); err != nil {
			return fmt.Errorf("mount %s (%s): %w", h.mount, h.options, err)
		}
		if err := os.WriteFile(filepath.Join(h.mount, self, "cgroup.procs"), []byte("0"), 0); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// sweep removes the cgroups and folders that killed runs left: those whose process
// outside is gone. It does what it can; what can't be removed is in nobody's way.
func sweep(hierarchies []hierarchy) {
	places := []string{os.TempDir()}
	for _, h := range hierarchies {
		places = append(places, h.mount)
	}
	for i, place := range places {
		left, err := filepath.Glob(filepath.Join(place, prefix+"*"))
		if err != nil {
			continue
		}
		for _, dir := range left {
			var pid int
			if _, err := fmt.Sscanf(filepath.Base(dir), prefix+"%d-", &pid); err != nil || syscall.Kill(pid, 0) == nil {
				continue
			}
			if i == 0 {
				_ = os.RemoveAll(dir)
			} else {
				_ = removeTree(dir)
			}
		}
	}
}

func removeTrees(hierarchies []hierarchy, tree string) error {
	var errs []error
	for _, h := range hierarchies {
		errs = append(errs, retry(func() error { return removeTree(filepath.Join(h.mount, tree)) }))
	}
	return errors.Join(errs...)
}

// removeTree removes a cgroup and those below it. The kernel refuses one that
// holds a process.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := removeTree(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(dir)
}
