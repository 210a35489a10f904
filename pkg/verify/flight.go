package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/registry"
)

// flight looks at one image for some rules, for all who ask meanwhile. It is
// nobody's: whoever leaves, it goes on, for as long as the budget lasts, and the
// others have its answer (ADVERSARIAL.md, row 29).
type flight struct {
	rules  []rule
	tenant string
	// early is whether nobody waited for it when it began; hurry is closed when
	// somebody does.
	early bool
	hurry chan struct{}
	once  sync.Once
	// renews is whether each of the rules has a verdict that still counts.
	renews bool
	// version is that of the repository when it began.
	version registry.Version
	// joined is sent the other namespaces that wait for it, has are those that were, for
	// which it waits too; the Verifier's lock guards it until the end. late is whether it
	// was nobody's turn in time.
	joined chan string
	has    map[string]bool
	late   bool
	// done is closed at its end; results has a verdict for each rule then, or err is
	// the panic that ended it.
	done    chan struct{}
	results map[rule]*judged
	err     error
}

// await says that somebody of the namespace waits for it. It is called with the
// Verifier's lock held.
func (f *flight) await(tenant string) {
	f.once.Do(func() { close(f.hurry) })
	if tenant != f.tenant && !f.has[tenant] && len(f.has) < cap(f.joined) {
		f.has[tenant] = true
		f.joined <- tenant
	}
}

func newFlight(rules []rule, s subject, version registry.Version) *flight {
	return &flight{
		rules: rules, tenant: s.pod.Namespace, early: s.background, version: version,
		hurry: make(chan struct{}), joined: make(chan string, maxJoined), has: map[string]bool{}, done: make(chan struct{}),
	}
}

// who is who it is for.
func (f *flight) who() fair.Who {
	return fair.Who{Tenant: f.tenant, Background: f.early, Hurry: f.hurry}
}

// verdicts are those of the rules, in their order, each from the cache or looked up
// now. The error is a panic's; what a caller has no time for is undecided.
func (v *Verifier) verdicts(ctx context.Context, s subject, rules []rule, into *Image) ([]*judged, error) {
	q := questionOf(s.runs)
	all := make([]*judged, len(rules))
	for {
		f := v.board(q, s, rules, all, into)
		if f == nil {
			return all, nil
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			for i, j := range all {
				if j == nil {
					all[i] = v.undecided(rules[i], context.Cause(ctx))
				}
			}
			return all, nil
		}
		if f.err != nil {
			return nil, f.err
		}
		if f.answers(s, rules, all) {
			v.describeImage(q, into)
			return all, nil
		}
	}
}

// answers fills in what the flight has come to, and is whether nothing is missing. Work
// that began for nobody stood behind all others, whose turn did not come may not have
// waited for this one, and a bound may be that of what another namespace is given: that
// it could not tell is no answer to somebody who waits, who looks for himself.
func (f *flight) answers(s subject, rules []rule, all []*judged) bool {
	hisOwn := f.tenant == s.pod.Namespace || f.has[s.pod.Namespace]
	missing := false
	for i, r := range rules {
		if j := f.results[r]; all[i] == nil && j != nil && (j.decided() || s.background || !f.early && (hisOwn || !f.late && j.failure.Kind != Limit)) {
			all[i] = j
		}
		missing = missing || all[i] == nil
	}
	return !missing
}

