package conformance_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
)

func TestProcessesThatAreInNoPodHaveNoSelectorsAndNeedNoKubelet(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, nil)
	for name, pid := range map[string]int{
		"a process of the system":  node.Process("/system.slice/x.service"),
		"this test":                os.Getpid(),
		"the plugin itself":        plugin.PID(),
		"an ended process":         pluginproc.Ended(t),
		"a process that never was": math.MaxInt32,
	} {
		t.Run(name, func(t *testing.T) { wantSelectors(t, plugin, pid, nil) })
	}
	if n := node.Kubelet.Stats().Requests; n != 0 {
		t.Errorf("the kubelet was asked %d times", n)
	}
}

func TestProcessesOfOtherNamespacesAreRefused(t *testing.T) {
	t.Parallel()
	_, plugin := start(t, nil)
	for _, pid := range []int{0, -1} {
		wantFailure(t, plugin, pid, codes.FailedPrecondition, fmt.Sprintf("process ID %d: ", pid), "hostPID: true")
	}
}

// Anybody may have named those cgroups so.
func TestAPodsNameInAUsersCgroupIsNoPod(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, nil)
	victim := app("victim")
	node.Pod(victim)
	forged := node.Process("/user.slice/user-1000.slice/user@1000.service" + pluginproc.ContainerPath(victim.UID, victim.Containers[0].ID))
	wantSelectors(t, plugin, forged, nil)
	line := plugin.WaitFor(t, func(l pluginproc.Line) bool { return strings.Contains(l.Message, "not a pod") })
	if line.Text("pid") != fmt.Sprint(forged) || !strings.Contains(line.Message, "cgroup_root") || !strings.Contains(line.Text("path"), victim.UID) {
		t.Errorf("the line does not help: %+v", line)
	}
}

func TestWithoutItsCgroupRootAPodIsNoneAndTheLogSaysWhy(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, settings{"cgroup_root": nil})
	wantSelectors(t, plugin, node.Pod(app("app")), nil)
	plugin.WaitFor(t, func(l pluginproc.Line) bool {
		return l.Level == "warn" && strings.Contains(l.Message, "set cgroup_root")
	})
}

func TestAProcessInAPodButInNoContainerIsAnError(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, nil)
	uid := kubelettest.UID("app")
	conmon := node.Process("/kubepods/burstable/pod" + uid + "/crio-conmon-" + kubelettest.ID("app"))
	wantFailure(t, plugin, conmon, codes.FailedPrecondition, "the process is in a pod but in no container", uid)
}

// The kernel gives no such files; what reads them must not rely on it.
func TestCgroupFilesThatContradictThemselves(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	uidA, uidB := kubelettest.UID("a"), kubelettest.UID("b")
	idA, idB := kubelettest.ID("a"), kubelettest.ID("b")
	file := func(cpu, unified string) string {
		return "2:cpu:" + node.CgroupRoot + cpu + "\n0::" + node.CgroupRoot + unified + "\n"
	}
	for _, test := range []struct {
		name, cgroup string
		code         codes.Code
		want         string
	}{
		{"two pods", file(pluginproc.ContainerPath(uidA, idA), pluginproc.ContainerPath(uidB, idA)),
			codes.FailedPrecondition, fmt.Sprintf("multiple pod UIDs found (%q, %q)", uidA, uidB)},
		{"two containers", file(pluginproc.ContainerPath(uidA, idA), pluginproc.ContainerPath(uidA, idB)),
			codes.FailedPrecondition, fmt.Sprintf("multiple container IDs found (%q, %q)", idA, idB)},
		{"malformed", "garbage\x1b[31m\n", codes.Internal, "unable to obtain cgroups"},
		{"deleted", file("/kubepods/pod"+uidA+"/"+idA, "/kubepods/pod"+uidA+"/"+idA+" (deleted)"), codes.Internal, "unable to obtain cgroups"},
		{"endless", strings.Repeat(file("/x", "/y"), 1<<16), codes.Internal, "unable to obtain cgroups"},
	} {
		t.Run(test.name, func(t *testing.T) {
			plugin := pluginproc.Start(t, pluginproc.Options{PrivateMounts: true})
			plugin.MustConfigure(t, node.Settings())
			pid := node.Process("/x.slice")
			plugin.Cover(t, fmt.Sprintf("/proc/%d/cgroup", plugin.PID()), "2:cpu:/system.slice/agent.service\n0::/system.slice/agent.service\n")
			plugin.Cover(t, fmt.Sprintf("/proc/%d/cgroup", pid), test.cgroup)
			_, err := plugin.Selectors(t.Context(), pid)
			wantStatus(t, err, test.code, test.want)
			if strings.Contains(err.Error(), "\x1b") {
				t.Errorf("control characters in %q", err)
			}
		})
	}
}

