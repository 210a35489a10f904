package verify

import (
	"context"
	"slices"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/selector"
)

// subject is one image of a pod and the policies that it must satisfy.
type subject struct {
	pod       *pod.Pod
	container *pod.Container
	runs      Runs
	policies  []*policy.Policy
	// background is for one of which nobody waits to hear.
	background bool
}

// checked is what became of a subject.
type checked struct {
	image    Image
	verdicts []Verdict
	failures []Failure
	trust    selector.Trust
}

// check has the block and every policy judge one image. The error is a panic's.
func (v *Verifier) check(ctx context.Context, s subject) (*checked, error) {
	skipped := v.skips(s.runs)
	rules := s.policies
	if v.cfg.Block != nil && !skipped {
		rules = append([]rule{nil}, rules...)
	}
	c := &checked{image: Image{Container: s.container.Name, Runs: s.runs}}
	if skipped {
		c.verdicts = append(c.verdicts, Verdict{Container: s.container.Name, Dialect: v.cfg.Block.dialect(), Skipped: true})
		c.trust.OlderSkipped = v.cfg.Block.Older
	}
	all, err := v.judgements(ctx, s, rules, &c.image)
	if err != nil {
		return nil, err
	}
	for _, j := range all {
		c.add(s, j)
	}
	return c, nil
}

// skips is whether the block does not look at the image. The list is compared with
// what the runtime calls the image, in canonical form: not with a name that the
// pod's author chose.
func (v *Verifier) skips(runs Runs) bool {
	if v.cfg.Block == nil || len(v.cfg.Block.Skipped) == 0 {
		return false
	}
	id, err := image.ParseID(runs.ImageID)
	return err == nil && v.cfg.Block.Skipped[id]
}

// judgements are those of each rule, in their order. Rules that look at no evidence wait
// for nobody's turn to find some.
func (v *Verifier) judgements(ctx context.Context, s subject, rules []rule, into *Image) ([]*judged, error) {
	if !slices.ContainsFunc(rules, func(r rule) bool { return !needsEvidence(r) }) {
		return v.verdicts(ctx, s, rules, into)
	}
	byEvidence := slices.DeleteFunc(slices.Clone(rules), func(r rule) bool { return !needsEvidence(r) })
	var looked []*judged
	if len(byEvidence) > 0 {
		var err error
		if looked, err = v.verdicts(ctx, s, byEvidence, into); err != nil {
			return nil, err
		}
	}
	all := make([]*judged, len(rules))
	for i, r := range rules {
		if k := slices.Index(byEvidence, r); k >= 0 {
			all[i] = looked[k]
		} else {
			all[i] = v.judge(ctx, r, &findings{})
		}
	}
	return all, nil
}

// needsEvidence is whether the rule looks at any.
func needsEvidence(r rule) bool {
	return r == nil || slices.ContainsFunc(r.Authorities, func(a policy.Authority) bool { return a.Static == policy.NotStatic })
}

// add takes a verdict as one on the subject's container.
func (c *checked) add(s subject, j *judged) {
	verdict := j.verdict
	verdict.Container = s.container.Name
	c.verdicts = append(c.verdicts, verdict)
	if j.holds() {
		a := j.accepted
		if a.Dialect == selector.OlderSigstore {
			a.ContainerID = s.container.ID
		}
		c.trust.Accepted = append(c.trust.Accepted, a)
		return
	}
	f := *j.failure
	f.Container, f.Image, f.ImageID = s.container.Name, s.runs.SpecImage, s.runs.ImageID
	c.failures = append(c.failures, f)
}

// take sorts failures by what follows from them. The error is of those that fail the
// attestation, nil if there are none.
func (r *Result) take(failures []Failure) error {
	e := &Error{}
	for _, f := range failures {
		if f.fails() {
			e.Failures = append(e.Failures, f)
		} else {
			r.Withheld = append(r.Withheld, f)
		}
	}
	if len(e.Failures) > 0 {
		return e
	}
	return nil
}
