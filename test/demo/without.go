package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/podseal/podseal/test/cgrouptree"
)

// Not everybody may make cgroups: it takes root, and a cgroup file system that is
// not mounted read-only. Elsewhere the demonstration runs once more, in a mount
// namespace of its own (for users in a user namespace too), and there mounts a
// file over /proc/<pid>/cgroup of each workload. podseal then reads what it would
// read on a node, and everything else stays real.

// withoutVar holds, in that second run, why there are no cgroups.
const withoutVar = "PODSEAL_DEMO_WITHOUT_CGROUPS"

func withoutCgroups() string { return os.Getenv(withoutVar) }

// canMakeCgroups tries.
func canMakeCgroups() error {
	tree, err := cgrouptree.New()
	if err != nil {
		return err
	}
	path := fmt.Sprintf("/podseal-demo-try-%d", os.Getpid())
	return errors.Join(tree.Make(path), tree.Remove())
}

// runWithoutCgroups runs this program again in namespaces of its own.
func runWithoutCgroups(why error) error {
	signal.Ignore(os.Interrupt) // reaches the second run too, which cleans up and ends
	reason, _, _ := strings.Cut(why.Error(), "\n")
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), withoutVar+"="+reason)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	err := cmd.Run()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(max(ended.ExitCode(), 1)) // it said why
	}
	if err != nil {
		return fmt.Errorf("no cgroup can be made here (%s), nor a namespace to do without: %w; run it as root, or where users may make namespaces", reason, err)
	}
	return nil
}

// pretend makes a process look, to who reads /proc in this mount namespace, as
// if it were in that cgroup.
func (n *node) pretend(pid int, cgroup string) error {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	var text strings.Builder
	for l := range strings.Lines(string(own)) {
		id, rest, _ := strings.Cut(l, ":")
		controllers, _, _ := strings.Cut(rest, ":")
		// The agent is not below a root of the node's here: the kubelet's is the
		// usual one.
		fmt.Fprintf(&text, "%s:%s:%s\n", id, controllers, cgroup[strings.Index(cgroup, "/kubepods"):])
	}
	file := filepath.Join(n.dir, "cgroup-"+strconv.Itoa(pid))
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		return err
	}
	// Nothing of it may reach the machine's own mounts.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := syscall.Mount(file, fmt.Sprintf("/proc/%d/cgroup", pid), "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting over /proc/%d/cgroup: %w", pid, err)
	}
	return nil
}
