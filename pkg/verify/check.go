package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/selector"
	"github.com/podseal/podseal/pkg/sigstore"
)

// subject is one image of a pod and the policies that it must satisfy.
type subject struct {
	container *pod.Container
	runs      Runs
	policies  []*policy.Policy
}

// checked is what became of a subject.
type checked struct {
	image    Image
	verdicts []Verdict
	failures []Failure
	trust    selector.Trust
}

// check has the block and every policy judge one image. What is in a repository
// that another pod's author may have chosen is looked at only when the rest does not
// do.
func (v *Verifier) check(ctx context.Context, s subject) checked {
	skipped := v.skips(s.runs)
	if !(v.cfg.Block != nil && !skipped) && !needsEvidence(s.policies) {
		return v.decide(ctx, s, skipped, &findings{})
	}
	found := v.find(ctx, s.runs)
	c := v.decide(ctx, s, skipped, found)
	if len(c.failures) > 0 && v.findElsewhere(ctx, found) {
		c = v.decide(ctx, s, skipped, found)
	}
	return c
}

// decide is what the findings come to.
func (v *Verifier) decide(ctx context.Context, s subject, skipped bool, found *findings) checked {
	c := checked{image: Image{Container: s.container.Name, Runs: s.runs, Content: found.content, Asked: found.asked}}
	if b := v.cfg.Block; b != nil {
		verdict := Verdict{Container: s.container.Name, Dialect: b.dialect(), Skipped: skipped}
		if !skipped {
			a := judge(ctx, policy.Authority{}, b.Judge, found)
			if a.Result == policy.Accepted && !b.IgnoreAttestations {
				attestations(ctx, b.Judge, found, &a)
			}
			verdict.Result, verdict.Authorities = a.Result, []AuthorityVerdict{a}
		}
		c.add(s, verdict, found)
	}
	for _, p := range s.policies {
		verdict := Verdict{Container: s.container.Name, Dialect: DialectPolicy, Policy: p.Name}
		var results []policy.Result
		for _, a := range p.Authorities {
			judged := judge(ctx, a, v.cfg.Judges[AuthorityName{p.Name, a.Name}], found)
			verdict.Authorities = append(verdict.Authorities, judged)
			results = append(results, judged.Result)
		}
		verdict.Result = policy.Sum(results...)
		c.add(s, verdict, found)
	}
	return c
}

// skips is whether the block does not look at the image. The list is compared with
// what the runtime calls the image, in canonical form: not with a name that the
// pod's author chose.
func (v *Verifier) skips(runs Runs) bool {
	if v.cfg.Block == nil {
		return false
	}
	id, err := image.ParseID(runs.ImageID)
	return err == nil && v.cfg.Block.Skipped[id]
}

func needsEvidence(policies []*policy.Policy) bool {
	for _, p := range policies {
		for _, a := range p.Authorities {
			if a.Static == policy.NotStatic {
				return true
			}
		}
	}
	return false
}

// judge has an authority judge what was found.
func judge(ctx context.Context, a policy.Authority, j Judge, found *findings) AuthorityVerdict {
	verdict := AuthorityVerdict{Name: a.Name, Static: a.Static}
	if a.Static != policy.NotStatic {
		verdict.Result = a.Judged("")
		return verdict
	}
	now := time.Now()
	root, _, missing := j.root()
	evidence := policy.Refused
	if missing {
		found.interrupted(errNoRoot)
	}
	if len(found.unknown) > 0 {
		evidence = policy.Unknown
	}
	for _, item := range found.items {
		if ctx.Err() != nil {
			found.interrupted(context.Cause(ctx))
			evidence = policy.Unknown
			break
		}
		signature, err := j.Authority.Signature(root, item, found.candidates, now)
		if err == nil {
			// One that can't be rendered costs only itself.
			err = selector.Check(signature)
		}
		if err != nil {
			verdict.Refusals = append(verdict.Refusals, Refusal{item, err})
			continue
		}
		verdict.Signatures = append(verdict.Signatures, signature)
	}
	if len(verdict.Signatures) > 0 {
		evidence = policy.Accepted
	}
	verdict.Result = a.Judged(evidence)
	return verdict
}

// attestations adds the attestations that the block's authority accepts. None is
// required, but what there is must not depend on how much time there was.
func attestations(ctx context.Context, j Judge, found *findings, a *AuthorityVerdict) {
	now := time.Now()
	root, _, _ := j.root()
	for _, item := range found.items {
		if ctx.Err() != nil {
			found.interrupted(context.Cause(ctx))
			a.Result = policy.Unknown
			return
		}
		if accepted, err := j.Authority.Attestation(root, item, found.candidates, now); err == nil {
			a.Attestations = append(a.Attestations, accepted)
		}
	}
}

// add takes a verdict, and what it comes to.
func (c *checked) add(s subject, verdict Verdict, found *findings) {
	c.verdicts = append(c.verdicts, verdict)
	switch {
	case verdict.Skipped:
		c.trust.OlderSkipped = verdict.Dialect == DialectOlder
	case verdict.Result == policy.Accepted:
		c.trust.Accepted = append(c.trust.Accepted, accepted(s, verdict))
	default:
		c.failures = append(c.failures, failure(s, verdict, found))
	}
}

// accepted is what selectors are made of for a policy that holds.
func accepted(s subject, verdict Verdict) selector.Accepted {
	a := selector.Accepted{Policy: verdict.Policy}
	switch verdict.Dialect {
	case DialectSigstore:
		a.Dialect = selector.Sigstore
	case DialectOlder:
		a.Dialect, a.ContainerID = selector.OlderSigstore, s.container.ID
	default:
		a.Dialect = selector.ImagePolicy
	}
	for _, authority := range verdict.Authorities {
		if authority.Result != policy.Accepted || authority.Static != policy.NotStatic {
			continue
		}
		a.Signers = append(a.Signers, selector.Signer{Authority: authority.Name, Signatures: authority.Signatures})
		a.Attested = a.Attested || len(authority.Attestations) > 0
	}
	return a
}

// failure is why a policy does not hold.
func failure(s subject, verdict Verdict, found *findings) Failure {
	f := Failure{
		Kind: NotVerified, Dialect: verdict.Dialect, Policy: verdict.Policy,
		Container: s.container.Name, Image: s.runs.SpecImage, ImageID: s.runs.ImageID,
	}
	// Why it can't be told is said first, for there may be any number of candidates.
	unknown := found.unknown[:min(len(found.unknown), maxReasons/2)]
	f.Reasons = append(f.Reasons, unknown...)
	var others []error // candidates that are something else than a signature
	for _, a := range verdict.Authorities {
		in := ""
		if a.Name != "" {
			in = fmt.Sprintf("authority %q: ", a.Name)
		}
		if a.Static != policy.NotStatic {
			f.Reasons = append(f.Reasons, fmt.Errorf("%sstatic = %q", in, a.Static))
		}
		for _, r := range a.Refusals {
			reason := fmt.Errorf("%s%s: %w", in, describe(r.Item), r.Err)
			if errors.Is(r.Err, sigstore.ErrNotSignature) {
				others = append(others, reason)
			} else {
				f.Reasons = append(f.Reasons, reason)
			}
		}
	}
	if len(found.items) == 0 && len(found.asked) > 0 {
		f.Reasons = append(f.Reasons, found.nothing())
	}
	f.Reasons = append(f.Reasons, found.problems()[len(unknown):]...)
	if verdict.Result == policy.Unknown {
		f.Kind = found.kind()
	}
	f.Reasons = bounded(append(f.Reasons, others...))
	return f
}
