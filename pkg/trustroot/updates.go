package trustroot

import (
	"context"
	"time"

	"github.com/podseal/podseal/pkg/sigstore"
)

// updates is the newest state of one TUF repository. One goroutine uses it.
type updates struct {
	mirror  *mirror
	initial []byte
	store   store
	// known is the newest state that was ever verified, nil if none was.
	known *state
}

// begin has trust begin with other root metadata. It is whether what is known is still
// good then: what the operator no longer vouches for is not.
func (u *updates) begin(initial []byte) bool {
	u.initial = initial
	if u.known == nil {
		return false
	}
	s, err := replay(initial, u.known.documents)
	u.known = s // nil with an error
	return err == nil
}

// kept returns what the store has, nil if that is nothing or nothing new.
func (u *updates) kept() (*material, error) {
	d, err := u.store.load()
	if err != nil {
		return nil, &Error{What: u.store.dir, Kind: Cache, Err: err}
	}
	if d == nil {
		return nil, nil
	}
	s, err := replay(u.initial, *d)
	var root *sigstore.Root
	if err == nil {
		root, err = sigstore.ParseRoot(s.Target)
	}
	if err != nil {
		return nil, &Error{What: u.store.dir, Kind: Cache, Err: err}
	}
	if k := u.known; k != nil && !s.newer(k) && (k.newer(s) || !s.Checked.After(k.Checked)) {
		return nil, nil
	}
	u.known = s
	return &material{text: s.Target, root: root, origin: Origin{Kind: FromCache, Location: u.mirror.url}, fetched: s.Checked, expires: s.expires}, nil
}

// refresh asks the mirror. problem is why the new state could not be kept, which
// takes nothing from it. Where the mirror fails there may be something newer all the
// same: what another process kept.
func (u *updates) refresh(ctx context.Context) (m *material, problem, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, refreshTimeout, fail(Unavailable, "not done within %v", refreshTimeout))
	defer cancel()
	// What another process saw must not be rolled back here either. What is wrong
	// with the store is told when it is written.
	kept, _ := u.kept()
	now := time.Now()
	s, err := follow(u.initial, u.known, session{u.mirror, ctx}, now)
	if err != nil {
		return kept, nil, about(u.mirror.url, err)
	}
	root, err := sigstore.ParseRoot(s.Target)
	if err != nil {
		return kept, nil, about(u.mirror.url, fail(Untrusted, "%s: %w", targetName, err))
	}
	s.Checked = now.UTC().Round(0)
	u.known = s
	if err := u.store.save(u.initial, s); err != nil {
		problem = &Error{What: u.store.dir, Kind: Cache, Err: err}
	}
	return &material{text: s.Target, root: root, origin: Origin{Kind: FromMirror, Location: u.mirror.url}, fetched: s.Checked, expires: s.expires}, problem, nil
}
