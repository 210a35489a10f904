//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/podseal/podseal/test/realstack/machine"
	"github.com/podseal/podseal/test/realstack/node"
	"github.com/podseal/podseal/test/realstack/spirestack"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	workloadImage = "registry.test/workload:1"
	pauseImage    = "registry.test/pause:1"
	mountedAt     = "/sockets" // where pods see the folder of the agents' sockets
)

// agents have a socket each, in a folder of their name.
var agents = []string{"podseal", "built-in", "wrong-ca"}

func startNode(t *testing.T) *node.Node {
	t.Helper()
	dir := filepath.Join(machine.Dir(), "node")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	n, err := node.Start(t.Context(), node.Config{
		Kubelet:    tool("kubelet"),
		Containerd: tool("containerd"),
		Shim:       tool("containerd-shim-runc-v2"),
		Ctr:        tool("ctr"),
		Dir:        dir,
		Name:       machine.HostName,
		Pause:      node.Image{Name: pauseImage, Program: program("pause")},
		Images:     []node.Image{{Name: workloadImage, Program: program("workload")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func startServer(t *testing.T) *spirestack.Server {
	t.Helper()
	server, err := spirestack.StartServer(t.Context(), spirestack.ServerConfig{Binary: tool("spire-server"), Dir: folder(t, "spire-server")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	name := "k8s:pod-name:front-" + machine.HostName
	for _, e := range []spirestack.Entry{
		{Path: "/pay/api", Selectors: []string{
			"k8s:ns:pay", "k8s:sa:api", "k8s:node-name:" + machine.HostName, "k8s:pod-name:api-" + machine.HostName,
			"k8s:container-name:api", "k8s:pod-label:app:api", "k8s:container-type:regular",
		}},
		{Path: "/shop/admin", Selectors: []string{"k8s:ns:shop", name, "k8s:container-name:admin"}},
		{Path: "/pay/front", Selectors: []string{"k8s:ns:pay", name}},
	} {
		if err := server.CreateEntry(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	return server
}

func startAgent(t *testing.T, server *spirestack.Server, name string, plugin spirestack.Plugin) *spirestack.Agent {
	t.Helper()
	agent, err := server.StartAgent(t.Context(), spirestack.AgentConfig{
		Binary:    tool("spire-agent"),
		Plugin:    plugin,
		Dir:       folder(t, "agent-"+name),
		SocketDir: folder(t, filepath.Join("sockets", name)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := agent.Stop(); err != nil {
			t.Error(err)
		}
	})
	return agent
}

// folder makes a folder of the machine that pods may enter, too.
func folder(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(machine.Dir(), name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// socketInPod is the path of an agent's socket as a pod sees it.
func socketInPod(agent *spirestack.Agent) string {
	return filepath.Join(mountedAt, filepath.Base(filepath.Dir(agent.Socket())), filepath.Base(agent.Socket()))
}

// pluginData is podseal's configuration; the built-in attestor takes the same.
// Attempts are the default ones, half a minute: a busy machine is no failure.
func pluginData(n *node.Node, ca string) string {
	return fmt.Sprintf(`
node_name           = %q
kubelet_secure_port = %d
kubelet_ca_path     = %q
certificate_path    = %q
private_key_path    = %q
`, machine.HostName, node.Port, ca, n.ClientCertificatePath(), n.ClientKeyPath())
}

// run starts a static pod and returns the kubelet's record of it once it runs.
func run(t *testing.T, n *node.Node, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	if err := n.Run(pod); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	running, err := n.Running(ctx, pod.Namespace, pod.Name)
	if err != nil {
		t.Fatal(err)
	}
	return running
}

// apiPod is the one that an entry is for. Its requests make it Burstable.
func apiPod() *corev1.Pod {
	pod := workloadPod("pay", "api")
	pod.Labels = map[string]string{"app": "api", "tier": "backend"}
	pod.Spec.InitContainers = []corev1.Container{container("setup")}
	pod.Spec.Containers[0].Resources.Requests = corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("10m"),
		corev1.ResourceMemory: resource.MustParse("16Mi"),
	}
	return pod
}

// frontPod is one that no entry is for. It is BestEffort.
func frontPod() *corev1.Pod { return workloadPod("shop", "front") }

// workloadPod has one container of the pod's name that asks every agent.
func workloadPod(namespace, name string) *corev1.Pod {
	own := container(name)
	for _, agent := range agents {
		own.Args = append(own.Args, filepath.Join(mountedAt, agent, "agent.sock"))
	}
	own.VolumeMounts = []corev1.VolumeMount{{Name: "sockets", MountPath: mountedAt, ReadOnly: true}}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			ServiceAccountName: name,
			HostNetwork:        true, // there is no CNI plugin
			SecurityContext:    &corev1.PodSecurityContext{RunAsUser: new(int64(1000))},
			Containers:         []corev1.Container{own},
			Volumes: []corev1.Volume{{
				Name: "sockets",
				VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{
					Path: filepath.Join(machine.Dir(), "sockets"), Type: new(corev1.HostPathDirectory),
				}},
			}},
		},
	}
}

func container(name string) corev1.Container {
	return corev1.Container{Name: name, Image: workloadImage, ImagePullPolicy: corev1.PullNever}
}
