// Package node runs a Kubernetes node of one kubelet and one containerd, both
// real, without an API server: its pods are static, files in a folder. It belongs
// into a machine of its own (package machine).
package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/realstack/proc"
	corev1 "k8s.io/api/core/v1"
)

// Config says what the node is made of.
type Config struct {
	// Kubelet, Containerd, Shim and Ctr are the programs' paths. runc is found in PATH.
	Kubelet, Containerd, Shim, Ctr string
	// Dir is an empty folder.
	Dir string
	// Name is the node's name, which resolves to the machine's loopback address.
	Name string
	// Pause is what holds a pod's namespaces.
	Pause Image
	// Images are the others that pods may use.
	Images []Image
}

// Node is a running node.
type Node struct {
	config              Config
	containerd, kubelet *proc.Process
	client              *http.Client
}

// Port is where the kubelet serves HTTPS: the usual one.
const Port = 10250

// Start starts the node and returns when the kubelet answers, with no pods yet.
func Start(ctx context.Context, c Config) (_ *Node, err error) {
	n := &Node{config: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Stop())
		}
	}()
	for _, dir := range []string{"manifests", "kubelet", "logs"} {
		if err := os.Mkdir(n.file(dir), 0o755); err != nil {
			return nil, err
		}
	}
	if err := n.makeCertificates(); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	if err := n.startContainerd(ctx); err != nil {
		return nil, err
	}
	for _, image := range append(c.Images, c.Pause) {
		if err := n.load(ctx, image); err != nil {
			return nil, err
		}
	}
	return n, n.startKubelet(ctx)
}

func (n *Node) startKubelet(ctx context.Context) (err error) {
	// Static pods may not name a service account unless the feature gate is off:
	// here that is a name and no more, and the k8s:sa selector is to be seen.
	config := map[string]any{
		"apiVersion":                   "kubelet.config.k8s.io/v1beta1",
		"kind":                         "KubeletConfiguration",
		"staticPodPath":                n.file("manifests"),
		"fileCheckFrequency":           "1s",
		"address":                      "127.0.0.1",
		"port":                         Port,
		"tlsCertFile":                  n.file("serving.crt"),
		"tlsPrivateKeyFile":            n.file("serving.key"),
		"containerRuntimeEndpoint":     "unix://" + n.containerdSocket(),
		"podLogsDir":                   n.file("logs"),
		"volumePluginDir":              n.file("volume-plugins"),
		"cgroupDriver":                 "cgroupfs",
		"failCgroupV1":                 false,
		"failSwapOn":                   false,
		"makeIPTablesUtilChains":       false,
		"enableControllerAttachDetach": false,
		"featureGates":                 map[string]bool{"PreventStaticPodAPIReferences": false},
		"authorization":                map[string]any{"mode": "AlwaysAllow"},
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": false},
			"x509":      map[string]any{"clientCAFile": n.CAPath()},
		},
		// A full disk is not what is tried here.
		"evictionHard": map[string]string{"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%", "imagefs.inodesFree": "0%"},
	}
	text, err := json.Marshal(config) // which is YAML, too
	if err != nil {
		return err
	}
	path := n.file("kubelet.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	n.kubelet, err = proc.Start(ctx, proc.Command{
		Name: "kubelet",
		Argv: []string{
			n.config.Kubelet, "--config", path,
			"--root-dir", n.file("kubelet"),
			"--cert-dir", n.file("kubelet"),
			"--hostname-override", n.config.Name,
			"--node-ip", "127.0.0.1",
		},
		Log: n.file("kubelet.log"),
	})
	if err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return n.kubelet.Until(ready, func(ctx context.Context) error {
		_, err := n.Pods(ctx)
		return err
	})
}

