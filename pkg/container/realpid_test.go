package container_test

import (
	"context"
	"encoding/json"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/test/cgrouptree"
)

// What an agent sees of the node in a real PID namespace that is not the
// machine's: its own container's, its pod's, or that of a node in a container.

// The cgroups of the first process and of the agent, and whether the agent has a
// cgroup namespace of its own.
const (
	firstEnv   = "PODSEAL_CONTAINER_TEST_FIRST"
	agentEnv   = "PODSEAL_CONTAINER_TEST_AGENT"
	privateEnv = "PODSEAL_CONTAINER_TEST_PRIVATE"
)

func TestHostPIDInRealNamespaces(t *testing.T) {
	agent := "/kubepods/burstable/pod" + uidV + "/" + idA
	slice := "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + escV + ".slice/"
	for _, test := range []struct {
		name, first, agent string
		visible            bool
	}{
		{"no hostPID", agent, agent, false},
		{"no hostPID, systemd", slice + "cri-containerd-" + idA + ".scope", slice + "cri-containerd-" + idA + ".scope", false},
		{"shareProcessNamespace", "/kubepods/burstable/pod" + uidV + "/" + idC, agent, false},
		{"shareProcessNamespace, CRI-O", slice + "crio-" + idC + ".scope/container", slice + "crio-" + idA + ".scope/container", false},
		{"a node in a container, hostPID", "/init.scope", agent, true},
		{"a node in a container, process 1 at its root, hostPID", "/", agent, true},
		{"a node in a container, a service of it", "/init.scope", "/system.slice/spire-agent.service", true},
	} {
		for _, private := range []string{"", "1"} {
			name := test.name
			if private != "" {
				name += ", private cgroup namespace"
			}
			t.Run(name, func(t *testing.T) {
				n := newNode(t)
				n.root += "node"
				n.make(test.first)
				n.make(test.agent)
				cmd := helper("first process", firstEnv+"="+n.root+test.first, agentEnv+"="+n.root+test.agent, privateEnv+"="+private,
					"GORACE=atexit_sleep_ms=0") // else each of three processes sleeps a second at its end
				cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
				cmd.Stderr = t.Output()
				out, err := cmd.Output()
				if err != nil {
					t.Fatal(err)
				}
				var got container.HostPID
				if err := json.Unmarshal(out, &got); err != nil {
					t.Fatalf("%q: %v", out, err)
				}
				if got.Visible != test.visible || got.KernelThread {
					t.Errorf("HostPID = %+v (%s), want %t", got, got.Why(), test.visible)
				}
			})
		}
	}
}

// beFirst is the first process of a PID namespace, with a procfs that shows it.
func beFirst() {
	must(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	must(syscall.Mount("proc", "/proc", "proc", 0, ""))
	enter(os.Getenv(firstEnv))
	cmd := helper("look around")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	must(cmd.Run())
}

// lookAround becomes the agent.
func lookAround() {
	enter(os.Getenv(agentEnv))
	// A new program keeps the namespaces of the thread that starts it.
	runtime.LockOSThread()
	if os.Getenv(privateEnv) != "" {
		must(syscall.Unshare(syscall.CLONE_NEWCGROUP))
	}
	must(os.Setenv(helperEnv, "looking"))
	must(syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
}

func look() {
	l, err := container.NewLocator(container.Options{})
	must(err)
	seen, err := l.HostPID(context.Background())
	must(err)
	must(json.NewEncoder(os.Stdout).Encode(seen))
}

func enter(cgroup string) {
	tree, err := cgrouptree.New()
	must(err)
	must(tree.Add(cgroup, os.Getpid()))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
