//go:build e2e

// Package e2e tries podseal where it is meant to run: in a Kubernetes cluster of
// one node (etcd, kube-apiserver with its controllers and scheduler, a kubelet,
// containerd, runc), called by real SPIRE agents for processes in real pods. It
// builds everything that it needs but runc, which it installs from Debian's
// packages, and runs in a machine of its own (package machine).
//
//	go test -tags e2e -count=1 -timeout 60m -parallel 32 -v ./test/e2e
package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/podseal/podseal/test/e2e/stack"
	"github.com/podseal/podseal/test/realstack/machine"
)

func TestMain(m *testing.M) {
	os.Exit(machine.Main(func() int { return inMachine(m) }, stack.Prepare))
}

// inMachine runs the tests beside the one cluster that they share.
func inMachine(m *testing.M) (code int) {
	if machine.Dir() == "" {
		return m.Run() // each test says what is missing
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w, err := newWorld(ctx)
	defer func() {
		if err := errors.Join(err, w.stop()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}()
	if err != nil {
		return 1
	}
	shared = w
	return m.Run()
}

// shared is the world of all tests.
var shared *world

// inWorld stops the test where there is none.
func inWorld(t *testing.T) *world {
	t.Helper()
	machine.Require(t)
	return shared
}
