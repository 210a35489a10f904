//go:build e2e

// Package e2e tries podseal where it is meant to run: in a Kubernetes cluster of
// one node (etcd, kube-apiserver with its controllers and scheduler, a kubelet,
// containerd, runc), called by real SPIRE agents for processes in real pods. It
// builds everything that it needs but runc, which it installs from Debian's
// packages, and runs in a machine of its own (package machine).
//
//	go test -tags e2e -count=1 -timeout 60m -v ./test/e2e
package e2e_test

import (
	"os"
	"testing"

	"github.com/podseal/podseal/test/e2e/stack"
	"github.com/podseal/podseal/test/realstack/machine"
)

func TestMain(m *testing.M) { os.Exit(machine.Main(m.Run, stack.Prepare)) }
