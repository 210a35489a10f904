// Command within runs another program in a place where the end-to-end test wants
// it, as that program's own process ID if it can:
//
//	within cgroup-namespace PROGRAM [ARGUMENT...]
//	within forged-mounts FOLDER PROGRAM [ARGUMENT...]
//	within cgroup PATH UID PROGRAM [ARGUMENT...]
//
// cgroup-namespace makes a cgroup namespace whose root is the process's own
// cgroup, as container runtimes do on cgroup v2. forged-mounts is what any user
// may do who wants to be taken for somebody else: in a user namespace of his own
// he mounts the cgroups of another pod, FOLDER/<hierarchy>, over his own. cgroup
// moves the process into a cgroup in every hierarchy, and becomes that user.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/podseal/podseal/test/cgrouptree"
)

func main() {
	runtime.LockOSThread() // namespaces are the thread's
	fmt.Fprintln(os.Stderr, "within:", run(os.Args[1:]))
	os.Exit(1)
}

var errUsage = errors.New("usage: see the documentation of this command")

// run returns only if the program could not be started.
func run(args []string) error {
	if len(args) < 2 {
		return errUsage
	}
	switch verb, args := args[0], args[1:]; {
	case verb == "cgroup-namespace":
		if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
			return fmt.Errorf("cgroup namespace: %w", err)
		}
		return become(args)
	case verb == "forged-mounts" && len(args) > 1:
		return forge(args)
	case verb == "mount" && len(args) > 1: // what forge runs
		if err := mount(args[0]); err != nil {
			return err
		}
		return become(args[1:])
	case verb == "cgroup" && len(args) > 2:
		uid, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return enter(args[0], uid, args[2:])
	}
	return errUsage
}

func become(command []string) error {
	return unix.Exec(command[0], command, os.Environ()) // #nosec G204 -- the test says what
}

// forge starts this program again in a user and a mount namespace.
func forge(args []string) error {
	cmd := exec.Command("/proc/self/exe", append([]string{"mount"}, args...)...) // #nosec G204 -- the test says what
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN},
	}
	if err := cmd.Run(); err != nil {
		return err
	}
	os.Exit(0)
	return nil
}

// mount mounts each folder of victim over the hierarchy of that name.
func mount(victim string) error {
	hierarchies, err := filepath.Glob(filepath.Join(victim, "*"))
	if err != nil || len(hierarchies) == 0 {
		return fmt.Errorf("%s has no hierarchies: %w", victim, err)
	}
	for _, from := range hierarchies {
		over := filepath.Join("/sys/fs/cgroup", filepath.Base(from))
		if err := unix.Mount(from, over, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s over %s: %w", from, over, err)
		}
	}
	return nil
}

func enter(path string, uid int, command []string) error {
	tree, err := cgrouptree.New()
	if err != nil {
		return err
	}
	if err := tree.Add(path, os.Getpid()); err != nil {
		return err
	}
	if err := errors.Join(unix.Setgroups(nil), unix.Setresgid(uid, uid, uid), unix.Setresuid(uid, uid, uid)); err != nil {
		return fmt.Errorf("becoming user %d: %w", uid, err)
	}
	return become(command)
}
