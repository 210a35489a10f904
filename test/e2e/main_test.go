//go:build e2e

// Package e2e tries podseal where it is meant to run: on a node with a real
// kubelet, containerd and runc, called by a real SPIRE agent for processes in real
// pods. It builds everything that it needs but runc, which it installs from
// Debian's packages, and runs in a machine of its own (package machine).
//
//	go test -tags e2e -count=1 -timeout 30m -v ./test/e2e
//
// The first run builds SPIRE, a kubelet and containerd, which takes some 12 minutes;
// later ones take half a minute.
package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/podseal/podseal/test/realstack"
	"github.com/podseal/podseal/test/realstack/machine"
)

const (
	programs = "programs"          // folder of our own programs, below the machine's
	toolVar  = "PODSEAL_E2E_TOOL_" // and a tool's name: the variable with its path
)

var tools = []string{"kubelet", "containerd", "containerd-shim-runc-v2", "ctr", "spire-server", "spire-agent"}

func TestMain(m *testing.M) { os.Exit(machine.Main(m.Run, prepare)) }

func prepare(ctx context.Context, dir string) ([]string, error) {
	if err := realstack.Install(ctx, os.Stderr, "runc", "runc"); err != nil {
		return nil, err
	}
	paths, err := realstack.Build(ctx, os.Stderr, tools...)
	if err != nil {
		return nil, err
	}
	root, err := realstack.SourceRoot()
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(os.Stderr, "building podseal and the test's programs")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(dir, programs)+"/", "./plugin/podseal", "./test/e2e/workload", "./test/e2e/pause")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	var env []string
	for name, path := range paths {
		env = append(env, toolVar+name+"="+path)
	}
	return env, nil
}

// tool is the path of a program of others.
func tool(name string) string { return os.Getenv(toolVar + name) }

// program is the path of a program of ours.
func program(name string) string { return filepath.Join(machine.Dir(), programs, name) }
