package pluginproc

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/cgrouptree"
	"github.com/podseal/podseal/test/testenv"
)

// Node is a node of a cluster in small: a stand-in kubelet, and processes in
// cgroups of every hierarchy as a kubelet and a runtime make them. It has a
// --cgroup-root of its own, so that it disturbs neither a kubelet of this
// machine nor other nodes. It is not for concurrent use; its kubelet is.
type Node struct {
	Kubelet *kubelettest.Server
	// Files are the credentials that the kubelet accepts, for an agent.
	Files kubelettest.Files
	// CgroupRoot is the kubelet's --cgroup-root, a clean absolute path.
	CgroupRoot string

	t         testing.TB
	tree      *cgrouptree.Tree
	processes map[int]func() // by ID, what ends them
}

var nodes atomic.Int64

// NewNode makes a node without pods that is there until the test ends. The test
// must be root's.
func NewNode(t testing.TB, o kubelettest.Options) *Node {
	t.Helper()
	testenv.RequireRoot(t)
	tree, err := cgrouptree.New()
	testenv.Require(t, err == nil, fmt.Sprintf("needs a cgroup hierarchy that can be written to: %v", err))
	t.Cleanup(func() {
		if err := tree.Remove(); err != nil {
			t.Error(err)
		}
	})
	server, err := kubelettest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	files, err := server.WriteFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &Node{
		Kubelet:    server,
		Files:      files,
		CgroupRoot: fmt.Sprintf("/podsealtest-%d-%d", os.Getpid(), nodes.Add(1)),
		t:          t,
		tree:       tree,
		processes:  make(map[int]func()),
	}
}

// Settings are those of an agent on the node with a token, in a hurry: requests
// 10 ms apart, three attempts and no more than 20 s.
func (n *Node) Settings() Settings {
	return Settings{
		"cgroup_root":         n.CgroupRoot,
		"kubelet_secure_port": n.Kubelet.Port(),
		"kubelet_ca_path":     n.Files.CA,
		"token_path":          n.Files.Token,
		// Not that of a kubelet which this machine may have.
		"pods_api_socket":     filepath.Join(filepath.Dir(n.Files.CA), "no-pods-api.sock"),
		"poll_retry_interval": "10ms",
		"max_poll_attempts":   3,
		"attest_timeout":      "20s",
	}
}

// Pod adds the pod to the kubelet's and starts a process in the first of its
// containers that has an ID.
func (n *Node) Pod(p kubelettest.Pod) (pid int) {
	n.t.Helper()
	if err := n.Kubelet.AddPod(p.Build()); err != nil {
		n.t.Fatal(err)
	}
	for _, c := range p.Containers {
		if c.ID != "" {
			return n.Process(ContainerPath(p.UID, c.ID))
		}
	}
	n.t.Fatalf("pod %s has no container with an ID", p.Name)
	return 0
}

// ContainerPath is where a kubelet with the cgroupfs driver puts a container of
// a burstable pod, below its root.
func ContainerPath(podUID, containerID string) string {
	return "/kubepods/burstable/pod" + podUID + "/" + containerID
}

// Process starts a process in the cgroup, which is made. The path begins at the
// node's CgroupRoot. The process lives until the test ends.
func (n *Node) Process(path string) (pid int) {
	n.t.Helper()
	cmd := helper(roleWait)
	n.Start(path, cmd)
	return cmd.Process.Pid
}

// Start starts a program of the test's and moves it into the cgroup, as Process
// does. It must do nothing that depends on its cgroup before it reads from its
// standard input, and end when that ends.
func (n *Node) Start(path string, cmd *exec.Cmd) (stdin io.Writer) {
	n.t.Helper()
	// The pipe's end is the process's end, however the tests end.
	in, err := cmd.StdinPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	cmd.Stderr = n.t.Output()
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	end := sync.OnceFunc(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	n.processes[cmd.Process.Pid] = end
	n.t.Cleanup(end)
	n.Move(path, cmd.Process.Pid)
	return in
}

// Move moves a process into the cgroup, which is made. A process that is not
// the node's must have ended before the test does.
func (n *Node) Move(path string, pid int) {
	n.t.Helper()
	if err := n.tree.Make(n.CgroupRoot + path); err != nil {
		n.t.Fatal(err)
	}
	if err := n.tree.Add(n.CgroupRoot+path, pid); err != nil {
		n.t.Fatal(err)
	}
}

// End ends a process of the node's and waits for it.
func (n *Node) End(pid int) { n.processes[pid]() }

// Ended returns the ID of a process that has ended and was waited for.
func Ended(t testing.TB) (pid int) {
	t.Helper()
	cmd := helper(roleWait) // without an input, it ends at once
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// Eventually waits until ok. It fails the test when that takes very long.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come about: %s", what)
		}
	}
}
