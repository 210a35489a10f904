package pod

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

const (
	// lately is how long a pod that has left counts as present. A kubelet that has
	// just started lists no pods at first.
	lately = 5 * time.Minute
	// maxRoster is how many pods a Roster remembers, as many as sources take.
	maxRoster = 20_000
)

// Roster is which pods are on this node, and which of their containers were
// started, by the latest word of every source. That decides what is worth keeping,
// and worth doing before anybody asks; it is never evidence for an answer: words
// come late, and pass each other on the way.
//
// Sources tell it what they hear anyway, after they have answered. A nil Roster
// wants to hear nothing, and takes every pod for present. It is safe for concurrent
// use.
type Roster struct {
	started func(*Pod)
	// seed makes the marks of containers unpredictable: nobody can have a container
	// that passes for another.
	seed maphash.Seed

	// mu guards the fields below, for as long as a list takes to be gone through.
	mu   sync.Mutex
	pods map[string]*listed
	// whole is whether all pods were ever heard of. Before that nobody is absent.
	whole bool
}

// listed is what is remembered of a pod.
type listed struct {
	// heard is of when the latest word is; left is when the pod was gone, zero while
	// it is there.
	heard, left time.Time
	// running are the marks of the containers that have been running, sorted.
	running []uint64
}

// NewRoster returns a Roster that has heard nothing. It calls started, from the
// goroutines that tell it something and with no lock held, with every pod that has a
// container which was not known to run before. Those of one list come sorted by
// namespace, name and UID.
func NewRoster(started func(*Pod)) *Roster {
	return &Roster{started: started, seed: maphash.MakeSeed(), pods: make(map[string]*listed)}
}

// List takes the word of a list of all pods.
func (r *Roster) List(x *Index) {
	if r == nil {
		return
	}
	for _, p := range r.list(x) {
		r.started(p)
	}
}

func (r *Roster) list(x *Index) []*Pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	var news []*Pod
	for _, p := range x.pods {
		if r.hear(p, x.Taken) {
			news = append(news, p)
		}
	}
	for uid := range x.faults {
		r.hear(&Pod{UID: uid}, x.Taken)
	}
	r.absent(x.Taken)
	slices.SortFunc(news, func(a, b *Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	return news
}

// Add takes a source's word that the pod was there at that time. Of a pod that can't
// be read the UID will do.
func (r *Roster) Add(p *Pod, at time.Time) { r.add(p, at, true) }

// Change is Add for a word that may come late: it does not bring back a pod that has
// left.
func (r *Roster) Change(p *Pod, at time.Time) { r.add(p, at, false) }

func (r *Roster) add(p *Pod, at time.Time, back bool) {
	if r != nil && r.news(p, at, back) {
		r.started(p)
	}
}

func (r *Roster) news(p *Pod, at time.Time, back bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.pods[p.UID]; l != nil && !l.left.IsZero() && !back {
		return false
	}
	return r.hear(p, at)
}

// Remove takes a source's word that the pod was gone at that time.
func (r *Roster) Remove(uid string, at time.Time) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.pods[uid]; l != nil {
		l.leave(at)
	}
	r.forget()
}

// Whole says that every pod which was there at that time was added since.
func (r *Roster) Whole(at time.Time) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.absent(at)
}

// Present is whether the pod is on the node, or was until a few minutes ago. While not
// all pods were heard of everyone is who did not leave, and so is nobody in particular,
// an empty UID. A pod whose containers have all ended for good is not.
func (r *Roster) Present(uid string) bool {
	if r == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.pods[uid]
	if l == nil {
		return !r.whole
	}
	return l.left.IsZero() || time.Since(l.left) < lately
}

// Runs is whether the container still is one of a pod that is on the node, as it was
// when started was called with it.
func (r *Roster) Runs(uid string, c *Container) bool {
	if r == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.pods[uid]
	if l == nil || !l.left.IsZero() {
		return false
	}
	_, found := slices.BinarySearch(l.running, r.mark(c))
	return found
}

// hear takes a word about a pod and says whether a container of it was started. Only
// with mu.
func (r *Roster) hear(p *Pod, at time.Time) bool {
	l := r.pods[p.UID]
	switch {
	case l == nil && (p.Completed || len(r.pods) >= maxRoster):
		return false
	case l == nil:
		l = &listed{}
		r.pods[p.UID] = l
	case at.Before(l.heard):
		return false
	case p.Completed:
		l.leave(at)
		return false
	}
	l.heard, l.left = at, time.Time{}
	var room [8]uint64
	running, news := room[:0], false
	for i := range p.Containers {
		c := &p.Containers[i]
		if c.ID == "" || c.ImageID == "" || c.Ended() {
			continue
		}
		// One that has been running is not news when it is again: for a moment after a
		// restart of the kubelet it may not be.
		mark := r.mark(c)
		_, known := slices.BinarySearch(l.running, mark)
		if known || c.Running {
			running = append(running, mark)
		}
		news = news || !known && c.Running
	}
	slices.Sort(running)
	if !slices.Equal(running, l.running) {
		l.running = slices.Clone(running)
	}
	return news
}

// leave takes a word that the pod is gone, unless there is a later one.
func (l *listed) leave(at time.Time) {
	if at.Before(l.heard) {
		return
	}
	l.heard = at
	if l.left.IsZero() {
		l.left = at
	}
}

// absent is for a list of all: who was not heard of since is gone. Only with mu.
func (r *Roster) absent(at time.Time) {
	r.whole = true
	for _, l := range r.pods {
		if l.heard.Before(at) {
			l.leave(at)
		}
	}
	r.forget()
}

// forget drops the pods that are not present any more. Only with mu.
func (r *Roster) forget() {
	for uid, l := range r.pods {
		if !l.left.IsZero() && time.Since(l.left) >= lately {
			delete(r.pods, uid)
		}
	}
}

// mark stands for what a container runs, and for this run of it.
func (r *Roster) mark(c *Container) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	_, _ = h.WriteString(c.ID) // never fails
	_ = h.WriteByte(0)
	_, _ = h.WriteString(c.ImageID)
	return h.Sum64()
}
