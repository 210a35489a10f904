package realstack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ModuleDir is the folder with the source of the module that a tool is built from,
// for the files beside its code. It is downloaded if need be.
func ModuleDir(ctx context.Context, name string) (string, error) {
	t, ok := tools[name]
	if !ok {
		return "", fmt.Errorf("%s: no such tool", name)
	}
	root, err := SourceRoot()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", t.module) // #nosec G204 -- constants of this repository
	cmd.Dir = filepath.Join(root, "test", "tools", t.folder)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var module struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &module); jsonErr == nil && module.Error != "" {
		return "", fmt.Errorf("%s: %s", t.module, module.Error)
	}
	if err != nil {
		return "", fmt.Errorf("%s: go mod download: %w: %s", t.module, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return module.Dir, nil
}
