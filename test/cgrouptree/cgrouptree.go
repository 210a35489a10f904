// Package cgrouptree makes cgroups for tests and for the demonstration: the same
// path in every cgroup hierarchy of the machine, as a kubelet and a container
// runtime would, and removes exactly what it made.
package cgrouptree

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Hierarchy is a mounted cgroup hierarchy.
type Hierarchy struct {
	// Name is its name in /proc/<pid>/cgroup: controllers, "name=systemd", or
	// empty for v2.
	Name string
	// Mount is where it is mounted, from its root.
	Mount string
}

// Hierarchies returns the hierarchies that are mounted writable from their root
// as this process sees it, each once.
func Hierarchies() ([]Hierarchy, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var found []Hierarchy
	for l := range strings.Lines(string(mounts)) {
		// 36 35 98:0 /root /mount/point opts [optional...] - type source superopts, proc_pid_mountinfo(5)
		before, after, ok := strings.Cut(l, " - ")
		mount, super := strings.Fields(before), strings.Fields(after)
		if !ok || len(mount) < 6 || len(super) < 3 || mount[3] != "/" || !slices.Contains(strings.Split(mount[5], ","), "rw") {
			continue
		}
		var name string
		switch super[0] {
		case "cgroup2":
		case "cgroup":
			name = v1Name(super[2])
		default:
			continue
		}
		if !slices.ContainsFunc(found, func(h Hierarchy) bool { return h.Name == name }) {
			found = append(found, Hierarchy{name, mount[4]})
		}
	}
	return found, nil
}

// v1Name leaves of a v1 hierarchy's mount options those that name it.
func v1Name(options string) string {
	var names []string
	for o := range strings.SplitSeq(options, ",") {
		switch {
		case o == "rw", o == "xattr", o == "clone_children", o == "noprefix", strings.HasPrefix(o, "release_agent="):
		default:
			names = append(names, o)
		}
	}
	return strings.Join(names, ",")
}

// Tree is a set of cgroups with the same paths in several hierarchies.
type Tree struct {
	hierarchies []Hierarchy
	made        []string // directories, parents before children
}

// New returns an empty tree over all hierarchies, or those named.
func New(names ...string) (*Tree, error) {
	all, err := Hierarchies()
	if err != nil {
		return nil, err
	}
	if len(names) > 0 {
		all = slices.DeleteFunc(all, func(h Hierarchy) bool { return !slices.Contains(names, h.Name) })
	}
	if len(all) == 0 {
		return nil, errors.New("no cgroup hierarchy is mounted writable")
	}
	return &Tree{hierarchies: all}, nil
}

// Make makes the cgroup, with its parents, in every hierarchy.
func (t *Tree) Make(path string) error {
	for _, h := range t.hierarchies {
		dir := h.Mount
		for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
			parent := dir
			dir = filepath.Join(dir, name)
			err := os.Mkdir(dir, 0o755)
			if errors.Is(err, fs.ErrExist) {
				continue
			}
			if err != nil {
				return err
			}
			t.made = append(t.made, dir)
			if err := inheritCpuset(parent, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// inheritCpuset gives a cgroup of the v1 cpuset controller its parent's CPUs and
// memory nodes: without any, no process can enter it.
func inheritCpuset(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(strings.TrimSpace(string(value))) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, file), value, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Add moves a process into the cgroup, in every hierarchy.
func (t *Tree) Add(path string, pid int) error {
	for _, h := range t.hierarchies {
		file := filepath.Join(h.Mount, path, "cgroup.procs")
		if err := os.WriteFile(file, []byte(strconv.Itoa(pid)), 0o600); err != nil {
			return fmt.Errorf("moving process %d: %w", pid, err)
		}
	}
	return nil
}

// Hierarchies returns the names of the tree's hierarchies, "v2" for that one.
func (t *Tree) Hierarchies() []string {
	var names []string
	for _, h := range t.hierarchies {
		names = append(names, cmp.Or(h.Name, "v2"))
	}
	return names
}

// Dirs returns the directories of the cgroup, one for each hierarchy.
func (t *Tree) Dirs(path string) []string {
	var dirs []string
	for _, h := range t.hierarchies {
		dirs = append(dirs, filepath.Join(h.Mount, path))
	}
	return dirs
}

// Remove removes the cgroups that Make made. Their processes must have ended;
// a cgroup that somebody else uses meanwhile is left.
func (t *Tree) Remove() error {
	var problems []error
	for _, dir := range slices.Backward(t.made) {
		if err := remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	t.made = nil
	return errors.Join(problems...)
}

// remove removes a cgroup. The kernel lets go of a process that ended only a
// moment after it was waited for.
func remove(dir string) error {
	for wait := time.Millisecond; ; wait *= 2 {
		err := os.Remove(dir)
		if !errors.Is(err, syscall.EBUSY) || wait > 2*time.Second {
			return err
		}
		children, _ := filepath.Glob(filepath.Join(dir, "*", "cgroup.procs"))
		if len(children) > 0 {
			return nil
		}
		time.Sleep(wait)
	}
}
