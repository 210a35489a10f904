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

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/podseal/podseal/test/e2e/stack"
)

// waitsForever lets no command ask twice within a test's time: one that ends was
// told the last word.
const waitsForever = "poll_retry_interval = \"1h\"\n"

// TestPermissions shows podseal to a real authorizer. It changes the agents' role,
// which others look at, so nothing runs beside it.
func TestPermissions(t *testing.T) {
	w := inWorld(t)
	const ns = "permissions"
	w.namespace(t, ns)
	w.serviceAccount(t, ns, "nobody")
	pid := w.pidOf(t, w.sleeper(t, ns))
	// as is the configuration of the agent on the host with somebody's token.
	as := func(token string) string {
		path := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		return strings.Replace(w.hostData(), w.tokenFile(), path, 1)
	}

	t.Run("the agents may get nodes/pods and nothing else", func(t *testing.T) {
		agent, others := w.rules(t, "system:serviceaccount:spire:spire-agent"), w.rules(t, "system:serviceaccount:spire:somebody")
		own := slices.DeleteFunc(agent, func(rule string) bool { return slices.Contains(others, rule) })
		if diff := cmp.Diff([]string{`[get] [] [nodes/pods] [] []`}, own); diff != "" {
			t.Errorf("what the agents may do and others may not (-want +got):\n%s", diff)
		}
	})
	t.Run("doctor sees that it is the least", func(t *testing.T) {
		w.awaitLeast(t, w.hostData(), "ok", "do not hold nodes/proxy")
	})

	t.Run("a service account without the right is told which, at once, and how to mend it", func(t *testing.T) {
		data := as(w.tokenOf(t, ns, "nobody", nil))
		config, asksOnce := configFile(t, data), configFile(t, data+waitsForever)
		const answered = "403 Forbidden (user=system:serviceaccount:permissions:nobody, verb=get, resource=nodes, subresource(s)=[pods proxy])"
		const remedy = "grant the verb `get` on the resource `nodes/pods`"

		_, said, err := w.podsealCommand(t, "list", "--config", asksOnce)
		if err == nil || !strings.Contains(said, answered) || !strings.Contains(said, remedy) {
			t.Errorf("list: %v, %s", err, said)
		}
		var a attestation
		code := w.podsealJSON(t, &a, "attest", "--pid", fmt.Sprint(pid), "--explain", "--config", asksOnce)
		if code != 1 || a.Outcome != "failed" || !strings.Contains(a.Error.Cause, answered) || !strings.Contains(a.Error.Remedy, remedy) || len(a.Explanation.Attempts) != 1 {
			t.Errorf("attest: exit code %d, %+v", code, a)
		}
		var d diagnosis
		code = w.podsealJSON(t, &d, "doctor", "--config", config)
		permission := d.of(t, "kubelet-permission")
		if code != 1 || d.Failed != 1 || permission.Status != "failed" || !strings.Contains(permission.Finding, answered) || !strings.Contains(permission.Remedy, remedy) {
			t.Errorf("doctor: exit code %d, %+v", code, d)
		}
		for name, want := range map[string]string{"kubelet-authentication": "ok", "kubelet-least-privilege": "ok", "kubelet-pods": "skipped"} {
			if c := d.of(t, name); c.Status != want {
				t.Errorf("doctor: %+v, want %s", c, want)
			}
		}

		// The remedy, as it is said.
		role := strings.Join(permission.Details, "\n")
		w.kubectl(t, role, "apply", "--validate=strict", "--filename", "-")
		w.cleanUp(t, role, "delete", "--filename", "-")
		w.kubectl(t, "", "create", "clusterrolebinding", "podseal", "--clusterrole=podseal", "--serviceaccount=permissions:nobody")
		w.cleanUp(t, "", "delete", "clusterrolebinding", "podseal")
		w.awaitLeast(t, data, "ok", "do not hold nodes/proxy")
		d = diagnosis{}
		if code := w.podsealJSON(t, &d, "doctor", "--config", config); code != 0 || d.of(t, "kubelet-permission").Status != "ok" {
			t.Errorf("doctor after the remedy: exit code %d, %+v", code, d)
		}
		a = attestation{}
		if code := w.podsealJSON(t, &a, "attest", "--pid", fmt.Sprint(pid), "--config", config); code != 0 || len(a.Selectors) == 0 {
			t.Errorf("attest after the remedy: exit code %d, %+v", code, a)
		}
	})

	t.Run("nodes/proxy does, and is more than that", func(t *testing.T) {
		install := func(name string) []string {
			return []string{"apply", "--validate=strict", "--filename", stack.Source("examples/kubernetes/" + name)}
		}
		w.cleanUp(t, "", install("rbac.yaml")...)
		w.kubectl(t, "", install("rbac-before-1.33.yaml")...)
		c := w.awaitLeast(t, w.hostData(), "warning", "hold `nodes/proxy`")
		if !strings.Contains(c.Remedy, "replace `nodes/proxy` by `nodes/pods`") || !slices.Contains(c.Details, `    resources: ["nodes/pods"] # before Kubernetes 1.33: nodes/proxy`) {
			t.Errorf("%+v", c)
		}
		const name = "by-proxy"
		id := w.containerEntry(t, ns, name, name)
		w.awaitID(t, w.run(t, newPod(ns, name)), name, id, podsealSocket, hostSocket)

		w.kubectl(t, "", install("rbac.yaml")...)
		w.awaitLeast(t, w.hostData(), "ok", "do not hold nodes/proxy")
	})

	t.Run("without authentication there is no answer", func(t *testing.T) {
		data := w.hostData() + "use_anonymous_authentication = true\n"
		config, asksOnce := configFile(t, data), configFile(t, data+waitsForever)
		const cause, remedy = "accepts no anonymous requests", "configure token_path, or certificate_path and private_key_path"
		_, said, err := w.podsealCommand(t, "list", "--config", asksOnce)
		if err == nil || !strings.Contains(said, cause) || !strings.Contains(said, remedy) {
			t.Errorf("list: %v, %s", err, said)
		}
		var a attestation
		if code := w.podsealJSON(t, &a, "attest", "--pid", fmt.Sprint(pid), "--config", asksOnce); code != 1 || !strings.Contains(a.Error.Cause, cause) {
			t.Errorf("attest: exit code %d, %+v", code, a)
		}
		var d diagnosis
		code := w.podsealJSON(t, &d, "doctor", "--config", config)
		c := d.of(t, "kubelet-authentication")
		if code != 1 || c.Status != "failed" || !strings.Contains(c.Finding, cause) || !strings.Contains(c.Remedy, remedy) {
			t.Errorf("doctor: exit code %d, %+v", code, c)
		}
	})

	t.Run("skipped verification is named", func(t *testing.T) {
		data := strings.Replace(w.hostData(), fmt.Sprintf("kubelet_ca_path = %q", w.CA()), "skip_kubelet_verification = true", 1)
		var d diagnosis
		code := w.podsealJSON(t, &d, "doctor", "--config", configFile(t, data))
		c := d.of(t, "kubelet-certificate")
		if code != 0 || c.Status != "warning" || !strings.Contains(c.Finding, "skip_kubelet_verification: the kubelet's certificate is not verified") ||
			!strings.Contains(c.Remedy, "remove skip_kubelet_verification") {
			t.Errorf("doctor: exit code %d, %+v", code, c)
		}
	})

	t.Run("a token that is no longer good", func(t *testing.T) {
		secret, err := w.Client.CoreV1().Secrets("spire").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "revoked"}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		config := configFile(t, as(w.tokenOf(t, "spire", stack.ServiceAccount, secret))+"max_poll_attempts = 2\n")
		var d diagnosis
		if code := w.podsealJSON(t, &d, "doctor", "--config", config); code != 0 || d.of(t, "kubelet-authentication").Status != "ok" {
			t.Fatalf("doctor: exit code %d, %+v", code, d)
		}
		if err := w.Client.CoreV1().Secrets("spire").Delete(t.Context(), secret.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		const cause = "token refused, or the kubelet can't reach the API server"
		w.await(t, func(context.Context) error { // the API server remembers it for seconds
			d = diagnosis{}
			code := w.podsealJSON(t, &d, "doctor", "--config", config)
			if c := d.of(t, "kubelet-authentication"); code != 1 || c.Status != "failed" || !strings.Contains(c.Finding, cause) || !strings.Contains(c.Remedy, "token_path") {
				return fmt.Errorf("doctor: exit code %d, %+v", code, c)
			}
			return nil
		})
		var a attestation
		if code := w.podsealJSON(t, &a, "attest", "--pid", fmt.Sprint(pid), "--config", config); code != 1 || !strings.Contains(a.Error.Cause, cause) {
			t.Errorf("attest: exit code %d, %+v", code, a)
		}
	})
}

