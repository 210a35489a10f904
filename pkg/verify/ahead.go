package verify

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/pod"
)

const (
	// aheadDelay is after what time a container is looked at that was started. Who
	// calls at once comes first, and is not doubled.
	aheadDelay = 500 * time.Millisecond
	// aheadPace is the time between two beginnings: what a container runs is asked of
	// the kubelet or the runtime, which have others to answer.
	aheadPace = 100 * time.Millisecond
	// aheadAtOnce is how many are looked at at once, no two of one namespace: whose
	// registry hangs holds up nobody's but his own.
	aheadAtOnce = 4
	// How many may wait, of one namespace and in all, and how long the names of one
	// may be together.
	aheadOfOne, aheadInAll, aheadNames = 256, 1024, 4 << 10
)

// Preparer is what Ahead asks, a *Verifier.
type Preparer interface {
	Concerns(p *pod.Pod) bool
	Prepare(ctx context.Context, p *pod.Pod, c *pod.Container) error
}

// Ahead verifies the images of containers that were started, before anybody asks. What
// comes of it is in the Verifier's cache; nobody else is told. It takes no caller's
// turn, and does nothing while nothing starts.
//
// Namespaces take turns. Where too much is to be done the oldest of the namespace with
// the most is left out, whose first caller waits as he would without all this. It is
// safe for concurrent use.
type Ahead struct {
	preparer Preparer
	roster   *pod.Roster
	log      *slog.Logger

	// ctx ends with Close.
	ctx   context.Context
	close context.CancelFunc

	// mu guards all below, for assignments and decisions.
	mu sync.Mutex
	// waiting are those to be looked at by namespace, the oldest first, and byImage the
	// same by what they run. turns are the namespaces in waiting; the first comes next.
	waiting map[string][]*started
	byImage map[runsIn]*started
	turns   []string
	// busy are the namespaces of which one is looked at now.
	busy map[string]bool
	// workers is how many goroutines there are; one of them may be sleeping until
	// something is due. next is when the next may begin.
	workers  int
	sleeping bool
	next     time.Time
	dropped  uint64
}

// started is a container that was started. pod has nothing of the others.
type started struct {
	image runsIn
	pod   *pod.Pod
	due   time.Time
}

// runsIn is all that a verdict can depend on of what is known of a container: where
// two are the same one stands for both.
type runsIn struct{ namespace, serviceAccount, specImage, image, imageID string }

// NewAhead returns an Ahead that looks at containers as long as they are on the roster.
func NewAhead(p Preparer, roster *pod.Roster, log *slog.Logger) *Ahead {
	ctx, cancel := context.WithCancel(context.Background())
	return &Ahead{
		preparer: p, roster: roster, log: log, ctx: ctx, close: cancel,
		waiting: map[string][]*started{}, byImage: map[runsIn]*started{}, busy: map[string]bool{},
	}
}

// Close forgets what waits and stops waiting for what is under way. It may be called
// again, and Add after it does nothing.
func (a *Ahead) Close() {
	a.close()
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.waiting)
	clear(a.byImage)
	a.turns = nil
}

// Dropped is how many containers were left out so far because too many waited.
func (a *Ahead) Dropped() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dropped
}

// Add takes a pod of which a container was started. It waits for nothing.
func (a *Ahead) Add(p *pod.Pod) {
	if !a.preparer.Concerns(p) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx.Err() != nil {
		return
	}
	due := time.Now().Add(aheadDelay)
	for i := range p.Containers {
		if s := newStarted(p, &p.Containers[i], due); s != nil {
			a.enqueue(s)
		}
	}
	a.hire()
}

// newStarted is nil for a container that does not run, and for one with names that no
// image has: what waits takes memory.
func newStarted(p *pod.Pod, c *pod.Container, due time.Time) *started {
	if c.ID == "" || c.ImageID == "" || !c.Running {
		return nil
	}
	slim := &pod.Pod{UID: p.UID, Namespace: p.Namespace, Name: p.Name, ServiceAccount: p.ServiceAccount, Containers: []pod.Container{*c}}
	if slim.Size() > aheadNames {
		return nil
	}
	return &started{runsIn{p.Namespace, p.ServiceAccount, c.SpecImage, c.Image, c.ImageID}, slim, due}
}

