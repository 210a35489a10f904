package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/printable"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/rekor"
	"github.com/podseal/podseal/pkg/selector"
	"github.com/podseal/podseal/pkg/sigstore"
)

// rule is what an image is judged by: a policy, or the block where it is nil.
type rule = *policy.Policy

// judged is what a rule says of an image, whichever container runs it.
type judged struct {
	verdict  Verdict
	accepted selector.Accepted
	// failure is nil where the rule holds.
	failure *Failure
	// roots are the trust roots that the authorities judged by, in their order; zero
	// for none.
	roots []image.Digest
	// partial is whether a log could not be asked for something that would be more.
	partial bool
	// validUntil is when time alone makes it wrong, zero for never.
	validUntil time.Time
	// of is the namespace in whose turn it was looked at.
	of string
	// fetched is when the evidence was.
	fetched time.Time
	// until is how long it may be answered with, renew from when on who answers with
	// it has it looked at again.
	until, renew time.Time
}

func (j *judged) holds() bool { return j.failure == nil }

func (j *judged) decided() bool { return j.verdict.Result != policy.Unknown }

// tellsLess is whether it came to less than the one before only since somebody does not
// answer. What is stale is kept by silence alone: by whatever else an attacker can bring
// about it would be for a day (ADVERSARIAL.md, row 38).
func (j *judged) tellsLess(before *judged) bool {
	if !before.verdict.Stale.IsZero() {
		return !j.holds() && j.failure.Unavailable
	}
	return j.verdict.Result == policy.Unknown || j.partial && !before.partial
}

// judge has the rule judge what was found.
func (v *Verifier) judge(ctx context.Context, r rule, found *findings) *judged {
	j := &judged{fetched: found.fetched}
	if r == nil {
		v.judgeBlock(ctx, j, found)
	} else {
		v.judgePolicy(ctx, j, r, found)
	}
	j.verdict.Stale = found.stale
	if j.verdict.Result != policy.Accepted {
		j.failure = v.failure(r, j, found)
		return j
	}
	j.accepted = accepted(j.verdict)
	for _, a := range j.verdict.Authorities {
		for _, s := range a.Signatures {
			j.validUntil = earlier(j.validUntil, s.ValidUntil())
		}
		for _, s := range a.Attestations {
			j.validUntil = earlier(j.validUntil, s.ValidUntil())
		}
	}
	return j
}

func (v *Verifier) judgeBlock(ctx context.Context, j *judged, found *findings) {
	b := v.cfg.Block
	a := j.authority(ctx, nil, policy.Authority{}, b.Judge, found)
	if a.Result == policy.Accepted && !b.IgnoreAttestations {
		attestations(ctx, b.Judge, found, &a)
	}
	j.verdict = Verdict{Dialect: b.dialect(), Result: a.Result, Authorities: []AuthorityVerdict{a}}
}

func (v *Verifier) judgePolicy(ctx context.Context, j *judged, p *policy.Policy, found *findings) {
	j.verdict = Verdict{Dialect: DialectPolicy, Policy: p.Name}
	var results []policy.Result
	for _, a := range p.Authorities {
		verdict := j.authority(ctx, p, a, v.cfg.Judges[AuthorityName{p.Name, a.Name}], found)
		j.verdict.Authorities = append(j.verdict.Authorities, verdict)
		results = append(results, verdict.Result)
	}
	j.verdict.Result = policy.Sum(results...)
}

// authority has one authority of the rule judge what was found.
func (j *judged) authority(ctx context.Context, r rule, a policy.Authority, by Judge, found *findings) AuthorityVerdict {
	verdict := AuthorityVerdict{Name: a.Name, Static: a.Static}
	if a.Static != policy.NotStatic {
		j.roots = append(j.roots, image.Digest{})
		verdict.Result = a.Judged("")
		return verdict
	}
	root, status, missing := by.root()
	j.roots = append(j.roots, digestOf(root))
	verdict.Root, verdict.root = status, root
	result := policy.Refused
	if len(found.unknown) > 0 || len(found.unlogged[r]) > 0 {
		result = policy.Unknown
	}
	if missing {
		verdict.unknown = errNoRoot
		verdict.Result = policy.Unknown
		return verdict
	}
	now := time.Now()
	for _, item := range found.items {
		if ctx.Err() != nil {
			verdict.unknown = context.Cause(ctx)
			result = policy.Unknown
			break
		}
		signature, err := by.Authority.Signature(root, item, found.candidates, now)
		if err == nil {
			// One that can't be rendered costs only itself.
			err = selector.Check(signature)
		}
		if err != nil {
			verdict.Refusals = append(verdict.Refusals, Refusal{item, err})
			verdict.lacks(item, err)
			continue
		}
		verdict.Signatures = append(verdict.Signatures, signature)
	}
	if len(verdict.Signatures) > 0 {
		result = policy.Accepted
	}
	verdict.Result = a.Judged(result)
	return verdict
}

// digestOf is that of the root, zero for none.
func digestOf(root *sigstore.Root) image.Digest {
	if root == nil {
		return image.Digest{}
	}
	return root.Digest()
}

