// Package cli_test runs podseal's command line as people do: the built binary,
// on a node with a stand-in kubelet and real processes in real cgroups.
package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/podsapi/podsapitest"
	"github.com/podseal/podseal/test/pluginproc"
)

func TestMain(m *testing.M) { pluginproc.Main(m) }

type settings = pluginproc.Settings

// node is a node that podseal's command line runs on.
type node struct {
	*pluginproc.Node
	t testing.TB
}

func newNode(t testing.TB) *node {
	return &node{pluginproc.NewNode(t, kubelettest.Options{}), t}
}

// pod is a pod of one container, made of its name.
func pod(name string) kubelettest.Pod {
	return kubelettest.Pod{Namespace: "shop", Name: name, UID: kubelettest.UID(name), ServiceAccount: name + "-sa",
		Containers: []kubelettest.Container{{Name: "main", ID: kubelettest.ID(name), Image: "registry.example.org/" + name + ":1",
			ImageID: "registry.example.org/" + name + "@sha256:" + kubelettest.ID("image of "+name)}}}
}

// config writes an agent's configuration for the node with what is changed of the
// usual one, and returns its path.
func (n *node) config(changed settings) string {
	n.t.Helper()
	path := filepath.Join(n.t.TempDir(), "agent.conf")
	write(n.t, path, "agent {\n  trust_domain = \"example.org\"\n}\n\nplugins {\n  WorkloadAttestor \"k8s\" {\n    plugin_cmd = \""+pluginproc.Binary(n.t)+"\"\n    plugin_data {\n"+
		n.Settings().With(changed).HCL()+"    }\n  }\n}\n")
	return path
}

// podsAPI starts the kubelet's Pods API with these pods and returns its socket,
// the path of which has room for few bytes.
func (n *node) podsAPI(pods ...*corev1.Pod) (socket string, err error) {
	dir, err := os.MkdirTemp("", "podsapi")
	if err != nil {
		return "", err
	}
	n.t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "pods-api.sock")
	server, err := podsapitest.Start(podsapitest.Options{Socket: socket})
	if err != nil {
		return "", err
	}
	n.t.Cleanup(server.Close)
	server.SetPods(pods...)
	return socket, nil
}

// data writes the plugin's data alone, as plugin_data_file has it.
func (n *node) data() string {
	n.t.Helper()
	path := filepath.Join(n.t.TempDir(), "podseal.conf")
	write(n.t, path, n.Settings().HCL())
	return path
}

// syncBuffer is a bytes.Buffer that is read while a command writes.
type syncBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// result is what a command did.
type result struct {
	stdout, stderr string
	code           int
}

func (r result) String() string {
	return fmt.Sprintf("standard output:\n%s\nstandard error:\n%s", r.stdout, r.stderr)
}

// hasSentence is whether one line has all the words; standard output is no
// terminal, so that a sentence is a line.
func (r result) hasSentence(words []string) bool {
	for l := range strings.Lines(r.stdout + r.stderr) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(l, w)
		}
		if all {
			return true
		}
	}
	return false
}

// command is podseal, to be run by hand.
func (n *node) command(args ...string) *exec.Cmd {
	cmd := exec.Command(pluginproc.Binary(n.t), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + n.t.TempDir()}
	return cmd
}

func (n *node) run(args ...string) result {
	n.t.Helper()
	return n.wait(n.command(args...), nil)
}

// runIn runs a command of pluginproc's in a cgroup of the node.
func (n *node) runIn(cgroup string, cmd *exec.Cmd) result {
	n.t.Helper()
	return n.wait(cmd, func() {
		stdin := n.Start(cgroup, cmd)
		if _, err := stdin.Write([]byte("\n")); err != nil {
			n.t.Fatal(err)
		}
	})
}

func (n *node) wait(cmd *exec.Cmd, start func()) result {
	n.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout = &stdout
	if start == nil {
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			n.t.Fatal(err)
		}
	} else {
		start()
	}
	if err := cmd.Wait(); err != nil && cmd.ProcessState == nil {
		n.t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// A watch shows what there is, and then each change.
func TestWatch(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	if err := n.Kubelet.AddPod(pod("first").Build()); err != nil {
		t.Fatal(err)
	}
	cmd := n.command("list", "--watch", "--interval", "10ms", "--config", n.config(nil))
	said, noted := new(syncBuffer), new(syncBuffer)
	cmd.Stdout, cmd.Stderr = said, noted
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	sees := func(where *syncBuffer, words string) {
		t.Helper()
		pluginproc.Eventually(t, words, func() bool { return strings.Contains(where.String(), words) })
	}
	sees(said, "added   shop/first main (regular, running)")
	if err := n.Kubelet.AddPod(pod("second").Build()); err != nil {
		t.Fatal(err)
	}
	sees(said, "added   shop/second main (regular, running)")
	ended := pod("second")
	ended.Containers[0].State = kubelettest.Terminated
	if err := n.Kubelet.UpdatePod(ended.Build()); err != nil {
		t.Fatal(err)
	}
	sees(said, "changed shop/second main (regular, terminated)")
	n.Kubelet.Stop()
	sees(noted, "nothing listens")
	if err := n.Kubelet.Resume(); err != nil {
		t.Fatal(err)
	}
	sees(noted, "the kubelet answers again")
	n.Kubelet.RemovePod(ended.UID)
	sees(said, "removed shop/second main")
}
