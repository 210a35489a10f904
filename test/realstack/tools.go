// Package realstack builds the real programs that podseal is tried with: SPIRE,
// the kubelet, containerd. Each is an ordinary Go module build at a version that
// is pinned, with its checksums, under test/tools; nothing is downloaded but
// modules. What was built is kept in the user's cache folder, so that only the
// first run takes minutes.
package realstack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A tool is one program of one of the modules under test/tools.
type tool struct {
	folder  string   // below test/tools
	module  string   // whose version names the tool's
	pkg     string   // the main package
	cgo     bool     // can't be built without a C compiler
	flags   []string // of go build, beside those that all have
	minutes string   // what a first build took on two cores, for the progress line
}

var tools = map[string]tool{
	"spire-agent": {
		folder: "spire", module: "github.com/spiffe/spire",
		pkg: "github.com/spiffe/spire/cmd/spire-agent", minutes: "about 3 minutes",
	},
	// SPIRE's SQLite is C. It is linked in whole, so that the program runs anywhere.
	"spire-server": {
		folder: "spire", module: "github.com/spiffe/spire",
		pkg: "github.com/spiffe/spire/cmd/spire-server", cgo: true, minutes: "about 4 minutes",
		flags: []string{"-tags=netgo,osusergo,sqlite_omit_load_extension", "-ldflags=-s -w -linkmode external -extldflags -static"},
	},
	// SPIRE's built-in attestor as a plugin, for the benchmark.
	"k8s-attestor": {
		folder: "spire", module: "github.com/spiffe/spire",
		pkg: "./k8s-attestor", minutes: "about 2 minutes",
	},
	"kubelet": {
		folder: "kubernetes", module: "k8s.io/kubernetes",
		pkg: "k8s.io/kubernetes/cmd/kubelet", minutes: "about 4 minutes",
	},
	"kube-apiserver": {
		folder: "kubernetes", module: "k8s.io/kubernetes",
		pkg: "k8s.io/kubernetes/cmd/kube-apiserver", minutes: "about 2 minutes",
	},
	"kube-controller-manager": {
		folder: "kubernetes", module: "k8s.io/kubernetes",
		pkg: "k8s.io/kubernetes/cmd/kube-controller-manager", minutes: "about 1 minute",
	},
	"kube-scheduler": {
		folder: "kubernetes", module: "k8s.io/kubernetes",
		pkg: "k8s.io/kubernetes/cmd/kube-scheduler", minutes: "about 1 minute",
	},
	"kubectl": {
		folder: "kubernetes", module: "k8s.io/kubernetes",
		pkg: "k8s.io/kubernetes/cmd/kubectl", minutes: "about 1 minute",
	},
	"etcd": {
		folder: "etcd", module: "go.etcd.io/etcd/server/v3",
		pkg: "go.etcd.io/etcd/server/v3", minutes: "half a minute",
	},
	"spire-controller-manager": {
		folder: "controller-manager", module: "github.com/spiffe/spire-controller-manager",
		pkg: "github.com/spiffe/spire-controller-manager/cmd", minutes: "about 1 minute",
	},
	"ptp": {
		folder: "cni", module: "github.com/containernetworking/plugins",
		pkg: "github.com/containernetworking/plugins/plugins/main/ptp", minutes: "a few seconds",
	},
	"host-local": {
		folder: "cni", module: "github.com/containernetworking/plugins",
		pkg: "github.com/containernetworking/plugins/plugins/ipam/host-local", minutes: "a few seconds",
	},
	"loopback": {
		folder: "cni", module: "github.com/containernetworking/plugins",
		pkg: "github.com/containernetworking/plugins/plugins/main/loopback", minutes: "a few seconds",
	},
	"containerd": {
		folder: "containerd", module: "github.com/containerd/containerd/v2",
		pkg: "github.com/containerd/containerd/v2/cmd/containerd", minutes: "about 1 minute",
	},
	"containerd-shim-runc-v2": {
		folder: "containerd", module: "github.com/containerd/containerd/v2",
		pkg: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", minutes: "a few seconds",
	},
	"ctr": {
		folder: "containerd", module: "github.com/containerd/containerd/v2",
		pkg: "github.com/containerd/containerd/v2/cmd/ctr", minutes: "a few seconds",
	},
}