// sleeper runs a pod that asks no agent, and returns its process's name.
func (w *world) sleeper(t *testing.T, namespace string) string {
	t.Helper()
	pod := newPod(namespace, "sleeper")
	pod.Spec.Containers[0].Args = pod.Spec.Containers[0].Args[:2]
	w.run(t, pod)
	return processName(namespace, pod.Name, pod.Name)
}

// rules is what the API server says that somebody may do, sorted: verbs, API
// groups, resources, names, paths.
func (w *world) rules(t *testing.T, user string) []string {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", w.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.Impersonate.UserName = user
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	review, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(),
		&authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: "spire"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	for _, r := range review.Status.ResourceRules {
		rules = append(rules, fmt.Sprintf("%v %v %v %v []", r.Verbs, r.APIGroups, r.Resources, r.ResourceNames))
	}
	for _, r := range review.Status.NonResourceRules {
		rules = append(rules, fmt.Sprintf("%v [] [] [] %v", r.Verbs, r.NonResourceURLs))
	}
	if len(rules) == 0 {
		t.Fatalf("%s has no rules at all: %+v", user, review.Status)
	}
	slices.Sort(rules)
	return rules
}

// tokenOf is one of a service account, bound to the Secret if there is one.
func (w *world) tokenOf(t *testing.T, namespace, account string, secret *corev1.Secret) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{}
	if secret != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: secret.Name, UID: secret.UID}
	}
	request, err := w.Client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), account, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// awaitLeast waits until doctor's kubelet-least-privilege says so, and that the
// pods may be listed: roles take a moment to arrive.
func (w *world) awaitLeast(t *testing.T, data, status, finding string) (found check) {
	t.Helper()
	config := configFile(t, data)
	w.await(t, func(context.Context) error {
		var d diagnosis
		w.podsealJSON(t, &d, "doctor", "--config", config)
		permission := d.of(t, "kubelet-permission")
		if found = d.of(t, "kubelet-least-privilege"); found.Status != status || !strings.Contains(found.Finding, finding) || permission.Status != "ok" {
			return fmt.Errorf("%+v, %+v", permission, found)
		}
		return nil
	})
	return found
}

func (w *world) kubectl(t *testing.T, stdin string, args ...string) {
	t.Helper()
	if _, err := w.Kubectl(t.Context(), stdin, args...); err != nil {
		t.Fatal(err)
	}
}

// cleanUp runs kubectl at the test's end.
func (w *world) cleanUp(t *testing.T, stdin string, args ...string) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := w.Kubectl(context.WithoutCancel(t.Context()), stdin, args...); err != nil {
			t.Error(err)
		}
	})
}
