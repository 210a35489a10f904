//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podseal/podseal/test/e2e/stack"
	"github.com/podseal/podseal/test/realstack/image"
	"github.com/podseal/podseal/test/realstack/machine"
	"github.com/podseal/podseal/test/realstack/spirestack"
)

// TestExampleEntries registers what examples/ has, and runs the pods that it is
// about. Both ways are for the namespace payments, one after the other.
func TestExampleEntries(t *testing.T) {
	t.Parallel()
	w := inWorld(t)
	for _, name := range []string{"payments", "shop"} {
		w.namespace(t, name)
	}
	for _, name := range []string{"reports", "api", "ledger"} {
		w.serviceAccount(t, "payments", name)
	}
	t.Run("entries.json", func(t *testing.T) { testEntriesFile(t, w) })
	t.Run("clusterspiffeid.yaml", func(t *testing.T) { testClusterSPIFFEIDs(t, w) })
}

func (w *world) serviceAccount(t *testing.T, namespace, name string) {
	t.Helper()
	_, err := w.Client.CoreV1().ServiceAccounts(namespace).Create(t.Context(),
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// asker is a container that asks the example's agent only: for no other are the
// example's entries.
func asker(pod *corev1.Pod, name string, flags ...string) corev1.Container {
	c := container(pod.Namespace, pod.Name, name)
	c.Args = append(slices.Concat(flags, c.Args[:2]), podsealSocket)
	return c
}

// sidecar is an asker that runs beside what is in the pod.
func sidecar(pod *corev1.Pod, name string) corev1.Container {
	c := asker(pod, name)
	c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	return c
}

// podOf is a pod of a service account with these askers.
func podOf(namespace, name, account string, containers ...string) *corev1.Pod {
	pod := newPod(namespace, name)
	pod.Labels = nil
	pod.Spec.ServiceAccountName = account
	pod.Spec.Containers = nil
	for _, c := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, asker(pod, c))
	}
	return pod
}

func testEntriesFile(t *testing.T, w *world) {
	// All but the digest is the example's.
	digest, err := w.Push(t.Context(), image.Of(stack.WorkloadImage, stack.Program("workload")))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(stack.Source("examples/entries.json"))
	if err != nil {
		t.Fatal(err)
	}
	zeros := "sha256:" + strings.Repeat("0", 64)
	if strings.Count(string(text), zeros) != 1 {
		t.Fatalf("the example does not have the digest %s once", zeros)
	}
	path := filepath.Join(t.TempDir(), "entries.json")
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), zeros, digest, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Server.CreateEntries(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The other example has IDs of its own for the same pods.
		ctx := context.WithoutCancel(t.Context())
		all, err := w.Server.Entries(ctx)
		if err != nil {
			t.Error(err)
		}
		for _, e := range all {
			if strings.HasPrefix(e.SPIFFEID, w.Server.ID("/payments/")) {
				if err := w.Server.DeleteEntry(ctx, e.EntryID); err != nil {
					t.Error(err)
				}
			}
		}
	})

	api := podOf("payments", "api", "api", "api", "metrics")
	api.Spec.InitContainers = []corev1.Container{sidecar(api, "proxy"), asker(api, "migrate", "-once")}
	// Names of the entries, in other places of a pod.
	exchanged := podOf("payments", "exchanged", "api", "migrate")
	exchanged.Spec.InitContainers = []corev1.Container{sidecar(exchanged, "api")}
	reports := podOf("payments", "reports", "reports", "one", "two")
	reports.Spec.InitContainers = []corev1.Container{asker(reports, "before", "-once"), sidecar(reports, "proxy")}
	otherImage := podOf("payments", "other-image", "ledger", "ledger")
	otherImage.Spec.Containers[0].Image = importedImage

	w.wantIDs(t, map[*corev1.Pod]map[string]string{
		api:        {"api": "/payments/api", "migrate": "/payments/migrate", "metrics": "", "proxy": ""},
		exchanged:  {"api": "", "migrate": ""},
		reports:    {"before": "/payments/reports", "proxy": "/payments/reports", "one": "/payments/reports", "two": "/payments/reports"},
		otherImage: {"ledger": ""},
		podOf("payments", "ledger", "ledger", "whatever"):      {"whatever": "/payments/ledger"},
		podOf("payments", "other-account", "default", "api"):   {"api": ""},
		podOf("shop", "other-namespace", "default", "api"):     {"api": ""},
		podOf("shop", "other-ledger", "default", "whatever"):   {"whatever": ""},
		podOf("payments", "reports-by-name", "api", "reports"): {"reports": ""},
	})
}

