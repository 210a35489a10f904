// Package rekor asks a Rekor v1 transparency log for the entry of a signature or an
// attestation in one of cosign's own images that was stored without it. It decides
// nothing and believes nothing: whether the log has signed what it answers is judged
// by package sigstore, with keys of the trust root. The log's own word for its key is
// never asked for (CVE-2023-47122).
//
// What is asked for is the hash of the entry that the log must have, made from the
// item's own bytes, and only an entry with exactly these bytes is taken: a log that
// answers with anything else costs nobody more than reading it.
package rekor

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sigstore/rekor/pkg/generated/client/entries"
	"github.com/sigstore/rekor/pkg/generated/models"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/fair"
)

const (
	// maxAnswer is how long an answer may be, in bytes: an entry with its proof has a
	// few thousand, and its attestation, where the log keeps it, a hundred thousand.
	maxAnswer = 1 << 20
	// maxEntries is how many entries may be in it. A log of several trees may have an
	// entry in each.
	maxEntries = 8
	// timeout is the one for a request.
	timeout = 5 * time.Second
	// pause is how long a log is left alone that could not be reached or did not answer
	// in time, and maxPause how long it may ask to be.
	pause, maxPause = 5 * time.Second, time.Minute
)

// limits are those of what one log is sent.
var limits = fair.Limits{Slots: 8, TenantSlots: 4, Rate: 10, Burst: 20, Waiting: 64}

// Config is what a Client needs.
type Config struct {
	// URL is the log's: https, or http, with nothing but a host, a port and a path.
	URL string
	// Transport is what requests are sent with. nil is one that knows no proxy and
	// believes the system's CAs.
	Transport http.RoundTripper
}

// Client asks one log. It is safe for concurrent use.
type Client struct {
	host      string
	transport http.RoundTripper
	entries   entries.ClientService
	queue     *fair.Queue

	mu sync.Mutex
	// resting is until when the log is not asked, and why; guarded by mu.
	resting time.Time
	why     error
}

// New returns a Client. Nothing is asked yet.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the URL, which may have a password in it
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("a log's URL: %w", err)
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("a log's URL: %q is neither https nor http", u.Redacted())
	case u.Hostname() == "":
		return nil, fmt.Errorf("a log's URL: %q has no host", u.Redacted())
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("a log's URL: %q has more than a host, a port and a path", u.Redacted())
	}
	t := c.Transport
	if t == nil {
		t = newTransport()
	}
	return &Client{host: u.Host, transport: t, entries: newService(u, t), queue: fair.New(limits)}, nil
}

// Close lets go of connections that nobody uses.
func (c *Client) Close() {
	if t, ok := c.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// annotationBundle is where cosign has the log's entry in a layer.
const annotationBundle = "dev.sigstore.cosign/bundle"

// Complete returns a copy of an item that has the log's entry with it, as cosign would
// have stored it. keys are those that the item may have been signed with; a certificate
// is the item's own. Of several entries it is the oldest, which vouches for the
// earliest time.
//
// The error is [ErrNoEntry], an *[Error] (which has the context's cause in it, where
// that is why), or says what is wrong with item or keys.
func (c *Client) Complete(ctx context.Context, who fair.Who, item evidence.Item, keys ...crypto.PublicKey) (evidence.Item, error) {
	wanted, err := wantedFor(item, keys)
	if err != nil {
		return evidence.Item{}, err
	}
	found, err := c.find(ctx, who, wanted)
	if f, ok := errors.AsType[*failure](err); ok {
		return evidence.Item{}, &Error{Host: c.host, Kind: f.kind, Err: f.err}
	}
	if err != nil {
		return evidence.Item{}, err
	}
	item.Annotations = maps.Clone(item.Annotations)
	if item.Annotations == nil {
		item.Annotations = map[string]string{}
	}
	item.Annotations[annotationBundle], err = bundle(found)
	return item, err
}

// find asks for entries, and finds the oldest.
func (c *Client) find(ctx context.Context, who fair.Who, wanted []wantedEntry) (*models.LogEntryAnon, error) {
	if err := c.rests(); err != nil {
		return nil, err
	}
	leave, err := c.queue.Enter(ctx, who)
	if err != nil {
		return nil, queued(ctx, err)
	}
	defer leave()
	if err := c.rests(); err != nil { // since others have asked
		return nil, err
	}
	answer, err := c.ask(ctx, wanted)
	if err != nil {
		c.rest(err)
		return nil, err
	}
	return oldest(answer, wanted)
}

// rests is why the log is not asked now.
func (c *Client) rests() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := time.Until(c.resting)
	if left <= 0 {
		return nil
	}
	return fail(Unavailable, "not asked for another %v: %w", left.Round(time.Millisecond), c.why)
}

// rest takes note that the log is to be left alone.
func (c *Client) rest(err error) {
	f, ok := errors.AsType[*failure](err)
	if !ok || f.pause == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if until := time.Now().Add(f.pause); until.After(c.resting) {
		c.resting, c.why = until, f.err
	}
}

// oldest is the first of the entries that the log took. Each is what was asked for.
func oldest(answer []models.LogEntry, wanted []wantedEntry) (*models.LogEntryAnon, error) {
	var first *models.LogEntryAnon
	for _, named := range answer {
		for id, entry := range named {
			if !isWanted(id, &entry, wanted) {
				return nil, fail(Malformed, "it answered with an entry that was not asked for, %q", clip(id))
			}
			if first == nil || *entry.IntegratedTime < *first.IntegratedTime {
				first = &entry
			}
		}
	}
	if first == nil {
		return nil, ErrNoEntry
	}
	return first, nil
}

// isWanted is whether an entry is one of those that were asked for: by its bytes and by
// its name, which is their hash, with the number of a tree before it.
func isWanted(id string, entry *models.LogEntryAnon, wanted []wantedEntry) bool {
	body, _ := entry.Body.([]byte)
	return slices.ContainsFunc(wanted, func(w wantedEntry) bool {
		tree, ok := strings.CutSuffix(id, w.uuid)
		return ok && (tree == "" || treeID.MatchString(tree)) && bytes.Equal(body, w.body)
	})
}

// treeID is the number of a tree in an entry's name.
var treeID = regexp.MustCompile(`\A[0-9a-f]{16}\z`)

// bundle is an entry in the form of cosign's annotation.
func bundle(e *models.LogEntryAnon) (string, error) {
	type payload struct {
		Body           any    `json:"body"`
		IntegratedTime int64  `json:"integratedTime"`
		LogIndex       int64  `json:"logIndex"`
		LogID          string `json:"logID"`
	}
	text, err := json.Marshal(struct {
		SignedEntryTimestamp []byte
		Payload              payload
	}{e.Verification.SignedEntryTimestamp, payload{e.Body, *e.IntegratedTime, *e.LogIndex, *e.LogID}})
	return string(text), err
}

// clip is for strings that are quoted with %q anyway.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
