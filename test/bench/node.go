package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

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
	// onHost are those of as many processes in no pod. One that is asked about
	// again and again would cost the kernel less than a hundred in turn.
	onHost [callers]int
	end    []func()
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
		if n.callers[i], err = n.start("/kubepods"+cgroup(pod(i)), exec.Command("/proc/self/exe", roleWait)); err != nil {
			return nil, err
		}
	}
	for i := range n.onHost {
		if n.onHost[i], err = n.start(fmt.Sprintf("/system.slice/job-%d.service", i), exec.Command("/proc/self/exe", roleWait)); err != nil {
			return nil, err
		}
	}
	return n, nil
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

// start starts a process of the node in that cgroup.
func (n *node) start(path string, cmd *exec.Cmd) (pid int, err error) {
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

// roleListen makes this program who listens on a socket that it inherits.
const roleListen = "listen"

func listen() error {
	const inherited = 3
	if err := unix.Listen(inherited, 128); err != nil {
		return err
	}
	if _, err := fmt.Println("listening"); err != nil {
		return err
	}
	return wait()
}

// listen listens on a Unix socket. Who connects finds there a process of the
// node's kubelet, as podseal asks for: this one is in a pod, like an agent, and
// so nobody who may speak for the kubelet. The process only listens; who calls
// is answered here.
func (n *node) listen(path string) (net.Listener, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	socket := os.NewFile(uintptr(fd), path) // #nosec G115 -- a file descriptor
	defer socket.Close()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe", roleListen)
	cmd.ExtraFiles = []*os.File{socket}
	said, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if _, err := n.start("/system.slice/kubelet.service", cmd); err != nil {
		return nil, err
	}
	if _, err := said.Read(make([]byte, 1)); err != nil {
		return nil, fmt.Errorf("who was to listen does not: %w", err)
	}
	return net.FileListener(socket)
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
