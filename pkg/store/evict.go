package store

import (
	"cmp"
	"slices"
	"time"
)

// young is how long a blob is kept that no record needs yet: the record of an image
// is put when all of its blobs were fetched and judged.
const young = 10 * time.Minute

// admit puts e in, and returns the names of what has to go for it. If there is no
// room, it is not ok and everything is as it was. pinned may be nil.
//
// Who causes what is kept may be hostile: a namespace with a thousand images must
// not cost its neighbours their evidence, which is all that they have while a
// registry is away. So first goes what no record needs, then what the tenant with
// the most used least recently, which may be e itself.
func (x *index) admit(e entry, pinned func(Key) bool) (gone []name, ok bool) {
	before := x.entry(e.name)
	x.put(e)
	if x.fits() {
		return nil, true
	}
	removed := x.evictLoose(e.used)
	if !x.fits() {
		removed = append(removed, x.evictRecords(pinned)...)
	}
	if x.fits() && x.has(e.name) {
		for _, r := range removed {
			gone = append(gone, r.name)
		}
		return gone, true
	}
	// Nothing goes for what does not stay.
	x.remove(e.name)
	for _, r := range slices.Backward(removed) {
		if r.name != e.name {
			x.put(r)
		}
	}
	if before != nil {
		x.put(*before)
	}
	return nil, false
}

func (x *index) over() (amount int, over bool) {
	for amount, limit := range x.limits {
		if x.total[amount] > limit {
			return amount, true
		}
	}
	return 0, false
}

// crowded is whether loose blobs have more than half of the place: they are nobody's,
// so whoever has many fetched would take the place of everybody's records. The last
// one may have more.
func (x *index) crowded() bool {
	return x.looseBytes > x.limits[inBytes]/2 && x.looseCount > 1
}

func (x *index) fits() bool {
	_, over := x.over()
	return !over && !x.crowded()
}

// evictLoose removes blobs that no record needs, the least recently used first.
func (x *index) evictLoose(now int64) (removed []entry) {
	tooMany := func() bool { return x.total[inBytes] > x.limits[inBytes] }
	if x.looseCount == 0 || !tooMany() && !x.crowded() {
		return nil
	}
	var loose []entry
	for i, b := range x.blobs {
		if b.needed == 0 {
			loose = append(loose, entry{name: name{blobs, i}, cost: b.cost, used: b.used})
		}
	}
	slices.SortFunc(loose, byUse)
	for _, e := range loose {
		if old := now-e.used > int64(young); !x.crowded() && !(old && tooMany()) {
			break
		}
		x.remove(e.name)
		removed = append(removed, e)
	}
	return removed
}

func byUse(a, b entry) int {
	return cmp.Or(cmp.Compare(a.used, b.used), a.name.id.compare(b.name.id))
}

// evictRecords removes records, and the blobs that only they needed, until everything
// is within its bounds or all that is left is pinned.
func (x *index) evictRecords(pinned func(Key) bool) (removed []entry) {
	for {
		amount, over := x.over()
		if !over {
			return removed
		}
		more := x.evictMost(amount, pinned)
		if len(more) == 0 {
			return removed
		}
		removed = append(removed, more...)
	}
}

// tenant is what one tenant has.
type tenant struct {
	records []*entry // the least recently used first
	use     int64    // of what is over its bound
}

// evictMost removes what the tenant with the most of an amount used least recently,
// until that amount is within its bound.
func (x *index) evictMost(amount int, pinned func(Key) bool) (removed []entry) {
	tenants := x.tenants(amount)
	for x.total[amount] > x.limits[amount] {
		// Those that have nothing to lose are out of it for good.
		tenants = slices.DeleteFunc(tenants, func(t *tenant) bool {
			for pinned != nil && len(t.records) > 0 && pinned(Key(t.records[0].name.id)) {
				t.records = t.records[1:]
			}
			return len(t.records) == 0
		})
		if len(tenants) == 0 {
			return removed
		}
		most := slices.MaxFunc(tenants, func(a, b *tenant) int {
			return cmp.Or(cmp.Compare(a.use, b.use), byUse(*b.records[0], *a.records[0]))
		})
		victim := most.records[0]
		most.records = most.records[1:]
		most.use -= x.use(victim, amount)
		x.remove(victim.name)
		removed = append(removed, *victim)
		for _, r := range victim.refs {
			if b := x.blobs[r]; b.cost > 0 && b.needed == 0 {
				n := name{blobs, r}
				x.remove(n)
				removed = append(removed, entry{name: n, cost: b.cost, used: b.used})
			}
		}
	}
	return removed
}

// tenants returns them all, with what they have.
func (x *index) tenants(amount int) []*tenant {
	byName := map[string]*tenant{}
	var all []*tenant
	for _, e := range x.records {
		t := byName[e.tenant]
		if t == nil {
			t = &tenant{}
			byName[e.tenant] = t
			all = append(all, t)
		}
		t.records = append(t.records, e)
		t.use += x.use(e, amount)
	}
	for _, t := range all {
		slices.SortFunc(t.records, func(a, b *entry) int { return byUse(*a, *b) })
	}
	return all
}

// use is what a record has of an amount: of bytes its share of the blobs that it
// needs too.
func (x *index) use(e *entry, amount int) int64 {
	switch amount {
	case inRecords:
		return 1
	case inRefs:
		return int64(len(e.refs))
	}
	use := e.cost
	for _, r := range e.refs {
		if b := x.blobs[r]; b.needed > 0 {
			use += b.cost / int64(b.needed)
		}
	}
	return use
}