// wantIDs runs the pods and waits until each container has the ID of that path, and
// those of the empty path were refused.
func (w *world) wantIDs(t *testing.T, pods map[*corev1.Pod]map[string]string) {
	t.Helper()
	for pod := range pods {
		w.create(t, pod)
	}
	for pod, containers := range pods {
		started := w.running(t, pod.Namespace, pod.Name)
		for name, path := range containers {
			if path != "" {
				w.awaitID(t, started, name, w.Server.ID(path), podsealSocket)
			}
		}
	}
	// Now the agent knows the entries.
	for pod, containers := range pods {
		started := w.running(t, pod.Namespace, pod.Name)
		for name, path := range containers {
			if path == "" {
				w.wantRefused(t, started, name, podsealSocket)
			}
		}
	}
}

func testClusterSPIFFEIDs(t *testing.T, w *world) {
	w.entry(t, "/somebody/else", "k8s:ns:nowhere")
	manager, err := w.StartControllerManager(t.Context(), "payments", "shop", stack.Namespace, "kube-system")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := manager.Stop(); err != nil {
			t.Error(err)
		}
	})
	file := stack.Source("examples/clusterspiffeid.yaml")
	if _, err := w.Kubectl(t.Context(), "", "apply", "--validate=strict", "--filename", file); err != nil {
		t.Fatal(err)
	}

	labels := map[string]string{"app.kubernetes.io/name": "api"}
	api := podOf("payments", "api-labelled", "api", "api", "metrics")
	api.Labels = labels
	api.Spec.InitContainers = []corev1.Container{sidecar(api, "proxy")}
	// It bears the label and is somebody else's.
	imposter := podOf("payments", "imposter", "default", "api")
	imposter.Labels = labels
	imposter.Spec.InitContainers = []corev1.Container{sidecar(imposter, "proxy")}
	// The names are right and the types are not.
	exchanged := podOf("payments", "exchanged-labelled", "api", "proxy")
	exchanged.Labels = labels
	exchanged.Spec.InitContainers = []corev1.Container{sidecar(exchanged, "api")}
	worker := podOf("payments", "worker", "reports", "one")
	worker.Spec.InitContainers = []corev1.Container{asker(worker, "before", "-once"), sidecar(worker, "proxy")}
	// The label means nothing in another namespace.
	elsewhere := podOf("shop", "elsewhere", "default", "api")
	elsewhere.Labels = labels

	w.wantIDs(t, map[*corev1.Pod]map[string]string{
		api:       {"api": "/ns/payments/sa/api/api", "proxy": "/ns/payments/sa/api/proxy", "metrics": ""},
		imposter:  {"api": "", "proxy": ""},
		exchanged: {"api": "", "proxy": ""},
		worker:    {"before": "/ns/payments/sa/reports", "one": "/ns/payments/sa/reports", "proxy": "/ns/payments/sa/reports"},
		elsewhere: {"api": "/ns/shop/sa/default"},
	})

	t.Run("an init container of the pod that gets IDs gets none", func(t *testing.T) {
		pod := podOf("payments", "starting", "api", "api")
		pod.Labels = labels
		// It never ends, so that it can be asked for when the entries are there.
		pod.Spec.InitContainers = []corev1.Container{sidecar(pod, "proxy"), asker(pod, "setup")}
		w.create(t, pod)
		pod = w.awaitPod(t, pod.Namespace, pod.Name, func(p *corev1.Pod) error {
			if s := p.Status.InitContainerStatuses; len(s) != 2 || s[1].State.Running == nil {
				return fmt.Errorf("init containers: %+v", s)
			}
			return nil
		})
		w.awaitID(t, pod, "proxy", w.Server.ID("/ns/payments/sa/api/proxy"), podsealSocket)
		w.wantRefused(t, pod, "setup", podsealSocket)
	})
	t.Run("a debug container gets none, even where such containers are attested", func(t *testing.T) {
		pod, err := w.Client.CoreV1().Pods("payments").Get(t.Context(), api.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		debug := asker(pod, "debug")
		pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: debug.Name, Image: debug.Image, Args: debug.Args, VolumeMounts: debug.VolumeMounts,
		}}}
		if _, err := w.Client.CoreV1().Pods("payments").UpdateEphemeralContainers(t.Context(), pod.Name, pod, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		pid := w.pidOf(t, processName("payments", pod.Name, "debug"))
		settled := time.Now()
		w.awaitAnswer(t, pod, "debug", podsealSocket, func(a answer) bool {
			if a.ID != "" {
				t.Errorf("it got %s", a.ID)
			}
			// Which is how the agent passes on that the attestor refused.
			return a.Code == "Unavailable" && a.Asked.After(settled)
		})
		var a attestation
		w.podsealJSON(t, &a, "attest", "--pid", fmt.Sprint(pid), "--config", configFile(t, w.hostData()+"ephemeral_containers = true\n"))
		if !slices.Contains(a.Selectors, "k8s:container-type:ephemeral") {
			t.Errorf("selectors %q", a.Selectors)
		}
		for _, e := range w.entriesOf(t, pod) {
			if containsAll(a.Selectors, e.Selectors) {
				t.Errorf("%q are among %q", e.Selectors, a.Selectors)
			}
		}
	})
	t.Run("a static pod gets none, as it has no service account and two UIDs", func(t *testing.T) {
		static := w.runStatic(t, podOf("shop", "static", "", "static"))
		var mirror *corev1.Pod
		w.await(t, func(ctx context.Context) (err error) {
			mirror, err = w.Client.CoreV1().Pods("shop").Get(ctx, static.Name, metav1.GetOptions{})
			return err
		})
		if mirror.Spec.ServiceAccountName != "" || mirror.UID == static.UID {
			t.Errorf("the API server's record has the service account %q and the UID %s, the kubelet's is %s", mirror.Spec.ServiceAccountName, mirror.UID, static.UID)
		}
		// By the time that a later pod has its ID, this one would.
		w.wantIDs(t, map[*corev1.Pod]map[string]string{podOf("shop", "later", "default", "later"): {"later": "/ns/shop/sa/default"}})
		if found := append(w.entriesOf(t, mirror), w.entriesOf(t, static)...); len(found) > 0 {
			t.Errorf("entries %+v", found)
		}
		w.wantRefused(t, static, "static", podsealSocket)
	})
	t.Run("the entries are as the example says", func(t *testing.T) {
		node, err := w.Client.CoreV1().Nodes().Get(t.Context(), machine.HostName, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		parent := w.Server.ID("/spire/agent/k8s_psat/example/" + string(node.UID))
		for pod, want := range map[*corev1.Pod]map[string][]string{
			api: {
				"/ns/payments/sa/api/api":   {"k8s:container-name:api", "k8s:container-type:regular", "k8s:ns:payments", "k8s:sa:api"},
				"/ns/payments/sa/api/proxy": {"k8s:container-name:proxy", "k8s:container-type:sidecar", "k8s:ns:payments", "k8s:sa:api"},
			},
			imposter: {
				"/ns/payments/sa/default/api":   {"k8s:container-name:api", "k8s:container-type:regular", "k8s:ns:payments", "k8s:sa:api"},
				"/ns/payments/sa/default/proxy": {"k8s:container-name:proxy", "k8s:container-type:sidecar", "k8s:ns:payments", "k8s:sa:api"},
			},
			worker:    {"/ns/payments/sa/reports": {"k8s:ns:payments", "k8s:sa:reports"}},
			elsewhere: {"/ns/shop/sa/default": {"k8s:ns:shop", "k8s:sa:default"}},
		} {
			found, err := w.Client.CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			entries := map[string][]string{}
			for _, e := range w.entriesOf(t, found) {
				entries[e.SPIFFEID] = append([]string{e.ParentID}, e.Selectors...)
			}
			expected := map[string][]string{}
			for path, selectors := range want {
				selectors = append(selectors, "k8s:pod-uid:"+string(found.UID))
				slices.Sort(selectors)
				expected[w.Server.ID(path)] = append([]string{parent}, selectors...)
			}
			if diff := cmp.Diff(expected, entries); diff != "" {
				t.Errorf("%s: entries (-want +got):\n%s", pod.Name, diff)
			}
		}
		if found := w.entriesOf(t, w.podseal.Pod()); len(found) > 0 {
			t.Errorf("the agent's own pod has the entries %+v", found)
		}
	})
	t.Run("they go with the resources, and no others do", func(t *testing.T) {
		if _, err := w.Kubectl(t.Context(), "", "delete", "--filename", file); err != nil {
			t.Fatal(err)
		}
		w.await(t, func(context.Context) error {
			for _, pod := range []*corev1.Pod{api, imposter, worker, elsewhere} {
				found, err := w.Client.CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
				if err != nil {
					return err
				}
				if entries := w.entriesOf(t, found); len(entries) > 0 {
					return fmt.Errorf("%s has the entries %+v", pod.Name, entries)
				}
			}
			return nil
		})
		all, err := w.Server.Entries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{w.Server.ID("/somebody/else"), w.Server.ParentID()} {
			if !slices.ContainsFunc(all, func(e spirestack.Registered) bool { return e.SPIFFEID == id }) {
				t.Errorf("the entry of %s, which the controller manager did not make, is gone", id)
			}
		}
	})
}

// entriesOf are those that the controller manager made for the pod.
func (w *world) entriesOf(t *testing.T, pod *corev1.Pod) []spirestack.Registered {
	t.Helper()
	all, err := w.Server.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(e spirestack.Registered) bool {
		return !slices.Contains(e.Selectors, "k8s:pod-uid:"+string(pod.UID))
	})
}

func containsAll(all, some []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}
