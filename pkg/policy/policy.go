// Package policy says which image policies apply to an image in a pod, and what
// the results of their authorities add up to. It is pure: it knows no signatures,
// no network and no time, and the same values give the same answer.
package policy

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// Policy is one image_policy of the configuration. It must not be changed once it
// is in a Set.
type Policy struct {
	// Name is unique among the policies; selectors and logs carry it.
	Name string
	// Match says which images of which pods it is for.
	Match Match
	// Mode says what becomes of an attestation where the policy does not hold,
	// OnUnavailable where that can't be told because a registry does not answer.
	Mode          Mode
	OnUnavailable OnUnavailable
	// Authorities are those of which one must accept a signature of the image; at
	// least one, in the order of the configuration, each name once.
	Authorities []Authority
}

// Mode is a value of the key mode.
type Mode string

// The modes, the strictest first.
const (
	// Fail fails the whole attestation: there are no selectors at all.
	Fail Mode = "fail"
	// Withhold leaves out the selectors of this policy and no others.
	Withhold Mode = "withhold"
	// Audit does the same, for a policy that is tried before it is switched on.
	Audit Mode = "audit"
)

// OnUnavailable is a value of the key on_unavailable.
type OnUnavailable string

// What becomes of an attestation where it can't be told whether a policy holds,
// because a registry or a log that the operator has named does not answer. The zero
// value is FailUnavailable.
const (
	// FailUnavailable leaves it to the mode.
	FailUnavailable OnUnavailable = "fail"
	// WithholdUnavailable leaves out the selectors of this policy and no others.
	WithholdUnavailable OnUnavailable = "withhold"
	// Stale judges the evidence again that was there before, as long as that is not
	// too old; where there is none it is left to the mode.
	Stale OnUnavailable = "stale"
)

// Consequence is what follows for an attestation from a policy that does not hold.
// unavailable is whether the only reason is that somebody whom the operator has named
// does not answer: who chose an image could else make a policy that fails one that
// withholds, by its registry (ADVERSARIAL.md, row 38).
func (p *Policy) Consequence(unavailable bool) Mode {
	if p.Mode == Fail && unavailable && p.OnUnavailable == WithholdUnavailable {
		return Withhold
	}
	return p.Mode
}

// Authority is somebody whose signature counts for a policy, or an answer that
// needs none.
type Authority struct {
	// Name is unique in the policy.
	Name string
	// Static is the answer of an authority that looks at no evidence.
	Static Static
}

// Static is a value of the key static.
type Static string

// The static answers.
const (
	NotStatic Static = "" // evidence is judged
	Allow     Static = "allow"
	Deny      Static = "deny"
)

// Result is what became of an authority, and of a policy.
type Result string

// The results. The zero value is none of them and counts as Refused.
const (
	// Accepted: there is evidence that it accepts.
	Accepted Result = "accepted"
	// Refused: all that there is was looked at, and nothing of it is accepted.
	Refused Result = "refused"
	// Unknown: nothing that was looked at is accepted, and something that may be
	// there could not be looked at. It is no better than Refused for who asks; it
	// tells the operator where to look.
	Unknown Result = "unknown"
)

// Judged returns the result of an authority, given what its evidence came to. A
// static one has its answer whatever that is.
func (a Authority) Judged(evidence Result) Result {
	switch a.Static {
	case NotStatic:
		return evidence
	case Allow:
		return Accepted
	}
	return Refused
}

// Sum returns what the results of a policy's authorities, in any order, add up to:
// one that accepts is enough. None at all is Refused.
func Sum(results ...Result) Result {
	switch {
	case slices.Contains(results, Accepted):
		return Accepted
	case slices.Contains(results, Unknown):
		return Unknown
	}
	return Refused
}

// Set is the policies of one configuration. The zero Set has none.
type Set struct {
	policies []*Policy // sorted by name
}

// NewSet returns the set of these policies. Its errors name the policy and what is
// wrong with it.
func NewSet(policies ...*Policy) (Set, error) {
	s := Set{slices.SortedFunc(slices.Values(policies), func(a, b *Policy) int { return cmp.Compare(a.Name, b.Name) })}
	for i, p := range s.policies {
		if i > 0 && s.policies[i-1].Name == p.Name {
			return Set{}, fmt.Errorf("image_policy %q: there are two of that name", p.Name)
		}
		if err := p.check(); err != nil {
			return Set{}, fmt.Errorf("image_policy %q: %w", p.Name, err)
		}
	}
	return s, nil
}

func (p *Policy) check() error {
	switch {
	case p.Name == "":
		return errors.New("it has no name")
	case p.Mode != Fail && p.Mode != Withhold && p.Mode != Audit:
		return fmt.Errorf("mode %q is not one of [%s, %s, %s]", p.Mode, Fail, Withhold, Audit)
	case p.OnUnavailable != "" && p.OnUnavailable != FailUnavailable && p.OnUnavailable != WithholdUnavailable && p.OnUnavailable != Stale:
		return fmt.Errorf("on_unavailable %q is not one of [%s, %s, %s]", p.OnUnavailable, FailUnavailable, WithholdUnavailable, Stale)
	case len(p.Authorities) == 0:
		return errors.New("it has no authority, so that nothing could satisfy it")
	}
	names := map[string]bool{}
	for _, a := range p.Authorities {
		switch {
		case a.Name == "":
			return errors.New("an authority has no name")
		case names[a.Name]:
			return fmt.Errorf("authority %q: there are two of that name", a.Name)
		case a.Static != NotStatic && a.Static != Allow && a.Static != Deny:
			return fmt.Errorf("authority %q: static %q is not one of [%s, %s]", a.Name, a.Static, Allow, Deny)
		}
		names[a.Name] = true
	}
	return nil
}

// Applying returns the policies that apply to an image, sorted by name.
func (s Set) Applying(w Workload) []*Policy {
	var applying []*Policy
	for _, p := range s.policies {
		if p.Match.Applies(w) {
			applying = append(applying, p)
		}
	}
	return applying
}

// Concerning returns the policies that apply to some image in pods of that
// namespace and service account, whatever its name is, sorted by name.
func (s Set) Concerning(namespace, serviceAccount string) []*Policy {
	var concerning []*Policy
	for _, p := range s.policies {
		if p.Match.concerns(namespace, serviceAccount) {
			concerning = append(concerning, p)
		}
	}
	return concerning
}

// Concerns is whether there are any of those.
func (s Set) Concerns(namespace, serviceAccount string) bool {
	return slices.ContainsFunc(s.policies, func(p *Policy) bool { return p.Match.concerns(namespace, serviceAccount) })
}

// All yields the policies, sorted by name.
func (s Set) All() iter.Seq[*Policy] { return slices.Values(s.policies) }
