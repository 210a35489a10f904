package trustroot_test

import (
	"crypto/ed25519"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
)

// CVE-2024-47534: of several roles that name the target, the first counts.
func TestDelegatesCountInTheirOrder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		order       []string
		terminating string
		with        []string // the roles that name the target
		want        string   // whose target it is; empty: none
	}{
		{"first of two", []string{"b", "a"}, "", []string{"a", "b"}, "b"},
		{"first of two the other way", []string{"a", "b"}, "", []string{"a", "b"}, "a"},
		{"only the second", []string{"a", "b"}, "", []string{"b"}, "b"},
		{"none after a terminating one", []string{"a", "b"}, "a", []string{"b"}, ""},
		{"a name that is escaped in its path", []string{"../../a b"}, "", []string{"../../a b"}, "../../a b"},
		{"a name of a top-level role", []string{"timestamp"}, "", []string{"timestamp"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := trustroottest.New(someRoot())
				delete(r.Targets.Signed.Targets, trustroottest.Target)
				contents := map[string][]byte{}
				for _, name := range c.order {
					delegateTo(t, r, r.Targets, name, name == c.terminating)
				}
				for _, name := range c.with {
					contents[name] = someRoot()
					r.SetTarget(r.Delegates[name], contents[name])
				}
				r.Publish()
				s := open(t, ofRepository(t, r), through{r})
				time.Sleep(time.Second)
				status := wantRoot(t, s, contents[c.want])
				if c.want != "" {
					wantNoProblem(t, status)
				}
			})
		})
	}
}

// The delegates of a delegate come before its siblings, and one of them may end the
// search for all.
func TestDelegatesOfDelegates(t *testing.T) {
	t.Parallel()
	for _, terminating := range []bool{false, true} {
		t.Run(fmt.Sprint(terminating), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := trustroottest.New(someRoot())
				delete(r.Targets.Signed.Targets, trustroottest.Target)
				child, sibling := someRoot(), someRoot()
				delegateTo(t, r, r.Targets, "a", false)
				delegateTo(t, r, r.Targets, "b", false)
				delegateTo(t, r, r.Delegates["a"], "c", terminating)
				r.SetTarget(r.Delegates["b"], sibling)
				want := child
				if terminating {
					want = nil // c says that nobody else has it
				} else {
					r.SetTarget(r.Delegates["c"], child)
				}
				r.Publish()
				s := open(t, ofRepository(t, r), through{r})
				time.Sleep(time.Second)
				wantRoot(t, s, want)
			})
		})
	}
}

// delegateTo gives a role a delegate for every target.
func delegateTo(t *testing.T, r *trustroottest.Repository, role *metadata.Metadata[metadata.TargetsType], name string, terminating bool) {
	t.Helper()
	key := trustroottest.NewKey()
	public := trustroottest.PublicKey(key)
	id, err := public.ID()
	if err != nil {
		t.Fatal(err)
	}
	if role.Signed.Delegations == nil {
		role.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	}
	role.Signed.Delegations.Keys[id] = public
	role.Signed.Delegations.Roles = append(role.Signed.Delegations.Roles, metadata.DelegatedRole{
		Name: name, KeyIDs: []string{id}, Threshold: 1, Paths: []string{"*"}, Terminating: terminating,
	})
	r.Delegates[name], r.Keys[name] = metadata.Targets(), []ed25519.PrivateKey{key}
}
