package doctor_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/pkg/container/containertest"
	"github.com/podseal/podseal/pkg/doctor"
	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
)

// node is a node on which nothing is wrong, until a test changes that.
type node struct {
	*kubelettest.Server
	files   kubelettest.Files
	proc    *containertest.Proc
	options doctor.Options
	cfg     *kubelet.Config
}

func newNode(t *testing.T, o kubelettest.Options) *node {
	t.Helper()
	s, err := kubelettest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	files, err := s.WriteFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Server: s, files: files, proc: containertest.NewProc(t)}
	program := write(t, filepath.Join(t.TempDir(), "podseal"), "the program", 0o700)
	n.options = doctor.Options{
		Plugin:       &doctor.Plugin{Name: "k8s", Command: program, Checksum: sum("the program")},
		Executable:   program,
		TempDir:      shortDir(t),
		Synchronised: func() (bool, error) { return true, nil },
	}
	n.options.Settings.PodSource = doctor.KubeletPort
	n.cfg = &n.options.Settings.Kubelet
	*n.cfg = kubelet.Config{Secure: !o.Plain, Port: s.Port(), ReloadInterval: time.Minute, Interval: time.Millisecond, TTL: time.Millisecond}
	if n.cfg.Secure {
		n.cfg.NodeName, n.cfg.CAPath, n.cfg.TokenPath = "localhost", files.CA, files.Token
	}
	if err := s.SetPods(webPod("web"), webPod("api")); err != nil {
		t.Fatal(err)
	}
	n.proc.Start(100, cgroup("web"))
	n.proc.Start(101, cgroup("api"))
	return n
}

// blind makes it a pod without hostPID: all processes are in the agent's own
// container.
func (n *node) blind() {
	for _, pid := range []int{1, 100, 101} {
		n.proc.Start(pid, "/system.slice/spire-agent.service")
	}
}

// run builds the parts as the program does and examines them.
func (n *node) run(t *testing.T) checks {
	t.Helper()
	if n.options.LocatorErr == nil && n.options.Locator == nil {
		n.options.Locator = n.proc.Locator()
	}
	if n.options.Kubelet == nil && n.options.Settings.PodSource != doctor.FromPodsAPI {
		if client, err := n.client(t); err == nil {
			n.options.Kubelet = client
		} else {
			n.options.KubeletErr = err
		}
	}
	return collect(t, t.Context(), n.options)
}

func (n *node) client(t *testing.T) (*kubelet.Client, error) {
	client, err := kubelet.New(*n.cfg, kubelet.NewGate(), slog.New(slog.DiscardHandler))
	if err == nil {
		t.Cleanup(client.Close)
	}
	return client, err
}

type checks []doctor.Check

func collect(t *testing.T, ctx context.Context, o doctor.Options) checks {
	t.Helper()
	all := checks(slices.Collect(doctor.Run(ctx, o)))
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
		needsRemedy := c.Status == doctor.Failed || c.Status == doctor.Warning
		if c.Finding == "" || needsRemedy != (c.Remedy != "") {
			t.Errorf("%+v", c)
		}
		for _, s := range append(c.Details, c.Finding, c.Remedy) {
			if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("not fit for printing: %q", s)
			}
		}
	}
	if !slices.Equal(names, doctor.Names()) {
		t.Errorf("checks %v, want %v", names, doctor.Names())
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, c := range all {
				t.Logf("%-8s %-22s %s\n\t\t%s\n\t\t%s", c.Status, c.Name, c.Finding, c.Remedy, strings.Join(c.Details, "\n\t\t"))
			}
		}
	})
	return all
}

// want is what a check must be, and what its finding and its remedy must say.
type want struct {
	name            string
	status          doctor.Status
	finding, remedy []string
}

func (all checks) check(t *testing.T, w want) {
	t.Helper()
	for _, c := range all {
		if c.Name == w.name {
			w.match(t, c)
			return
		}
	}
	t.Errorf("there is no check %q", w.name)
}

func (w want) match(t *testing.T, c doctor.Check) {
	t.Helper()
	if c.Name != w.name || c.Status != w.status {
		t.Errorf("%s is %s, want %s %s: %s", c.Name, c.Status, w.name, w.status, c.Finding)
	}
	for _, words := range w.finding {
		if !strings.Contains(c.Finding, words) {
			t.Errorf("%s: the finding does not say %q: %s", c.Name, words, c.Finding)
		}
	}
	for _, words := range w.remedy {
		if !strings.Contains(c.Remedy, words) {
			t.Errorf("%s: the remedy does not say %q: %s", c.Name, words, c.Remedy)
		}
	}
}

// with are the names of the checks with that status.
func (all checks) with(s doctor.Status) (names []string) {
	for _, c := range all {
		if c.Status == s {
			names = append(names, c.Name)
		}
	}
	return names
}

func webPod(name string) *corev1.Pod {
	return kubelettest.Pod{Namespace: "shop", Name: name, UID: kubelettest.UID(name), ServiceAccount: "web",
		Containers: []kubelettest.Container{{Name: "main", ID: kubelettest.ID(name), Image: "registry.example.org/web:1"}}}.Build()
}

// cgroup is where the kubelet puts the container of a pod of this name.
func cgroup(name string) string {
	uid := strings.ReplaceAll(kubelettest.UID(name), "-", "_")
	return "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + uid + ".slice/cri-containerd-" + kubelettest.ID(name) + ".scope"
}

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// shortDir is a directory whose name leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "doctor")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
