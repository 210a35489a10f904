// Command within runs another program in a place where the end-to-end test wants
// it, as that program's own process ID if it can:
//
//	within cgroup-namespace PROGRAM [ARGUMENT...]
//	within forged-mounts FOLDER PATH PROGRAM [ARGUMENT...]
//	within cgroup PATH UID PROGRAM [ARGUMENT...]
//	within made-cgroup PARENT PATH PROGRAM [ARGUMENT...]
//	within left-behind PROGRAM [ARGUMENT...] -- PROGRAM [ARGUMENT...]
//
// cgroup-namespace makes a cgroup namespace whose root is the process's own
// cgroup, as container runtimes do on cgroup v2. cgroup has root move the process
// into a cgroup in every hierarchy, and become that user.
//
// The others need no rights but those that a workload may have. forged-mounts is
// what any user may do who wants to be taken for somebody else: in a user namespace
// of his own, as a child process, he mounts the cgroup PATH of each hierarchy below
// FOLDER over the place where he is expected to see his own. made-cgroup makes the
// cgroup PATH below PARENT, which he was given, and enters it, in every hierarchy
// that lets him. left-behind starts the first program as a child, without output,
// and becomes the second.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
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
	case verb == "forged-mounts" && len(args) > 2:
		return forge(args)
	case verb == "mount" && len(args) > 2: // what forge runs
		if err := mount(args[0], args[1]); err != nil {
			return err
		}
		return become(args[2:])
	case verb == "cgroup" && len(args) > 2:
		uid, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return enter(args[0], uid, args[2:])
	case verb == "made-cgroup" && len(args) > 2:
		if err := makeCgroup(args[0], args[1]); err != nil {
			return err
		}
		return become(args[2:])
	case verb == "left-behind":
		between := slices.Index(args, "--")
		if between < 1 || between == len(args)-1 {
			return errUsage
		}
		child := exec.Command(args[0], args[1:between]...) // #nosec G204 -- the test says what
		if err := child.Start(); err != nil {
			return err
		}
		return become(args[between+1:])
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

const hierarchies = "/sys/fs/cgroup"

// mount mounts the cgroup path of each hierarchy that has it over the hierarchy.
func mount(folder, path string) error {
	victims, err := filepath.Glob(filepath.Join(folder, "*", path))
	if err != nil || len(victims) == 0 {
		return fmt.Errorf("no hierarchy below %s has %s: %w", folder, path, err)
	}
	for _, victim := range victims {
		name, _, _ := strings.Cut(strings.TrimPrefix(victim, filepath.Clean(folder)+"/"), "/")
		over := filepath.Join(hierarchies, name)
		if _, err := os.Stat(over); errors.Is(err, fs.ErrNotExist) {
			continue // a container of a hybrid machine has no v2 hierarchy
		}
		if err := unix.Mount(victim, over, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s over %s: %w", victim, over, err)
		}
	}
	return nil
}

func makeCgroup(parent, path string) error {
	mounted, err := filepath.Glob(filepath.Join(hierarchies, "*"))
	if err != nil {
		return err
	}
	var refused []error
	for _, hierarchy := range mounted {
		made := filepath.Join(hierarchy, parent, path)
		err := os.MkdirAll(made, 0o755)
		if err == nil {
			err = os.WriteFile(filepath.Join(made, "cgroup.procs"), []byte("0"), 0)
		}
		if err != nil {
			refused = append(refused, err)
		}
	}
	if len(refused) == len(mounted) {
		return fmt.Errorf("no hierarchy can be entered: %w", errors.Join(refused...))
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
