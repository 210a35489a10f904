package verify

import (
	"crypto/sha256"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/store"
)

// Ages bound how long what was found out is answered with.
type Ages struct {
	// TTL is how old a list of evidence may be: a signature that is taken away counts
	// for that long. From some time between a half and three quarters of it on an answer
	// has the list fetched anew on the side.
	TTL time.Duration
	// StaleTTL is the same for policies with on_unavailable = "stale", while a registry
	// does not answer.
	StaleTTL time.Duration
	// NegativeTTL is how old a list may be by which a policy does not hold. Where it
	// can't be told whether it does, the next look is after retry, if that is less.
	NegativeTTL time.Duration
}

// renewal is after what time a list is fetched anew on the side. It is at random, for
// the nodes of a cluster that looked at an image at once need not do so again.
func (a Ages) renewal() time.Duration {
	return a.earliest() + rand.N(a.TTL/4+1) // #nosec G404 -- to spread, not to hide
}

// earliest is the least that renewal is.
func (a Ages) earliest() time.Duration { return a.TTL / 2 }

// stale is until when a list from before an outage counts that went on until now. It is
// not for as long as it may be old: where nobody asks for an hour, nobody knows whether
// the registry still is silent, and who asks then has to find out.
func (a Ages) stale(fetched, now time.Time) time.Time {
	return earlier(fetched.Add(a.StaleTTL), now.Add(2*a.NegativeTTL))
}

// retry is after what time a registry that did not answer is asked again. Its breaker
// makes that cheap.
const retry = 5 * time.Second

const (
	// maxPlaces is how many containers an entry remembers to run its image.
	maxPlaces = 64
	// versionAge is how long the version of a repository is taken to be the same: it
	// costs a look at files.
	versionAge = time.Second
)

// place is a container of a pod. It runs one image at a time, and another one when its
// pod is changed: what it ran before has no claim to be kept.
type place struct{ podUID, container string }

// entry is what is known of one question. The Verifier's lock guards it.
type entry struct {
	question question
	key      store.Key
	// repository is the spec's, zero where that can't be read, and other the image ID's
	// where that is another; version is how they are asked, read at looked.
	repository, other image.Repository
	version           registry.Version
	looked            time.Time

	// tenant is the namespace that asked first, places those that run the image.
	tenant string
	places map[place]bool
	used   time.Time

	judged map[rule]*judged
	// stored is when the lists of the record were fetched that a flight has kept, by
	// the clock that only goes forward; zero for none. It is the flights' own, of which
	// there is one at a time.
	stored time.Time
	// image is what there is to say of the image, without container.
	image Image
	// flight is under way, nil if none is.
	flight *flight
}

// current is the verdict that the rule may be answered with, nil if there is none.
func (v *Verifier) current(e *entry, r rule, now time.Time) *judged {
	j := e.judged[r]
	if j == nil || over(now, j.until) || !j.validUntil.IsZero() && !now.Before(j.validUntil) || !v.sameRoots(r, j) {
		return nil
	}
	return j
}

// over is whether a time has come, by the clock that only goes forward and by the one
// that people set: the first stands still while a machine sleeps.
func over(now, until time.Time) bool {
	return !now.Before(until) || !now.Round(0).Before(until.Round(0))
}

// sameRoots is whether the rule would be judged by the same trust roots now.
func (v *Verifier) sameRoots(r rule, j *judged) bool {
	if r == nil {
		root, _, _ := v.cfg.Block.Judge.root()
		return j.roots[0] == digestOf(root)
	}
	for i, a := range r.Authorities {
		if a.Static != policy.NotStatic {
			continue
		}
		root, _, _ := v.cfg.Judges[AuthorityName{r.Name, a.Name}].root()
		if j.roots[i] != digestOf(root) {
			return false
		}
	}
	return true
}

// entryOf is the entry of the question. It is called with v.mu held.
func (v *Verifier) entryOf(q question, s subject, now time.Time) *entry {
	e := v.entries[q]
	if e == nil {
		e = &entry{question: q, key: q.key(v.cfg.Platform), tenant: s.pod.Namespace, places: map[place]bool{}, judged: map[rule]*judged{}}
		if name, err := image.ParseName(q.spec); err == nil {
			e.repository = name.Repository
		}
		if id, err := image.ParseID(q.id); err == nil && id.Repository != e.repository {
			e.other = id.Repository
		}
		v.entries[q], v.byKey[e.key] = e, e
	}
	e.used = now
	if at := (place{s.pod.UID, s.container.Name}); v.latest[at] != e {
		if len(e.places) >= maxPlaces {
			v.leave(e) // those that still run it come again
		}
		if before := v.latest[at]; before != nil {
			delete(before.places, at)
		}
		e.places[at], v.latest[at] = true, e
	}
	return e
}