// board fills in the verdicts that are known, and returns the flight that is to be
// waited for, nil where nothing is missing.
func (v *Verifier) board(q question, s subject, rules []rule, all []*judged, into *Image) *flight {
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	e := v.entryOf(q, s, now)
	if v.recheck(e, now) {
		e = v.entryOf(q, s, now) // the other may have made room meanwhile
	}
	var missing, due []rule
	for i, r := range rules {
		j := v.current(e, r, now)
		if j != nil && !j.decided() && j.failure.Kind == Limit && j.of != s.pod.Namespace {
			j = nil // as in answers
		}
		switch all[i] = j; {
		case j == nil:
			missing = append(missing, r)
		case over(now, j.renew):
			due = append(due, r)
		}
	}
	into.copy(e.image)
	if len(missing) == 0 && len(due) == 0 {
		return nil
	}
	if e.flight == nil {
		e.flight = newFlight(missing, s, e.version)
		if len(missing) == 0 {
			e.flight.rules, e.flight.early, e.flight.renews = due, true, true
		}
		v.makeRoom()
		f := e.flight
		go func() { _ = guard.Do(func() error { v.fly(e, f, s.runs); return nil }) }()
	}
	if len(missing) == 0 {
		return nil
	}
	if !s.background {
		e.flight.await(s.pod.Namespace)
	}
	return e.flight
}

// fly does a flight and keeps what it comes to.
func (v *Verifier) fly(e *entry, f *flight, runs Runs) {
	var results map[rule]*judged
	var seen Image
	f.err = guard.Do(func() error {
		results, seen = v.investigate(e, f, runs)
		return nil
	})
	v.report(f)
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	e.flight = nil
	defer close(f.done)
	if f.err != nil && f.renews {
		for _, r := range f.rules {
			v.putOff(e, r, now)
		}
	}
	for len(f.joined) > 0 {
		delete(f.has, <-f.joined) // came when it was over
	}
	if f.version != e.version {
		return // it was asked as nobody asks any more: who waits looks for himself
	}
	f.results = results
	for r, j := range results {
		switch old := v.current(e, r, now); {
		case old != nil && old.holds() && j.tellsLess(old):
			v.putOff(e, r, now) // it was asked to renew what still counts
		case f.early && !j.decided():
			delete(e.judged, r) // as in answers
		default:
			j.of = f.tenant
			e.judged[r] = j
		}
	}
	e.image = seen
	v.makeRoom()
}

// putOff has a verdict that could not be renewed renewed later. It is called with v.mu
// held.
func (v *Verifier) putOff(e *entry, r rule, now time.Time) {
	old := e.judged[r]
	if old == nil {
		return
	}
	later := *old
	later.renew = now.Add(v.cfg.Ages.NegativeTTL)
	if !later.verdict.Stale.IsZero() {
		later.until = v.cfg.Ages.stale(later.fetched, now)
	}
	e.judged[r] = &later
}

// report logs the panic that ended a flight for which nobody waited. Who waits for one
// is told, and logs it.
func (v *Verifier) report(f *flight) {
	panicked, ok := errors.AsType[*guard.PanicError](f.err)
	if ok && f.renews && v.cfg.Log != nil && panicked.FirstReport() {
		v.cfg.Log.Error("recovered from a panic while a verdict about an image was renewed: please report this", "panic", fmt.Sprint(panicked.Value), "stack", string(panicked.Stack))
	}
}

// investigate waits for its turn, finds out what there is about an image and has the
// flight's rules judge it.
func (v *Verifier) investigate(e *entry, f *flight, runs Runs) (map[rule]*judged, Image) {
	leave, who, err := v.enter(e, f)
	if err != nil {
		f.late = true
		return v.allUndecided(f.rules, err), Image{}
	}
	defer leave()
	ctx, cancel := context.WithTimeoutCause(context.Background(), v.cfg.Budget, errBudget)
	defer cancel()
	i := &investigation{Verifier: v, entry: e, rules: f.rules, runs: runs, renews: f.renews, who: who}
	i.ask = v.registry.Conversation(i.who)
	return i.run(ctx)
}

func (v *Verifier) allUndecided(rules []rule, why error) map[rule]*judged {
	results := map[rule]*judged{}
	for _, r := range rules {
		results[r] = v.undecided(r, why)
	}
	return results
}

// describeImage takes what is known of the image.
func (v *Verifier) describeImage(q question, into *Image) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if e := v.entries[q]; e != nil {
		into.copy(e.image)
	}
}

func (i *Image) copy(from Image) {
	i.Content, i.Asked, i.Fetched, i.Stored = from.Content, from.Asked, from.Fetched, from.Stored
}
