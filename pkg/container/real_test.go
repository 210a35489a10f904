package container_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/test/cgrouptree"
	"github.com/podseal/podseal/test/testenv"
)

// The tests of this file use real processes in real cgroups, of all hierarchies
// that the machine has, below a --cgroup-root of their own.

// helperEnv makes the test binary a helper process instead.
const helperEnv = "PODSEAL_CONTAINER_TEST_HELPER"

func init() {
	if os.Getenv(helperEnv) == "main thread exits" {
		runtime.LockOSThread() // the main goroutine stays on the main thread
	}
}

func TestMain(m *testing.M) {
	switch os.Getenv(helperEnv) {
	case "":
		os.Exit(m.Run())
	case "wait":
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "main thread exits":
		go func() { _, _ = io.Copy(io.Discard, os.Stdin); os.Exit(0) }()
		_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0)
	case "private namespace":
		// Told to go on when it is in the agent's cgroup. A new program keeps
		// the namespaces of the thread that starts it.
		runtime.LockOSThread()
		_, _ = os.Stdin.Read(make([]byte, 1))
		if err := syscall.Unshare(syscall.CLONE_NEWCGROUP); err != nil {
			panic(err)
		}
		os.Setenv(helperEnv, "agent")
		panic(syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
	case "agent":
		serveAnswers()
	case "first process":
		beFirst()
	case "look around":
		lookAround()
	case "looking":
		look()
	}
}

// answer is what an agent says of a process.
type answer struct{ PodUID, ContainerID, Err string }

func locate(l *container.Locator, pid int) answer {
	p, err := l.Open(int32(pid))
	if err != nil {
		return answer{Err: err.Error()}
	}
	defer p.Close()
	ref, err := p.Ref()
	if err == nil {
		err = p.Check()
	}
	if err != nil {
		return answer{Err: err.Error()}
	}
	return answer{PodUID: ref.PodUID(), ContainerID: ref.ContainerID()}
}

// serveAnswers is an agent: it answers for each process ID that it reads.
func serveAnswers() {
	l, err := container.NewLocator(container.Options{OwnPodUID: os.Getenv("MY_POD_UID")})
	if err != nil {
		panic(err)
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		pid, _ := strconv.Atoi(in.Text())
		_ = json.NewEncoder(os.Stdout).Encode(locate(l, pid))
	}
}

// node is a machine with cgroups like a kubelet's.
type node struct {
	t    *testing.T
	root string
	tree *cgrouptree.Tree
}

