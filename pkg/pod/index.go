package pod

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"
)

// ErrUndecodable is what a fault of an Index is: the source lists the pod but
// its description can't be read. It concerns that pod alone.
var ErrUndecodable = errors.New("unable to decode pod info from kubelet response")

// Index is the pods of this node as one answer of a source gave them. It is
// immutable.
type Index struct {
	// Taken is when the source was asked: everything in the index was true
	// then or later.
	Taken time.Time
	// Watched is whether the source is told when the pod that was asked about
	// changes, and so may give the next index at any moment.
	Watched bool
	// Since is since when the kubelet that answered is there; zero where that is
	// not known. One that has just started says of a container what the API server
	// says, until it has looked at the container itself.
	Since time.Time

	pods   map[string]*Pod
	faults map[string]error
	// unattributed is why some listed pod could not be read where not even its
	// UID could.
	unattributed error
}

// Builder collects the pods of one answer.
type Builder struct{ x Index }

// NewBuilder returns a Builder for an index taken at that time, with room for
// about size pods.
func NewBuilder(taken time.Time, size int) *Builder {
	return &Builder{Index{Taken: taken, pods: make(map[string]*Pod, size)}}
}

// Add adds a pod. A UID that comes twice belongs to nobody: whoever could get a
// second record with a victim's UID into the list would choose its selectors.
func (b *Builder) Add(p *Pod) {
	if _, twice := b.x.pods[p.UID]; twice {
		delete(b.x.pods, p.UID)
		b.Fault(p.UID, errors.New("the UID is listed twice"))
		return
	}
	if _, bad := b.x.faults[p.UID]; bad {
		return
	}
	b.x.pods[p.UID] = p
}

// Fault records that a listed pod could not be read and why. An empty UID
// stands for a pod that not even the UID is known of.
func (b *Builder) Fault(uid string, why error) {
	if uid == "" {
		b.x.unattributed = cmp.Or(b.x.unattributed, fmt.Errorf("%w: a pod without a readable UID: %w", ErrUndecodable, why))
		return
	}
	delete(b.x.pods, uid)
	if b.x.faults == nil {
		b.x.faults = make(map[string]error)
	}
	if _, known := b.x.faults[uid]; !known {
		b.x.faults[uid] = fmt.Errorf("%w: pod UID %q: %w", ErrUndecodable, uid, why)
	}
}

// Index returns the index. The Builder must not be used afterwards.
func (b *Builder) Index() *Index { return &b.x }

// Len is the number of pods.
func (x *Index) Len() int { return len(x.pods) }

// ByUID returns the pod with that UID: nil without an error when it is not
// listed, an ErrUndecodable when it is listed but could not be read.
func (x *Index) ByUID(uid string) (*Pod, error) {
	if p, ok := x.pods[uid]; ok {
		return p, nil
	}
	return nil, x.faults[uid]
}

// ByName returns the pod of that namespace and name, nil when there is none.
// While a static pod or a StatefulSet's is replaced the old and the new one can
// both be listed: the one that is not terminal wins, then the greater UID, so
// that the answer does not depend on the order of the list.
func (x *Index) ByName(namespace, name string) *Pod {
	var found *Pod
	for _, p := range x.pods {
		if p.Namespace != namespace || p.Name != name {
			continue
		}
		if found == nil || (found.Terminal && !p.Terminal) || (found.Terminal == p.Terminal && p.UID > found.UID) {
			found = p
		}
	}
	return found
}

// All yields the pods sorted by namespace, name and UID.
func (x *Index) All() iter.Seq[*Pod] {
	pods := make([]*Pod, 0, len(x.pods))
	for _, p := range x.pods {
		pods = append(pods, p)
	}
	slices.SortFunc(pods, func(a, b *Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	return slices.Values(pods)
}

// ByContainerID returns the pods that report a current run with that container
// ID, sorted by UID. It is for processes whose cgroup does not name the pod: one
// pod is an answer, more are a contradiction.
func (x *Index) ByContainerID(id string) []*Pod {
	var found []*Pod
	for _, p := range x.pods {
		if _, ok := p.ContainerByID(id); ok {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b *Pod) int { return cmp.Compare(a.UID, b.UID) })
	return found
}

// Faults yields the listed pods that could not be read, by UID, and why: an
// ErrUndecodable each. An empty UID, which comes first, stands for those of which
// not even that could be read. The others come sorted.
func (x *Index) Faults() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if x.unattributed != nil && !yield("", x.unattributed) {
			return
		}
		for _, uid := range slices.Sorted(maps.Keys(x.faults)) {
			if !yield(uid, x.faults[uid]) {
				return
			}
		}
	}
}

// Unattributed returns an ErrUndecodable when the source listed a pod of which
// not even the UID could be read: a pod that is not found may be that one.
func (x *Index) Unattributed() error { return x.unattributed }

// AnyFault returns an ErrUndecodable when the source listed any pod that could
// not be read: a container that is not found may be in it.
func (x *Index) AnyFault() error {
	if x.unattributed != nil || len(x.faults) == 0 {
		return x.unattributed
	}
	return x.faults[slices.Min(slices.Collect(maps.Keys(x.faults)))]
}
