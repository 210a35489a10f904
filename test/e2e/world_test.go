//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podseal/podseal/test/e2e/stack"
	"github.com/podseal/podseal/test/realstack/image"
	"github.com/podseal/podseal/test/realstack/machine"
	"github.com/podseal/podseal/test/realstack/node"
	"github.com/podseal/podseal/test/realstack/spirestack"
)

// limit is for each step that waits; each takes seconds.
const limit = 3 * time.Minute

// world is the cluster with the four agents that every workload asks, and a fifth.
type world struct {
	*stack.Stack
	// podseal is the example's DaemonSet.
	podseal *stack.Agent
	// builtIn is the same with the attestor that SPIRE has built in, for comparison.
	builtIn *stack.Agent
	// private is podseal with a cgroup namespace of its own, as agents in pods have
	// it on cgroup v2, and with the kubelet's Pods API in place of its port. Its pod
	// has a workload too.
	private *stack.Agent
	// both is podseal with the kubelet's Pods API while it answers, and its port
	// otherwise. Only where that matters it is asked.
	both *stack.Agent
	// host is podseal beside the cluster, as a service of the node. Its
	// configuration can be replaced, and so can its token.
	host *spirestack.Agent
}

// agent is any of them.
type agent interface {
	Attested(pid int) ([][]string, error)
}

// Where the agents' sockets are, on the node and in pods.
const (
	podsealSocket = stack.SocketsDir + "/sockets/agent.sock"
	builtInSocket = stack.SocketsDir + "/built-in/agent.sock"
	privateSocket = stack.SocketsDir + "/private/agent.sock"
	bothSocket    = stack.SocketsDir + "/both/agent.sock"
	hostSocket    = stack.SocketsDir + "/host/agent.sock"
)

// sockets are those that every workload asks.
var sockets = []string{podsealSocket, builtInSocket, privateSocket, hostSocket}

const (
	beside        = "beside"                         // the workload in an agent's own pod
	privateImage  = "ghcr.io/podseal/agent-within:1" // which has /within and /workload
	importedImage = "registry.test/imported:1"
)

func newWorld(ctx context.Context) (w *world, err error) {
	w = new(world)
	if w.Stack, err = stack.Start(ctx, os.Stderr, "built-in", "private", "both"); err != nil {
		return w, err
	}
	// Its content is not that of an image that is pulled, which would have the
	// kubelet pull this one, too.
	imported := image.Of(importedImage, stack.Program("workload"))
	imported.Files["/imported"] = stack.Program("pause")
	if err := w.Node.Import(ctx, imported); err != nil {
		return w, err
	}
	if _, err = w.Push(ctx, image.Image{
		Name: privateImage, Entrypoint: []string{"/within"},
		Files: map[string]string{"/opt/spire/bin/spire-agent": stack.Tool("spire-agent"), "/within": stack.Program("within"), "/workload": stack.Program("workload")},
	}); err != nil {
		return w, err
	}
	return w, w.installAgents(ctx)
}

func (w *world) installAgents(ctx context.Context) (err error) {
	// This one makes what the others need, too.
	if w.podseal, err = w.Install(ctx); err != nil {
		return err
	}
	if err := w.rotateToken(ctx, "first"); err != nil {
		return err
	}
	var errs [4]error
	var all sync.WaitGroup
	all.Go(func() {
		w.builtIn, errs[0] = w.InstallVariant(ctx, stack.Variant{
			Name: "built-in",
			Port: 9983,
			Pod:  func(p *corev1.PodSpec) { addBeside(p, "built-in") },
			// The block of a plugin that is built in has no command, and it knows no pod_uid_env.
			Conf: map[string]string{`plugin_cmd = "/opt/podseal/podseal"`: "", "plugin_checksum": "# plugin_checksum", "pod_uid_env": "# pod_uid_env"},
		})
	})
	all.Go(func() {
		w.private, errs[1] = w.InstallVariant(ctx, stack.Variant{
			Name: "private",
			Port: 9984,
			Conf: map[string]string{`node_name_env = "MY_NODE_NAME"`: `pod_source = "pods_api"`},
			Pod:  func(p *corev1.PodSpec) { inCgroupNamespace(p); mountPodsAPI(p, w.Node.PodsAPI()) },
		})
	})
	all.Go(func() {
		w.both, errs[2] = w.InstallVariant(ctx, stack.Variant{
			Name: "both",
			Port: 9985,
			Conf: map[string]string{`node_name_env = "MY_NODE_NAME"`: `node_name_env = "MY_NODE_NAME"` + "\n" + `pod_source = "auto"`},
			Pod:  func(p *corev1.PodSpec) { mountPodsAPI(p, w.Node.PodsAPI()) },
		})
	})
	all.Go(func() { errs[3] = w.startHostAgent(ctx) })
	all.Wait()
	return errors.Join(errs[:]...)
}

