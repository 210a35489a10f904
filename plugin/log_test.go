package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/podseal/podseal/pkg/attest"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/verify"
)

// buffer is a bytes.Buffer for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// logged returns a plugin whose log is JSON lines as the agent reads them.
func logged(t *testing.T) (*Plugin, *buffer) {
	t.Helper()
	log := new(buffer)
	p := New()
	p.SetLogger(hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Debug, JSONFormat: true}))
	return p, log
}

func TestTheLogIsAHandlerAsSlogWantsIt(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	h := newHCLogHandler()
	h.set(hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Debug, JSONFormat: true}))
	err := slogtest.TestHandler(h, func() []map[string]any {
		var records []map[string]any
		for l := range strings.Lines(out.String()) {
			flat := map[string]any{}
			if err := json.Unmarshal([]byte(l), &flat); err != nil {
				t.Fatal(err)
			}
			records = append(records, nested(flat))
		}
		return records
	})
	// hclog stamps every line with a time of its own: a record without one has
	// one too, and nothing else may differ.
	want := `unexpected key "time": a Handler should ignore a zero Record.Time`
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want only %s", err, want)
	}
}

// nested undoes the flattening of groups and hclog's names of the usual keys.
func nested(flat map[string]any) map[string]any {
	record := map[string]any{}
	for key, value := range flat {
		switch key {
		case "@timestamp":
			key = slog.TimeKey
		case "@message":
			key = slog.MessageKey
		case "@level":
			key = slog.LevelKey
		}
		at := record
		parts := strings.Split(key, ".")
		for _, part := range parts[:len(parts)-1] {
			if _, ok := at[part]; !ok {
				at[part] = map[string]any{}
			}
			at = at[part].(map[string]any)
		}
		if group, ok := value.(map[string]any); ok {
			maps.Copy(at, group)
			continue
		}
		at[parts[len(parts)-1]] = value
	}
	return record
}

func TestNothingIsLoggedBeforeThereIsALogger(t *testing.T) {
	t.Parallel()
	log := slog.New(newHCLogHandler())
	log.Error("lost")
	if log.Enabled(t.Context(), slog.LevelError) {
		t.Error("a handler without a logger is enabled")
	}
}

func TestLogLinesAreBoundedAndEscaped(t *testing.T) {
	t.Parallel()
	p, log := logged(t)
	p.log.Warn("x", "text", strings.Repeat("a", 1<<20), "err", errors.New(strings.Repeat("b", 1<<20)))
	p.log.Warn("evil", "label", "a\n{\"@level\":\"error\"}\x1b[31m")
	if len(log.String()) > 64<<10 {
		t.Errorf("two lines have %d bytes", len(log.String()))
	}
	if lines := strings.Count(log.String(), "\n"); lines != 2 {
		t.Errorf("there are %d lines, want 2", lines)
	}
	if strings.Contains(log.String(), "\x1b") {
		t.Error("an escape character reached the log")
	}
}

func TestAFailureThatRecursIsLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, log := logged(t)
		r := &attest.Report{Step: attest.StepPod}
		fail := func(uid string, err error) { p.failures.attestation(42, uid, r, err) }
		for range 100 {
			fail("u", attest.ErrNotSeen)
		}
		fail("u", attest.ErrTwoPods)
		fail("v", attest.ErrNotSeen)
		if n := strings.Count(log.String(), "attestation failed"); n != 3 {
			t.Errorf("%d lines, want one for each pod and reason:\n%s", n, log.String())
		}
		time.Sleep(failureInterval)
		fail("u", attest.ErrNotSeen)
		if !strings.Contains(log.String(), `"suppressed":99`) {
			t.Errorf("the next line does not say how many were left out:\n%s", log.String())
		}
	})
}

func TestWhatAnAttestationDidWithoutIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, log := logged(t)
		failed := func(name string, mode policy.Mode) verify.Failure {
			return verify.Failure{Mode: mode, Policy: name, Dialect: verify.DialectPolicy, Container: "app", Image: "registry.example.org/app:1\x1b", Reasons: []error{errors.New("nobody has signed it")}}
		}
		r := &attest.Report{Pod: &pod.Pod{UID: "u"}, Images: &verify.Result{
			Withheld: []verify.Failure{failed("strict", policy.Withhold), failed("trial", policy.Audit)},
			Verdicts: []verify.Verdict{{Policy: "old", Stale: time.Now().Add(-time.Hour)}},
		}}
		for range 3 {
			p.failures.images(42, r)
		}
		p.failures.images(42, &attest.Report{Pod: r.Pod})
		for _, want := range []string{
			`"image_policy":"strict"`, `"image_policy":"trial"`, "nobody has signed it", "mode = \\\"audit\\\"", "their selectors are withheld",
			`"image_policy":"old"`, "from before its registry stopped to answer",
		} {
			if n := strings.Count(log.String(), want); n == 0 {
				t.Errorf("the log does not say %s:\n%s", want, log.String())
			}
		}
		if n := strings.Count(log.String(), "\n"); n != 3 {
			t.Errorf("%d lines, want one for each kind:\n%s", n, log.String())
		}
		if strings.Contains(log.String(), "\x1b") {
			t.Error("an escape character reached the log")
		}
		// What one container of a pod fails all the time hides nothing of another.
		p.failures.images(43, &attest.Report{Pod: r.Pod, Images: &verify.Result{Withheld: []verify.Failure{failed("trial", policy.Audit), failed("other", policy.Audit)}}})
		if n := strings.Count(log.String(), "\n"); n != 4 || !strings.Contains(log.String(), `"image_policy":"other"`) {
			t.Errorf("%d lines, want one more for another policy:\n%s", n, log.String())
		}
	})
}

func TestTheMemoryOfFailuresIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f failureLog
		for i := range 2 * maxFailures {
			f.admit(failure{podUID: fmt.Sprint("pod", i)})
		}
		if n := len(f.seen); n != maxFailures {
			t.Errorf("%d failures are kept, want %d", n, maxFailures)
		}
		time.Sleep(failureInterval)
		if _, ok := f.admit(failure{podUID: "new"}); !ok {
			t.Error("a new failure is not logged although the old ones are long ago")
		}
	})
}
