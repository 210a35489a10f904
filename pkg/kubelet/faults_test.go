package kubelet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/kubelet"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/pod"
)

// expectation is what an error must be and say.
type expectation struct {
	kind  string // RequestError, StatusError or ResponseError
	final bool
	limit bool
	words []string // the first is the beginning
}

func (e expectation) check(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	_, request := errors.AsType[*kubelet.RequestError](err)
	_, status := errors.AsType[*kubelet.StatusError](err)
	_, response := errors.AsType[*kubelet.ResponseError](err)
	if got := map[string]bool{"RequestError": request, "StatusError": status, "ResponseError": response}; !got[e.kind] {
		t.Errorf("error is %v, want a %s", got, e.kind)
	}
	if got := isFinal(err); got != e.final {
		t.Errorf("is it final? %t", got)
	}
	if got := errors.Is(err, kubelet.ErrLimit); got != e.limit {
		t.Errorf("is it a limit? %t", got)
	}
	if !strings.HasPrefix(err.Error(), e.words[0]) {
		t.Errorf("error does not begin with %q", e.words[0])
	}
	for _, w := range e.words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error does not say %q", w)
		}
	}
	if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Errorf("error holds control characters: %q", err)
	}
	if t.Failed() {
		t.Logf("error: %v", err)
	}
}

func isFinal(err error) bool {
	f, ok := errors.AsType[interface {
		error
		Final() bool
	}](err)
	return ok && f.Final()
}

func TestFaultsOfTheKubelet(t *testing.T) {
	t.Parallel()
	const (
		request = "unable to perform request: "
		status  = "unexpected status code on pods response: "
		parse   = "unable to parse kubelet response: "
		invalid = "invalid kubelet response: "
	)
	for name, c := range map[string]struct {
		fault kubelettest.Fault
		want  expectation
	}{
		"401": {kubelettest.Status(401, "Unauthorized"), expectation{kind: "StatusError",
			words: []string{status + "401 Unauthorized: ", "token refused, or the kubelet can't reach the API server", "token_path"}}},
		"403": {kubelettest.Status(403, "Forbidden (user=x, verb=get, resource=nodes, subresource(s)=[pods proxy])\n"), expectation{kind: "StatusError", final: true,
			words: []string{status + "403 Forbidden (user=x, verb=get, resource=nodes, subresource(s)=[pods proxy]): ", "`nodes/pods`", "`nodes/proxy`", "`get`", "ClusterRole"}}},
		"404": {kubelettest.Status(404, ""), expectation{kind: "StatusError", words: []string{status + "404: ", "kubelet_secure_port"}}},
		"429": {kubelettest.Status(429, "slow down"), expectation{kind: "StatusError", words: []string{status + "429 slow down"}}},
		"500": {kubelettest.Status(500, "oh\x1b[31m no\nline\u202e \xff\ufffd"), expectation{kind: "StatusError", words: []string{status + `500 oh\x1b[31m no\nline\u202e \xff` + "\ufffd"}}},
		"503": {kubelettest.Status(503, ""), expectation{kind: "StatusError", words: []string{status + "503"}}},
		"204": {func(_ *kubelettest.Server, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, expectation{kind: "StatusError", words: []string{status + "204"}}},
		"an endless error": {func(_ *kubelettest.Server, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			for _, err := w.Write(nil); err == nil; {
				_, err = io.WriteString(w, strings.Repeat("e", 1000))
			}
		}, expectation{kind: "StatusError", words: []string{status + "500 eeee"}}},
		"redirect": {kubelettest.Redirect("https://127.0.0.1:1/pods?\"x\""), expectation{kind: "StatusError", words: []string{status + "302", "redirects are not followed", "127.0.0.1:1/pods"}}},

		"garbage":   {kubelettest.Garbage(), expectation{kind: "ResponseError", words: []string{parse}}},
		"nothing":   {kubelettest.Body(""), expectation{kind: "ResponseError", words: []string{parse, "breaks off after 0 bytes"}}},
		"truncated": {kubelettest.Truncated(), expectation{kind: "ResponseError", words: []string{parse, "breaks off after"}}},
		"cut":       {kubelettest.Cut(), expectation{kind: "ResponseError", words: []string{parse, "breaks off after"}}},
		"no object": {kubelettest.Body("[]"), expectation{kind: "ResponseError", words: []string{invalid + "expected an object"}}},
		"no items":  {kubelettest.Body(`{"kind":"Status"}`), expectation{kind: "ResponseError", words: []string{invalid + "expected an items array"}}},
		"gzip":      {kubelettest.Gzip(), expectation{kind: "ResponseError", words: []string{invalid, `content encoding "gzip"`, "not asked for"}}},
		"dropped":   {kubelettest.Drop(), expectation{kind: "RequestError", words: []string{request, "closed the connection without an answer"}}},
		"said 2 GiB": {func(_ *kubelettest.Server, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2147483648")
			_, _ = w.Write([]byte("{"))
		},
			expectation{kind: "ResponseError", limit: true, words: []string{invalid, "longer than 1 GiB"}}},
		"endless headers": {func(_ *kubelettest.Server, w http.ResponseWriter, _ *http.Request) {
			for i := range 2000 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("h", 100))
			}
		}, expectation{kind: "RequestError", words: []string{request}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, kubelettest.Options{})
			if err := n.SetPods(webPods(3)...); err != nil {
				t.Fatal(err)
			}
			n.Inject(-1, c.fault)
			client := n.client(t)
			_, err := client.Next(t.Context(), time.Time{})
			c.want.check(t, err)
			checkNoToken(t, n, err)
			if other := n.Stats().Other; other != 0 {
				t.Errorf("%d requests for something else", other)
			}

			n.Heal()
			if x, err := client.Next(t.Context(), time.Time{}); err != nil || x.Len() != 3 {
				t.Errorf("after it was healed: %v, %v", x, err)
			}
		})
	}
}