// withState is app(name) with its container changed.
func withState(name string, change func(*kubelettest.Container)) kubelettest.Pod {
	p := app(name)
	change(&p.Containers[0])
	return p
}

func TestAContainerThatCantAppearAnyMoreEndsTheWaitAtOnce(t *testing.T) {
	t.Parallel()
	succeeded := app("succeeded")
	succeeded.Phase = corev1.PodSucceeded
	succeeded.Containers[0].ID = kubelettest.ID("other")
	for _, test := range []struct {
		pod  kubelettest.Pod
		want []string
	}{
		{withState("terminated", func(c *kubelettest.Container) { c.State = kubelettest.Terminated }), []string{`container "main" of pod "shop/terminated"`, "the container has ended"}},
		{withState("restarted", func(c *kubelettest.Container) { c.ID, c.LastID = kubelettest.ID("next"), c.ID }),
			[]string{`container "main" of pod "shop/restarted" was started again since`, "the container has ended"}},
		{succeeded, []string{`pod "shop/succeeded" has succeeded or failed`, "the container has ended"}},
		{withState("debugged", func(c *kubelettest.Container) { c.Kind = kubelettest.Ephemeral }),
			[]string{`container "main" of pod "shop/debugged"`, "ephemeral_containers = true"}},
	} {
		t.Run(test.pod.Name, func(t *testing.T) {
			t.Parallel()
			node, plugin := start(t, settings{"max_poll_attempts": 100})
			node.Pod(test.pod)
			pid := node.Process(pluginproc.ContainerPath(test.pod.UID, kubelettest.ID(test.pod.Name)))
			wantFailure(t, plugin, pid, codes.FailedPrecondition, test.want...)
			if n := node.Kubelet.Stats().Requests; n != 1 {
				t.Errorf("the kubelet was asked %d times", n)
			}
			line := plugin.WaitFor(t, func(l pluginproc.Line) bool { return l.Message == "attestation failed" })
			if line.Text("pid") != fmt.Sprint(pid) || line.Text("pod_uid") != test.pod.UID || line.Text("container_id") != kubelettest.ID(test.pod.Name) ||
				line.Text("step") != "pod" || !strings.Contains(line.Text("reason"), test.want[1]) {
				t.Errorf("the line of the log is %+v", line)
			}
		})
	}
}

func TestAContainerThatIsNeverSeen(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change settings
		asked  int
	}{
		{"as configured", settings{"max_poll_attempts": 4}, 4},
		{"as configured, in a string", settings{"max_poll_attempts": "2"}, 2},
		{"by default", settings{"max_poll_attempts": nil}, 60},
		{"zero is the default", settings{"max_poll_attempts": 0}, 60},
		{"less than zero is the default", settings{"max_poll_attempts": -5}, 60},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			node, plugin := start(t, test.change)
			p := app("app")
			node.Pod(p)
			stranger := node.Process(pluginproc.ContainerPath(p.UID, kubelettest.ID("stranger")))
			wantFailure(t, plugin, stranger, codes.DeadlineExceeded, "no selectors found after max poll attempts", `pod "shop/app" is listed but not its container`)
			if n := node.Kubelet.Stats().Requests; n != test.asked {
				t.Errorf("the kubelet was asked %d times, want %d", n, test.asked)
			}
			nowhere := node.Process(pluginproc.ContainerPath(kubelettest.UID("nowhere"), kubelettest.ID("nowhere")))
			wantFailure(t, plugin, nowhere, codes.DeadlineExceeded, "no selectors found after max poll attempts", "is not listed")
		})
	}
}

