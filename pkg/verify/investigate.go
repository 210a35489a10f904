package verify

import (
	"context"
	"slices"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/policy"
)

// investigation is the work of one flight, when it has its turn.
type investigation struct {
	*Verifier
	entry *entry
	rules []rule
	runs  Runs
	who   fair.Who
	ask   Conversation
	// renews is whether there are verdicts that still count.
	renews bool
}

// run judges by what was kept where that is new enough and does, and else by what
// there is now. What is in a repository that another pod's author may have chosen is
// looked at only when the rest does not do.
func (i *investigation) run(ctx context.Context) (map[rule]*judged, Image) {
	enough := i.cfg.Ages.TTL
	if i.renews {
		enough = i.cfg.Ages.earliest() // what is to be renewed would renew nothing
	}
	if kept := i.kept(ctx, enough); kept != nil && kept.fresh {
		results := i.judgeAll(ctx, kept)
		if hold(results) || kept.elsewhere && time.Since(kept.fetched) < i.cfg.Ages.NegativeTTL && !i.askable(results) {
			return i.dated(results), i.describe(kept)
		}
	}
	heard := newRecorder(i.ask, i.store)
	found := i.find(ctx, heard, i.runs)
	results := i.judgeAll(ctx, found)
	i.askLogs(ctx, found, results)
	if !hold(results) && found.findElsewhere(ctx, heard) {
		results = i.judgeAll(ctx, found)
		i.askLogs(ctx, found, results)
	}
	if len(found.unknown) == 0 && !slices.ContainsFunc(i.rules, found.away) {
		i.keep(found, heard)
	}
	i.fallBack(ctx, results)
	return i.dated(results), i.describe(found)
}

// askable is whether something lacks an entry that a rule's log could be asked for: it
// may not have been when what there is was kept, without a root or by another
// configuration.
func (i *investigation) askable(results map[rule]*judged) bool {
	for r, j := range results {
		lacking := func(a AuthorityVerdict) bool { return len(a.lacking) > 0 }
		if i.logOf(r) != nil && slices.ContainsFunc(j.verdict.Authorities, lacking) {
			return true
		}
	}
	return false
}

func (i *investigation) judgeAll(ctx context.Context, found *findings) map[rule]*judged {
	results := map[rule]*judged{}
	for _, r := range i.rules {
		results[r] = i.judge(ctx, r, found)
	}
	return results
}

func hold(results map[rule]*judged) bool {
	for _, j := range results {
		if !j.holds() {
			return false
		}
	}
	return true
}

// fallBack judges again by what was kept before, for the rules that want that, where
// all that keeps them from a verdict is that a registry does not answer. That the
// credentials for it are others now changes nothing of who has signed.
func (i *investigation) fallBack(ctx context.Context, results map[rule]*judged) {
	var kept *findings
	for r, j := range results {
		if r == nil || r.OnUnavailable != policy.Stale || j.holds() || !j.failure.Unavailable {
			continue
		}
		if kept == nil {
			if kept = i.kept(ctx, i.cfg.Ages.StaleTTL); kept == nil {
				return
			}
			kept.stale = kept.fetched
		}
		if again := i.judge(ctx, r, kept); again.holds() {
			results[r] = again
		}
	}
}

// dated says how long the verdicts count, and lets go of what they were judged by.
func (i *investigation) dated(results map[rule]*judged) map[rule]*judged {
	now, ages := time.Now(), i.cfg.Ages
	for _, j := range results {
		switch {
		case !j.verdict.Stale.IsZero():
			j.until, j.renew = ages.stale(j.fetched, now), now.Add(ages.NegativeTTL)
		case j.holds() && j.partial:
			j.until, j.renew = j.fetched.Add(ages.TTL), now.Add(ages.NegativeTTL)
		case j.holds():
			j.until, j.renew = j.fetched.Add(ages.TTL), j.fetched.Add(ages.renewal())
		case j.verdict.Result == policy.Refused && !j.partial:
			j.until = j.fetched.Add(ages.NegativeTTL)
		case !j.holds() && j.failure.Kind == Limit:
			j.until = now.Add(ages.NegativeTTL)
		default:
			j.until = now.Add(min(retry, ages.NegativeTTL))
		}
		if j.renew.IsZero() {
			j.renew = j.until
		}
		for k := range j.verdict.Authorities {
			i.slim(&j.verdict.Authorities[k])
		}
	}
	return results
}

// slim drops the contents of what was judged: verdicts are kept by the thousand.
func (v *Verifier) slim(a *AuthorityVerdict) {
	for k, s := range a.Signatures {
		a.Signatures[k] = s.Slim()
	}
	for k, s := range a.Attestations {
		a.Attestations[k] = s.Slim()
	}
	a.lacking, a.root = nil, nil
	if !v.cfg.Explain {
		a.Refusals = nil
	}
	for k := range a.Refusals {
		a.Refusals[k] = Refusal{bare(a.Refusals[k].Item), a.Refusals[k].Err}
	}
}

func bare(item evidence.Item) evidence.Item {
	item.Content, item.Annotations = nil, nil
	return item
}

// describe is what there is to say of the image.
func (v *Verifier) describe(found *findings) Image {
	image := Image{Stored: found.stored}
	if len(found.asked) > 0 { // else it was not even known what to ask about
		image.Fetched = found.fetched.Round(0)
	}
	if !v.cfg.Explain {
		return image
	}
	image.Content, image.Asked = found.content, found.asked
	for k := range image.Asked {
		for n, item := range image.Asked[k].Items {
			image.Asked[k].Items[n] = bare(item)
		}
	}
	return image
}
