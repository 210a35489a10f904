package sigstoretest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"
)

// LogOnly is for Break of a [Signature]: what logs have of it is in the logs alone.
func LogOnly(p *Parts) { p.Entries = nil }

// Rekor is a Rekor v1 server on the loopback interface over a [Log], as far as
// somebody needs it who looks for entries by their hashes.
type Rekor struct {
	tb      TB
	log     *Log
	server  *httptest.Server
	closing chan struct{}
	end     sync.Once

	mu sync.Mutex
	// Both are guarded by mu.
	requests []Request
	fault    Fault
}

// rekorTree is the number of the log's tree, in hexadecimal.
const rekorTree = "24296fb24b8ad77a"

// maxRekorQueries is how many entries Rekor looks for at once.
const maxRekorQueries = 10

// NewRekor starts a server over plain HTTP, which ends with the test.
func NewRekor(tb TB, l *Log) *Rekor {
	if l.version != 1 {
		panic("a Rekor v2 can't be asked for an entry")
	}
	r := &Rekor{tb: tb, log: l, closing: make(chan struct{})}
	r.server = httptest.NewUnstartedServer(r)
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.server.Start()
	tb.Cleanup(r.Close)
	return r
}

// Close ends the server and all that it still answers. It may be called again.
func (r *Rekor) Close() {
	r.end.Do(func() {
		close(r.closing)
		r.server.CloseClientConnections()
		r.server.Close()
	})
}

// Host is the server's name: 127.0.0.1 and a port.
func (r *Rekor) Host() string { return r.server.Listener.Addr().String() }

// URL is where the server is, without a slash at the end.
func (r *Rekor) URL() string { return r.server.URL }

// Requests are those that came since the start, in their order.
func (r *Rekor) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// Break makes the server answer all requests so, until it is mended with nil.
func (r *Rekor) Break(do Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = do
}

// Delay serves after so long, unless the client or the server has gone by then.
func (r *Rekor) Delay(d time.Duration) Fault {
	return func(w http.ResponseWriter, q *http.Request, serve http.HandlerFunc) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			serve(w, q)
		case <-q.Context().Done():
		case <-r.closing:
		}
	}
}

// Entries answers with these entries, whatever is asked for.
func Entries(entries ...*LogEntry) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) { answerEntries(w, entries) }
}

// ServeHTTP answers a request.
func (r *Rekor) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, Request{
		Time: time.Now(), Method: q.Method, Host: q.Host, Target: q.URL.RequestURI(),
		Authorization: q.Header.Get("Authorization"), Header: q.Header.Clone(),
	})
	f := r.fault
	r.mu.Unlock()
	if f != nil {
		f(w, q, r.serve)
		return
	}
	r.serve(w, q)
}

func (r *Rekor) serve(w http.ResponseWriter, q *http.Request) {
	if q.Method != http.MethodPost || q.URL.Path != "/api/v1/log/entries/retrieve" {
		r.violated(w, q, "nothing that a verifier asks a log for")
		return
	}
	if kind := q.Header.Get("Content-Type"); kind != "application/json" {
		r.violated(w, q, fmt.Sprintf("a body of type %q", kind))
		return
	}
	var query struct {
		EntryUUIDs []string          `json:"entryUUIDs"`
		LogIndexes []int64           `json:"logIndexes"`
		Entries    []json.RawMessage `json:"entries"`
	}
	if err := json.NewDecoder(q.Body).Decode(&query); err != nil {
		r.violated(w, q, err.Error())
		return
	}
	n, others := len(query.EntryUUIDs), len(query.LogIndexes)+len(query.Entries)
	if n == 0 || n > maxRekorQueries || others > 0 {
		r.violated(w, q, fmt.Sprintf("%d hashes, and %d indexes and entries, which are not looked for here", n, others))
		return
	}
	var found []*LogEntry
	for _, id := range query.EntryUUIDs {
		if _, err := hex.DecodeString(id); err != nil || len(id) != 64 && len(id) != 80 {
			r.violated(w, q, fmt.Sprintf("%q is no entry's", id))
			return
		}
		if e, ok := r.log.find(id[len(id)-64:]); ok {
			found = append(found, e)
		}
	}
	answerEntries(w, found)
}

func answerEntries(w http.ResponseWriter, entries []*LogEntry) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(must(json.Marshal(objects(entries, (*LogEntry).rekorObject))))
}

// rekorObject is an entry as Rekor v1 answers with it, under its name.
func (e *LogEntry) rekorObject() object {
	verification := object{"signedEntryTimestamp": encode64(e.SignedEntryTimestamp)}
	if p := e.Proof; p != nil {
		hashes := []string{}
		for _, h := range p.Hashes {
			hashes = append(hashes, hex.EncodeToString(h))
		}
		verification["inclusionProof"] = object{
			"logIndex": p.LogIndex, "treeSize": p.TreeSize, "rootHash": hex.EncodeToString(p.RootHash),
			"hashes": hashes, "checkpoint": p.Checkpoint,
		}
	}
	return object{rekorTree + hex.EncodeToString(leafHash(e.Body)): object{
		"body": encode64(e.Body), "integratedTime": e.IntegratedTime, "logID": hex.EncodeToString(e.LogID),
		"logIndex": e.LogIndex, "verification": verification,
	}}
}

// violated fails the test.
func (r *Rekor) violated(w http.ResponseWriter, q *http.Request, why string) {
	r.tb.Errorf("the log got %s %s: %s", q.Method, q.URL.RequestURI(), why)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write(must(json.Marshal(object{"code": http.StatusBadRequest, "message": why})))
}