func TestTwoAnswersWithoutTheContainerAndThenOneWithIt(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, nil)
	before := string(node.Kubelet.List())
	pid := node.Pod(app("app"))
	node.Kubelet.Inject(2, kubelettest.Body(before))
	wantSelectors(t, plugin, pid, appSelectors("app"))
	if n := node.Kubelet.Stats().Requests; n != 3 {
		t.Errorf("the kubelet was asked %d times, want 3", n)
	}
}

func TestAContainerWhoseStatusComesLater(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, nil)
	waiting := withState("app", func(c *kubelettest.Container) { c.State = kubelettest.Waiting })
	pid := node.Pod(waiting)
	before := string(node.Kubelet.List())
	if err := node.Kubelet.UpdatePod(app("app").Build()); err != nil {
		t.Fatal(err)
	}
	node.Kubelet.Inject(2, kubelettest.Body(before))
	wantSelectors(t, plugin, pid, appSelectors("app"))
}

func TestTheTimeOfAnAttestation(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, settings{"attest_timeout": "300ms", "max_poll_attempts": 1000000})
	p := app("app")
	node.Pod(p)
	stranger := node.Process(pluginproc.ContainerPath(p.UID, kubelettest.ID("stranger")))
	within(t, 10*time.Second, func(context.Context) {
		wantFailure(t, plugin, stranger, codes.DeadlineExceeded, "no selectors found after max poll attempts", "is listed but not its container")
	})
	node.Kubelet.Inject(-1, kubelettest.Hang())
	pluginproc.Eventually(t, "the stored answer is too old", func() bool {
		_, err := plugin.Selectors(t.Context(), stranger)
		return strings.Contains(err.Error(), "(attest_timeout)")
	})
	wantFailure(t, plugin, stranger, codes.DeadlineExceeded, "no selectors found after max poll attempts", "the time of this attestation is over (attest_timeout)")
}

// The answer is about the process that called, or there is none.
func TestAProcessThatIsAnotherOneAtTheEnd(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(node *pluginproc.Node, pid int){
		"it moved": func(node *pluginproc.Node, pid int) {
			node.Move(pluginproc.ContainerPath(kubelettest.UID("victim"), kubelettest.ID("victim")), pid)
		},
		"it ended": func(node *pluginproc.Node, pid int) { node.End(pid) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node, plugin := start(t, nil)
			node.Pod(app("victim"))
			pid := node.Pod(app("app"))
			release := make(chan struct{})
			node.Kubelet.Inject(1, kubelettest.Held(release))
			failed := make(chan error, 1)
			go func() {
				_, err := plugin.Selectors(t.Context(), pid)
				failed <- err
			}()
			pluginproc.Eventually(t, "the kubelet is asked", func() bool { return node.Kubelet.Stats().Requests == 1 })
			change(node, pid)
			close(release)
			err := <-failed
			wantStatus(t, err, codes.FailedPrecondition, fmt.Sprintf("process %d", pid), "the process is not the one that called")
		})
	}
}

func TestACallerThatLeavesCancelsNothingForTheOthers(t *testing.T) {
	t.Parallel()
	node, plugin := start(t, settings{"poll_retry_interval": "1m"})
	pid := node.Pod(app("app"))
	release := make(chan struct{})
	node.Kubelet.Inject(1, kubelettest.Held(release))

	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := plugin.Selectors(ctx, pid)
		left <- err
	}()
	pluginproc.Eventually(t, "the kubelet is asked", func() bool { return node.Kubelet.Stats().Requests == 1 })
	cancel()
	wantStatus(t, <-left, codes.Canceled)
	plugin.WaitFor(t, func(l pluginproc.Line) bool {
		return l.Text("reason") == "the caller left before it was answered: context canceled"
	})

	late, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := plugin.Selectors(late, pid)
	wantStatus(t, err, codes.DeadlineExceeded)

	close(release)
	wantSelectors(t, plugin, pid, appSelectors("app"))
	if n := node.Kubelet.Stats().Requests; n != 1 {
		t.Errorf("the kubelet was asked %d times, want 1", n)
	}
}