// makeCertificates makes the kubelet's serving certificate and a client's, from
// one CA.
func (n *Node) makeCertificates() error {
	ca, err := kubelettest.NewCA("podseal-test-ca")
	if err != nil {
		return err
	}
	serving, err := ca.Issue(kubelettest.Leaf{CommonName: n.config.Name, Names: []string{n.config.Name, "127.0.0.1"}})
	if err != nil {
		return err
	}
	client, err := ca.Issue(kubelettest.Leaf{CommonName: "podseal", Client: true})
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(client.Certificate, client.Key)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM())
	n.client = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
	}}
	return errors.Join(
		os.WriteFile(n.CAPath(), ca.PEM(), 0o600),
		os.WriteFile(n.file("serving.crt"), serving.Certificate, 0o600),
		os.WriteFile(n.file("serving.key"), serving.Key, 0o600),
		os.WriteFile(n.ClientCertificatePath(), client.Certificate, 0o600),
		os.WriteFile(n.ClientKeyPath(), client.Key, 0o600),
	)
}

// CAPath is the file of the CA that signed the kubelet's certificate and the client's.
func (n *Node) CAPath() string { return n.file("ca.crt") }

// ClientCertificatePath is the file of a certificate that the kubelet accepts.
func (n *Node) ClientCertificatePath() string { return n.file("client.crt") }

// ClientKeyPath is the file of its key.
func (n *Node) ClientKeyPath() string { return n.file("client.key") }

// Run gives the kubelet a static pod. The kubelet adds "-" and the node's name to
// the pod's.
func (n *Node) Run(pod *corev1.Pod) error {
	pod = pod.DeepCopy()
	pod.APIVersion, pod.Kind = "v1", "Pod"
	text, err := json.Marshal(pod)
	if err != nil {
		return err
	}
	path := n.file(filepath.Join("manifests", pod.Namespace+"-"+pod.Name+".json"))
	// The kubelet must not read half a file; it passes over names that begin with a dot.
	hidden := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(hidden, text, 0o600); err != nil {
		return err
	}
	return os.Rename(hidden, path)
}

// Pods asks the kubelet for its pods.
func (n *Node) Pods(ctx context.Context) ([]corev1.Pod, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/pods", Port), nil)
	if err != nil {
		return nil, err
	}
	answer, err := n.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("/pods: %s: %q", answer.Status, body)
	}
	var list corev1.PodList
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("/pods: %w", err)
	}
	return list.Items, nil
}

// Running waits until all containers of a static pod run, and returns the pod as
// the kubelet shows it.
func (n *Node) Running(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	var found *corev1.Pod
	err := n.kubelet.Until(ctx, func(ctx context.Context) error {
		pods, err := n.Pods(ctx)
		if err != nil {
			return err
		}
		for i := range pods {
			p := &pods[i]
			if p.Namespace != namespace || p.Name != name+"-"+n.config.Name {
				continue
			}
			if len(p.Status.ContainerStatuses) != len(p.Spec.Containers) {
				return fmt.Errorf("pod %s/%s: %s: %q", namespace, name, p.Status.Phase, p.Status.Message)
			}
			for _, s := range p.Status.ContainerStatuses {
				if s.State.Running == nil {
					return fmt.Errorf("pod %s/%s, container %s: %+v", namespace, name, s.Name, s.State)
				}
			}
			found = p
			return nil
		}
		return fmt.Errorf("the kubelet does not know pod %s/%s", namespace, name)
	})
	return found, err
}

// Output is what a container that was started once has written so far, line by line.
func (n *Node) Output(pod *corev1.Pod, container string) ([]string, error) {
	path := n.file(filepath.Join("logs", fmt.Sprintf("%s_%s_%s", pod.Namespace, pod.Name, pod.UID), container, "0.log"))
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		// Time, stream, F for a whole line, the line.
		if parts := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4); len(parts) == 4 && parts[2] == "F" {
			lines = append(lines, parts[3])
		}
	}
	return lines, nil
}

// Until polls ready as the kubelet's process lives; see proc.Process.Until.
func (n *Node) Until(ctx context.Context, ready func(context.Context) error) error {
	return n.kubelet.Until(ctx, ready)
}

// Stop ends the kubelet and containerd. The pods' processes go with the machine.
func (n *Node) Stop() error {
	var errs []error
	for _, p := range []*proc.Process{n.kubelet, n.containerd} {
		if p != nil {
			errs = append(errs, p.Stop())
		}
	}
	return errors.Join(errs...)
}

func (n *Node) file(name string) string { return filepath.Join(n.config.Dir, name) }