// leave forgets who runs the image. It is called with v.mu held.
func (v *Verifier) leave(e *entry) {
	for at := range e.places {
		delete(v.latest, at)
	}
	clear(e.places)
}

// recheck throws away what is known where the registry would be asked otherwise now,
// with other credentials for example. It is called with v.mu held, and says whether it
// has let go of it, to look at files.
func (v *Verifier) recheck(e *entry, now time.Time) (looked bool) {
	isNew := e.looked.IsZero()
	if !isNew && now.Sub(e.looked) < versionAge {
		return false
	}
	if !isNew {
		e.looked = now // others need not look meanwhile
	}
	if version := v.versionOf(e.repository, e.other); version != e.version {
		clear(e.judged)
		e.version = version
	}
	e.looked = now
	return true
}

// versionOf is called with v.mu held, and holds it again at its end, whatever happens.
func (v *Verifier) versionOf(repositories ...image.Repository) registry.Version {
	v.mu.Unlock()
	defer v.mu.Lock()
	var all []byte
	for _, r := range repositories {
		version := registry.Version{}
		if !r.IsZero() {
			version = v.registry.Version(r)
		}
		all = append(all, version[:]...)
	}
	return sha256.Sum256(all)
}

// Pinned is whether evidence is of an image that runs on this node, or may be, for
// store.Config.
func (v *Verifier) Pinned(key store.Key) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	e := v.byKey[key]
	if e == nil && slices.ContainsFunc(v.before[key], v.present) {
		return true
	}
	if e == nil {
		// Of what was kept before this start nobody knows yet whether it runs here, until
		// all pods were listed once.
		return v.present("")
	}
	return v.runsHere(e)
}

// runsHere is whether a pod that is on this node runs the image.
func (v *Verifier) runsHere(e *entry) bool {
	for at := range e.places {
		if v.present(at.podUID) {
			return true
		}
	}
	return false
}

// Succeed takes over from the Verifier of the configuration before which evidence is of
// images that run on this node: who does not ask again, since it has its identity, must
// not lose it to those who do. No verdict is taken over.
func (v *Verifier) Succeed(old *Verifier) {
	before := old.running()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.before = before
}

// running are the pods that are on this node, by the evidence of what they run.
func (v *Verifier) running() map[store.Key][]string {
	v.mu.Lock()
	defer v.mu.Unlock()
	pods := map[store.Key][]string{}
	add := func(key store.Key, uid string) {
		if v.present(uid) && !slices.Contains(pods[key], uid) {
			pods[key] = append(pods[key], uid)
		}
	}
	for key, uids := range v.before {
		for _, uid := range uids {
			if v.byKey[key] == nil {
				add(key, uid)
			}
		}
	}
	for key, e := range v.byKey {
		for at := range e.places {
			add(key, at.podUID)
		}
	}
	return pods
}

func (v *Verifier) present(podUID string) bool { return v.cfg.Present != nil && v.cfg.Present(podUID) }

// makeRoom drops entries until there is room for one more: of those whose image does
// not run on this node that of the namespace with the most of them which was used
// least lately. A namespace with a thousand images loses its own so, and not its
// neighbours' (ADVERSARIAL.md, row 45). A pod's author can change its image in place as
// often as he likes, and the pod is there all the time: so beyond twice the bound those
// that seem to run here are dropped too. It is called with v.mu held.
func (v *Verifier) makeRoom() {
	for len(v.entries) > v.cfg.MaxEntries {
		spared := len(v.entries) <= 2*v.cfg.MaxEntries
		count := map[string]int{}
		for _, e := range v.entries {
			count[e.tenant]++
		}
		var victim *entry
		for _, e := range v.entries {
			if e.flight != nil || victim != nil && !before(e, victim, count) || spared && v.runsHere(e) {
				continue
			}
			victim = e
		}
		if victim == nil {
			return // all run here, or are looked at
		}
		v.leave(victim)
		delete(v.entries, victim.question)
		delete(v.byKey, victim.key)
	}
}

// before is whether e is to be dropped before f.
func before(e, f *entry, count map[string]int) bool {
	if count[e.tenant] != count[f.tenant] {
		return count[e.tenant] > count[f.tenant]
	}
	return e.used.Before(f.used)
}
