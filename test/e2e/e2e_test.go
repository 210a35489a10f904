//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/realstack/machine"
	"github.com/podseal/podseal/test/realstack/node"
	"github.com/podseal/podseal/test/realstack/spirestack"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
)

// limit is for each step that waits; each takes seconds.
const limit = 3 * time.Minute

// TestRealNode goes through the main job: on a real node, the workload that an
// entry names gets its SVID because of podseal's selectors, another is refused.
func TestRealNode(t *testing.T) {
	machine.Require(t)
	n := startNode(t)
	server := startServer(t)
	podseal := startAgent(t, server, "podseal", spirestack.Plugin{Command: program("podseal"), Data: pluginData(n, n.CAPath())})
	// The attestor that SPIRE has built in, with the same configuration, for comparison.
	builtIn := startAgent(t, server, "built-in", spirestack.Plugin{Data: pluginData(n, n.CAPath())})
	wrongCA := startAgent(t, server, "wrong-ca", spirestack.Plugin{Command: program("podseal"), Data: pluginData(n, otherCA(t)) + "max_poll_attempts = 3", Live: true})

	api := run(t, n, apiPod())
	front := run(t, n, frontPod())

	t.Run("the workload of the entry gets its SVID", func(t *testing.T) {
		got := awaitAnswer(t, n, api, "api", podseal, func(a answer) bool { return a.ID != "" })
		if want := server.ID("/pay/api"); got.ID != want {
			t.Errorf("SPIFFE ID %s, want %s", got.ID, want)
		}
	})
	t.Run("the workload in the other pod is refused", func(t *testing.T) {
		// Entries for its namespace and for its name exist, each with one selector that is not its own.
		got := awaitAnswer(t, n, front, "front", podseal, func(a answer) bool { return a.Code != codes.Unavailable.String() })
		if got.ID != "" || got.Code != codes.PermissionDenied.String() {
			t.Errorf("got %+v, want PermissionDenied", got)
		}
	})
	t.Run("podseal's selectors are the manifest's", func(t *testing.T) {
		if diff := cmp.Diff(wantSelectors(t, api), selectorsOf(t, n, podseal, api)); diff != "" {
			t.Errorf("selectors (-want +got):\n%s", diff)
		}
	})
	t.Run("podseal gives what the built-in attestor gives, and its own", func(t *testing.T) {
		for _, pod := range []*corev1.Pod{api, front} {
			awaitAnswer(t, n, pod, pod.Spec.Containers[0].Name, builtIn, func(a answer) bool { return a.Code != codes.Unavailable.String() })
			both := selectorsOf(t, n, podseal, pod)
			var shared []string
			for _, s := range both {
				if !isAdded(s) {
					shared = append(shared, s)
				}
			}
			if diff := cmp.Diff(selectorsOf(t, n, builtIn, pod), shared); diff != "" {
				t.Errorf("%s: selectors (-built-in +podseal):\n%s", pod.Name, diff)
			}
			if len(both) == len(shared) {
				t.Errorf("%s: podseal added no selector", pod.Name)
			}
		}
	})
	t.Run("a process of the host gets no selectors", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		_, err := workloadapi.FetchX509SVID(ctx, workloadapi.WithAddr("unix:"+podseal.Socket()))
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("FetchX509SVID: %v, want PermissionDenied", err)
		}
		for _, selectors := range attested(t, podseal, os.Getpid()) {
			if len(selectors) > 0 {
				t.Errorf("selectors %q", selectors)
			}
		}
	})
	t.Run("the command line sees what the agent saw", func(t *testing.T) {
		config := filepath.Join(t.TempDir(), "podseal.conf")
		if err := os.WriteFile(config, []byte(pluginData(n, n.CAPath())), 0o600); err != nil {
			t.Fatal(err)
		}
		var list struct {
			Containers []struct {
				PodUID    string `json:"pod_uid"`
				State     string
				Selectors []string
			}
		}
		podsealJSON(t, &list, "list", "--config", config)
		seen := map[string][]string{}
		for _, c := range list.Containers {
			if c.State == "running" {
				seen[c.PodUID] = c.Selectors
			}
		}
		for _, pod := range []*corev1.Pod{api, front} {
			if diff := cmp.Diff(selectorsOf(t, n, podseal, pod), seen[string(pod.UID)]); diff != "" {
				t.Errorf("%s: selectors (-agent +list):\n%s", pod.Name, diff)
			}
		}
		var diagnosis struct {
			Checks []struct{ Name, Status, Finding string }
			Failed int
		}
		podsealJSON(t, &diagnosis, "doctor", "--config", config)
		for _, c := range diagnosis.Checks {
			t.Logf("%-8s %s: %s", c.Status, c.Name, c.Finding)
			// This kubelet authorizes everybody, and nobody else made pods here.
			if want, known := map[string]string{"kubelet-least-privilege": "warning", "containers": "ok", "kubelet-root": "ok"}[c.Name]; known && c.Status != want {
				t.Errorf("%s is %s, want %s: %s", c.Name, c.Status, want, c.Finding)
			}
		}
		if diagnosis.Failed > 0 {
			t.Errorf("%d checks failed", diagnosis.Failed)
		}
	})
	t.Run("a wrong CA file is named in the agent's log, and mended without a restart", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		record, err := wrongCA.Await(ctx, 0, func(r spirestack.Record) bool {
			return strings.Contains(r.Line, "kubelet_ca_path") && (r.Level == "error" || r.Level == "warning")
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("the agent's log says: %s", record.Line)
		if !strings.Contains(record.Line, "other-ca.crt") {
			t.Errorf("the file is not named: %s", record.Line)
		}
		if err := wrongCA.Reconfigure(ctx, pluginData(n, n.CAPath())); err != nil {
			t.Fatal(err)
		}
		awaitAnswer(t, n, api, "api", wrongCA, func(a answer) bool { return a.ID == server.ID("/pay/api") })
	})
}