func newNode(t *testing.T) node {
	testenv.RequireRoot(t)
	tree, err := cgrouptree.New()
	testenv.Require(t, err == nil, fmt.Sprintf("needs a cgroup hierarchy that can be written to: %v", err))
	n := node{t, fmt.Sprintf("/podsealtest%d-%d", os.Getpid(), time.Now().UnixNano()%1e6), tree}
	t.Cleanup(func() {
		if err := tree.Remove(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func (n node) make(path string) {
	n.t.Helper()
	if err := n.tree.Make(n.root + path); err != nil {
		n.t.Fatal(err)
	}
}

func (n node) locator(root string) *container.Locator {
	n.t.Helper()
	l, err := container.NewLocator(container.Options{CgroupRoot: root})
	if err != nil {
		n.t.Fatal(err)
	}
	return l
}

// start starts a process that ends with the test. cmd's standard input is the
// pipe that is returned.
func (n node) start(cmd *exec.Cmd) io.WriteCloser {
	n.t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	cmd.Stderr = n.t.Output()
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return in
}

func helper(role string, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), helperEnv+"="+role), env...)
	return cmd
}

// process starts a process in the cgroup, which is made.
func (n node) process(path string) int {
	n.t.Helper()
	n.make(path)
	cmd := helper("wait")
	n.start(cmd)
	n.move(path, cmd.Process.Pid)
	return cmd.Process.Pid
}

func (n node) move(path string, pid int) {
	n.t.Helper()
	if err := n.tree.Add(n.root+path, pid); err != nil {
		n.t.Fatal(err)
	}
}

// The answer does not depend on where the agent is: on the host, in the host's
// namespace of a pod, in a namespace of its own. Only in its own pod the private
// namespace hides the pod's name, and its own container is nobody's workload.
func TestEveryAgentGivesTheSameAnswers(t *testing.T) {
	for _, driver := range []struct{ name, agent, sibling, same, other, guaranteed, system string }{
		{"cgroupfs",
			"/kubepods/burstable/pod" + uidV + "/" + idA, "/kubepods/burstable/pod" + uidV + "/" + idB,
			"/kubepods/burstable/pod" + uidU + "/" + idB, "/kubepods/besteffort/pod" + uidU + "/" + idC, "/kubepods/pod" + uidU + "/" + idD, "/x.slice/y.service"},
		{"systemd",
			"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + escV + ".slice/cri-containerd-" + idA + ".scope",
			"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + escV + ".slice/cri-containerd-" + idB + ".scope",
			"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + escU + ".slice/cri-containerd-" + idB + ".scope",
			"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + escU + ".slice/crio-" + idC + ".scope/container",
			"/kubepods.slice/kubepods-pod" + escU + ".slice/docker-" + idD + ".scope/init.scope", "/x.slice/y.service"},
	} {
		t.Run(driver.name, func(t *testing.T) {
			n := newNode(t)
			if driver.name == "systemd" {
				// The slices of a systemd kubelet are named after its root. Here
				// the root is a directory, as the one of a node in a container.
				n.root += "node"
			}
			n.make(driver.agent)
			pids := map[string]int{
				"sibling":    n.process(driver.sibling),
				"same":       n.process(driver.same),
				"other":      n.process(driver.other),
				"guaranteed": n.process(driver.guaranteed),
				"system":     n.process(driver.system),
				"test":       os.Getpid(),
			}
			want := map[string]answer{
				"sibling":    {PodUID: uidV, ContainerID: idB},
				"same":       {PodUID: uidU, ContainerID: idB},
				"other":      {PodUID: uidU, ContainerID: idC},
				"guaranteed": {PodUID: uidU, ContainerID: idD},
				"system":     {}, "test": {},
			}
			ask := func(role string, env ...string) map[string]answer {
				cmd := helper(role, env...)
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				in := n.start(cmd)
				n.move(driver.agent, cmd.Process.Pid)
				fmt.Fprint(in, "\n")
				got, answers := map[string]answer{}, json.NewDecoder(out)
				for name, pid := range pids {
					fmt.Fprintln(in, pid)
					var a answer
					if err := answers.Decode(&a); err != nil {
						t.Fatal(err)
					}
					got[name] = a
				}
				fmt.Fprintln(in, cmd.Process.Pid)
				var self answer
				if err := answers.Decode(&self); err != nil {
					t.Fatal(err)
				}
				if self != (answer{}) {
					t.Errorf("%s: the agent's own container is %+v, want none", role, self)
				}
				return got
			}

			host := map[string]answer{}
			for name, pid := range pids {
				host[name] = locate(n.locator(n.root), pid)
			}
			if diff := cmp.Diff(want, host); diff != "" {
				t.Errorf("agent on the host (-want +got):\n%s", diff)
			}
			knowing := ask("private namespace", "MY_POD_UID="+uidV)
			if driver.name == "cgroupfs" {
				if diff := cmp.Diff(want, knowing); diff != "" {
					t.Errorf("agent in a private namespace that knows its pod (-want +got):\n%s", diff)
				}
			}
			want["sibling"] = answer{ContainerID: idB}
			if driver.name == "systemd" {
				// A scope beside the agent may be any pod's where the kubelet
				// makes no pod cgroups.
				if diff := cmp.Diff(want, knowing); diff != "" {
					t.Errorf("agent in a private namespace that knows its pod (-want +got):\n%s", diff)
				}
			}
			if diff := cmp.Diff(want, ask("private namespace")); diff != "" {
				t.Errorf("agent in a private namespace (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAUserCantForgeAPodInACgroupHeWasGiven(t *testing.T) {
	n := newNode(t)
	// A service that systemd delegated: the user owns it and what he makes below.
	service := "/user.slice/user-1000.slice/user@1000.service"
	n.make(service)
	for _, dir := range n.tree.Dirs(n.root + service) {
		for _, file := range []string{"", "/cgroup.procs", "/cgroup.threads", "/cgroup.subtree_control"} {
			if err := os.Chown(dir+file, 1000, 1000); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	for _, forged := range []string{
		"/kubepods/burstable/pod" + uidU + "/" + idB,
		"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + escU + ".slice/cri-containerd-" + idB + ".scope",
		"/kubepods-pod" + escU + ".slice:cri-containerd:" + idB,
		"/containerd.service/kubepods-pod" + escU + ".slice:cri-containerd:" + idB,
		"/pod" + uidU + "/" + idB,
		"/" + idB,
	} {
		t.Run(forged, func(t *testing.T) {
			var script strings.Builder
			script.WriteString("read go\nset -e\n")
			for _, dir := range n.tree.Dirs(n.root + service) {
				// Not every v1 controller lets a user in; those that do not keep
				// him where he was, as on a real node.
				fmt.Fprintf(&script, "mkdir -p '%[1]s'; for f in cpuset.cpus cpuset.mems; do test -e '%[2]s'/$f && cat '%[2]s'/$f > '%[1]s'/$f || true; done; echo $$ > '%[1]s/cgroup.procs' || true\n", dir+forged, dir)
			}
			script.WriteString("echo moved\nread end\n")
			cmd := exec.Command("/bin/sh", "-c", script.String())
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			in := node{t, n.root, n.tree}.start(cmd)
			n.move(service, cmd.Process.Pid)
			fmt.Fprintln(in, "go")
			if said, err := bufio.NewReader(out).ReadString('\n'); err != nil {
				t.Fatalf("the attacker said %q: %v", said, err)
			}
			t.Cleanup(func() {
				in.Close()
				_ = cmd.Wait()
				for _, dir := range n.tree.Dirs(n.root + service) {
					names := strings.Split(forged[1:], "/")
					for i := len(names); i > 0; i-- {
						_ = os.Remove(dir + "/" + strings.Join(names[:i], "/"))
					}
				}
			})
			if file, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid)); !strings.Contains(string(file), forged) {
				t.Fatalf("the attacker is not where he meant to be:\n%s", file)
			}
			for _, root := range []string{"", n.root} {
				if got := locate(n.locator(root), cmd.Process.Pid); got != (answer{}) {
					t.Errorf("cgroup_root %q: the forger is %+v, want no pod", root, got)
				}
			}
		})
	}
}

// In a user namespace anybody may mount another pod's cgroup over his own.
func TestForgedMountsHaveNoEffect(t *testing.T) {
	n := newNode(t)
	victim := "/kubepods/pod" + uidV + "/" + idA
	n.make(victim)
	attacker := "/kubepods/pod" + uidU + "/" + idB
	n.make(attacker)
	unshare, err := exec.LookPath("unshare")
	testenv.Require(t, err == nil, "needs unshare of util-linux")

	dirs := n.tree.Dirs(n.root)
	var script strings.Builder
	script.WriteString("set -e\n")
	for _, dir := range dirs {
		fmt.Fprintf(&script, "mount --bind '%s%s' '%s'\n", dir, victim, dir[:strings.LastIndex(dir, "/")])
	}
	script.WriteString("echo mounted\nread end\n")
	cmd := exec.Command(unshare, "-Urm", "/bin/sh", "-c", script.String())
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	n.start(cmd)
	n.move(attacker, cmd.Process.Pid)
	if said, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the attacker said %q: %v", said, err)
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", cmd.Process.Pid))
	if err != nil || !strings.Contains(string(mounts), uidV) {
		t.Fatalf("the mounts do not show the victim: %v", err)
	}
	want := answer{PodUID: uidU, ContainerID: idB}
	if got := locate(n.locator(n.root), cmd.Process.Pid); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestProcessesThatEnded(t *testing.T) {
	n := newNode(t)
	path := "/kubepods/pod" + uidU + "/" + idB
	n.make(path)

	zombie := helper("wait")
	in := n.start(zombie)
	n.move(path, zombie.Process.Pid)
	held, err := n.locator(n.root).Open(int32(zombie.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	in.Close()
	waitForState(t, zombie.Process.Pid, "Z")
	if got := locate(n.locator(n.root), zombie.Process.Pid); !strings.Contains(got.Err, "has ended (state Z)") {
		t.Errorf("a zombie is %+v, want an error", got)
	}
	if err := held.Check(); !errors.Is(err, container.ErrChanged) {
		t.Errorf("Check of a zombie = %v, want ErrChanged", err)
	}

	_ = zombie.Wait()
	if err := held.Check(); !errors.Is(err, container.ErrChanged) || !strings.Contains(err.Error(), "ended") {
		t.Errorf("Check of a process that is gone = %v, want that it ended", err)
	}
	if _, err := n.locator("").Open(int32(zombie.Process.Pid)); !errors.Is(err, container.ErrNotExist) {
		t.Errorf("Open of a process that is gone = %v, want ErrNotExist", err)
	}

	threads := helper("main thread exits")
	n.start(threads)
	n.move(path, threads.Process.Pid)
	waitForState(t, threads.Process.Pid, "Z")
	if got := locate(n.locator(n.root), threads.Process.Pid); !strings.Contains(got.Err, "or its main thread, has ended") {
		t.Errorf("a process without its main thread is %+v, want an error", got)
	}
}

func TestAProcessThatMovesMeanwhileIsNotTheCaller(t *testing.T) {
	n := newNode(t)
	pid := n.process("/kubepods/pod" + uidU + "/" + idB)
	p, err := n.locator(n.root).Open(int32(pid))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	n.make("/kubepods/pod" + uidV + "/" + idA)
	n.move("/kubepods/pod"+uidV+"/"+idA, pid)
	if err := p.Check(); !errors.Is(err, container.ErrChanged) {
		t.Errorf("Check = %v, want ErrChanged", err)
	}
}

func TestARuntimesHelperIsNoWorkload(t *testing.T) {
	n := newNode(t)
	pod := "/kubepods.slice/kubepods-pod" + escU + ".slice/"
	n.root += "node"
	conmon := n.process(pod + "crio-conmon-" + idB + ".scope")
	if got := locate(n.locator(n.root), conmon); !strings.Contains(got.Err, container.ErrNoContainer.Error()) {
		t.Errorf("conmon in the pod's cgroup is %+v, want an error", got)
	}
	conmon = n.process("/system.slice/crio-conmon-" + idB + ".scope")
	if got := locate(n.locator(n.root), conmon); got != (answer{}) {
		t.Errorf("conmon in a cgroup of the system's is %+v, want no pod", got)
	}
}

// waitForState waits until a process is in one of the states.
func waitForState(t *testing.T, pid int, states ...string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if slices.Contains(states, fields[0]) {
			return
		}
	}
	t.Fatalf("process %d is not in state %v", pid, states)
}
