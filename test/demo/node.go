package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/cgrouptree"
)

// node is the embedded node: cgroups as its kubelet and its container runtime
// would make them, below a root of their own so that a kubelet of this machine
// is not disturbed. Where cgroups may not be made tree is nil.
type node struct {
	root string
	tree *cgrouptree.Tree
	dir  string
	// images are what workloads run that are not the stand-in's own inventions.
	images map[string]image.Ref
}

// The agent's own pod.
const (
	agentNamespace = "spire"
	agentName      = "spire-agent-x7k2p"
)

// newNode makes the node's cgroups: one for each container.
func newNode(dir string) (*node, error) {
	n := &node{root: fmt.Sprintf("/podseal-demo-%d/kubepods", os.Getpid()), dir: dir}
	if withoutCgroups() != "" {
		return n, nil
	}
	tree, err := cgrouptree.New()
	if err != nil {
		return nil, err
	}
	n.tree = tree
	err = tree.Make(n.agentCgroup())
	for _, w := range workloads {
		err = errors.Join(err, tree.Make(n.cgroup(w)))
	}
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

func (n *node) cgroup(w workloadSpec) string {
	return n.root + "/burstable/pod" + kubelettest.UID(w.pod()) + "/" + kubelettest.ID(w.name)
}

func (n *node) agentCgroup() string {
	return n.root + "/besteffort/pod" + kubelettest.UID(agentName) + "/" + kubelettest.ID("spire-agent")
}

// pods is what the node's kubelet lists: the agent's pod, those of the workloads,
// and others that have nothing to do with it.
func (n *node) pods() []kubelettest.Pod {
	pods := []kubelettest.Pod{describe(agentNamespace, agentName, "spire-agent", "spire-agent")}
	for _, w := range workloads {
		p := describe(w.namespace, w.pod(), w.serviceAccount, w.name)
		if ref, ok := n.images[w.name]; ok {
			p.Containers[0].Image, p.Containers[0].ImageID = ref.Repository.String()+":"+imageTag, ref.String()
		}
		pods = append(pods, p)
	}
	for i := range 26 {
		name := "bystander-" + strconv.Itoa(i)
		pods = append(pods, describe("other", name, "default", name))
	}
	return pods
}

func describe(namespace, name, serviceAccount, container string) kubelettest.Pod {
	return kubelettest.Pod{
		Namespace: namespace, Name: name, UID: kubelettest.UID(name), ServiceAccount: serviceAccount, NodeName: "demo-node",
		Labels: map[string]string{"app": container},
		Containers: []kubelettest.Container{{
			Name: container, ID: kubelettest.ID(container), Image: "registry.example/" + container + ":1",
			ImageID: "registry.example/" + container + "@sha256:" + kubelettest.ID("image of "+container),
		}},
	}
}

// place puts a process into its container.
func (n *node) place(w workloadSpec, pid int) error {
	if n.tree == nil {
		return n.pretend(pid, n.cgroup(w))
	}
	return n.tree.Add(n.cgroup(w), pid)
}

// roleEnter makes this program go into the cgroup directories that it is given,
// up to "--", and become the program behind that, in a cgroup namespace of its
// own as container runtimes make them.
const roleEnter = "enter"

func (n *node) agentWrap() ([]string, error) {
	if n.tree == nil {
		return nil, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return append(append([]string{self, roleEnter}, n.tree.Dirs(n.agentCgroup())...), "--"), nil
}

func enter(args []string) error {
	runtime.LockOSThread() // a namespace is a thread's
	for i, arg := range args {
		if arg == "--" {
			if err := syscall.Unshare(syscall.CLONE_NEWCGROUP); err != nil {
				return fmt.Errorf("unshare: %w", err)
			}
			return syscall.Exec(args[i+1], args[i+1:], os.Environ()) // #nosec G204 -- this program's own caller chose it
		}
		if err := os.WriteFile(filepath.Join(arg, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
			return err
		}
	}
	return errors.New("enter: no program to run")
}

func (n *node) agentPlace() string {
	if n.tree == nil {
		return "this process's own cgroup"
	}
	return "a pod's cgroup and a private cgroup namespace"
}

func (n *node) describe() string {
	if n.tree == nil {
		return "NO CGROUPS OF ITS OWN, for here they can't be made: " + withoutCgroups() +
			"\n                  instead /proc/<pid>/cgroup of each workload is mounted over, in a namespace of this program's own"
	}
	return fmt.Sprintf("real cgroups for %d containers, in each of the hierarchies %s", len(workloads)+1, strings.Join(n.tree.Hierarchies(), " "))
}

// close removes what was made.
func (n *node) close() error {
	if n.tree == nil {
		return nil
	}
	return n.tree.Remove()
}
