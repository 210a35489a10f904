package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/test/pluginproc"
)

// Scripts are sessions of a person on a node with two pods, with the built
// binary. $PID is a process of shop/app, $HOST one of no pod, $CONFIG the agent's
// configuration, $PODSAPI one for the kubelet's Pods API alone and $AUTO for both
// sources, with the socket $SOCKET. $SIGNED is an image that $POLICIES accepts, and
// $UNSIGNED one that it does not.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			n := newNode(e.T().(testing.TB))
			pid := n.Pod(pod("app"))
			waiting := pod("waiting")
			waiting.Containers[0].ID, waiting.Containers[0].State = "", kubelettest.Waiting
			if err := n.Kubelet.AddPod(waiting.Build()); err != nil {
				return err
			}
			socket, err := n.podsAPI(pod("app").Build(), waiting.Build())
			if err != nil {
				return err
			}
			e.Setenv("SOCKET", socket)
			e.Setenv("AUTO", n.config(settings{"pods_api_socket": socket}))
			e.Setenv("PODSAPI", n.config(settings{"pod_source": "pods_api", "pods_api_socket": socket,
				"kubelet_secure_port": nil, "kubelet_ca_path": nil, "token_path": nil}))
			e.Setenv("PATH", filepath.Dir(pluginproc.Binary(n.t))+":"+e.Getenv("PATH"))
			e.Setenv("TERM", "xterm")
			e.Setenv("TMPDIR", e.WorkDir)
			e.Setenv("PID", strconv.Itoa(pid))
			e.Setenv("HOST", strconv.Itoa(n.Process("/system.slice/sshd.service")))
			e.Setenv("GONE", strconv.Itoa(pluginproc.Ended(n.t)))
			e.Setenv("CONFIG", n.config(nil))
			if err := signedImages(e); err != nil {
				return err
			}
			e.Setenv("DATA", fmt.Sprint(n.data()))
			return nil
		},
	})
}

// signedImages puts images into a registry, and files about them beside the script.
func signedImages(e *testscript.Env) error {
	sigstore := sigstoretest.New()
	registry := sigstoretest.NewRegistry(e.T().(testing.TB), sigstoretest.RegistryOptions{})
	signed := registry.PushImage("pay/api", sigstoretest.Image{Content: "signed"}).Ref
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	registry.Attach(signed, sigstoretest.Usual, sigstoretest.Sign(sigstoretest.Signature{
		Signer: key, Digest: signed.Digest, Format: evidence.SimpleSigning, Witnesses: []sigstoretest.Witness{sigstore.Rekor1},
	}))
	policies := filepath.Join(e.WorkDir, "policies.conf")
	for name, text := range map[string][]byte{
		"key.pub": key.PublicPEM(),
		"ca.pem":  registry.CAPEM(),
		"policies.conf": fmt.Appendf(nil, "registry %q {\n  ca_path = %q\n}\n\nimage_policy \"release\" {\n  match {\n    namespaces = [\"pay\"]\n  }\n\n  authority \"ci\" {\n    key_path = %q\n  }\n}\n",
			registry.Host(), filepath.Join(e.WorkDir, "ca.pem"), filepath.Join(e.WorkDir, "key.pub")),
	} {
		if err := os.WriteFile(filepath.Join(e.WorkDir, name), text, 0o600); err != nil {
			return err
		}
	}
	e.Setenv("POLICIES", policies)
	e.Setenv("SIGNED", signed.String())
	e.Setenv("UNSIGNED", registry.PushImage("pay/api", sigstoretest.Image{Content: "unsigned"}).Ref.String())
	return nil
}
