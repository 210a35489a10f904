// Package trustroot knows by whom Sigstore's signatures are judged: the CAs, logs and
// timestamp authorities of one Sigstore instance, from a file, from a TUF repository
// or from the environment, kept up to date in the background (DESIGN.md, section 4,
// "trust_root"; invariants 10 and 11).
//
// It must never make anybody trusted whom the operator did not name: what is
// fetched is signed by keys that lead back to the operator's root.json (or to the
// one that Sigstore's library has), what was kept on a disk is verified again when
// it is read, and no key is ever asked of a log (gitsign, CVE-2023-47122). And it
// must never take a good root away: what is expired, rolled back or garbage is told
// and not used, and the last good root stays.
package trustroot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/sigstore"
)

// The times of looking again. A mirror that failed is asked after firstRetry, twice
// as long after each further failure, lastRetry at most. Files are looked at when the
// root is used, but not more often than lookSpacing, and each filePeriod.
const (
	firstRetry  = 5 * time.Second
	lastRetry   = time.Hour
	lookSpacing = time.Second
	filePeriod  = time.Minute
)

// ErrNone is in the error of Settle where there is no root.
var ErrNone = errors.New("there is no trust root yet")

// Source is one trust root, kept up to date. It must be closed.
type Source struct {
	log    *slog.Logger
	cfg    Config
	name   string
	period time.Duration

	// These belong to New and then to the goroutine of run.
	file    *watched[*sigstore.Root] // trusted_root_path
	initial *watched[[]byte]         // root_path of TUF
	overlay *overlay                 // the environment's files
	updates *updates                 // TUF
	// base is what overlay's parts are put into, nil if there is nothing yet.
	base     *material
	problems problems
	tried    bool // that updates was asked
	logged   string

	// current is never nil after New, its root may be.
	current atomic.Pointer[published]
	// looked is when files were looked at, in nanoseconds since 1970.
	looked atomic.Int64
	wake   chan struct{}

	settled    chan struct{}
	settleOnce sync.Once

	cancel context.CancelFunc
	done   chan struct{}
	idle   func()
}

// problems are the last of each kind, nil since it was overcome.
type problems struct{ file, refresh, store error }

func (p problems) err() error { return join(p.file, p.refresh, p.store) }

type published struct {
	material // its root is nil if there is none
	err      error
}

// New makes a Source. It reads the files that are named, each of which must be good,
// and what was kept of earlier starts, and waits for no network. An error begins
// with the key that it is about, below that of the trust root.
func New(cfg Config, log *slog.Logger) (*Source, error) {
	transport := newTransport()
	return newSource(cfg, log, transport, transport.CloseIdleConnections)
}

// NewThrough is New with another way to mirrors than the network, for tests.
func NewThrough(cfg Config, log *slog.Logger, transport http.RoundTripper) (*Source, error) {
	return newSource(cfg, log, transport, func() {})
}

func newSource(cfg Config, log *slog.Logger, transport http.RoundTripper, idle func()) (*Source, error) {
	s, err := prepare(cfg, log, transport)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.idle = cancel, idle
	go s.run(ctx)
	return s, nil
}

// prepare makes a Source that has what is on this node, and that nobody keeps up to
// date yet.
func prepare(cfg Config, log *slog.Logger, transport http.RoundTripper) (*Source, error) {
	s := &Source{
		log: log.With("trust_root", cfg.Name), cfg: cfg, name: cfg.Name,
		wake: make(chan struct{}, 1), settled: make(chan struct{}), done: make(chan struct{}),
	}
	s.current.Store(&published{})
	if err := s.build(cfg, transport); err != nil {
		return nil, err
	}
	s.looked.Store(time.Now().UnixNano())
	if s.publish(); s.problems.file != nil {
		return nil, s.problems.file
	}
	return s, nil
}

func (s *Source) lookSoon() {
	select {
	case s.wake <- struct{}{}:
	default: // it is about to
	}
}

