package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
)

// atATime is how many images of one pod are looked at at a time.
const atATime = 2

// Pod verifies all images of the pod for every policy that applies to any of them:
// those of init, sidecar, regular and ephemeral containers, and image volumes. Each
// must have been started, for what has not is nobody's content yet: it is false at
// once then, and nothing is looked up. Where a policy does not hold that is an
// *Error; when ctx ends, its cause.
//
// The Result's trust is in the policies alone: nothing of a signer is said of a pod.
func (v *Verifier) Pod(ctx context.Context, p *pod.Pod) (*Result, error) {
	r := &Result{NoPolicy: !v.Concerns(p)}
	if r.NoPolicy {
		return r, nil
	}
	bounded, cancel := context.WithTimeoutCause(ctx, v.cfg.Budget, errBudget)
	defer cancel()
	err := v.pod(bounded, p, r)
	return r, ended(ctx, err)
}

func (v *Verifier) pod(ctx context.Context, p *pod.Pod, r *Result) error {
	applying := v.applyingToAny(p, recorded(p))
	// What only withholds must not hide what fails under a name that only the runtime
	// knows.
	if failures := v.incomplete(p, applying); slices.ContainsFunc(failures, Failure.fails) {
		return r.take(failures)
	}
	runs, failures := v.runs(ctx, p)
	if len(failures) > 0 {
		return r.take(failures)
	}
	// What really runs may have other names, to which other policies apply.
	applying = v.applyingToAny(p, runs)
	if r.NoPolicy = v.cfg.Block == nil && len(applying) == 0; r.NoPolicy {
		return nil
	}
	if failures := v.incomplete(p, applying); len(failures) > 0 {
		return r.take(failures)
	}
	all, err := v.checkAll(ctx, p, runs, applying)
	if err != nil {
		return err
	}
	for _, c := range all {
		r.add(c)
		failures = append(failures, c.failures...)
	}
	if err := r.take(failures); err != nil {
		return err
	}
	for _, a := range applying {
		if !slices.ContainsFunc(failures, func(f Failure) bool { return f.Policy == a.Name }) {
			r.Trust.Pod = append(r.Trust.Pod, a.Name)
		}
	}
	return nil
}

// recorded is what the pod's record says that each of its containers runs.
func recorded(p *pod.Pod) []Runs {
	runs := make([]Runs, len(p.Containers))
	for i, c := range p.Containers {
		runs[i] = Runs{SpecImage: c.SpecImage, Image: c.Image, ImageID: c.ImageID}
	}
	return runs
}

// applyingToAny returns the policies that apply to any image of the pod, sorted by
// name.
func (v *Verifier) applyingToAny(p *pod.Pod, runs []Runs) []*policy.Policy {
	for _, reference := range p.ImageVolumes {
		runs = append(runs, Runs{SpecImage: reference})
	}
	var applying []*policy.Policy
	for _, r := range runs {
		applying = append(applying, v.cfg.Policies.Applying(workload(p, r))...)
	}
	slices.SortFunc(applying, func(a, b *policy.Policy) int { return cmp.Compare(a.Name, b.Name) })
	return slices.Compact(applying)
}

// incomplete are the failures of what applies, if there is an image in the pod of which
// nobody can say what it is.
func (v *Verifier) incomplete(p *pod.Pod, applying []*policy.Policy) []Failure {
	if v.cfg.Block == nil && len(applying) == 0 {
		return nil
	}
	reasons := unknownImages(p)
	if len(reasons) == 0 {
		return nil
	}
	return v.failuresOf(applying, Failure{Kind: NotVerified, Reasons: bounded(reasons)})
}

// unknownImages is why the images of a pod are not all known.
func unknownImages(p *pod.Pod) []error {
	var reasons []error
	seen := map[string]bool{}
	for _, c := range p.Containers {
		switch {
		case seen[c.Name]:
			reasons = append(reasons, fmt.Errorf("the container %q has two statuses", c.Name))
		case c.ID == "" || c.ImageID == "":
			reasons = append(reasons, fmt.Errorf("the %s container %q was not started, so that it has no image yet", c.Type, c.Name))
		}
		seen[c.Name] = true
	}
	for _, reference := range p.ImageVolumes {
		reasons = append(reasons, fmt.Errorf("the kubelet does not say which image is in the volume of %q", reference))
	}
	return reasons
}

// failuresOf are those of the block and of the policies, for the same reason.
func (v *Verifier) failuresOf(policies []*policy.Policy, f Failure) (failures []Failure) {
	add := func(r rule, d Dialect, name string) {
		f.Dialect, f.Policy, f.Mode = d, name, consequence(r, false)
		failures = append(failures, f)
	}
	if v.cfg.Block != nil {
		add(nil, v.cfg.Block.dialect(), "")
	}
	for _, p := range policies {
		add(p, DialectPolicy, p.Name)
	}
	return failures
}

// runs asks what all containers of the pod run.
func (v *Verifier) runs(ctx context.Context, p *pod.Pod) ([]Runs, []Failure) {
	runs, errs := recorded(p), make([]error, len(p.Containers))
	eachOf(len(p.Containers), func(i int) {
		if p.Containers[i].ID == "" {
			return
		}
		errs[i] = guard.Do(func() (err error) {
			runs[i], err = v.statuses.Runs(ctx, p, &p.Containers[i])
			return err
		})
	})
	for i, err := range errs {
		if err != nil {
			return nil, v.unestablished(p, &p.Containers[i], err)
		}
	}
	return runs, nil
}

// checkAll checks the containers, and those that run the same image once.
func (v *Verifier) checkAll(ctx context.Context, p *pod.Pod, runs []Runs, applying []*policy.Policy) ([]checked, error) {
	results, errs := make([]*checked, len(p.Containers)), make([]error, len(p.Containers))
	eachOf(len(p.Containers), func(i int) {
		if slices.IndexFunc(runs, runs[i].same) < i {
			return
		}
		s := subject{pod: p, container: &p.Containers[i], runs: runs[i], policies: applying}
		errs[i] = guard.Do(func() (err error) {
			results[i], err = v.check(ctx, s)
			return err
		})
	})
	var all []checked
	for i, c := range results {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if c != nil {
			all = append(all, *c)
		}
	}
	return all, nil
}

// eachOf calls do for all numbers below n, two at a time.
func eachOf(n int, do func(int)) {
	var work sync.WaitGroup
	slots := make(chan struct{}, atATime)
	for i := range n {
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			do(i)
		})
	}
	work.Wait()
}
