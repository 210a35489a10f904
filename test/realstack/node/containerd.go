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

	"github.com/podseal/podseal/test/realstack/proc"
)

// startContainerd starts containerd and returns when it answers.
func (n *Node) startContainerd(ctx context.Context) error {
	config := fmt.Sprintf(`version = 3
root = %q
state = %q

[grpc]
address = %q

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = %q

# A process without CAP_SYS_RESOURCE may not lower what the kernel kills last.
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
`, n.file("containerd"), n.file("containerd-state"), n.containerdSocket(), n.config.Pause.Name)
	path := n.file("containerd.toml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return err
	}
	var err error
	n.containerd, err = proc.Start(ctx, proc.Command{
		Name: "containerd",
		Argv: []string{n.config.Containerd, "--config", path},
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

// load makes the image's archive and imports it.
func (n *Node) load(ctx context.Context, image Image) error {
	path := n.file("image.tar")
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	if err := errors.Join(image.archive(file), file.Close()); err != nil {
		return fmt.Errorf("image %s: %w", image.Name, err)
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
	return proc.Run(ctx, append([]string{n.config.Ctr, "--address", n.containerdSocket(), "--namespace", "k8s.io"}, args...)...)
}

func (n *Node) containerdSocket() string { return n.file("containerd.sock") }
