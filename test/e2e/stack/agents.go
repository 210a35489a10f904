package stack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/podseal/podseal/test/realstack/spirestack"
)

const (
	examples = "examples/kubernetes/"
	// SocketsDir is the folder of the node that has each agent's socket, in a
	// folder below.
	SocketsDir = "/run/spire"

	readyLimit = 3 * time.Minute
)

// Agent is a DaemonSet of SPIRE agents, which is one pod here.
type Agent struct {
	// Name is the DaemonSet's.
	Name string
	// Socket is the Workload API's on the node, and in pods that mount SocketsDir.
	Socket string

	stack *Stack
	pod   *corev1.Pod
}

// Install installs the agent as docs/operations.md says: from the files of
// examples/kubernetes, with the binary's checksum filled in. Two things are
// changed: the agent logs all that it does, and as JSON.
func (s *Stack) Install(ctx context.Context) (*Agent, error) {
	bundle, err := s.Server.Bundle(ctx)
	if err != nil {
		return nil, err
	}
	var manifests strings.Builder
	for _, name := range []string{"namespace.yaml", "service-account.yaml", "rbac.yaml", "agent-configmap.yaml", "agent-daemonset.yaml"} {
		text, err := os.ReadFile(Source(examples + name))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&manifests, "---\n%s\n", text)
	}
	configured, err := s.configure(manifests.String())
	if err != nil {
		return nil, err
	}
	if _, err := s.Kubectl(ctx, configured, "apply", "--validate=strict", "-f", "-"); err != nil {
		return nil, err
	}
	if err := s.create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: "spire-bundle"},
		Data:       map[string]string{"bundle.crt": string(bundle)},
	}); err != nil {
		return nil, err
	}
	return s.ready(ctx, &Agent{Name: "spire-agent", Socket: SocketsDir + "/sockets/agent.sock"})
}

// configure makes of the example's agent.conf that of this stack.
func (s *Stack) configure(conf string) (string, error) {
	program, err := os.ReadFile(Program("podseal"))
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(program)
	return replace(conf, map[string]string{
		strings.Repeat("0", 64): hex.EncodeToString(sum[:]),
		`"INFO"`:                "\"DEBUG\"\n      log_format        = \"json\"",
	})
}

// replace replaces each key, which must be there.
func replace(text string, words map[string]string) (string, error) {
	for from, to := range words {
		if !strings.Contains(text, from) {
			return "", fmt.Errorf("examples: there is no %s to be replaced", from)
		}
		text = strings.ReplaceAll(text, from, to)
	}
	return text, nil
}

// Variant says how an agent differs from the example's.
type Variant struct {
	// Name is the DaemonSet's and that of its folder of sockets; one of Start's
	// variants.
	Name string
	// Port is where it answers probes: the agents share the node's network.
	Port int
	// Conf are words of agent.conf and what is put in their places.
	Conf map[string]string
	// Pod changes the rest.
	Pod func(*corev1.PodSpec)
}

// InstallVariant installs another agent beside that of Install.
func (s *Stack) InstallVariant(ctx context.Context, v Variant) (*Agent, error) {
	var config corev1.ConfigMap
	var set appsv1.DaemonSet
	if err := errors.Join(read("agent-configmap.yaml", &config), read("agent-daemonset.yaml", &set)); err != nil {
		return nil, err
	}
	conf, err := s.configure(strings.ReplaceAll(config.Data["agent.conf"], "9982", fmt.Sprint(v.Port)))
	if err != nil {
		return nil, err
	}
	if conf, err = replace(conf, map[string]string{`cluster = "` + psatCluster + `"`: `cluster = "` + v.Name + `"`}); err != nil {
		return nil, err
	}
	if conf, err = replace(conf, v.Conf); err != nil {
		return nil, err
	}
	config.Name, config.Data["agent.conf"] = v.Name, conf

	labels := map[string]string{"app.kubernetes.io/name": v.Name}
	set.Name, set.Labels, set.Spec.Selector.MatchLabels, set.Spec.Template.Labels = v.Name, labels, labels, labels
	pod := &set.Spec.Template.Spec
	for i := range pod.Volumes {
		switch volume := &pod.Volumes[i]; {
		case volume.ConfigMap != nil && volume.ConfigMap.Name == "spire-agent":
			volume.ConfigMap.Name = v.Name
		case volume.HostPath != nil:
			volume.HostPath.Path = filepath.Join(SocketsDir, v.Name)
		}
	}
	own := &pod.Containers[0]
	for _, probe := range []*corev1.Probe{own.LivenessProbe, own.ReadinessProbe} {
		probe.HTTPGet.Port.IntVal = int32(v.Port)
	}
	if v.Pod != nil {
		v.Pod(pod)
	}
	if err := errors.Join(s.create(ctx, &config), s.create(ctx, &set)); err != nil {
		return nil, err
	}
	return s.ready(ctx, &Agent{Name: v.Name, Socket: filepath.Join(SocketsDir, v.Name, "agent.sock")})
}

func read(name string, into any) error {
	text, err := os.ReadFile(Source(examples + name))
	if err != nil {
		return err
	}
	return yaml.UnmarshalStrict(text, into)
}

// create creates an object of one of the kinds that are needed here.
func (s *Stack) create(ctx context.Context, object any) (err error) {
	switch o := object.(type) {
	case *corev1.ConfigMap:
		_, err = s.Client.CoreV1().ConfigMaps(Namespace).Create(ctx, o, metav1.CreateOptions{})
	case *appsv1.DaemonSet:
		_, err = s.Client.AppsV1().DaemonSets(Namespace).Create(ctx, o, metav1.CreateOptions{})
	default:
		return fmt.Errorf("%T can't be created", object)
	}
	return err
}

// ready waits until the agent's probes succeed.
func (s *Stack) ready(ctx context.Context, a *Agent) (*Agent, error) {
	a.stack = s
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	if _, err := s.Kubectl(ctx, "", "rollout", "status", "--namespace", Namespace, "daemonset/"+a.Name); err != nil {
		state, _ := s.Kubectl(ctx, "", "describe", "pods", "--namespace", Namespace)
		return nil, fmt.Errorf("agent %s: %w\n%s", a.Name, err, state)
	}
	pods, err := s.Client.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + a.Name})
	if err != nil {
		return nil, err
	}
	if len(pods.Items) != 1 {
		return nil, fmt.Errorf("agent %s: %d pods", a.Name, len(pods.Items))
	}
	a.pod = &pods.Items[0]
	return a, nil
}

// Pod is the agent's.
func (a *Agent) Pod() *corev1.Pod { return a.pod }

// Log is the agent's log so far.
func (a *Agent) Log() ([]byte, error) {
	lines, err := a.stack.Node.Output(a.pod, a.pod.Spec.Containers[0].Name)
	if err != nil {
		return nil, err
	}
	return []byte(strings.Join(lines, "\n") + "\n"), nil
}

// Attested is what the agent's attestors said of a process; see spirestack.Attested.
func (a *Agent) Attested(pid int) ([][]string, error) {
	log, err := a.Log()
	if err != nil {
		return nil, err
	}
	return spirestack.Attested(log, pid)
}
