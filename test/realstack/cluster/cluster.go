// Package cluster runs a Kubernetes cluster of one node: etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler, a kubelet and containerd, all of them
// real, and a registry that answers for every registry's name. It belongs into a
// machine of its own (package machine), where its ports are free and its pods are
// nobody else's.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/podseal/podseal/test/realstack/image"
	"github.com/podseal/podseal/test/realstack/node"
	"github.com/podseal/podseal/test/realstack/proc"
)

// Tools are the programs that a cluster is made of, for realstack.Build; runc is
// found in PATH.
var Tools = []string{
	"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl",
	"kubelet", "containerd", "containerd-shim-runc-v2", "ctr", "ptp", "host-local", "loopback",
}

// Config says what the cluster is made of.
type Config struct {
	// Tool returns the path of one of Tools.
	Tool func(name string) string
	// Dir is a folder that does not exist yet, with a short path.
	Dir string
	// NodeName is the node's, which resolves to its address.
	NodeName, Address string
	// Pause is what holds a pod's namespaces.
	Pause image.Image
	// Images are in the registry when the cluster is there.
	Images []image.Image
	// Progress takes a line for each part that is started.
	Progress io.Writer
}

// Cluster is a running cluster.
type Cluster struct {
	// Client is the API, as cluster-admin.
	Client kubernetes.Interface
	// Node is the one node.
	Node *node.Node

	config                                 Config
	pki                                    pki
	registry                               *http.Server
	etcd, apiserver, controller, scheduler *proc.Process
}

const (
	clusterName = "podseal-e2e"
	apiAddress  = "127.0.0.1:6443"
	registryAt  = "127.0.0.1:5000"
	etcdAt      = "127.0.0.1:2379"
	// readyLimit is how long a part may take to answer. Seconds are usual.
	readyLimit = 3 * time.Minute
)

// Start starts the cluster and returns when its node is ready for pods. What was
// started is stopped by Stop, when ctx is done, and on an error.
func Start(ctx context.Context, c Config) (_ *Cluster, err error) {
	k := &Cluster{config: c, pki: pki{dir: filepath.Join(c.Dir, "pki"), api: apiAddress}}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.Stop())
		}
	}()
	for _, dir := range []string{c.Dir, filepath.Join(c.Dir, "node")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if err := k.pki.make(c.NodeName, c.Address); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		name  string
		start func(context.Context) error
	}{
		{"registry", k.startRegistry},
		{"etcd", k.startEtcd},
		{"kube-apiserver", k.StartAPIServer},
		{"kube-controller-manager and kube-scheduler", k.startControllers},
		{"containerd and kubelet", k.startNode},
	} {
		begin := time.Now()
		if err := part.start(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Fprintf(c.Progress, "%s: ready after %.1f s\n", part.name, time.Since(begin).Seconds())
	}
	return k, nil
}

