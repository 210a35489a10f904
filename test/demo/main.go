// Command demo shows podseal's main job on an embedded node: a real SPIRE server
// and agent with podseal as its attestor, a stand-in for the kubelet, a registry,
// and five workloads in pods. Three of them get their identities because of
// podseal's selectors, one of these because its image is signed by the workflow
// that the policy names. One is in no registration entry and is refused; so is one
// that has the namespace and service account of the signed one, but whose image
// nobody signed.
//
// What is real: SPIRE, podseal as it is shipped (bin/podseal), the go-plugin
// connection with its checksum, the processes, their cgroups, the Workload API, and
// the cryptography of the signatures. What is not: nothing runs the pods'
// containers, their processes are simply put into the cgroups that a container
// runtime would make; the pod list comes from a stand-in kubelet, over TLS and with
// a token; the registry is one of this program's, and the Sigstore that signs is a
// virtual one.
//
//	make demo
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/realstack"
	"github.com/podseal/podseal/test/realstack/spirestack"
)

func main() {
	switch {
	case len(os.Args) > 2 && os.Args[1] == roleEnter:
		exit(enter(os.Args[2:]))
	case len(os.Args) == 3 && os.Args[1] == roleWorkload:
		exit(workload(os.Args[2]))
	}
	if err := canMakeCgroups(); err != nil && withoutCgroups() == "" {
		exit(runWithoutCgroups(err))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := demo(ctx)
	if ctx.Err() != nil {
		err = errors.New("interrupted; everything that was started has been stopped")
	}
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// demo runs the demonstration. Whatever it starts it stops before it returns.
func demo(ctx context.Context) (err error) {
	binaries, err := realstack.Build(ctx, os.Stdout, "spire-server", "spire-agent")
	if err != nil {
		return err
	}
	root, err := realstack.SourceRoot()
	if err != nil {
		return err
	}
	began := time.Now()
	dir, err := os.MkdirTemp("", "podseal-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	n, err := newNode(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	fmt.Printf("embedded node     %s\n", n.describe())

	images, err := startImages(dir)
	if err != nil {
		return err
	}
	defer images.registry.Close()
	n.images = images.refs
	fmt.Printf("registry          %s\n", images.describe())

	kubelet, data, err := startKubelet(dir, n.pods())
	if err != nil {
		return err
	}
	defer kubelet.Close()
	fmt.Printf("stand-in kubelet  https://127.0.0.1:%d with %d pods\n", kubelet.Port(), len(n.pods()))

	server, err := spirestack.StartServer(ctx, spirestack.ServerConfig{Binary: binaries["spire-server"], TrustDomain: "demo.example"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	for _, w := range workloads {
		if w.path == "" {
			continue
		}
		if err := server.CreateEntry(ctx, spirestack.Entry{Path: w.path, Selectors: w.selectors}); err != nil {
			return err
		}
	}
	fmt.Printf("spire-server      trust domain %s, %d registration entries\n", server.TrustDomain(), entries())

	wrap, err := n.agentWrap()
	if err != nil {
		return err
	}
	agent, err := server.StartAgent(ctx, spirestack.AgentConfig{
		Binary: binaries["spire-agent"],
		Wrap:   wrap,
		Plugin: spirestack.Plugin{Command: filepath.Join(root, "bin", "podseal"), Data: data + images.data},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, agent.Stop()) }()
	fmt.Printf("spire-agent       in %s, podseal is its WorkloadAttestor \"k8s\"\n\n", n.agentPlace())

	results, err := n.ask(ctx, agent)
	if err != nil {
		return agent.Explain(err)
	}
	printTable(os.Stdout, results)
	fmt.Printf("\nkubelet requests: %d, registry requests: %d, in %.1f s from start to here\n",
		kubelet.Stats().Requests, len(images.registry.Requests()), time.Since(began).Seconds())
	return errors.Join(judge(results), images.err())
}

// startKubelet starts the stand-in with those pods, and returns the plugin_data
// that makes podseal ask it.
func startKubelet(dir string, pods []kubelettest.Pod) (*kubelettest.Server, string, error) {
	kubelet, err := kubelettest.Start(kubelettest.Options{})
	if err != nil {
		return nil, "", err
	}
	files, err := kubelet.WriteFiles(dir)
	if err != nil {
		kubelet.Close()
		return nil, "", err
	}
	for _, p := range pods {
		if err := kubelet.AddPod(p.Build()); err != nil {
			kubelet.Close()
			return nil, "", err
		}
	}
	// pod_source: this machine may have a kubelet of its own.
	return kubelet, fmt.Sprintf("pod_source = \"kubelet\"\nkubelet_secure_port = %d\nkubelet_ca_path = %q\ntoken_path = %q\n", kubelet.Port(), files.CA, files.Token), nil
}