// Close ends the refreshing and waits until it has ended. The last root stays.
func (s *Source) Close() {
	s.cancel()
	<-s.done
	s.idle()
}

// Current returns the root, nil while there is none, and what is known of it. It
// waits for nothing.
func (s *Source) Current() (*sigstore.Root, Status) {
	if s.watches() && time.Since(time.Unix(0, s.looked.Load())) >= lookSpacing {
		s.lookSoon()
	}
	p := s.current.Load()
	status := Status{Origin: p.origin, Fetched: p.fetched, Expires: p.expires, Err: p.err}
	if s.updates != nil {
		status.Ahead = time.Duration(s.updates.mirror.ahead.Load())
	}
	if !p.fetched.IsZero() {
		status.Age = max(0, time.Since(p.fetched))
	}
	return p.root, status
}

// Settle waits until there is a root that need not be newer, or there is one and the
// mirror was asked. It ends at the latest with ctx, and is an error, with ErrNone and
// the last problem, only if there is no root at all then.
func (s *Source) Settle(ctx context.Context) error {
	select {
	case <-s.settled:
	case <-ctx.Done():
	case <-s.done:
	}
	if p := s.current.Load(); p.root == nil {
		if p.err != nil {
			return fmt.Errorf("%w: %w", ErrNone, p.err)
		}
		return ErrNone
	}
	return nil
}

// watches is whether there are files to look at when the root is used.
func (s *Source) watches() bool { return s.lasts() || s.initial != nil }

// lasts is whether there are files to look at even when nobody uses the root, so that
// the first who does is not judged by what was replaced long ago.
func (s *Source) lasts() bool {
	return s.file != nil || s.overlay != nil && len(s.overlay.variables()) > 0
}

// run keeps the root up to date until ctx ends.
func (s *Source) run(ctx context.Context) {
	defer close(s.done)
	retry := firstRetry
	look, ask := time.Now().Add(filePeriod), s.firstRefresh()
	for {
		next := ask
		if s.lasts() && (s.updates == nil || look.Before(ask)) {
			next = look
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.wake:
			timer.Stop()
			look = time.Now()
		case <-timer.C:
		}
		s.guarded(&s.problems.file, func() error {
			if s.watches() && !look.After(time.Now()) {
				look = time.Now().Add(filePeriod)
				if s.look() {
					ask, retry = time.Now(), firstRetry
				}
				s.publish() // now, for the mirror may take minutes
			}
			return nil
		})
		if s.updates != nil && !ask.After(time.Now()) {
			failed := true
			s.guarded(&s.problems.refresh, func() error {
				failed = !s.refresh(ctx)
				return nil
			})
			if ctx.Err() != nil {
				return
			}
			s.tried = true
			if failed {
				ask = time.Now().Add(min(retry, s.period))
				retry = min(2*retry, lastRetry)
			} else {
				ask, retry = s.nextRefresh(), firstRetry
			}
		}
		s.guarded(&s.problems.file, func() error {
			s.publish()
			return nil
		})
	}
}

// guarded calls f, of which not even a panic may end the goroutine.
func (s *Source) guarded(problem *error, f func() error) {
	if err := guard.Do(f); err != nil {
		*problem = about(s.name, err)
	}
}

// look reads the files again that have changed, and is whether the mirror must be
// asked because trust begins elsewhere now.
func (s *Source) look() (ask bool) {
	s.looked.Store(time.Now().UnixNano())
	switch {
	case s.file != nil:
		s.problems.file = s.file.look()
		s.base = s.ofFile()
	case s.initial != nil:
		s.problems.file = s.initial.look()
		if bytes.Equal(s.initial.value, s.updates.initial) {
			return false
		}
		if !s.updates.begin(s.initial.value) {
			s.base = nil
		}
		return true
	default:
		s.problems.file = s.overlay.look()
	}
	return false
}

