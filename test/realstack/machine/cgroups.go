package machine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/podseal/podseal/test/cgrouptree"
)

// self is the cgroup of the tests and of what they start: beside the pods, as a
// service of the node would be. In a v2 hierarchy a cgroup with children that have
// controllers may hold no processes.
const self = "node"

// makeTrees makes the machine's cgroup in each hierarchy.
func makeTrees(tree string) error {
	cgroups, err := cgrouptree.New()
	if err != nil {
		return err
	}
	if err := cgroups.Make(filepath.Join(tree, self)); err != nil {
		return err
	}
	// What is made below a v1 cpuset cgroup has no CPUs, and so takes no process,
	// unless it clones its parent's.
	for _, dir := range cgroups.Dirs(tree) {
		clone := filepath.Join(dir, "cgroup.clone_children")
		if !exists(clone) || !exists(filepath.Join(dir, "cpuset.cpus")) {
			continue
		}
		if err := os.WriteFile(clone, []byte("1"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// enterTrees moves this process into the machine's cgroup, makes that the root of
// what the machine sees, and mounts it and /proc anew.
func enterTrees(tree string) error {
	hierarchies, err := cgrouptree.Hierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		if err := os.WriteFile(filepath.Join(h.Mount, tree, "cgroup.procs"), []byte("0"), 0); err != nil {
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
		if err := unix.Unmount(h.Mount, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", h.Mount, err)
		}
		kind := "cgroup" // with its name for an option
		if h.Name == "" {
			kind = "cgroup2"
		}
		if err := unix.Mount("cgroup", h.Mount, kind, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, h.Name); err != nil {
			return fmt.Errorf("mount %s (%s): %w", h.Mount, h.Name, err)
		}
		if err := os.WriteFile(filepath.Join(h.Mount, self, "cgroup.procs"), []byte("0"), 0); err != nil {
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
func sweep(hierarchies []cgrouptree.Hierarchy) {
	places := []string{os.TempDir()}
	for _, h := range hierarchies {
		places = append(places, h.Mount)
	}
	for i, place := range places {
		left, err := filepath.Glob(filepath.Join(place, prefix+"*"))
		if err != nil {
			continue
		}
		for _, dir := range left {
			var pid int
			if _, err := fmt.Sscanf(filepath.Base(dir), prefix+"%d-", &pid); err != nil || !hasEnded(pid) {
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

// hasEnded is true also for a process that nobody has waited for yet.
func hasEnded(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
	}
	// 42 (the name, which may have anything in it) S 1 ..., proc_pid_stat(5)
	state := stat[bytes.LastIndexByte(stat, ')')+1:]
	return bytes.HasPrefix(state, []byte(" Z")) || bytes.HasPrefix(state, []byte(" X"))
}

// Remove removes what is left of one machine, whose process outside is gone. It
// reports whether there was anything.
func Remove(dir string) (left bool, err error) {
	if !strings.HasPrefix(filepath.Base(dir), prefix) {
		return false, fmt.Errorf("%s is no machine's folder", dir)
	}
	hierarchies, err := cgrouptree.Hierarchies()
	if err != nil {
		return false, err
	}
	tree := filepath.Base(dir)
	left = exists(dir) || slices.ContainsFunc(hierarchies, func(h cgrouptree.Hierarchy) bool { return exists(filepath.Join(h.Mount, tree)) })
	return left, errors.Join(removeTrees(hierarchies, tree), retry(func() error { return os.RemoveAll(dir) }))
}

func removeTrees(hierarchies []cgrouptree.Hierarchy, tree string) error {
	var errs []error
	for _, h := range hierarchies {
		errs = append(errs, retry(func() error { return removeTree(filepath.Join(h.Mount, tree)) }))
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
