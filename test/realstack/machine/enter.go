package machine

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/podseal/podseal/test/cgrouptree"
)

// Enter brings a process that is outside into a running machine: into the cgroup
// that its programs are in, and the calling thread into its namespaces. pid is one
// of the machine's processes, dir is the machine's Dir. What the thread starts from
// now on is inside, and ends with the machine; the thread has to be locked
// (runtime.LockOSThread) and is good for nothing else any more.
func Enter(pid int, dir string) error {
	target, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("process %d of the machine: %w", pid, err)
	}
	defer unix.Close(target)
	hierarchies, err := cgrouptree.Hierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		if err := os.WriteFile(filepath.Join(h.Mount, filepath.Base(dir), self, "cgroup.procs"), []byte("0"), 0); err != nil {
			return err
		}
	}
	// Threads share their working directory and root, which a mount namespace must not.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("working directory of its own: %w", err)
	}
	const all = unix.CLONE_NEWCGROUP | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS
	if err := unix.Setns(target, all); err != nil {
		return fmt.Errorf("namespaces of process %d: %w", pid, err)
	}
	return nil
}
