package verify

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/rekor"
	"github.com/podseal/podseal/pkg/sigstore"
)

// Log is a transparency log that is asked for the entry of a signature that came
// without, a *rekor.Client.
type Log interface {
	// Complete returns the item with its entry, which nobody has looked at. keys are
	// those that it may be signed with where it has no certificate. rekor.ErrNoEntry is
	// that there is none.
	Complete(ctx context.Context, who fair.Who, item evidence.Item, keys ...crypto.PublicKey) (evidence.Item, error)
}

// lack is an item that would count if it had its entry in a log.
type lack struct {
	item evidence.Item
	key  crypto.PublicKey
}

// lacks notes an item that was refused for want of an entry alone.
func (a *AuthorityVerdict) lacks(item evidence.Item, refusal error) {
	if unlogged, ok := errors.AsType[*sigstore.UnloggedError](refusal); ok {
		a.lacking = append(a.lacking, lack{item, unlogged.Key})
	}
}

// maxLookUps is how many items of an image a log is asked about for one rule.
const maxLookUps = 4

// errLookUps is the bound of what is asked of a log about one image.
var errLookUps = fmt.Errorf("%w: more than %d signatures lack their log entries, and no more are looked up for one image", image.ErrLimit, maxLookUps)

// logOf is the log that may be asked for the rule, nil for none.
func (v *Verifier) logOf(r rule) Log {
	if r == nil {
		return v.cfg.Block.Log
	}
	return v.cfg.Logs[r.Name]
}

// askLogs asks the logs of the rules that have one for what items lack that would
// count otherwise, and has the rules judge again.
func (i *investigation) askLogs(ctx context.Context, found *findings, results map[rule]*judged) {
	before := len(found.items)
	for _, r := range i.rules {
		log := i.logOf(r)
		if log == nil {
			continue
		}
		for {
			// Again and again: what attestations lack is known once a signature counts.
			next, any := found.lacking(r, results[r])
			if !any {
				break
			}
			for _, l := range next {
				i.askLog(ctx, log, r, found, l)
			}
			results[r] = i.judge(ctx, r, found)
		}
		results[r].partial = found.away(r)
	}
	if len(found.items) == before {
		return
	}
	for _, r := range i.rules {
		if i.logOf(r) == nil {
			results[r] = i.judge(ctx, r, found) // now, as it will when all this comes from the store
		}
	}
}

// lacking is what the rule's log was not asked about yet, and whether there is
// anything of that kind.
func (f *findings) lacking(r rule, j *judged) (next []lack, any bool) {
	for _, a := range j.verdict.Authorities {
		for _, l := range a.lacking {
			is := func(other evidence.Item) bool { return same(l.item, other) }
			if slices.ContainsFunc(f.lookedUp[r], is) || slices.Contains(f.unlogged[r], errLookUps) {
				continue
			}
			any = true
			if len(f.lookedUp[r]) == maxLookUps {
				f.unlog(r, errLookUps)
				continue
			}
			if f.lookedUp == nil {
				f.lookedUp = map[rule][]evidence.Item{}
			}
			f.lookedUp[r] = append(f.lookedUp[r], l.item)
			next = append(next, l)
		}
	}
	return next, any
}

// away is whether the rule's log could not tell something that it may tell later.
func (f *findings) away(r rule) bool {
	return slices.ContainsFunc(f.unlogged[r], func(err error) bool { return !errors.Is(err, errLookUps) })
}

func (i *investigation) askLog(ctx context.Context, log Log, r rule, found *findings, l lack) {
	var keys []crypto.PublicKey
	if l.key != nil {
		keys = append(keys, l.key)
	}
	item, err := log.Complete(ctx, i.who, l.item, keys...)
	switch {
	case errors.Is(err, rekor.ErrNoEntry):
	case err != nil:
		found.unlog(r, cmp.Or(budget(ctx), err))
	default:
		found.complete(item)
	}
}
