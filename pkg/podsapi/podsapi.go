// Package podsapi asks this node's kubelet about its pods through the Pods API:
// a gRPC service on a Unix socket of the node that only root can open. A watch
// says which pods changed and wakes who waits for them; what an answer is made
// of was confirmed by a call of its own, because the watch is silent about some
// changes, and may be late, out of order or broken without a word.
//
// Nothing is asked while nobody waits for an answer: the watch begins with the
// first caller, and from then on only listens.
package podsapi

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/pod"
)

// Config says where the socket is and how old its answers may be. Two equal
// values (==) make clients that behave the same.
type Config struct {
	// Socket is the path of the kubelet's socket. A kubelet that restarts makes
	// it anew, so it is the directory that must be mounted into a container.
	Socket string
	// PeerUID is the user that must listen on the socket: root, but in tests.
	PeerUID uint32
	// TTL is how old the confirmation of a pod's record may be when it is used
	// and the watch said nothing about the pod since.
	TTL time.Duration
	// Interval is the time between two questions about a pod that does not have
	// what is waited for, when the watch says nothing about it; between two
	// lists of all pods; and between two attempts while the kubelet does not
	// answer.
	Interval time.Duration
}

// The bounds of what is kept, of all pods together.
const (
	maxPods = 20_000
	maxKept = 64 << 20
)

// Client asks one kubelet. It is safe for concurrent use.
type Client struct {
	cfg     Config
	limiter *Limiter
	log     *slog.Logger
	link    *link
	// roster is told of what is heard; nil where nobody wants to know.
	roster *pod.Roster
	// seed is that of all fingerprints.
	seed maphash.Seed
	// slots bounds the calls that are on their way at a time.
	slots   chan struct{}
	trouble trouble

	// ctx ends with Close. It is the watch's, and no call's.
	ctx   context.Context
	close context.CancelFunc

	// mu guards the fields below and those of their entries and flights, for
	// assignments and decisions, never across a wait.
	mu sync.Mutex
	// entries are the pods that somebody asked about or that a list confirmed.
	entries map[string]*entry
	// all is the entry of the list of all pods.
	all *entry
	// kept is about how much memory the entries take; collectAt how many there
	// may be before those that nobody asks about are forgotten.
	kept, collectAt int
	// queue holds the flights that have not started, dispatching is whether a
	// goroutine serves them; listing is the list on its way, listed when the
	// last one started.
	queue       []*flight
	dispatching bool
	listing     *listing
	listed      time.Time
	// flying counts the goroutines that make calls.
	flying int
	// sequence orders changes and requests; renewed is when all pods may have
	// changed, because a watch began; last is the latest time that stamp gave.
	sequence, renewed uint64
	last              time.Time
	// asking counts the calls of Next that are in progress.
	asking int
	// down is why the kubelet can't be asked, nil while it can or nobody tried;
	// retryAt is when it will be asked again.
	down    error
	retryAt time.Time
	// watch is that of the goroutine which watches.
	watch watchState
}

// New returns a client that keeps to limiter and believes who inPod says runs in
// none. It connects to nothing. Its errors say which setting is impossible.
func New(cfg Config, limiter *Limiter, inPod InPod, log *slog.Logger) (*Client, error) {
	switch {
	case !filepath.IsAbs(cfg.Socket):
		return nil, errors.New("the socket's path must be absolute")
	case cfg.TTL <= 0, cfg.Interval <= 0:
		return nil, errors.New("the time to live and the interval must be positive")
	case inPod == nil:
		return nil, errors.New("without a look at the pods' processes anybody could listen on the socket")
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Client{
		cfg:       cfg,
		limiter:   limiter,
		log:       log,
		link:      newLink(cfg, inPod),
		seed:      maphash.MakeSeed(),
		slots:     make(chan struct{}, 32),
		trouble:   trouble{log: log},
		ctx:       ctx,
		close:     cancel,
		entries:   make(map[string]*entry),
		all:       &entry{},
		collectAt: 1024,
	}, nil
}

// Tell has the roster learn from the watch, and from every answer after those who wait
// for it. It must be called before anything is asked.
func (c *Client) Tell(r *pod.Roster) { c.roster = r }

// Close ends the watch and keeps no connection from now on. Calls that still use
// the client get their answers. It may be called again.
func (c *Client) Close() {
	c.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest()
}

// rest closes the connection of a closed client that nobody uses. Only with mu.
func (c *Client) rest() {
	if c.ctx.Err() == nil || c.flying > 0 || len(c.queue) > 0 {
		return
	}
	if s := c.link.get(); s != nil {
		c.link.forget(s)
		c.spawn(s.close)
	}
}

// spawn starts a goroutine.
func (c *Client) spawn(f func()) { go c.guarded(f) }

// guarded calls f. What can go wrong in it is caught nearer to who must learn of it;
// this is for our own mistakes.
func (c *Client) guarded(f func()) {
	err := guard.Do(func() error { f(); return nil })
	if p, ok := errors.AsType[*guard.PanicError](err); ok && p.FirstReport() {
		c.log.Error("panic in the Pods API client", "error", p, "stack", string(p.Stack))
	}
}

// Trouble is why the Pods API can't be asked, as far as is known: nil while it
// can, and as long as nobody has tried. Start finds out whether it has passed.
func (c *Client) Trouble() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.down
}

