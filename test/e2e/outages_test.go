//go:build e2e

package e2e_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podseal/podseal/test/e2e/stack"
	"github.com/podseal/podseal/test/realstack/machine"
	"github.com/podseal/podseal/test/realstack/node"
	"github.com/podseal/podseal/test/realstack/spirestack"
)

// served is a pod whose workload has its SVID from all agents when the test begins.
func (w *world) served(t *testing.T, namespace, name string) (pod *corev1.Pod, id string) {
	t.Helper()
	w.namespace(t, namespace)
	id = w.containerEntry(t, namespace, name, name)
	pod = w.run(t, newPod(namespace, name))
	w.awaitID(t, pod, name, id, sockets...)
	return pod, id
}

// stillServed waits until each of these agents has answered a call made after end,
// and finds that no call made after begin was answered by anything but the ID.
func (w *world) stillServed(t *testing.T, pod *corev1.Pod, id string, begin, end time.Time, of ...string) {
	t.Helper()
	name := pod.Spec.Containers[0].Name
	w.awaitEach(t, pod, name, func(a answer) bool { return a.Asked.After(end) }, of...)
	for _, a := range w.answersOf(t, pod, name) {
		if a.Asked.After(begin) && a.ID != id {
			t.Errorf("asked %.1f s after it began: %+v", a.Asked.Sub(begin).Seconds(), a)
		}
	}
}

func TestATokenThatRotates(t *testing.T) {
	w := inWorld(t)
	pod, id := w.served(t, "rotation", "steady")
	old := w.token(t)

	begin := time.Now()
	if err := w.rotateToken(t.Context(), "second"); err != nil {
		t.Fatal(err)
	}
	// With its Secret the old token ends.
	if err := w.Client.CoreV1().Secrets(stack.Namespace).Delete(t.Context(), "first", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.awaitStatus(t, old, http.StatusUnauthorized)
	w.awaitStatus(t, w.token(t), http.StatusOK)
	w.stillServed(t, pod, id, begin, time.Now(), hostSocket)
}

func TestAnAPIServerOutage(t *testing.T) {
	w := inWorld(t)
	pod, id := w.served(t, "outage", "steady")
	token := w.token(t)
	begin := time.Now()
	if err := w.KillAPIServer(); err != nil {
		t.Fatal(err)
	}
	back := func() {
		if err := w.StartAPIServer(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	// The kubelet can't have the token reviewed, and refuses it although it is good.
	w.awaitStatus(t, token, http.StatusUnauthorized)
	t.Run("podseal says that the token may be good", func(t *testing.T) {
		hurried := filepath.Join(t.TempDir(), "podseal.conf")
		if err := os.WriteFile(hurried, []byte(w.hostData()+"attest_timeout = \"3s\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		pid := w.pidOf(t, processName("outage", "steady", "steady"))
		_, out, err := w.podsealCommand(t, "attest", "--config", hurried, "--pid", fmt.Sprint(pid))
		if err == nil {
			t.Fatalf("it succeeded: %s", out)
		}
		const said = "the kubelet can't reach the API server"
		if !strings.Contains(out, said) {
			t.Errorf("it does not say %q: %s", said, out)
		}
	})
	back()
	t.Logf("the API server was away for %.1f s", time.Since(begin).Seconds())
	w.stillServed(t, pod, id, begin, time.Now(), podsealSocket, privateSocket, hostSocket)
	w.sameSelectors(t, w.pidOf(t, processName("outage", "steady", "steady")))
}

// records is the log of the agent on the host so far.
func (w *world) records(t *testing.T) []spirestack.Record {
	t.Helper()
	records, err := w.host.Records()
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// awaitLog waits until podseal on the host has logged these words in a warning,
// after so many records.
func (w *world) awaitLog(t *testing.T, from int, words string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	record, err := w.host.Await(ctx, from, func(r spirestack.Record) bool {
		return r.Level == "warning" && strings.Contains(r.Line, "podseal") && strings.Contains(r.Line, words)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("podseal logged: %s", record.Line)
}

// token is what the agent on the host shows to the kubelet.
func (w *world) token(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(w.tokenFile())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// awaitStatus waits until the kubelet answers that token so.
func (w *world) awaitStatus(t *testing.T, token string, want int) {
	t.Helper()
	ca, err := os.ReadFile(w.CA())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	w.await(t, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://%s:%d/pods", machine.HostName, node.Port), nil)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != want {
			return errors.New("the kubelet answers " + response.Status)
		}
		return nil
	})
}
