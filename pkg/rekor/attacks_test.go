package rekor_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/rekor"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

func canonical(t testing.TB, text string) string {
	t.Helper()
	v := jsontext.Value(text)
	if err := v.Canonicalize(); err != nil {
		t.Fatal(err)
	}
	return string(v)
}

// entryOf is what the log has of a signature that is like the one that is looked for.
func (w *world) entryOf(t testing.TB, a *sigstoretest.Artefact) *sigstoretest.LogEntry {
	t.Helper()
	bodies, err := rekor.Wanted(item(t, a))
	if err != nil {
		t.Fatal(err)
	}
	e := w.Rekor1.Add(sigstoretest.Entry{Body: []byte(bodies[0])})
	e.IntegratedTime = sigstoretest.Time.Unix()
	e.SignedEntryTimestamp = w.Rekor1.Promise(e)
	return e
}

// Row 27: what a log answers is judged with the trust root's keys. A log with a key of
// its own, or that signs nothing, is asked in vain.
func TestALogWithAnotherKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	evil := sigstoretest.NewLog(sigstoretest.LogOptions{})
	found := w.unbundled(sigstoretest.Signature{Witnesses: witnesses{evil}})
	asKnown := w.entryOf(t, found)
	asKnown.SignedEntryTimestamp = evil.Promise(asKnown)
	unsigned := w.entryOf(t, found)
	unsigned.SignedEntryTimestamp = []byte("promised")
	earlier := w.entryOf(t, found)
	earlier.IntegratedTime--
	servers := map[string]string{"its own name": sigstoretest.NewRekor(t, evil).URL()}
	for name, e := range map[string]*sigstoretest.LogEntry{"the name of a known log": asKnown, "no signature": unsigned, "another time than it signed": earlier} {
		server := sigstoretest.NewRekor(t, evil)
		server.Break(sigstoretest.Entries(e))
		servers[name] = server.URL()
	}
	for name, url := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			complete, err := newClient(t, rekor.Config{URL: url}).Complete(t.Context(), pay, item(t, found))
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.judge(keyless(t), complete)
			if r, ok := errors.AsType[*sigstore.Refusal](err); !ok || r.Reason != sigstore.ReasonLog || errors.Is(err, sigstore.ErrNoLogEntry) {
				t.Errorf("judged: %v", err)
			}
		})
	}
}