// attestations adds the attestations that the block's authority accepts. None is
// required, but what there is must not depend on how much time there was.
func attestations(ctx context.Context, by Judge, found *findings, a *AuthorityVerdict) {
	now := time.Now()
	for _, item := range found.items {
		if ctx.Err() != nil {
			a.unknown, a.Result = context.Cause(ctx), policy.Unknown
			return
		}
		accepted, err := by.Authority.Attestation(a.root, item, found.candidates, now)
		if err != nil {
			a.lacks(item, err)
			continue
		}
		a.Attestations = append(a.Attestations, accepted)
	}
}

// accepted is what selectors are made of for a rule that holds, without the ID of a
// container.
func accepted(verdict Verdict) selector.Accepted {
	a := selector.Accepted{Policy: verdict.Policy}
	switch verdict.Dialect {
	case DialectSigstore:
		a.Dialect = selector.Sigstore
	case DialectOlder:
		a.Dialect = selector.OlderSigstore
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

// failure is why a rule does not hold, without the container.
func (v *Verifier) failure(r rule, j *judged, found *findings) *Failure {
	f := &Failure{Kind: NotVerified, Dialect: j.verdict.Dialect, Policy: j.verdict.Policy}
	unknown := slices.Concat(found.unknown, found.unlogged[r])
	for _, a := range j.verdict.Authorities {
		if a.unknown != nil && !slices.Contains(unknown, a.unknown) {
			unknown = append(unknown, a.unknown)
		}
	}
	// Why it can't be told is said first, for there may be any number of candidates.
	first := unknown[:min(len(unknown), maxReasons/2)]
	f.Reasons = append(f.Reasons, first...)
	var others []error // candidates that are something else than a signature
	for _, a := range j.verdict.Authorities {
		in := ""
		if a.Name != "" {
			in = fmt.Sprintf("authority %q: ", a.Name)
		}
		if a.Static != policy.NotStatic {
			f.Reasons = append(f.Reasons, fmt.Errorf("%sstatic = %q", in, a.Static))
		}
		for _, refusal := range a.Refusals {
			reason := fmt.Errorf("%s%s: %w", in, describe(refusal.Item), refusal.Err)
			if errors.Is(refusal.Err, sigstore.ErrNotSignature) {
				others = append(others, reason)
			} else {
				f.Reasons = append(f.Reasons, reason)
			}
		}
	}
	if len(found.items) == 0 && len(found.asked) > 0 {
		f.Reasons = append(f.Reasons, found.nothing())
	}
	f.Reasons = append(f.Reasons, unknown[len(first):]...)
	f.Reasons = append(f.Reasons, found.refused...)
	room := maxKept
	if v.cfg.Explain {
		room = maxReasons * maxReason
	}
	f.Reasons = kept(append(f.Reasons, others...), room)
	if j.verdict.Result == policy.Unknown {
		f.Kind = kindOfAll(unknown)
		f.Unavailable = v.silent(unknown)
	}
	f.Mode = consequence(r, f.Unavailable)
	return f
}

// consequence is what follows from a rule that does not hold.
func consequence(r rule, unavailable bool) policy.Mode {
	if r == nil {
		return policy.Fail
	}
	return r.Consequence(unavailable)
}

// silent is whether all of why it can't be told is that registries or logs which the
// operator has named do not answer. A pod's author must not be able to bring that
// about: not by a registry of his, and not by so much evidence that a bound is hit
// (ADVERSARIAL.md, row 38).
func (v *Verifier) silent(unknown []error) bool {
	for _, err := range unknown {
		if errors.Is(err, errBudget) || !v.named(err) {
			return false
		}
	}
	return len(unknown) > 0
}

// named is whether an error says that somebody does not answer whom the operator has
// named.
func (v *Verifier) named(err error) bool {
	if e, ok := errors.AsType[*registry.Error](err); ok {
		return e.Kind == registry.Unavailable && v.registry.IsConfigured(e.Registry())
	}
	e, ok := errors.AsType[*rekor.Error](err)
	return ok && e.Kind == rekor.Unavailable
}

// undecided is a rule of which it can't be told now whether it holds.
func (v *Verifier) undecided(r rule, why error) *judged {
	j := &judged{verdict: Verdict{Dialect: DialectPolicy, Result: policy.Unknown}}
	if r == nil {
		j.verdict.Dialect = v.cfg.Block.dialect()
	} else {
		j.verdict.Policy = r.Name
	}
	j.failure = &Failure{Kind: kindOf(why), Dialect: j.verdict.Dialect, Policy: j.verdict.Policy, Reasons: written([]error{why}), Mode: consequence(r, false)}
	if j.failure.Kind == NotVerified {
		j.failure.Kind = Unavailable
	}
	return j
}

// reason is why, as a text: an error of a library may hold on to all that it was
// about, and reasons are kept.
type reason string

func (r reason) Error() string { return string(r) }

// written are the reasons as texts, but for panics, whose place is to be told.
func written(reasons []error) []error {
	texts := make([]error, len(reasons))
	for i, err := range reasons {
		if _, ok := errors.AsType[*guard.PanicError](err); ok {
			texts[i] = err
			continue
		}
		texts[i] = reason(printable.Line(err.Error(), maxReason))
	}
	return texts
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