// Build returns the path of each named tool, after building those that are not
// in the cache yet. It tells progress what it is doing, if that takes time. Two
// callers at once, in one process or in several, build each tool once.
//
// It is called from somewhere inside podseal's source tree.
func Build(ctx context.Context, progress io.Writer, names ...string) (map[string]string, error) {
	root, err := SourceRoot()
	if err != nil {
		return nil, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("cache folder for built tools: %w", err)
	}
	b := builder{source: root, cache: filepath.Join(cache, "podseal", "tools"), progress: progress}
	paths := make(map[string]string, len(names))
	for _, name := range names {
		path, err := b.build(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		paths[name] = path
	}
	return paths, nil
}

// SourceRoot is the folder of podseal's go.mod, found from the working directory
// upwards.
func SourceRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module github.com/podseal/podseal\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not inside podseal's source tree", start)
		}
	}
}

type builder struct {
	source   string
	cache    string
	progress io.Writer
}

func (b builder) build(ctx context.Context, name string) (string, error) {
	t, ok := tools[name]
	if !ok {
		return "", errors.New("no such tool")
	}
	module := filepath.Join(b.source, "test", "tools", t.folder)
	version, err := requiredVersion(filepath.Join(module, "go.mod"), t.module)
	if err != nil {
		return "", err
	}
	sum, err := hashOf(module, t)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(b.cache, fmt.Sprintf("%s-%s-%s-%s", t.folder, version, runtime.Version(), sum))
	path := filepath.Join(dir, name)
	if isProgram(path) {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, path+".lock", func() {
		fmt.Fprintf(b.progress, "waiting for another build of %s %s\n", name, version)
	})
	if err != nil {
		return "", err
	}
	defer unlock()
	if isProgram(path) {
		return path, nil
	}
	return path, b.compile(ctx, t, module, path, fmt.Sprintf("building %s %s (%s the first time)", name, version, t.minutes))
}

// compile builds to a name of its own and renames: a path in the cache is always
// a whole program.
func (b builder) compile(ctx context.Context, t tool, module, path, line string) error {
	cgo := "CGO_ENABLED=0"
	if t.cgo {
		cgo = "CGO_ENABLED=1"
		if err := InstallCompiler(ctx, b.progress); err != nil {
			return err
		}
	}
	out := path + ".building" // the lock makes it ours; what is there was left by a build that was killed
	if err := os.Remove(out); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	flags := t.flags
	if len(flags) == 0 {
		flags = []string{"-ldflags=-s -w"}
	}
	args := slices.Concat([]string{"build", "-trimpath", "-buildvcs=false", "-mod=readonly"}, flags, []string{"-o", out, t.pkg})
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), cgo, "GOWORK=off", "GOOS=", "GOARCH=")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // go stops its compilers
	cmd.WaitDelay = 20 * time.Second

	defer b.tick(line)()
	if text, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("go build: %w\n%s", err, tail(text, 4096))
	}
	return os.Rename(out, path)
}

// tick prints the line now, then again with the time that has passed every ten
// seconds until the returned func is called.
func (b builder) tick(line string) (stop func()) {
	begin := time.Now()
	passed := func() time.Duration { return time.Since(begin).Round(time.Second) }
	fmt.Fprintf(b.progress, "%s\n", line)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { // waited for by stop
		defer close(ended)
		every := time.NewTicker(10 * time.Second)
		defer every.Stop()
		for {
			select {
			case <-every.C:
				fmt.Fprintf(b.progress, "%s ... %s\n", line, passed())
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		fmt.Fprintf(b.progress, "%s: ended after %s\n", line, passed())
	}
}

// requiredVersion reads the version that a go.mod asks of a module.
func requiredVersion(gomod, module string) (string, error) {
	text, err := os.ReadFile(gomod)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(words) >= 2 && words[0] == module {
			return words[1], nil
		}
	}
	return "", fmt.Errorf("%s does not require %s", gomod, module)
}

// hashOf is over everything that decides what is built: the module's files, of
// which go.sum pins all others, and the flags.
func hashOf(module string, t tool) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%v %q\n", t.cgo, t.flags)
	err := filepath.WalkDir(module, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(module, path)
		fmt.Fprintf(h, "%q %x\n", name, sha256.Sum256(text))
		return err
	})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func hasCompiler(ctx context.Context) bool {
	text, err := exec.CommandContext(ctx, "go", "env", "CC").Output()
	if err != nil {
		return false
	}
	words := strings.Fields(string(text))
	if len(words) == 0 {
		return false
	}
	_, err = exec.LookPath(words[0])
	return err == nil
}

func tail(text []byte, limit int) []byte {
	if len(text) > limit {
		text = text[len(text)-limit:]
	}
	return text
}