// A log that answers with anything but the entry that was asked for is refused before
// anybody judges it.
func TestALogThatAnswersWithSomethingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	found := w.unbundled(sigstoretest.Signature{})
	good := w.entryOf(t, found)
	changed := func(change func(e *sigstoretest.LogEntry)) sigstoretest.Fault {
		e := *good
		change(&e)
		e.SignedEntryTimestamp = w.Rekor1.Promise(&e)
		return sigstoretest.Entries(&e)
	}
	text := answerText(t, w, good)
	answer := func(text string) sigstoretest.Fault { return sigstoretest.Body("application/json", []byte(text)) }
	replaced := func(old, with string) sigstoretest.Fault {
		if !strings.Contains(text, old) {
			t.Fatalf("%q is not in %s", old, text)
		}
		return answer(strings.Replace(text, old, with, 1))
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	id := text[3:83]
	for name, c := range map[string]struct {
		fault sigstoretest.Fault
		want  rekor.Kind
	}{
		"another signature's entry": {sigstoretest.Entries(w.entryOf(t, w.unbundled(sigstoretest.Signature{}))), rekor.Malformed},
		"its own and another's":     {sigstoretest.Entries(good, w.entryOf(t, w.unbundled(sigstoretest.Signature{}))), rekor.Malformed},
		"a body with a byte flipped": {changed(func(e *sigstoretest.LogEntry) {
			e.Body = []byte(strings.Replace(string(e.Body), "hashedrekord", "hashedrekorf", 1))
		}), rekor.Malformed},
		"a body that claims another hash": {changed(func(e *sigstoretest.LogEntry) {
			e.Body = []byte(strings.Replace(string(e.Body), `"value":"`, `"value":"00`, 1))
		}), rekor.Malformed},
		"a body that says the same":    {changed(func(e *sigstoretest.LogEntry) { e.Body = append([]byte(" "), e.Body...) }), rekor.Malformed},
		"a body not in base64":         {replaced(`"body":"`, `"body":"%`), rekor.Malformed},
		"another name":                 {replaced(id, strings.Repeat("0", 80)), rekor.Malformed},
		"a name without a tree's half": {replaced(id, id[8:]), rekor.Malformed},
		"a name in capitals":           {replaced(id, strings.ToUpper(id)), rekor.Malformed},
		"no name":                      {replaced(id, ""), rekor.Malformed},
		"two entries under two names":  {answer("[" + strings.TrimSuffix(inner, "}") + `,"x":{}}]`), rekor.Malformed},
		"two under one name":           {answer("[" + strings.TrimSuffix(inner, "}") + "," + strings.TrimPrefix(inner, "{") + "]"), rekor.Malformed},
		"two bodies":                   {replaced(`"body":`, `"body":"","body":`), rekor.Malformed},
		"a body that is no text":       {replaced(`"body":"`, `"body":{},"x":"`), rekor.Malformed},
		"no time":                      {changed(func(e *sigstoretest.LogEntry) { e.IntegratedTime = 0 }), rekor.Malformed},
		"a time that is no number":     {replaced(`"integratedTime":`, `"integratedTime":1e3,"x":`), rekor.Malformed},
		"a time beyond all numbers":    {replaced(`"integratedTime":`, `"integratedTime":99999999999999999999,"x":`), rekor.Malformed},
		"a negative index":             {changed(func(e *sigstoretest.LogEntry) { e.LogIndex = -1 }), rekor.Malformed},
		"no ID of a log":               {changed(func(e *sigstoretest.LogEntry) { e.LogID = nil }), rekor.Malformed},
		"a short ID":                   {changed(func(e *sigstoretest.LogEntry) { e.LogID = e.LogID[:31] }), rekor.Malformed},
		"no promise":                   {replaced(`"signedEntryTimestamp":"`, `"signedEntryTimestamp":"","x":"`), rekor.Malformed},
		"an object":                    {answer(inner), rekor.Malformed},
		"a list of lists":              {answer("[[]]"), rekor.Malformed},
		"null":                         {answer("null"), rekor.Malformed},
		"null in the list":             {answer("[null]"), rekor.Malformed},
		"an empty entry":               {answer("[{}]"), rekor.Malformed},
		"half of it":                   {answer(text[:len(text)/2]), rekor.Malformed},
		"something behind it":          {answer(text + "x"), rekor.Malformed},
		"another list behind it":       {answer("[]" + text), rekor.Malformed},
		"nothing":                      {answer(""), rekor.Malformed},
		"white space":                  {answer(" \n"), rekor.Malformed},
		"junk":                         {answer("<html>"), rekor.Malformed},
		"text that is not UTF-8":       {replaced(`"body":`, "\"\xff\":1,\"body\":"), rekor.Malformed},
		"10,000 levels":                {answer(strings.Repeat("[", 10_000)), rekor.Malformed},
		"10,000 levels within it":      {replaced(`"verification":`, `"attestation":`+strings.Repeat("[", 10_001)+strings.Repeat("]", 10_001)+`,"verification":`), rekor.Malformed},
		"10,000 entries":               {answer("[" + strings.Repeat(`{},`, 9_999) + "{}]"), rekor.Malformed},
		"10,000 good entries":          {tenThousand(inner), rekor.Limit},
		"nine good entries":            {answer("[" + strings.Repeat(inner+",", rekor.MaxEntries) + inner + "]"), rekor.Limit},
		"an endless body":              {sigstoretest.Endless("application/json"), rekor.Limit},
		"a byte too much":              {answer(text + strings.Repeat(" ", rekor.MaxAnswer+1-len(text))), rekor.Limit},
		"a bomb":                       {sigstoretest.GzipBomb("application/json", 64<<20), rekor.Malformed},
		"a redirect":                   {sigstoretest.Redirect(w.server.URL() + "/elsewhere"), rekor.Malformed},
		"201":                          {sigstoretest.Status(http.StatusCreated), rekor.Malformed},
		"204":                          {sigstoretest.Status(http.StatusNoContent), rekor.Malformed},
		"400":                          {sigstoretest.Status(http.StatusBadRequest), rekor.Malformed},
		"403":                          {sigstoretest.Status(http.StatusForbidden), rekor.Malformed},
		"404":                          {sigstoretest.Status(http.StatusNotFound), rekor.Malformed},
		"429":                          {sigstoretest.RetryAfter("1"), rekor.Unavailable},
		"500":                          {sigstoretest.Status(http.StatusInternalServerError), rekor.Unavailable},
		"503":                          {sigstoretest.Status(http.StatusServiceUnavailable), rekor.Unavailable},
		"a connection that breaks":     {sigstoretest.CloseAfter(10), rekor.Unavailable},
		"a length that is a lie":       {sigstoretest.ContentLength(1 << 20), rekor.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := sigstoretest.NewRekor(t, w.Rekor1)
			server.Break(c.fault)
			client := newClient(t, rekor.Config{URL: server.URL()})
			_, err := client.Complete(t.Context(), pay, item(t, found))
			failed(t, err, c.want)
			if n := len(server.Requests()); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
	// What was changed is what was wrong: as it is, it is taken.
	for name, fault := range map[string]sigstoretest.Fault{
		"as it is": answer(text), "a name without a tree": replaced(id, id[16:]),
		"with what the log kept":    replaced(`"body":`, `"attestation":{"data":"e30="},"body":`),
		"just as long as it may be": answer(text + strings.Repeat(" ", rekor.MaxAnswer-len(text))),
		"eight":                     answer("[" + strings.Repeat(inner+",", rekor.MaxEntries-1) + inner + "]"),
	} {
		w.server.Break(fault)
		if _, err := w.client.Complete(t.Context(), pay, item(t, found)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// tenThousand answers with ten thousand entries that are good, without white space and
// without their proofs: as many as fit into an answer.
func tenThousand(entry string) sigstoretest.Fault {
	return sigstoretest.Body("application/json", []byte("["+strings.Repeat(entry+",", 10_000)+entry+"]"))
}

// answerText is a log's answer with one entry.
func answerText(t testing.TB, w *world, e *sigstoretest.LogEntry) string {
	t.Helper()
	server := sigstoretest.NewRekor(t, w.Rekor1)
	server.Break(sigstoretest.Entries(e))
	resp, err := http.Post(server.URL(), "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var text json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&text); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Strangers' text that is in an error is one printable line.
func TestTextOfALogInAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.server.Break(sigstoretest.Body("application/json", []byte(`[{"\u001b[31m\n`+strings.Repeat("x", 5000)+`":{"body":"","integratedTime":1,"logIndex":1,"logID":"`+strings.Repeat("0", 64)+`","verification":{"signedEntryTimestamp":"eA=="}}}]`)))
	_, err := w.client.Complete(t.Context(), pay, item(t, w.unbundled(sigstoretest.Signature{})))
	failed(t, err, rekor.Malformed)
	if text := err.Error(); strings.ContainsAny(text, "\x1b\n") || len(text) > 2048 {
		t.Errorf("%d bytes: %q", len(text), text)
	}
}

// A redirect leads nowhere: the address of a log is the operator's to choose.
func TestALogThatSendsElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := sigstoretest.NewRekor(t, w.Rekor1)
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := sigstoretest.NewRekor(t, w.Rekor1)
		server.Break(func(rw http.ResponseWriter, q *http.Request, _ http.HandlerFunc) {
			http.Redirect(rw, q, other.URL()+q.URL.Path, status)
		})
		_, err := newClient(t, rekor.Config{URL: server.URL()}).Complete(t.Context(), pay, item(t, w.unbundled(sigstoretest.Signature{})))
		failed(t, err, rekor.Malformed)
	}
	if n := len(other.Requests()); n != 0 {
		t.Errorf("the other one got %d requests", n)
	}
}

func TestNothingIsSentButHashes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := rand.Text()
	seen := make(chan *http.Request, 1)
	w.server.Break(func(rw http.ResponseWriter, q *http.Request, serve http.HandlerFunc) {
		seen <- q
		serve(rw, q)
	})
	found := item(t, w.unbundled(sigstoretest.Signature{Format: evidence.Envelope, Predicate: fmt.Sprintf(`{"secret":%q}`, secret)}))
	if _, err := w.client.Complete(t.Context(), pay, found); err != nil {
		t.Fatal(err)
	}
	q := <-seen
	if q.ContentLength > 400 {
		t.Errorf("the request has %d bytes", q.ContentLength)
	}
	for _, name := range []string{"Authorization", "Cookie", "Idempotency-Key", "Traceparent"} {
		if v, ok := q.Header[name]; ok {
			t.Errorf("%s: %q", name, v)
		}
	}
	if got := q.Header.Get("Accept-Encoding"); got != "identity" {
		t.Errorf("Accept-Encoding: %q", got)
	}
}

func TestNoProxyOfTheEnvironment(t *testing.T) {
	t.Parallel()
	if rekor.OwnTransport().Proxy != nil {
		t.Error("there is a proxy")
	}
}

// Who goes away says nothing about the log.
func TestACallerWhoGoesAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	arrived := make(chan struct{})
	hang := w.server.Delay(time.Hour)
	w.server.Break(func(rw http.ResponseWriter, q *http.Request, serve http.HandlerFunc) {
		close(arrived)
		hang(rw, q, serve)
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	go func() {
		<-arrived
		cancel(gone)
	}()
	_, err := w.client.Complete(ctx, pay, item(t, w.unbundled(sigstoretest.Signature{})))
	failed(t, err, rekor.Unavailable)
	if !errors.Is(err, gone) {
		t.Errorf("the cause is not in %v", err)
	}
	w.server.Break(nil)
	if _, err := w.client.Complete(t.Context(), pay, item(t, w.unbundled(sigstoretest.Signature{}))); err != nil {
		t.Errorf("the next one: %v", err)
	}
	_, err = w.client.Complete(ctx, pay, item(t, w.unbundled(sigstoretest.Signature{})))
	if !errors.Is(err, gone) {
		t.Errorf("gone before: %v", err)
	}
}

func TestACertificateThatNobodyKnows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := newTLS(t, w.server)
	_, err := newClient(t, rekor.Config{URL: server.URL}).Complete(t.Context(), pay, item(t, w.unbundled(sigstoretest.Signature{})))
	failed(t, err, rekor.Unavailable)
	trusting := newClient(t, rekor.Config{URL: server.URL, Transport: server.Client().Transport})
	if _, err := trusting.Complete(t.Context(), pay, item(t, w.unbundled(sigstoretest.Signature{}))); err != nil {
		t.Error(err)
	}
}