// podsealJSON runs podseal's command line, which must succeed, and reads its JSON.
func podsealJSON(t *testing.T, into any, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program("podseal"), append(args, "-o", "json")...)
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("podseal %v: %v: %s", args, err, out)
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatal(err)
	}
}

// isAdded tells podseal's own selectors from those of the built-in attestor.
func isAdded(selector string) bool {
	return slices.ContainsFunc([]string{
		"k8s:container-type:", "k8s:container-image-digest:", "k8s:pod-image-digest:", "k8s:pod-spec-image:",
	}, func(prefix string) bool { return strings.HasPrefix(selector, prefix) })
}

// wantSelectors is what the pod's manifest says, with those few things that only
// the node knows: the UID and what containerd calls the image.
func wantSelectors(t *testing.T, pod *corev1.Pod) []string {
	t.Helper()
	own := pod.Status.ContainerStatuses[0]
	setup := pod.Status.InitContainerStatuses[0]
	// An imported image has no repository, so its ID is a bare digest.
	if !strings.HasPrefix(own.ImageID, "sha256:") || pod.UID == "" || own.Image == "" {
		t.Fatalf("the kubelet's record is not what this test was written for: UID %q, image %q, image ID %q", pod.UID, own.Image, own.ImageID)
	}
	want := []string{
		"k8s:ns:pay",
		"k8s:sa:api",
		"k8s:node-name:" + machine.HostName,
		"k8s:pod-name:api-" + machine.HostName,
		"k8s:pod-uid:" + string(pod.UID),
		"k8s:pod-label:app:api",
		"k8s:pod-label:tier:backend",
		"k8s:pod-image-count:1",
		"k8s:pod-init-image-count:1",
		"k8s:pod-image:" + own.Image,
		"k8s:pod-image:" + own.ImageID,
		"k8s:pod-image-digest:" + own.ImageID,
		"k8s:pod-spec-image:" + workloadImage,
		"k8s:pod-init-image:" + setup.Image,
		"k8s:pod-init-image:" + setup.ImageID,
		"k8s:container-name:api",
		"k8s:container-type:regular",
		"k8s:container-image:" + own.Image,
		"k8s:container-image:" + own.ImageID,
		"k8s:container-image-digest:" + own.ImageID,
	}
	slices.Sort(want)
	return slices.Compact(want)
}

// selectorsOf is what an agent's attestor said of a pod's first container, which
// must have been the same at every call.
func selectorsOf(t *testing.T, n *node.Node, agent *spirestack.Agent, pod *corev1.Pod) []string {
	t.Helper()
	_, id, _ := strings.Cut(pod.Status.ContainerStatuses[0].ContainerID, "://")
	pid, err := n.PID(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	calls := attested(t, agent, pid)
	if len(calls) == 0 {
		t.Fatalf("%s: the agent did not attest process %d", pod.Name, pid)
	}
	for _, selectors := range calls {
		slices.Sort(selectors) // the built-in attestor's are in no order
	}
	for _, selectors := range calls[1:] {
		if diff := cmp.Diff(calls[0], selectors); diff != "" {
			t.Errorf("%s: two calls, two answers (-first +later):\n%s", pod.Name, diff)
		}
	}
	return calls[0]
}

func attested(t *testing.T, agent *spirestack.Agent, pid int) [][]string {
	t.Helper()
	calls, err := agent.Attested(pid)
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// answer is what the workload program writes.
type answer struct{ Socket, ID, Code, Reason string }

// awaitAnswer waits for an answer of that agent, as the container's output has it.
func awaitAnswer(t *testing.T, n *node.Node, pod *corev1.Pod, container string, agent *spirestack.Agent, accept func(answer) bool) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	socket := socketInPod(agent)
	var found answer
	err := n.Until(ctx, func(context.Context) error {
		lines, err := n.Output(pod, container)
		if err != nil {
			return err
		}
		last := "nothing"
		for _, line := range lines {
			var a answer
			if err := json.Unmarshal([]byte(line), &a); err != nil {
				return fmt.Errorf("output %q: %w", line, err)
			}
			if a.Socket != socket {
				continue
			}
			if accept(a) {
				found = a
				return nil
			}
			last = line
		}
		return errors.New("the workload's last answer: " + last)
	})
	if err != nil {
		t.Fatal(errors.Join(err, agent.Explain(errors.New("for comparison"))))
	}
	return found
}

func otherCA(t *testing.T) string {
	t.Helper()
	ca, err := kubelettest.NewCA("another-ca")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(machine.Dir(), "other-ca.crt")
	if err := os.WriteFile(path, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
