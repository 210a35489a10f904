package main

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
)

const (
	// starts is how many processes of each side are started, asked once and
	// stopped in a round.
	starts = 3
	// idleCalls are calls of each side on an idle node; what the sides do is
	// interleaved call by call.
	idleCalls = 100
	// calls is how many calls there are one after another.
	calls = 2000
	// turnCalls is how many of them there are before another kind has its turn.
	turnCalls = 100

	// On an idle node nothing is shared between calls. All sides share an answer
	// of the kubelet's for poll_retry_interval, so that is made short and the
	// calls are kept further apart. Everything else has the default of 500 ms.
	idleInterval = 10 * time.Millisecond
	pause        = 15 * time.Millisecond
)

// round measures all sides once.
type round struct {
	node    *node
	kubelet *kubelet
	sides   [sides]side
	order   [sides]int // of the sides, in everything
	// tries is how often it is measured how soon a container that is published is
	// known. With 0 only what is on an idle node and under load is measured.
	tries  int
	want   [sides][][]string
	values values
}

func (r *round) run(ctx context.Context) (err error) {
	for s, side := range r.sides {
		for i := range r.callers() {
			r.want[s] = append(r.want[s], side.want(r.kubelet.pods[i]))
		}
	}
	for range min(r.tries, starts) {
		for _, s := range r.order {
			if err := r.start(ctx, s); err != nil {
				return err
			}
		}
	}
	var subjects [sides]*subject
	defer func() { err = errors.Join(err, stopAll(subjects)) }()
	for _, s := range r.order {
		if subjects[s], err = r.sides[s].start(ctx); err != nil {
			return err
		}
		if err := quiet(subjects); err != nil {
			return err
		}
		if err := r.burst(ctx, s, subjects[s]); err != nil {
			return err
		}
	}
	if err := r.idle(ctx, subjects); err != nil {
		return err
	}
	for _, s := range r.order {
		if err := quiet(subjects); err != nil {
			return err
		}
		if err := r.load(ctx, s, subjects[s]); err != nil {
			return err
		}
	}
	if r.tries == 0 {
		return nil
	}
	for _, s := range r.order {
		if err := r.published(ctx, s, subjects); err != nil {
			return err
		}
	}
	return r.bare(ctx, subjects)
}

// callers is how many processes call: not more than there are pods.
func (r *round) callers() int { return min(callers, len(r.kubelet.pods)) }

// attest asks about the caller in the i-th pod, or in one of those before when
// there are not so many.
func (r *round) attest(ctx context.Context, s int, subject *subject, i int) (time.Duration, error) {
	i %= r.callers()
	return subject.attest(ctx, r.node.callers[i], r.want[s][i])
}

// start is from nothing to the first answer.
func (r *round) start(ctx context.Context, s int) (err error) {
	begin := time.Now()
	subject, err := r.sides[s].start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, subject.stop()) }()
	if err := subject.configure(ctx, r.kubelet.settings(s, 0)); err != nil {
		return err
	}
	if _, err := r.attest(ctx, s, subject, 0); err != nil {
		return err
	}
	r.values.add(startToAnswer, s, float64(time.Since(begin)))
	return nil
}

// burst is all callers at once, when the plugin was never asked before.
func (r *round) burst(ctx context.Context, s int, subject *subject) error {
	if err := subject.configure(ctx, r.kubelet.settings(s, 0)); err != nil {
		return err
	}
	memory, err := subject.plugin.Memory()
	if err != nil {
		return err
	}
	r.values.add(memoryBefore, s, float64(memory.Resident))
	requests := r.kubelet.requests(s)
	var wall time.Duration
	cpu, err := subject.during(func() error {
		failed := make([]error, r.callers())
		var all sync.WaitGroup
		begin := time.Now()
		for i := range failed {
			all.Go(func() { _, failed[i] = r.attest(ctx, s, subject, i) })
		}
		all.Wait()
		wall = time.Since(begin)
		return errors.Join(failed...)
	})
	if err != nil {
		return err
	}
	if r.callers() < callers {
		return nil // it is not what the figures are called
	}
	r.values.add(burstWall, s, float64(wall))
	r.values.add(burstCPU, s, float64(cpu))
	r.values.add(burstRequests, s, float64(r.kubelet.requests(s)-requests))
	return nil
}

// load is calls one after another: of processes in pods, and of ones in no pod,
// which is the floor. The two take turns, a hundred calls each, so that whatever
// else the machine does meets both. The memory is what is resident when they end.
func (r *round) load(ctx context.Context, s int, subject *subject) error {
	if err := subject.configure(ctx, r.kubelet.settings(s, 0)); err != nil {
		return err
	}
	requests := r.kubelet.requests(s)
	var loaded, empty timed
	for turn := range calls / turnCalls {
		if err := empty.repeat(subject, func(i int) (time.Duration, error) {
			return subject.attest(ctx, r.node.onHost[i], nil)
		}); err != nil {
			return err
		}
		if err := loaded.repeat(subject, func(i int) (time.Duration, error) {
			return r.attest(ctx, s, subject, turn*turnCalls+i)
		}); err != nil {
			return err
		}
	}
	r.values.add(loadRequests, s, float64(r.kubelet.requests(s)-requests))
	r.values.add(loadP50, s, percentile(loaded.took, 50))
	r.values.add(emptyP50, s, percentile(empty.took, 50))
	r.values.add(loadOverEmptyP50, s, percentile(loaded.took, 50)/percentile(empty.took, 50))
	r.values.add(loadCPU, s, float64(loaded.cpu)/calls)
	r.values.add(emptyCPU, s, float64(empty.cpu)/calls)
	r.values.add(loadOverEmptyCPU, s, float64(loaded.cpu)/float64(empty.cpu))

	memory, err := subject.plugin.Memory()
	if err != nil {
		return err
	}
	r.values.add(memoryAfter, s, float64(memory.Resident))
	r.values.add(memoryPeak, s, float64(memory.Peak))
	return nil
}

// quiet waits until those plugins that run do nothing any more: what one of them
// leaves for later, such as garbage, must not slow down the next call. The
// garbage of the stand-in, which is in this process, is collected at once.
func quiet(subjects [sides]*subject) error {
	runtime.GC()
	var before [sides]time.Duration
	for range 500 {
		busy := false
		for s, subject := range subjects {
			if subject == nil {
				continue
			}
			used, err := subject.cpu()
			if err != nil {
				return err
			}
			busy = busy || used-before[s] > pause/20
			before[s] = used
		}
		if !busy {
			return nil
		}
		time.Sleep(pause)
	}
	return errors.New("the plugins are busy although nobody asks them anything")
}

// timed is calls of one kind: how long each took, and the processor time that the
// plugin used for all of them.
type timed struct {
	took []float64
	cpu  time.Duration
}

// repeat makes the calls of a turn. It calls f with the number of the call in it.
func (t *timed) repeat(subject *subject, f func(i int) (time.Duration, error)) error {
	cpu, err := subject.during(func() error {
		for i := range turnCalls {
			d, err := f(i)
			if err != nil {
				return err
			}
			t.took = append(t.took, float64(d))
		}
		return nil
	})
	t.cpu += cpu
	return err
}
