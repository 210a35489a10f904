package trustroot

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// target finds the target as the specification says (5.6.7, 5.7): in the role that
// comes first, where each says in which order its delegates come.
func (w *walk) target() error {
	type delegate struct{ role, parent string }
	todo := []delegate{{metadata.TARGETS, metadata.ROOT}}
	seen := map[string]bool{}
	for len(todo) > 0 {
		d := todo[0]
		todo = todo[1:]
		if seen[d.role] {
			continue
		}
		if len(seen) == maxRoles {
			return fail(Limit, "more than %d roles for %s", maxRoles, targetName)
		}
		seen[d.role] = true
		role, err := w.role(d.role, d.parent)
		if err != nil {
			return err
		}
		if t, ok := role.Signed.Targets[targetName]; ok && t != nil {
			return w.content(t)
		}
		if role.Signed.Delegations == nil {
			continue
		}
		var children []delegate
		for _, r := range role.Signed.Delegations.GetRolesForTarget(targetName) {
			if slices.Contains([]string{metadata.ROOT, metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS}, r.Name) {
				return fail(Untrusted, "a delegate has the name of the role %q", r.Name)
			}
			children = append(children, delegate{r.Name, d.role})
			if r.Terminating {
				todo = nil
				break
			}
		}
		todo = append(children, todo...)
	}
	return fail(Missing, "the repository has no %s", targetName)
}

// role loads the metadata of a role that may name targets.
func (w *walk) role(name, parent string) (*metadata.Metadata[metadata.TargetsType], error) {
	if w.known != nil {
		if document := w.known.role(name); document != nil {
			if role, err := w.set.UpdateDelegatedTargets(document, name, parent); err == nil {
				w.out.Targets = append(w.out.Targets, roleDocument{name, document})
				return role, nil
			}
		}
	}
	document, err := w.named(w.set.Snapshot.Signed.Meta, name, maxTargets)
	if err != nil {
		return nil, err
	}
	if w.size += len(document); w.size > maxAllTargets {
		return nil, fail(Limit, "more than %d bytes of targets' metadata", maxAllTargets)
	}
	w.out.Targets = append(w.out.Targets, roleDocument{name, document})
	return w.set.UpdateDelegatedTargets(document, name, parent)
}

// content fetches the target itself.
func (w *walk) content(t *metadata.TargetFiles) error {
	if t.Length > maxTarget || t.Length < 0 {
		return fail(Limit, "%s has %d bytes, more than %d", targetName, t.Length, maxTarget)
	}
	names := []string{""}
	if w.set.Root.Signed.ConsistentSnapshot {
		names = nil
		// The file has one name for each of its hashes, and not all need be there.
		for algorithm, size := range map[string]int{"sha256": sha256.Size, "sha512": sha512.Size} {
			if h := t.Hashes[algorithm]; len(h) == size {
				names = append(names, hex.EncodeToString(h))
			}
		}
		slices.SortFunc(names, func(a, b string) int { return len(a) - len(b) })
	}
	if w.known != nil && t.VerifyLengthHashes(w.known.Target) == nil {
		w.out.Target = w.known.Target
		return nil
	}
	for _, name := range names {
		content, err := w.from.target(name, t.Length)
		if errors.Is(err, errNone) {
			continue
		}
		if err != nil {
			return err
		}
		w.out.Target = content
		return t.VerifyLengthHashes(content)
	}
	return fail(Unavailable, "%s is named and not there", targetName)
}