// enqueue adds one that waits, in place of one that runs the same. Only with mu.
func (a *Ahead) enqueue(s *started) {
	if same := a.byImage[s.image]; same != nil {
		same.pod = s.pod // which will be there for longer
		return
	}
	namespace := s.image.namespace
	if len(a.waiting[namespace]) == 0 {
		a.turns = append(a.turns, namespace)
	}
	a.waiting[namespace] = append(a.waiting[namespace], s)
	a.byImage[s.image] = s
	if len(a.waiting[namespace]) > aheadOfOne {
		a.drop(namespace)
	}
	if len(a.byImage) > aheadInAll {
		a.drop(slices.MaxFunc(a.turns, func(m, n string) int { return len(a.waiting[m]) - len(a.waiting[n]) }))
	}
}

// drop leaves out the oldest of a namespace. Only with mu.
func (a *Ahead) drop(namespace string) {
	a.remove(namespace)
	a.dropped++
}

// remove takes out the oldest of a namespace. Only with mu.
func (a *Ahead) remove(namespace string) *started {
	s := a.waiting[namespace][0]
	delete(a.byImage, s.image)
	if a.waiting[namespace] = a.waiting[namespace][1:]; len(a.waiting[namespace]) == 0 {
		delete(a.waiting, namespace)
		a.turns = slices.DeleteFunc(a.turns, func(n string) bool { return n == namespace })
	}
	return s
}

// hire starts a goroutine if there is something to do that nobody waits to begin with.
// Only with mu.
func (a *Ahead) hire() {
	if a.workers == aheadAtOnce || a.sleeping || !slices.ContainsFunc(a.turns, a.free) {
		return
	}
	a.workers++
	go func() { _ = guard.Do(func() error { a.work(); return nil }) }()
}

// free is whether nothing of the namespace is looked at. Only with mu.
func (a *Ahead) free(namespace string) bool { return !a.busy[namespace] }

// work looks at what waits until there is nothing that is nobody else's.
func (a *Ahead) work() {
	s, at := a.begin(false)
	for s != nil || !at.IsZero() {
		if s == nil {
			a.sleep(at)
			s, at = a.begin(true)
			continue
		}
		a.prepare(s)
		a.end(s)
		s, at = a.begin(false)
	}
}

// begin is what to look at now, or else when there will be something; neither is the
// goroutine's end. slept is whether it is the one that has been waiting for that.
func (a *Ahead) begin(slept bool) (*started, time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if slept {
		a.sleeping = false
	}
	s, at := a.take(time.Now())
	switch {
	case a.ctx.Err() != nil || s == nil && (at.IsZero() || a.sleeping):
		a.workers--
		return nil, time.Time{}
	case s == nil:
		a.sleeping = true
	default:
		a.hire()
	}
	return s, at
}

// take takes out the first that is due in the namespaces' turn, and says else when one
// will be. Only with mu.
func (a *Ahead) take(now time.Time) (*started, time.Time) {
	var soonest time.Time
	for i, namespace := range a.turns {
		if !a.free(namespace) {
			continue
		}
		at := a.waiting[namespace][0].due
		if at.Before(a.next) {
			at = a.next
		}
		if !at.After(now) {
			a.busy[namespace], a.next = true, now.Add(aheadPace)
			a.turns = append(slices.Delete(a.turns, i, i+1), namespace)
			return a.remove(namespace), time.Time{}
		}
		if soonest.IsZero() || at.Before(soonest) {
			soonest = at
		}
	}
	return nil, soonest
}

// prepare verifies one, if it still is there. What it comes to is said to those who
// ask for it.
func (a *Ahead) prepare(s *started) {
	c := &s.pod.Containers[0]
	err := guard.Do(func() error {
		if !a.roster.Runs(s.pod.UID, c) {
			return nil
		}
		err := a.preparer.Prepare(a.ctx, s.pod, c)
		a.log.Debug("an image was looked at ahead of its first call", "pod_uid", s.pod.UID, "container_id", c.ID, "error", err)
		return err
	})
	if p, ok := errors.AsType[*guard.PanicError](err); ok && p.FirstReport() {
		a.log.Error("panic while an image was looked at ahead of its first call", "error", p, "stack", string(p.Stack))
	}
}

func (a *Ahead) end(s *started) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.busy, s.image.namespace)
}

func (a *Ahead) sleep(until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a.ctx.Done():
	}
}
