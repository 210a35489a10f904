package cli_test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
)

// Scripts are sessions of a person on a node with two pods, with the built
// binary. $PID is a process of shop/app, $HOST one of no pod, $CONFIG the agent's
// configuration, $PODSAPI one for the kubelet's Pods API alone and $AUTO for both
// sources, with the socket $SOCKET.
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
			e.Setenv("DATA", fmt.Sprint(n.data()))
			return nil
		},
	})
}
