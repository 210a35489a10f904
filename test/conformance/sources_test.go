package conformance_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/podsapi/podsapitest"
	"github.com/podseal/podseal/test/pluginproc"
)

// bothWays is a node whose kubelet answers at its port and through its Pods API,
// about the same pods.
type bothWays struct {
	*pluginproc.Node
	api    *podsapitest.Server
	socket string
}

func newBothWays(t *testing.T) *bothWays {
	t.Helper()
	n := &bothWays{Node: pluginproc.NewNode(t, kubelettest.Options{})}
	dir, err := os.MkdirTemp("", "podsapi") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	n.socket = filepath.Join(dir, "pods-api.sock")
	if n.api, err = podsapitest.Start(podsapitest.Options{Socket: n.socket}); err != nil { // with the kubelet's limiter
		t.Fatal(err)
	}
	t.Cleanup(n.api.Close)
	return n
}

// start starts a plugin that knows pods from this source and has the defaults for
// all else.
func (n *bothWays) start(t *testing.T, source string) *pluginproc.Process {
	t.Helper()
	change := settings{"pod_source": source, "pods_api_socket": n.socket, "poll_retry_interval": nil, "max_poll_attempts": nil, "attest_timeout": nil}
	switch source {
	case "kubelet":
		change["pods_api_socket"] = nil
	case "pods_api":
		change["kubelet_secure_port"], change["kubelet_ca_path"], change["token_path"] = nil, nil, nil
	}
	plugin := pluginproc.Start(t, pluginproc.Options{})
	plugin.MustConfigure(t, n.Settings().With(change))
	return plugin
}

// add gives both the pod, update replaces it, remove takes it away.
func (n *bothWays) add(t *testing.T, p kubelettest.Pod) {
	t.Helper()
	described := p.Build()
	if err := n.Kubelet.AddPod(described); err != nil {
		t.Fatal(err)
	}
	n.api.AddPod(described)
}

func (n *bothWays) update(t *testing.T, p kubelettest.Pod) {
	t.Helper()
	described := p.Build()
	if err := n.Kubelet.UpdatePod(described); err != nil {
		t.Fatal(err)
	}
	n.api.AddPod(described)
}

func (n *bothWays) remove(p kubelettest.Pod) {
	n.Kubelet.RemovePod(p.UID)
	n.api.RemovePod(p.UID)
}

// process starts a process in app(name)'s container. It is one that is started
// sooner than this program again.
func (n *bothWays) process(t *testing.T, name string) (pid int) {
	t.Helper()
	cmd := exec.Command("cat") // until its standard input ends
	n.Start(pluginproc.ContainerPath(kubelettest.UID(name), kubelettest.ID(name)), cmd)
	return cmd.Process.Pid
}

// cpuOf is the processor time of a process so far, from its CPU clock: what
// /proc/<pid>/stat has of it is in ticks of 10 ms.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	var at unix.Timespec
	// MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of the kernel's posix-timers.h.
	if err := unix.ClockGettime(^int32(pid)<<3|2, &at); err != nil {
		t.Fatalf("CPU clock of process %d: %v", pid, err)
	}
	return time.Duration(at.Nano())
}

func mebibytes(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<20)) }

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }
