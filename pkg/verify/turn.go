package verify

import (
	"cmp"
	"context"

	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/guard"
)

// How many images are looked at at once for one registry, and by one namespace of
// them, and how many of a namespace may wait. Registries without a block in the
// configuration, whose number is strangers' choice, share that, and one of them has no
// more than half of it: one that hangs must leave room for the others.
const (
	flights, flightsOfOne, flightsWaiting = 8, 4, 256
	strangers, strangersOfOne             = flights / 2, 3
)

// maxJoined is how many other namespaces a flight waits for its turn as.
const maxJoined = 16

// turn is how waiting for one ended.
type turn struct {
	who   fair.Who
	leave func()
	err   error
}

// enter waits until the flight has its turn among those that ask the same registry, and
// says as who: whoever began it may have a thousand images that are before this one,
// and who waits for it too has no part in that (ADVERSARIAL.md, row 45).
func (v *Verifier) enter(e *entry, f *flight) (leave func(), who fair.Who, err error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), v.cfg.Budget, errBudget)
	line := v.lineOf(e)
	turns, waiting := make(chan turn), 0
	wait := func(who fair.Who) {
		waiting++
		go func() {
			t := turn{who: who}
			t.err = guard.Do(func() (err error) {
				t.leave, err = line.enter(ctx, who)
				return err
			})
			turns <- t
		}()
	}
	defer func() {
		cancel()
		for ; waiting > 0; waiting-- {
			if other := <-turns; other.err == nil {
				other.leave()
			}
		}
		if err != nil {
			line.done()
		}
	}()
	for wait(f.who()); ; {
		select {
		case tenant := <-f.joined:
			wait(fair.Who{Tenant: tenant})
		case t := <-turns:
			waiting--
			switch {
			case t.err == nil:
				return func() { t.leave(); line.done() }, t.who, nil
			case waiting == 0 && len(f.joined) == 0:
				return nil, t.who, t.err
			}
		}
	}
}

// line is where images of one registry wait.
type line struct {
	// own is the registry's queue, and shared the one of all that have no block, nil
	// where it has one.
	own, shared *fair.Queue
	// users is how many wait there or have a turn, guarded by the Verifier's lock, and
	// done ends one.
	users int
	done  func()
}

// lineOf is where the image waits for its turn and has it, until done is called.
func (v *Verifier) lineOf(e *entry) *line {
	name, hasBlock := cmp.Or(e.repository, e.other).Registry(), false
	if name != "" {
		hasBlock = v.registry.IsConfigured(name)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	l := v.lines[name]
	if l == nil {
		limits := fair.Limits{Slots: flights, TenantSlots: flightsOfOne, Waiting: flightsWaiting}
		l = &line{}
		if !hasBlock {
			l.shared = v.shared
			limits.Slots, limits.TenantSlots = strangers, strangersOfOne
		}
		l.own = fair.New(limits)
		l.done = func() {
			v.mu.Lock()
			defer v.mu.Unlock()
			if l.users--; l.users == 0 && l.shared != nil {
				delete(v.lines, name)
			}
		}
		v.lines[name] = l
	}
	l.users++
	return l
}

// enter waits for a turn. Who has one with the registry may have to wait for one among
// all that have no block.
func (l *line) enter(ctx context.Context, who fair.Who) (leave func(), err error) {
	leaveOwn, err := l.own.Enter(ctx, who)
	if err != nil || l.shared == nil {
		return leaveOwn, err
	}
	leaveShared, err := l.shared.Enter(ctx, who)
	if err != nil {
		leaveOwn()
		return nil, err
	}
	return func() { leaveShared(); leaveOwn() }, nil
}
