package cli_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
)

// A node that fails in each of ten ways. Who has nothing but what podseal says
// must be able to put it right: the test wants the sentence that names the cause
// and the one that names the remedy.
func TestTenFailuresAreSolvedByPodsealsWordsAlone(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]func(t *testing.T, n *node) (result, []string, []string){
		"no hostPID":                  noHostPID,
		"wrong CA":                    wrongCA,
		"wrong node name":             wrongNodeName,
		"expired token":               expiredToken,
		"no permission":               noPermission,
		"kubelet down":                kubeletDown,
		"container not published yet": notPublished,
		"forged cgroup":               forgedCgroup,
		"ephemeral container":         ephemeralContainer,
		"typo in the configuration":   typo,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, cause, remedy := failure(t, newNode(t))
			if got.code != 1 {
				t.Errorf("exit code %d, want 1", got.code)
			}
			for what, words := range map[string][]string{"cause": cause, "remedy": remedy} {
				if !got.hasSentence(words) {
					t.Errorf("no sentence names the %s, with all of %q:\n%s", what, words, got)
				}
			}
		})
	}
}

func noHostPID(t *testing.T, n *node) (result, []string, []string) {
	cmd := pluginproc.WithoutHostPID(t, "doctor", "--config", n.config(nil))
	return n.runIn("/kubepods/podAGENT/"+kubelettest.ID("agent"), cmd),
		[]string{"host-pid", "process 1 is in cgroup", "agent's own"},
		[]string{"remedy", "hostPID: true"}
}

func wrongCA(t *testing.T, n *node) (result, []string, []string) {
	ca, err := kubelettest.NewCA("some other CA")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "other-ca.crt")
	write(t, path, string(ca.PEM()))
	return n.run("doctor", "--config", n.config(settings{"kubelet_ca_path": path})),
		[]string{"kubelet-certificate", "issued by", "kubelettest serving CA", path, "kubelet_ca_path"},
		[]string{"remedy", "kubelet_ca_path", "issuer"}
}

func wrongNodeName(t *testing.T, n *node) (result, []string, []string) {
	if err := n.Kubelet.SetServing(kubelettest.Leaf{Names: []string{"node-1.example.org"}}); err != nil {
		t.Fatal(err)
	}
	return n.run("doctor", "--config", n.config(settings{"node_name": "localhost"})),
		[]string{"kubelet-server-name", `"node-1.example.org"`, `"localhost"`},
		[]string{"remedy", "kubelet_server_name", "node_name"}
}

func expiredToken(t *testing.T, n *node) (result, []string, []string) {
	token := kubelettest.Token(time.Now().Add(-time.Hour))
	n.Kubelet.SetTokens(token)
	write(t, n.Files.Token, token)
	return n.run("doctor", "--config", n.config(nil)),
		[]string{"kubelet-authentication", "expired", n.Files.Token},
		[]string{"remedy", "token"}
}

func noPermission(_ *testing.T, n *node) (result, []string, []string) {
	n.Kubelet.SetForbidden(kubelettest.ServiceAccount)
	return n.run("doctor", "--config", n.config(nil)),
		[]string{"kubelet-permission", kubelettest.ServiceAccount},
		[]string{"remedy", "nodes/pods", "ClusterRole", "get"}
}

func kubeletDown(_ *testing.T, n *node) (result, []string, []string) {
	port := strconv.Itoa(n.Kubelet.Port())
	config := n.config(nil)
	n.Kubelet.Stop()
	return n.run("doctor", "--config", config),
		[]string{"kubelet-connection", "127.0.0.1:" + port, "nothing listens"},
		[]string{"remedy", "kubelet", "kubelet_secure_port"}
}

func notPublished(t *testing.T, n *node) (result, []string, []string) {
	p := pod("late")
	p.Containers[0].ID, p.Containers[0].State = "", kubelettest.Waiting
	if err := n.Kubelet.AddPod(p.Build()); err != nil {
		t.Fatal(err)
	}
	pid := n.Process(pluginproc.ContainerPath(p.UID, kubelettest.ID("late")))
	return n.run("attest", "--pid", strconv.Itoa(pid), "--explain", "--config", n.config(nil)),
		[]string{"error", `pod "shop/late" is listed but not its container`},
		[]string{"remedy", "until the kubelet publishes the container"}
}

func forgedCgroup(t *testing.T, n *node) (result, []string, []string) {
	victim := pod("victim")
	if err := n.Kubelet.AddPod(victim.Build()); err != nil {
		t.Fatal(err)
	}
	pid := n.Process("/user.slice/user-1000.slice/user@1000.service" + pluginproc.ContainerPath(victim.UID, kubelettest.ID("victim")))
	return n.run("attest", "--pid", strconv.Itoa(pid), "--explain", "--config", n.config(nil)),
		[]string{"named like a pod's", "not where this node's kubelet makes them"},
		[]string{"remedy", "any user may have made it", "cgroup_root"}
}

func ephemeralContainer(t *testing.T, n *node) (result, []string, []string) {
	p := pod("debugged")
	p.Containers = append(p.Containers, kubelettest.Container{Name: "debugger", Kind: kubelettest.Ephemeral, ID: kubelettest.ID("debugger"), Image: "busybox"})
	if err := n.Kubelet.AddPod(p.Build()); err != nil {
		t.Fatal(err)
	}
	pid := n.Process(pluginproc.ContainerPath(p.UID, kubelettest.ID("debugger")))
	return n.run("attest", "--pid", strconv.Itoa(pid), "--config", n.config(nil)),
		[]string{"error", `container "debugger" of pod "shop/debugged"`, "ephemeral containers (kubectl debug) are not attested"},
		[]string{"remedy", "ephemeral_containers = true"}
}

func typo(t *testing.T, n *node) (result, []string, []string) {
	path := filepath.Join(t.TempDir(), "agent.conf")
	write(t, path, "plugins {\n  WorkloadAttestor \"k8s\" {\n    plugin_cmd = \"/opt/podseal/podseal\"\n    plugin_data {\n      kubelet_secure_prot = 10250\n    }\n  }\n}\n")
	return n.run("validate", path),
		[]string{path + ":5:7:", "kubelet_secure_prot", "unknown"},
		[]string{"did you mean", "kubelet_secure_port"}
}

// A command that waits ends at ^C within a second; ten are given to it.
func TestLongOperationsEndAtInterrupt(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"attest": {"attest", "--pid", "PID"},
		"list":   {"list"},
		"watch":  {"list", "--watch"},
		"doctor": {"doctor"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			pid := n.Pod(pod("app"))
			if name != "watch" {
				n.Kubelet.Inject(-1, kubelettest.Hang())
			}
			for i, a := range args {
				args[i] = strings.ReplaceAll(a, "PID", strconv.Itoa(pid))
			}
			cmd := n.command(append(args, "--config", n.config(nil))...)
			said := new(syncBuffer)
			cmd.Stderr = said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			pluginproc.Eventually(t, "podseal asks the kubelet", func() bool { return n.Kubelet.Stats().Requests > 0 })
			if name != "watch" {
				pluginproc.Eventually(t, "after a second it says what it waits for", func() bool { return said.String() != "" })
			}
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			limit := time.AfterFunc(10*time.Second, func() {
				t.Error("it goes on after ^C")
				_ = cmd.Process.Kill()
			})
			defer limit.Stop()
			_ = cmd.Wait()
			if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.ExitStatus() != 130 {
				t.Errorf("it ended with %v, want exit code 130", cmd.ProcessState)
			}
			if !strings.HasSuffix(said.String(), "interrupted\n") {
				t.Errorf("it said %q", said)
			}
		})
	}
}
