package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/cgrouptree"
)

// callers is how many processes call, each in a pod of its own.
const callers = 100

// node is the processes of a node, in cgroups as its kubelet and its container
// runtime would make them, below a root of their own so that a kubelet of this
// machine is not disturbed. This process is the agent: it is in a pod's cgroup
// too, as a DaemonSet's is, and the plugins that it starts are where it is. So
// podseal needs no setting that the built-in attestor does not know.
type node struct {
	root    string
	tree    *cgrouptree.Tree
	home    []string     // the cgroups that this process came from
	callers [callers]int // process IDs
	onHost  int          // of a process in no pod
	end     []func()
}

func newNode() (_ *node, err error) {
	n := &node{root: fmt.Sprintf("/podseal-bench-%d", os.Getpid())}
	if n.home, err = ownCgroups(); err != nil {
		return nil, err
	}
	if n.tree, err = cgrouptree.New(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("making cgroups: %w", err), n.close())
		}
	}()
	agent := "/kubepods/besteffort/pod" + kubelettest.UID("spire-agent") + "/" + kubelettest.ID("spire-agent")
	if err := n.add(agent, os.Getpid()); err != nil {
		return nil, err
	}
	for i := range n.callers {
		if n.callers[i], err = n.start("/kubepods" + cgroup(pod(i))); err != nil {
			return nil, err
		}
	}
	n.onHost, err = n.start("/system.slice/crond.service")
	return n, err
}

// add moves a process into a cgroup below the node's root, which is made.
func (n *node) add(path string, pid int) error {
	if err := n.tree.Make(n.root + path); err != nil {
		return err
	}
	return n.tree.Add(n.root+path, pid)
}

// roleWait makes this program one of the node's processes.
const roleWait = "wait"

// wait waits until the benchmark ends, however that ends.
func wait() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func (n *node) start(path string) (pid int, err error) {
	cmd := exec.Command("/proc/self/exe", roleWait)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	n.end = append(n.end, func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid, n.add(path, cmd.Process.Pid)
}

// close ends the processes, goes back to where this one came from, and removes
// what was made.
func (n *node) close() error {
	for _, end := range n.end {
		end()
	}
	var problems []error
	for _, dir := range n.home {
		problems = append(problems, os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0o600))
	}
	return errors.Join(append(problems, n.tree.Remove())...)
}

// ownCgroups are the directories of this process's cgroups, one for each
// hierarchy that a tree is made in.
func ownCgroups() ([]string, error) {
	hierarchies, err := cgrouptree.Hierarchies()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	paths := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		name, path, _ := strings.Cut(rest, ":")
		paths[name] = path
	}
	var dirs []string
	for _, h := range hierarchies {
		path, ok := paths[h.Name]
		if !ok {
			return nil, fmt.Errorf("/proc/self/cgroup does not say where this process is in the hierarchy %q", h.Name)
		}
		dirs = append(dirs, filepath.Join(h.Mount, path))
	}
	return dirs, nil
}
