// Package node runs a Kubernetes node of one kubelet and one containerd, both
// real. It belongs into a machine of its own (package machine), and to an API
// server (package cluster).
package node

import (
	"cmp"
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
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/test/realstack/proc"
)

// Config says what the node is made of.
type Config struct {
	// Kubelet, Containerd, Shim and Ctr are the programs' paths, CNI is the folder
	// of the network's. runc is found in PATH.
	Kubelet, Containerd, Shim, Ctr, CNI string
	// Dir is an empty folder.
	Dir string
	// Name is the node's name, which resolves to its Address, an IPv4 address of
	// this machine that is not of 127.0.0.0/8.
	Name, Address string
	// Kubeconfig is the kubelet's way to the API server.
	Kubeconfig string
	// CA signed the kubelet's serving certificate and its clients'.
	CA, ServingCertificate, ServingKey string
	// ClientCertificate is of somebody who may list the kubelet's pods: the test.
	ClientCertificate, ClientKey string
	// Registry is the host and port that answers for every registry.
	Registry string
	// PauseImage is what holds a pod's namespaces.
	PauseImage string
}

// Node is a running node.
type Node struct {
	config              Config
	containerd, kubelet *proc.Process
	client              *http.Client
}

// Port is where the kubelet serves HTTPS: the usual one.
const Port = 10250

// Start starts the node and returns when the kubelet answers.
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
	if n.client, err = n.newClient(); err != nil {
		return nil, err
	}
	if err := n.startContainerd(ctx); err != nil {
		return nil, err
	}
	return n, n.StartKubelet(ctx)
}

// StartKubelet starts the kubelet, which must not run, and returns when it answers.
func (n *Node) StartKubelet(ctx context.Context) (err error) {
	soon := "1s" // what the kubelet otherwise remembers for minutes is asked for anew
	config := map[string]any{
		"apiVersion":               "kubelet.config.k8s.io/v1beta1",
		"kind":                     "KubeletConfiguration",
		"staticPodPath":            n.file("manifests"),
		"fileCheckFrequency":       "1s",
		"port":                     Port,
		"tlsCertFile":              n.config.ServingCertificate,
		"tlsPrivateKeyFile":        n.config.ServingKey,
		"containerRuntimeEndpoint": "unix://" + n.ContainerdSocket(),
		"podLogsDir":               n.file("logs"),
		"volumePluginDir":          n.file("volume-plugins"),
		"cgroupDriver":             "cgroupfs",
		"failCgroupV1":             false,
		"failSwapOn":               false,
		"makeIPTablesUtilChains":   false,
		"serializeImagePulls":      false,
		"featureGates":             map[string]bool{"PodsAPI": true},
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true, "cacheTTL": soon},
			"x509":      map[string]any{"clientCAFile": n.config.CA},
		},
		"authorization": map[string]any{
			"mode":    "Webhook",
			"webhook": map[string]any{"cacheAuthorizedTTL": soon, "cacheUnauthorizedTTL": soon},
		},
		// A full disk is not what is tried here.
		"evictionHard":                map[string]string{"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%", "imagefs.inodesFree": "0%"},
		"imageGCHighThresholdPercent": 100,
		// Tests read whole logs.
		"containerLogMaxSize": "1Gi",
		// A pod that fails is tried again soon.
		"crashLoopBackOff": map[string]any{"maxContainerRestartPeriod": "1s"},
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
			"--kubeconfig", n.config.Kubeconfig,
			"--root-dir", n.file("kubelet"),
			"--cert-dir", n.file("kubelet"),
			"--hostname-override", n.config.Name,
			"--node-ip", n.config.Address,
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

// PodsAPI is the folder with the socket of the kubelet's Pods API, pods-api.sock,
// which each kubelet makes anew.
func (n *Node) PodsAPI() string { return n.file("kubelet/pods-api") }

// StopKubelet ends the kubelet. What it started runs on.
func (n *Node) StopKubelet() error { return n.kubelet.Stop() }

func (n *Node) newClient() (*http.Client, error) {
	pair, err := tls.LoadX509KeyPair(n.config.ClientCertificate, n.config.ClientKey)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(n.config.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
	}}, nil
}

// RunStatic gives the kubelet a static pod. The kubelet adds "-" and the node's
// name to the pod's.
func (n *Node) RunStatic(pod *corev1.Pod) error {
	pod = pod.DeepCopy()
	pod.APIVersion, pod.Kind = "v1", "Pod"
	text, err := json.Marshal(pod)
	if err != nil {
		return err
	}
	path := n.manifest(pod)
	// The kubelet must not read half a file; it passes over names that begin with a dot.
	hidden := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(hidden, text, 0o600); err != nil {
		return err
	}
	return os.Rename(hidden, path)
}

// RemoveStatic takes a static pod away.
func (n *Node) RemoveStatic(pod *corev1.Pod) error { return os.Remove(n.manifest(pod)) }

func (n *Node) manifest(pod *corev1.Pod) string {
	return n.file(filepath.Join("manifests", pod.Namespace+"-"+pod.Name+".json"))
}

// Pods asks the kubelet for its pods.
func (n *Node) Pods(ctx context.Context) ([]corev1.Pod, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://%s:%d/pods", n.config.Address, Port), nil)
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

// Pod is the kubelet's own record of a pod; nil when it has none.
func (n *Node) Pod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	pods, err := n.Pods(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return p.Namespace == namespace && p.Name == name })
	if i < 0 {
		return nil, nil
	}
	return &pods[i], nil
}

// Output is what a container has written so far, line by line, in all of its runs
// that the kubelet keeps: of those that have ended that is the last one.
func (n *Node) Output(pod *corev1.Pod, container string) ([]string, error) {
	dir := n.file(filepath.Join("logs", fmt.Sprintf("%s_%s_%s", pod.Namespace, pod.Name, pod.UID), container))
	runs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return nil, err
	}
	if len(runs) == 0 {
		return nil, fmt.Errorf("%s: %w", dir, os.ErrNotExist)
	}
	slices.SortFunc(runs, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) }) // 9 before 10
	var lines []string
	for _, run := range runs {
		text, err := os.ReadFile(run)
		if errors.Is(err, os.ErrNotExist) {
			continue // removed just now
		}
		if err != nil {
			return nil, err
		}
		lines = append(lines, written(string(text))...)
	}
	return lines, nil
}

// written takes the lines out of a log as the CRI writes it: time, stream, P or F
// for a part of a line or its end, the text.
func written(log string) []string {
	var lines []string
	var begun strings.Builder
	for record := range strings.Lines(log) {
		parts := strings.SplitN(strings.TrimSuffix(record, "\n"), " ", 4)
		if len(parts) != 4 {
			continue
		}
		begun.WriteString(parts[3])
		if parts[2] == "F" {
			lines = append(lines, begun.String())
			begun.Reset()
		}
	}
	return lines
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