// ofFile is the last good content of trusted_root_path.
func (s *Source) ofFile() *material {
	return &material{root: s.file.value, origin: Origin{Kind: FromFile, Location: s.file.path}, fetched: s.file.modified}
}

// refresh asks the mirror and is whether it answered as it should.
func (s *Source) refresh(ctx context.Context) bool {
	m, problem, err := s.updates.refresh(ctx)
	if m != nil {
		s.base = m
	}
	if s.problems.refresh = err; err != nil {
		return false
	}
	s.problems.store = problem
	return true
}

// firstRefresh is at once, unless the state was fetched shortly before this start.
func (s *Source) firstRefresh() time.Time {
	now := time.Now()
	if s.updates == nil || s.base == nil || s.base.origin.Kind != FromCache || s.base.fetched.After(now) {
		return now
	}
	return s.nextRefresh()
}

// nextRefresh is a period after the last one, a little earlier so that the nodes of a
// cluster spread, and not after the end of what there is.
func (s *Source) nextRefresh() time.Time {
	at := s.base.fetched.Add(s.period - rand.N(s.period/10)) // #nosec G404 -- to spread, not to hide
	if s.base.expires.Before(at) {
		at = s.base.expires
	}
	if soonest := s.base.fetched.Add(MinRefresh); at.Before(soonest) {
		at = soonest
	}
	return at
}

// publish makes what there is the current root.
func (s *Source) publish() {
	m, err := s.composed()
	before := s.current.Load()
	if err != nil {
		s.problems.file = about(s.name, err)
		m = before.material
	}
	now := &published{material: m, err: s.problems.err()}
	s.current.Store(now)
	s.tell(before, now)
	if now.root != nil && (s.tried || s.updates == nil || !s.needsNewer(now)) || s.tried && s.cfg.ReadOnly {
		s.settleOnce.Do(func() { close(s.settled) })
	}
}

// needsNewer is whether something newer, which is asked for now, is worth a moment.
func (s *Source) needsNewer(p *published) bool {
	overdue := p.origin.Kind != FromCache || time.Since(p.fetched) >= s.period
	return p.stale() || s.cfg.ReadOnly && overdue
}

// composed is base with the environment's parts, empty if there is none.
func (s *Source) composed() (material, error) {
	variables := []string(nil)
	if s.overlay != nil {
		variables = s.overlay.variables()
	}
	if s.base == nil && (s.overlay == nil || !s.overlay.complete()) {
		return material{}, nil
	}
	m := material{origin: Origin{Kind: FromEnvironment}}
	if s.base != nil {
		m = *s.base
	}
	if len(variables) > 0 {
		if s.base == nil {
			m.fetched = s.overlay.modified()
		}
		m.origin.Environment = variables
		text, err := s.overlay.over(m.text)
		if err != nil {
			return material{}, err
		}
		m.text, m.root = text, nil
		if before := s.current.Load(); bytes.Equal(before.text, text) {
			m.root = before.root
		}
	}
	if m.root == nil {
		root, err := sigstore.ParseRoot(m.text)
		if err != nil {
			return material{}, err
		}
		m.root = root
	}
	return m, nil
}

// tell logs what changed.
func (s *Source) tell(before, now *published) {
	if now.root != nil && (before.root == nil || before.root.Digest() != now.root.Digest() || before.origin.String() != now.origin.String()) {
		s.log.Info("trust root", now.attrs()...)
	}
	text := ""
	if now.err != nil {
		text = now.err.Error()
	}
	if text == s.logged {
		return
	}
	s.logged = text
	switch {
	case text == "":
		s.log.Info("the trust root has no problem any more")
	case now.root == nil:
		s.log.Warn("there is no trust root: what needs it can't be verified", "error", text)
	default:
		s.log.Warn("a trust root can't be refreshed or kept as it should, the last good one stays in use", "error", text)
	}
}