// checkNoToken makes sure that the token is nowhere to be read.
func checkNoToken(t *testing.T, n *node, err error) {
	t.Helper()
	b, readErr := os.ReadFile(n.files.Token)
	if readErr != nil {
		t.Fatal(readErr)
	}
	if token := strings.TrimSpace(string(b)); token != "" && (strings.Contains(err.Error(), token) || strings.Contains(n.logs.String(), token)) {
		t.Error("the token is in the error or in the log")
	}
}

func TestAnEmptyNode(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	if x, err := n.client(t).Next(t.Context(), time.Time{}); err != nil || x.Len() != 0 {
		t.Errorf("%v, %v", x, err)
	}
}

func TestHugeAndBadPodsCostOnlyThemselves(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	if err := n.SetPods(webPods(10)...); err != nil {
		t.Fatal(err)
	}
	huge := webPod("huge")
	huge.Annotations["big"] = strings.Repeat("\"x", 5_000_000)
	if err := n.AddPod(huge); err != nil {
		t.Fatal(err)
	}
	n.AddRaw("bad", []byte(`{"metadata":{"uid":"bad"},"spec":{"containers":"none"}}`))
	x, err := n.client(t).Next(t.Context(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, uid := range []string{kubelettest.UID("huge"), "bad"} {
		if p, err := x.ByUID(uid); p != nil || !errors.Is(err, pod.ErrUndecodable) {
			t.Errorf("ByUID(%q) = %v, %v", uid, p, err)
		}
	}
	if x.Len() != 10 || x.Unattributed() != nil {
		t.Errorf("%d pods are good, want 10; %v", x.Len(), x.Unattributed())
	}
}

func TestAnUnavailableKubeletIsAskedAgainOnce(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	n.Inject(1, kubelettest.Status(503, "starting"))
	c := n.client(t)
	if _, err := c.Next(t.Context(), time.Time{}); err == nil {
		t.Error("no error")
	}
	if _, err := c.Next(t.Context(), time.Time{}); err != nil {
		t.Error(err)
	}
	if got := n.Stats().Requests; got != 2 {
		t.Errorf("%d requests, want 2", got)
	}
}

func TestASlowKubeletIsWaitedFor(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	n.Inject(1, kubelettest.Slow(300*time.Millisecond))
	if _, err := n.client(t).Next(t.Context(), time.Time{}); err != nil {
		t.Error(err)
	}
}

// These take ten seconds each, at the same time.
func TestAKubeletThatHangs(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	const read = "unable to read pods response: "
	for name, c := range map[string]struct {
		fault kubelettest.Fault
		want  expectation
	}{
		"before its answer": {kubelettest.Hang(), expectation{kind: "RequestError",
			words: []string{"unable to perform request: no complete answer within 10s: 127.0.0.1:", "slow or stuck"}}},
		"in its answer": {kubelettest.HangInBody(), expectation{kind: "RequestError",
			words: []string{read + "no complete answer within 10s: the kubelet at 127.0.0.1:", "bytes by then"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, kubelettest.Options{})
			if err := n.SetPods(webPods(3)...); err != nil {
				t.Fatal(err)
			}
			n.Inject(-1, c.fault)
			began := time.Now()
			_, err := n.client(t).Next(t.Context(), time.Time{})
			c.want.check(t, err)
			if took := time.Since(began); took < 9*time.Second || took > 100*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
	t.Run("in the TLS handshake", func(t *testing.T) {
		t.Parallel()
		n := newNode(t, kubelettest.Options{})
		hang := make(chan struct{})
		t.Cleanup(func() { close(hang) })
		n.cfg.Port = listen(t, func(net.Conn) { <-hang })
		_, err := n.client(t).Next(t.Context(), time.Time{})
		expectation{kind: "RequestError", words: []string{"unable to perform request: no complete answer within 10s: 127.0.0.1:", "the TLS handshake was not over"}}.check(t, err)
	})
	t.Run("and whose callers leave", func(t *testing.T) {
		t.Parallel()
		n := newNode(t, kubelettest.Options{})
		n.Inject(1, kubelettest.Hang())
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := n.client(t).Next(ctx, time.Time{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

// The answer ends at 1 GiB or after 10 s, whichever comes first.
func TestAnEndlessAnswer(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	n := newNode(t, kubelettest.Options{Plain: true})
	n.Inject(-1, kubelettest.Endless())
	_, err := n.client(t).Next(t.Context(), time.Time{})
	if !errors.Is(err, kubelet.ErrLimit) && !strings.HasPrefix(fmt.Sprint(err), "unable to read pods response: no complete answer within 10s") {
		t.Errorf("error %v", err)
	}
}

func TestMoreThanAGigabyteIsALimit(t *testing.T) {
	t.Parallel()
	r := kubelet.NewBoundedReader(t.Context(), strings.NewReader(`{"items":[]}    `), 14)
	_, err := quietDecoder().Decode(r, time.Time{})
	expectation{kind: "ResponseError", limit: true, words: []string{"invalid kubelet response: limit exceeded: it is longer than 1 GiB"}}.check(t, err)
	r = kubelet.NewBoundedReader(t.Context(), strings.NewReader(`{"items":[]}`), 12)
	if _, err := quietDecoder().Decode(r, time.Time{}); err != nil {
		t.Errorf("exactly as much as is allowed: %v", err)
	}
}
