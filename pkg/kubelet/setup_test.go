package kubelet_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
)

// node is a stand-in kubelet with the files and the configuration to talk to it.
type node struct {
	*kubelettest.Server
	files kubelettest.Files
	cfg   kubelet.Config
	logs  *logs
}

// newNode starts a kubelet whose configuration uses a token and no node name.
func newNode(t testing.TB, o kubelettest.Options) *node {
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
	return &node{Server: s, files: files, logs: newLogs(t), cfg: kubelet.Config{
		Secure:         !o.Plain,
		Port:           s.Port(),
		CAPath:         files.CA,
		TokenPath:      files.Token,
		ReloadInterval: time.Minute,
		Interval:       10 * time.Millisecond,
		TTL:            10 * time.Millisecond,
	}}
}

func (n *node) client(t testing.TB) *kubelet.Client {
	t.Helper()
	c, err := kubelet.New(n.cfg, kubelet.NewGate(), n.logs.logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// logs collects what is logged, for the test's output and its questions.
type logs struct {
	logger *slog.Logger
	mu     sync.Mutex
	buf    bytes.Buffer
}

func newLogs(t testing.TB) *logs {
	l := &logs{}
	l.logger = slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", l)
		}
	})
	return l
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// warnings are the lines of level WARN with those words.
func (l *logs) warnings(words string) []string {
	var found []string
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, "level=WARN") && strings.Contains(line, words) {
			found = append(found, line)
		}
	}
	return found
}

// webPod is a pod with one running container.
func webPod(name string) *corev1.Pod {
	return kubelettest.Pod{
		Namespace:      "shop",
		Name:           name,
		UID:            kubelettest.UID(name),
		ServiceAccount: "web",
		Labels:         map[string]string{"app": "web", "version": "1"},
		Containers: []kubelettest.Container{{
			Name: "web", ID: kubelettest.ID(name), Image: "registry.example.org/web:1",
			ImageID: "registry.example.org/web@sha256:" + kubelettest.ID("image"),
		}},
	}.Build()
}

func webPods(n int) []*corev1.Pod {
	all := make([]*corev1.Pod, n)
	for i := range all {
		all[i] = webPod(fmt.Sprintf("web-%d", i))
	}
	return all
}

func port(n *node) string { return strconv.Itoa(n.Port()) }
