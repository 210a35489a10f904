package main

import (
	"context"
	"fmt"
	"time"
)

// idle is calls that have nothing to do with each other. Each is preceded by an
// empty call, with a pause before and after.
func (r *round) idle(ctx context.Context, subjects [sides]*subject) error {
	for _, s := range r.order {
		if err := subjects[s].configure(ctx, r.kubelet.settings(s, idleInterval)); err != nil {
			return err
		}
		// Whatever is only done once after that is over after this call.
		if _, err := r.attest(ctx, s, subjects[s], 0); err != nil {
			return err
		}
	}
	if err := quiet(subjects); err != nil {
		return err
	}
	var took, empty [sides][]float64
	var cpu, kubeletCPU [sides]time.Duration
	for i := range idleCalls {
		for _, s := range r.order {
			d, emptyCPU, err := withOwnCPU(func() (time.Duration, error) { return subjects[s].attest(ctx, r.node.onHost[0], nil) })
			if err != nil {
				return err
			}
			empty[s] = append(empty[s], float64(d))
			if err := quiet(subjects); err != nil {
				return err
			}
			requests := r.kubelet.requests(s)
			used, err := subjects[s].during(func() error {
				d, own, err := withOwnCPU(func() (time.Duration, error) { return r.attest(ctx, s, subjects[s], i) })
				if err != nil {
					return err
				}
				took[s] = append(took[s], float64(d))
				kubeletCPU[s] += own - emptyCPU
				return quiet(subjects) // what is left for later is part of it
			})
			if err != nil {
				return err
			}
			cpu[s] += used
			if asked := r.kubelet.requests(s) - requests; asked != 1 {
				return fmt.Errorf("a call on an idle node asked the kubelet %d times: what was measured is not what it is called", asked)
			}
		}
	}
	for s := range took {
		r.values.add(idleP50, s, percentile(took[s], 50))
		r.values.add(idleP99, s, percentile(took[s], 99))
		r.values.add(idleCPU, s, float64(cpu[s])/idleCalls)
		r.values.add(idleRequests, s, 1) // each of them, see above
		r.values.add(idleKubeletCPU, s, float64(kubeletCPU[s])/idleCalls)
		r.values.add(idleEmptyP50, s, percentile(empty[s], 50))
	}
	return nil
}

// withOwnCPU says how long f says that it took, and how much processor time this
// process used meanwhile. It is the caller of a plugin and the stand-in kubelet in
// one: an empty call has the caller's part alone.
func withOwnCPU(f func() (time.Duration, error)) (took, own time.Duration, err error) {
	before, err := ownCPU()
	if err != nil {
		return 0, 0, err
	}
	if took, err = f(); err != nil {
		return 0, 0, err
	}
	after, err := ownCPU()
	return took, after - before, err
}
