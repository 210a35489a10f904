package node

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/podseal/podseal/test/realstack/image"
	"github.com/podseal/podseal/test/realstack/proc"
)

// startContainerd starts containerd and returns when it answers.
func (n *Node) startContainerd(ctx context.Context) error {
	// Whatever registry an image names, the local one answers for it.
	mirrors := fmt.Sprintf(`server = "http://%[1]s"

[host."http://%[1]s"]
capabilities = ["pull", "resolve"]
`, n.config.Registry)
	// Each pod has a network of its own, one cable to the node and an address.
	network := fmt.Sprintf(`{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [{
    "type": "ptp",
    "ipam": {"type": "host-local", "dataDir": %q, "ranges": [[{"subnet": "10.88.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}
  }]
}
`, n.file("cni-state"))
	config := fmt.Sprintf(`version = 3
root = %q
state = %q

[grpc]
address = %q

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = %q

[plugins.'io.containerd.cri.v1.images'.registry]
config_path = %q

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = [%q]
conf_dir = %q

# A process without CAP_SYS_RESOURCE may not lower what the kernel kills last.
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
`, n.file("containerd"), n.file("containerd-state"), n.ContainerdSocket(), n.config.PauseImage,
		n.file("registries"), n.config.CNI, n.file("cni"))
	for path, text := range map[string]string{
		"registries/_default/hosts.toml": mirrors,
		"cni/10-pods.conflist":           network,
		"containerd.toml":                config,
	} {
		path = n.file(path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			return err
		}
	}
	var err error
	n.containerd, err = proc.Start(ctx, proc.Command{
		Name: "containerd",
		Argv: []string{n.config.Containerd, "--config", n.file("containerd.toml")},
		Env:  []string{"PATH=" + filepath.Dir(n.config.Shim) + ":" + os.Getenv("PATH")},
		Log:  n.file("containerd.log"),
	})
	if err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return n.containerd.Until(ready, func(ctx context.Context) error {
		_, err := n.ctr(ctx, "version")
		return err
	})
}

// Import gives the node an image that was not pulled, and so has no repository's
// digest.
func (n *Node) Import(ctx context.Context, image image.Image) error {
	path := n.file("image.tar")
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	if err := errors.Join(image.Archive(file), file.Close()); err != nil {
		return err
	}
	if _, err := n.ctr(ctx, "images", "import", path); err != nil {
		return n.containerd.Explain(fmt.Errorf("image %s: %w", image.Name, err))
	}
	return nil
}

// PID is the process ID of a container's first process, as containerd knows it:
// found without a look at cgroups.
func (n *Node) PID(ctx context.Context, containerID string) (int, error) {
	out, err := n.ctr(ctx, "tasks", "list")
	if err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) >= 2 && words[0] == containerID {
			return strconv.Atoi(words[1])
		}
	}
	return 0, fmt.Errorf("containerd runs no container %s", containerID)
}

func (n *Node) ctr(ctx context.Context, args ...string) ([]byte, error) {
	return proc.Run(ctx, append([]string{n.config.Ctr, "--address", n.ContainerdSocket(), "--namespace", "k8s.io"}, args...)...)
}

// ContainerdSocket is the path of containerd's socket, which is the CRI's too.
func (n *Node) ContainerdSocket() string { return n.file("containerd.sock") }

// Containerd is the process, to be stopped for a while.
func (n *Node) Containerd() *proc.Process { return n.containerd }