// inCgroupNamespace has the agent started in a cgroup namespace, which its runtime
// on this machine does not make, and puts a workload beside it.
func inCgroupNamespace(p *corev1.PodSpec) {
	own := &p.Containers[0]
	own.Image = privateImage
	own.Args = append([]string{"cgroup-namespace", "/opt/spire/bin/spire-agent", "run"}, own.Args...)
	own.SecurityContext = &corev1.SecurityContext{Privileged: new(true)}
	addBeside(p, "private")
}

// mountPodsAPI gives the agent the folder of the kubelet's socket, where it is on
// other nodes.
func mountPodsAPI(p *corev1.PodSpec, folder string) {
	own := &p.Containers[0]
	own.VolumeMounts = append(own.VolumeMounts, corev1.VolumeMount{Name: "pods-api", MountPath: "/var/lib/kubelet/pods-api", ReadOnly: true})
	p.Volumes = append(p.Volumes, corev1.Volume{Name: "pods-api", VolumeSource: corev1.VolumeSource{
		HostPath: &corev1.HostPathVolumeSource{Path: folder, Type: new(corev1.HostPathDirectory)},
	}})
}

// addBeside puts a workload into an agent's own pod.
func addBeside(p *corev1.PodSpec, agent string) {
	p.Containers = append(p.Containers, container(stack.Namespace, agent, beside))
	p.Volumes = append(p.Volumes, socketsVolume())
}

func (w *world) startHostAgent(ctx context.Context) error {
	dir := filepath.Join(machine.Dir(), "host-agent")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.MkdirAll(filepath.Dir(hostSocket), 0o755)); err != nil {
		return err
	}
	var err error
	w.host, err = w.Server.StartAgent(ctx, spirestack.AgentConfig{
		Binary:    stack.Tool("spire-agent"),
		Plugin:    spirestack.Plugin{Command: stack.Program("podseal"), Data: w.hostData(), Live: true},
		Dir:       dir,
		SocketDir: filepath.Dir(hostSocket),
	})
	return err
}

// hostData is the configuration of the agent that is in no pod. Attempts are the
// default ones, half a minute: a busy machine is no failure.
func (w *world) hostData() string {
	return fmt.Sprintf("node_name = %q\nkubelet_secure_port = %d\nkubelet_ca_path = %q\ntoken_path = %q\n",
		machine.HostName, node.Port, w.CA(), w.tokenFile())
}

func (w *world) tokenFile() string { return filepath.Join(machine.Dir(), "host-token") }

// rotateToken gives the agent on the host a new token of the agents' service
// account. It is good for as long as the Secret of that name is there.
func (w *world) rotateToken(ctx context.Context, name string) error {
	secret, err := w.Client.CoreV1().Secrets(stack.Namespace).Create(ctx,
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	token, err := w.Client.CoreV1().ServiceAccounts(stack.Namespace).CreateToken(ctx, stack.ServiceAccount,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: secret.Name, UID: secret.UID},
		}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	return os.WriteFile(w.tokenFile(), []byte(token.Status.Token), 0o600)
}

func (w *world) stop() error {
	var errs []error
	if kept := os.Getenv(logsVar); kept != "" && w.Stack != nil {
		errs = append(errs, w.keepLogs(kept))
	}
	if w.host != nil {
		errs = append(errs, w.host.Stop())
	}
	if w.Stack != nil {
		errs = append(errs, w.Stack.Stop())
	}
	return errors.Join(errs...)
}

// logsVar is the variable with a folder that is to have everybody's log when the
// tests have ended.
const logsVar = "PODSEAL_E2E_LOGS"

func (w *world) keepLogs(dir string) error {
	var errs []error
	keep := func(name string, log []byte, err error) {
		path := filepath.Join(dir, name+".log")
		errs = append(errs, err, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, log, 0o600))
	}
	for _, a := range []*stack.Agent{w.podseal, w.builtIn, w.private, w.both} {
		if a != nil {
			log, err := a.Log()
			keep(a.Name, log, err)
		}
	}
	logs, err := filepath.Glob(filepath.Join(machine.Dir(), "*", "*.log"))
	more, err2 := filepath.Glob(filepath.Join(machine.Dir(), "*", "*", "*.log"))
	errs = append(errs, err, err2)
	for _, path := range append(logs, more...) {
		log, err := os.ReadFile(path)
		keep(strings.TrimSuffix(strings.TrimPrefix(path, machine.Dir()+"/"), ".log"), log, err)
	}
	return errors.Join(errs...)
}
