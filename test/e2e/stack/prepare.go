package stack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/podseal/podseal/test/realstack"
	"github.com/podseal/podseal/test/realstack/cluster"
	"github.com/podseal/podseal/test/realstack/machine"
)

const (
	programs  = "programs"          // folder of our own programs, below the machine's
	toolVar   = "PODSEAL_E2E_TOOL_" // and a tool's name: the variable with its path
	sourceVar = "PODSEAL_E2E_SOURCE"
	crdsVar   = "PODSEAL_E2E_CRDS" // the folder with those of the SPIRE controller manager
)

// Prepare builds and installs everything that a Stack is made of; see
// machine.Prepare.
func Prepare(ctx context.Context, dir string) ([]string, error) {
	if err := realstack.Install(ctx, os.Stderr, "runc", "runc"); err != nil {
		return nil, err
	}
	paths, err := realstack.Build(ctx, os.Stderr, slices.Concat(cluster.Tools, []string{"spire-server", "spire-agent", controllerManager})...)
	if err != nil {
		return nil, err
	}
	manager, err := realstack.ModuleDir(ctx, controllerManager)
	if err != nil {
		return nil, err
	}
	root, err := realstack.SourceRoot()
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(os.Stderr, "building podseal and the test's programs")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(dir, programs)+"/",
		"./plugin/podseal", "./test/e2e/workload", "./test/e2e/pause", "./test/e2e/within")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	env := []string{sourceVar + "=" + root, crdsVar + "=" + filepath.Join(manager, "config", "crd", "bases")}
	for name, path := range paths {
		env = append(env, toolVar+name+"="+path)
	}
	return env, nil
}

// Tool is the path of a program of others.
func Tool(name string) string { return os.Getenv(toolVar + name) }

// Program is the path of a program of ours.
func Program(name string) string { return filepath.Join(machine.Dir(), programs, name) }

// Source is the path of a file of podseal's source tree.
func Source(name string) string { return filepath.Join(os.Getenv(sourceVar), filepath.FromSlash(name)) }
