// Package pluginproc runs podseal as SPIRE Agent runs it: the built binary in a
// process of its own, started by go-plugin with the agent's handshake and
// checksum, initialised through SPIRE's init service, talked to over gRPC. With
// it come a node to attest: a stand-in kubelet and real processes in real
// cgroups.
//
// A test package that uses it has a TestMain that calls Main.
package pluginproc

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// roleEnv makes the test binary one of the helper processes instead.
const roleEnv = "PODSEAL_PLUGINPROC_ROLE"

// Main runs the tests, or is a helper process of them. It does not return.
func Main(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		if err := play(role, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if err := os.RemoveAll(built.dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// built is the binary, of which a test binary needs only one.
var built struct {
	once sync.Once
	dir  string // Main removes it
	err  error
}

// Binary returns the path of podseal, which is built from the tree that the
// tests are in. It must not be changed.
func Binary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "podseal-test-"); built.err == nil {
			built.err = build(filepath.Join(built.dir, "podseal"))
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "podseal")
}

func build(to string) error {
	gomod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env GOMOD: %w", err)
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", to, "./plugin/podseal")
	cmd.Dir = filepath.Dir(strings.TrimSpace(string(gomod)))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building podseal: %w\n%s", err, out)
	}
	return nil
}