// Watching is whether the watch is there and has had its initial list.
func (c *Client) Watching() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watch.synced
}

// entry is what is known of one pod.
type entry struct {
	// uid is empty for the list of all pods.
	uid string
	// taken is when the last answer was asked for, zero when there is none;
	// sequence is the client's at that moment. since is since when the kubelet that
	// gave it is there.
	taken    time.Time
	sequence uint64
	since    time.Time
	// record is the answer's, nil where there is no such pod; index is the
	// answer, nil until somebody wants it.
	record *record
	index  *pod.Index
	// changed is the sequence of the last event about the pod.
	changed uint64
	// retryAt is when the kubelet may be asked again after a call that failed
	// for this pod.
	retryAt time.Time
	// wake is closed at the next event; waiting counts who waits for it.
	wake    chan struct{}
	waiting int
	// flight is the request that new callers join, nil when there is none.
	flight *flight
}

func (e *entry) idle() bool { return e.flight == nil && e.waiting == 0 }

// stale is whether an event says that the pod is not any more what the answer
// says. Only with mu.
func (c *Client) stale(e *entry) bool { return max(e.changed, c.renewed) > e.sequence }

// stamp is the time of a request that starts now, later than that of every one
// before. Only with mu.
func (c *Client) stamp() (time.Time, uint64) {
	now := time.Now()
	if !now.After(c.last) {
		now = c.last.Add(1)
	}
	c.last = now
	return now, c.sequence
}

// entryOf returns the entry of a pod, or of all. Only with mu.
func (c *Client) entryOf(uid string) *entry {
	if uid == "" {
		return c.all
	}
	e, ok := c.entries[uid]
	if !ok {
		c.collect()
		e = &entry{uid: uid}
		c.entries[uid] = e
	}
	return e
}

// confirm makes an answer the entry's, unless it has a later one: lists and
// calls pass each other. Only with mu.
func (c *Client) confirm(e *entry, r *record, taken, since time.Time, sequence uint64) {
	if !taken.After(e.taken) {
		return
	}
	c.kept += r.bytes() - e.record.bytes()
	e.record, e.index, e.taken, e.since, e.sequence = r, nil, taken, since, sequence
}

// bytes is the record's size; a pod that is not there has none.
func (r *record) bytes() int {
	if r == nil {
		return 0
	}
	return r.size
}

// forget drops an entry. That is no statement about the pod. Only with mu.
func (c *Client) forget(e *entry) {
	c.kept -= e.record.bytes()
	delete(c.entries, e.uid)
}

// collect forgets pods when there are many: those that nobody asked about
// lately, or if that is not enough all that nobody waits for. Only with mu.
func (c *Client) collect() {
	if len(c.entries) < c.collectAt && c.kept <= maxKept {
		return
	}
	old := time.Now().Add(-10 * c.cfg.TTL)
	for _, e := range c.entries {
		if e.idle() && e.taken.Before(old) {
			c.forget(e)
		}
	}
	if len(c.entries) >= maxPods || c.kept > maxKept {
		for _, e := range c.entries {
			if e.idle() {
				c.forget(e)
			}
		}
	}
	c.collectAt = max(1024, 2*len(c.entries))
}

// answer is the index of the entry's answer. Only with mu.
func (e *entry) answer() *pod.Index {
	if e.index == nil {
		e.index = indexOf(e.uid, e.record, e.taken, e.since)
	}
	return e.index
}

// indexOf is an index of one pod, or of none where r is nil.
func indexOf(uid string, r *record, taken, since time.Time) *pod.Index {
	b := pod.NewBuilder(taken, 1)
	switch {
	case r == nil:
	case r.fault != nil:
		b.Fault(cmp.Or(uid, r.uid), r.fault)
	default:
		b.Add(r.pod)
	}
	index := b.Index()
	index.Watched, index.Since = true, since
	return index
}
