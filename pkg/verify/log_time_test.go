package verify_test

import (
	"context"
	"crypto"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/rekor"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/store"
	"github.com/podseal/podseal/pkg/verify"
)

// logShelf is what a real log answered, as a shelf is for a registry.
type logShelf struct {
	from verify.Log // nil once it is full
	away atomic.Bool
	// asked is how often.
	asked atomic.Int64

	mu      sync.Mutex
	entries map[image.Digest]evidence.Item // by what was signed: a test has one of a kind
}

func (l *logShelf) Complete(ctx context.Context, who fair.Who, item evidence.Item, keys ...crypto.PublicKey) (evidence.Item, error) {
	l.asked.Add(1)
	if l.away.Load() {
		return evidence.Item{}, &rekor.Error{Host: "log.example.org", Kind: rekor.Unavailable, Err: errors.New("nobody answers")}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from != nil {
		found, err := l.from.Complete(ctx, who, item, keys...)
		if err != nil {
			return evidence.Item{}, err
		}
		l.entries[item.Blob] = found
	}
	if found, ok := l.entries[item.Blob]; ok {
		return found, nil
	}
	return evidence.Item{}, rekor.ErrNoEntry
}

// What is stored while the log is away is not the answer for later: neither that the
// policy does not hold, nor that there is no attestation.
func TestALogIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	w := newLogWorld(t)
	a := keyless(t, devIssuer, devSubject)
	policies := func(do policy.OnUnavailable) func(verify.Log) verify.Config {
		return func(l verify.Log) verify.Config { return w.policy(t, a, l, do) }
	}
	unsigned := w.image("while/policy", w.devUnlogged)
	unattested := w.image("while/block", w.devLogged, w.devAttestsUnlogged)
	t.Run("fail", func(t *testing.T) {
		w.awayForAWhile(t, unsigned, policies(policy.FailUnavailable), "image-policy:p", policy.Fail)
	})
	t.Run("withhold", func(t *testing.T) {
		w.awayForAWhile(t, unsigned, policies(policy.WithholdUnavailable), "image-policy:p", policy.Withhold)
	})
	t.Run("stale", func(t *testing.T) {
		w.awayForAWhile(t, unsigned, policies(policy.Stale), "image-policy:p", policy.Fail)
	})
	t.Run("the block's attestation", func(t *testing.T) {
		w.awayForAWhile(t, unattested, func(l verify.Log) verify.Config { return w.block(a, l) }, "image-attestations:verified", "")
	})
}

// awayForAWhile asks for an image while its log is away, and afterwards, for a selector
// that needs the log. meanwhile is what follows until then; empty is that the rule holds.
func (w *logWorld) awayForAWhile(t *testing.T, app sigstoretest.Pushed, config func(verify.Log) verify.Config, selector string, meanwhile policy.Mode) {
	log := &logShelf{from: w.asksLog(t), entries: map[image.Digest]evidence.Item{}}
	images := w.filled(t, config(log), func(v *verify.Verifier) { has(t, v, app, selector) })
	log.from = nil
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(sigstoretest.Time.Add(24 * time.Hour)))
		v := remembering(t, config(log), images, verify.RecordStatuses{}, memory())
		still := func(after time.Duration) {
			t.Helper()
			time.Sleep(after)
			if meanwhile != "" {
				f := theFailure(t, v, running(app))
				if f.Kind != verify.Unavailable || !f.Unavailable || f.Mode != meanwhile {
					t.Errorf("kind %q, unavailable %t, %q: %v", f.Kind, f.Unavailable, f.Mode, f)
				}
				return
			}
			if got, err := selectors(t, v, running(app)); err != nil || slices.Contains(got, selector) {
				t.Errorf("the log is away: %q, %v", got, err)
			}
		}
		log.away.Store(true)
		still(0)
		still(time.Second)
		still(6 * time.Second)  // it was looked at again
		still(20 * time.Second) // and again, in the time of a refusal
		still(time.Minute)
		log.away.Store(false)
		time.Sleep(31 * time.Second)
		if _, err := selectors(t, v, running(app)); err != nil && meanwhile == "" {
			t.Error(err)
		}
		synctest.Wait()
		has(t, v, app, selector)

		// When it is away again, what it said before still counts.
		log.away.Store(true)
		time.Sleep(46 * time.Minute) // a list is fetched anew, on the side
		has(t, v, app, selector)
		synctest.Wait()
		has(t, v, app, selector)
		time.Sleep(10 * time.Minute)
		has(t, v, app, selector)
	})
}

// What was kept before there was a trust root, or by a configuration that had no log, is
// no reason to refuse an image whose entry nobody has looked up.
func TestALogIsAskedAboutWhatIsKept(t *testing.T) {
	t.Parallel()
	w := newLogWorld(t)
	app := w.image("log/kept", w.devUnlogged)
	dev := keyless(t, devIssuer, devSubject)
	cfg := w.policy(t, dev, w.asksLog(t), policy.FailUnavailable)
	root := &turning{}
	cfg.Judges[verify.AuthorityName{Policy: "p", Authority: "a"}] = verify.Judge{Authority: dev, Root: root}
	v := w.verifier(t, cfg)
	wantRefusal(t, v, running(app), verify.Unavailable, "there is no trust root yet")
	root.turn(w.root)
	has(t, v, app, "image-policy:p")

	kept := store.Open(store.Config{})
	before := remembering(t, w.policy(t, dev, nil, policy.FailUnavailable), verify.Registries(w.client), verify.RecordStatuses{}, kept)
	wantRefusal(t, before, running(app), verify.NotVerified, "it has no log entry")
	has(t, remembering(t, w.policy(t, dev, w.asksLog(t), policy.FailUnavailable), verify.Registries(w.client), verify.RecordStatuses{}, kept), app, "image-policy:p")
}

// What a log said once counts like the rest of what is old, where the operator wants that
// while the log is away: a look at the registry meanwhile does not take its place.
func TestOldEntriesCountWhileALogIsAway(t *testing.T) {
	t.Parallel()
	w := newLogWorld(t)
	app := w.image("log/old", w.devUnlogged)
	log := &logShelf{from: w.asksLog(t), entries: map[image.Digest]evidence.Item{}}
	cfg := w.policy(t, keyless(t, devIssuer, devSubject), log, policy.Stale)
	images := w.filled(t, cfg, func(v *verify.Verifier) { has(t, v, app, "image-policy:p") })
	log.from = nil
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(sigstoretest.Time.Add(24 * time.Hour)))
		v := remembering(t, cfg, images, verify.RecordStatuses{}, memory())
		isStale := func(want bool) {
			t.Helper()
			has(t, v, app, "image-policy:p")
			synctest.Wait()
			p := running(app)
			if r, err := v.Container(t.Context(), p, &p.Containers[0]); err != nil || r.Verdicts[0].Stale.IsZero() == want {
				t.Errorf("stale: %v, want %t: %v", r.Verdicts[0].Stale, want, err)
			}
		}
		isStale(false)
		log.away.Store(true)
		time.Sleep(2 * ages.TTL)
		isStale(true)
		time.Sleep(2 * ages.TTL)
		isStale(true)
		log.away.Store(false)
		time.Sleep(time.Minute)
		isStale(false)
		log.away.Store(true)
		time.Sleep(ages.StaleTTL + ages.TTL)
		f := theFailure(t, v, running(app))
		if f.Kind != verify.Unavailable || !f.Unavailable || f.Mode != policy.Fail {
			t.Errorf("kind %q, unavailable %t, %q: %v", f.Kind, f.Unavailable, f.Mode, f)
		}
	})
}