// startRegistry serves the images of the configuration to whoever asks.
func (k *Cluster) startRegistry(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", registryAt)
	if err != nil {
		return err
	}
	k.registry = &http.Server{
		Handler:           registry.New(registry.Logger(log.New(io.Discard, "", 0))),
		ReadHeaderTimeout: time.Minute,
	}
	go func() { _ = k.registry.Serve(listener) }() // until Stop
	for _, i := range append(k.config.Images[:len(k.config.Images):len(k.config.Images)], k.config.Pause) {
		if _, err := k.Push(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// Push puts an image into the registry and returns its manifest's digest.
func (k *Cluster) Push(ctx context.Context, i image.Image) (digest string, err error) {
	return i.Push(ctx, registryAt)
}

func (k *Cluster) startEtcd(ctx context.Context) (err error) {
	k.etcd, err = k.run(ctx, "etcd",
		"--data-dir", k.file("etcd"),
		"--listen-client-urls", "https://"+etcdAt,
		"--advertise-client-urls", "https://"+etcdAt,
		"--listen-peer-urls", "http://127.0.0.1:0",
		"--cert-file", k.pki.path("etcd.crt"), "--key-file", k.pki.path("etcd.key"),
		"--client-cert-auth", "--trusted-ca-file", k.pki.path("ca.crt"),
		"--unsafe-no-fsync", // nothing is to outlive the machine
		"--log-level", "warn",
	)
	return err // kube-apiserver waits for it
}

// StartAPIServer starts kube-apiserver, which must not run, and returns when it is
// ready.
func (k *Cluster) StartAPIServer(ctx context.Context) (err error) {
	k.apiserver, err = k.run(ctx, "kube-apiserver",
		"--etcd-servers", "https://"+etcdAt,
		"--etcd-cafile", k.pki.path("ca.crt"),
		"--etcd-certfile", k.pki.path("admin.crt"), "--etcd-keyfile", k.pki.path("admin.key"),
		"--bind-address", "127.0.0.1", "--secure-port", "6443",
		// Nobody reaches the API server as a service.
		"--advertise-address", k.config.Address, "--endpoint-reconciler-type", "none",
		"--tls-cert-file", k.pki.path("apiserver.crt"), "--tls-private-key-file", k.pki.path("apiserver.key"),
		"--client-ca-file", k.pki.path("ca.crt"),
		"--kubelet-certificate-authority", k.pki.path("ca.crt"),
		"--kubelet-client-certificate", k.pki.path("apiserver-kubelet.crt"),
		"--kubelet-client-key", k.pki.path("apiserver-kubelet.key"),
		"--kubelet-preferred-address-types", "InternalIP",
		"--service-account-key-file", k.pki.path("service-accounts.key"),
		"--service-account-signing-key-file", k.pki.path("service-accounts.key"),
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-cluster-ip-range", "10.96.0.0/16",
		"--authorization-mode", "Node,RBAC",
		"--enable-admission-plugins", "NodeRestriction",
		"--allow-privileged",
		"--anonymous-auth=false",
	)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", k.Kubeconfig())
	if err != nil {
		return err
	}
	config.QPS, config.Burst = -1, -1 // no limit
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	k.Client = client
	ready, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	return k.apiserver.Until(ready, func(ctx context.Context) error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// KillAPIServer ends kube-apiserver at once: an outage. (Asked to end, it waits for
// its clients.)
func (k *Cluster) KillAPIServer() error {
	if err := k.apiserver.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-k.apiserver.Exited()
	return nil
}

func (k *Cluster) startControllers(ctx context.Context) (err error) {
	manager := k.pki.path("controller-manager.kubeconfig")
	k.controller, err = k.run(ctx, "kube-controller-manager",
		"--kubeconfig", manager, "--authentication-kubeconfig", manager, "--authorization-kubeconfig", manager,
		"--bind-address", "127.0.0.1", "--leader-elect=false",
		"--service-account-private-key-file", k.pki.path("service-accounts.key"),
		"--root-ca-file", k.pki.path("ca.crt"),
		"--use-service-account-credentials",
	)
	if err != nil {
		return err
	}
	scheduler := k.pki.path("scheduler.kubeconfig")
	k.scheduler, err = k.run(ctx, "kube-scheduler",
		"--kubeconfig", scheduler, "--authentication-kubeconfig", scheduler, "--authorization-kubeconfig", scheduler,
		"--bind-address", "127.0.0.1", "--leader-elect=false",
	)
	if err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	// Pods are let in only where their service account is there.
	return k.controller.Until(ready, func(ctx context.Context) error {
		_, err := k.Client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

func (k *Cluster) startNode(ctx context.Context) (err error) {
	k.Node, err = node.Start(ctx, node.Config{
		Kubelet:            k.config.Tool("kubelet"),
		Containerd:         k.config.Tool("containerd"),
		Shim:               k.config.Tool("containerd-shim-runc-v2"),
		Ctr:                k.config.Tool("ctr"),
		CNI:                filepath.Dir(k.config.Tool("ptp")),
		Dir:                k.file("node"),
		Name:               k.config.NodeName,
		Address:            k.config.Address,
		Kubeconfig:         k.pki.path("node.kubeconfig"),
		CA:                 k.pki.path("ca.crt"),
		ServingCertificate: k.pki.path("kubelet.crt"),
		ServingKey:         k.pki.path("kubelet.key"),
		ClientCertificate:  k.pki.path("admin.crt"),
		ClientKey:          k.pki.path("admin.key"),
		Registry:           registryAt,
		PauseImage:         k.config.Pause.Name,
	})
	if err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	return k.Node.Until(ready, k.nodeIsReady)
}

func (k *Cluster) nodeIsReady(ctx context.Context) error {
	n, err := k.Client.CoreV1().Nodes().Get(ctx, k.config.NodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if len(n.Spec.Taints) > 0 {
		return fmt.Errorf("the node is tainted: %v", n.Spec.Taints)
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("the node is not ready: %v", n.Status.Conditions)
}

// run starts one of the tools.
func (k *Cluster) run(ctx context.Context, name string, args ...string) (*proc.Process, error) {
	return proc.Start(ctx, proc.Command{
		Name: name,
		Argv: append([]string{k.config.Tool(name)}, args...),
		Log:  k.file(name + ".log"),
	})
}

// CA is the file of the cluster's certificate authority.
func (k *Cluster) CA() string { return k.pki.path("ca.crt") }

// Kubeconfig is the file for cluster-admin.
func (k *Cluster) Kubeconfig() string { return k.pki.path("admin.kubeconfig") }

// KubeconfigFor is a kubeconfig of cluster-admin who finds the API server at
// another URL, of 127.0.0.1 or localhost.
func (k *Cluster) KubeconfigFor(url string) ([]byte, error) {
	config, err := k.pki.kubeconfigFor("admin", url)
	if err != nil {
		return nil, err
	}
	return clientcmd.Write(config)
}

// AdminCertificate are the files of cluster-admin's certificate and key, which the
// kubelet accepts too.
func (k *Cluster) AdminCertificate() (certificate, key string) {
	return k.pki.path("admin.crt"), k.pki.path("admin.key")
}

// Address is where the API server listens.
func (k *Cluster) Address() string { return apiAddress }

// Kubectl runs kubectl as cluster-admin, with that standard input, and returns its
// standard output. The error has what it wrote to standard error.
func (k *Cluster) Kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, k.config.Tool("kubectl"), append([]string{"--kubeconfig", k.Kubeconfig()}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+k.config.Dir) // where it caches
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stdin = bytes.NewReader([]byte(stdin))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %v: %w: %s", args, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}

// Stop ends all parts, those first that stand on others. The pods' processes go
// with the machine.
func (k *Cluster) Stop() error {
	var errs []error
	if k.Node != nil {
		errs = append(errs, k.Node.Stop())
	}
	for _, p := range []*proc.Process{k.scheduler, k.controller, k.apiserver, k.etcd} {
		if p != nil {
			errs = append(errs, p.Stop())
		}
	}
	if k.registry != nil {
		errs = append(errs, k.registry.Close())
	}
	return errors.Join(errs...)
}

func (k *Cluster) file(name string) string { return filepath.Join(k.config.Dir, name) }
