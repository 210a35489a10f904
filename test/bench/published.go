package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
)

// pollInterval is the default of poll_retry_interval, and of pod_cache_ttl.
const pollInterval = 500 * time.Millisecond

// published is from the moment at which the kubelet knows the ID of a container
// that has just started to the answer of a call of that container, which was
// waiting already.
func (r *round) published(ctx context.Context, s int, subjects [sides]*subject) error {
	tries := min(r.tries, r.callers())
	for _, p := range r.kubelet.pods[:tries] {
		p.Containers = slices.Clone(p.Containers)
		p.Containers[caller].State = kubelettest.Waiting
		if err := r.kubelet.update(p.Build()); err != nil {
			return err
		}
	}
	if err := subjects[s].configure(ctx, r.kubelet.settings(s, 0)); err != nil {
		return err
	}
	time.Sleep(2 * pollInterval) // nobody remembers the IDs
	type answer struct {
		at  time.Time
		err error
	}
	for i := range tries {
		if err := quiet(subjects); err != nil {
			return err
		}
		described := r.kubelet.pods[i].Build()
		answered := make(chan answer, 1)
		go func() {
			_, err := r.attest(ctx, s, subjects[s], i)
			answered <- answer{time.Now(), err}
		}()
		// Long enough to be waiting, and then anywhere between two polls.
		time.Sleep(pollInterval/2 + pollInterval*time.Duration(i)/time.Duration(tries))
		select {
		case a := <-answered:
			return fmt.Errorf("a container was known before it was published: %w", a.err)
		default:
		}
		begin := time.Now()
		if err := r.kubelet.update(described); err != nil {
			return err
		}
		a := <-answered
		if a.err != nil {
			return a.err
		}
		took := float64(a.at.Sub(begin))
		r.values.add(publishedP50, s, took)
		r.values.add(publishedP99, s, took)
	}
	return nil
}
