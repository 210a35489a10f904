package doctor

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/trustroot"
)

// TrustRoot is a trust root of the configuration: a *setup.TrustRoot that asks its
// mirror itself and keeps nothing.
type TrustRoot interface {
	// Key is what the configuration calls it.
	Key() string
	Settle(ctx context.Context) error
	Current() (*sigstore.Root, trustroot.Status)
	// Kept is what the plugin would begin with at a start without a network, false
	// where it keeps nothing.
	Kept() (*sigstore.Root, trustroot.Status, bool)
}

// settleTime is for how long mirrors are waited for, all together: a person waits for
// them, so it is longer than what Configure has.
const settleTime = 15 * time.Second

// trustRoots looks at what signatures are judged by.
func (x *examination) trustRoots(ctx context.Context) []Check {
	switch {
	case len(x.Settings.Problems) > 0:
		return []Check{skipped(TrustRoots, because(Configuration))}
	case !x.Settings.Images:
		return []Check{ok(TrustRoots, "no trust root is needed, as nothing is asked of images")}
	case x.TrustErr != nil:
		return []Check{judgeTrust(x.TrustErr)}
	case len(x.TrustRoots) == 0:
		return []Check{ok(TrustRoots, "no trust root is needed, as images are judged by keys and certificate authorities of the configuration alone")}
	}
	settling, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	var parts []part
	for _, r := range x.TrustRoots {
		_ = r.Settle(settling) // they are asked at the same time; what went wrong is in the status
		f := rootFacts{key: r.Key(), now: time.Now()}
		root, status := r.Current()
		f.has, f.status = root != nil, status
		if root, status, is := r.Kept(); is {
			f.keptHas, f.kept = root != nil, &status
		}
		x.times = append(x.times, f.times()...)
		parts = append(parts, f.judge())
	}
	return []Check{sum(TrustRoots, parts, fmt.Sprintf("%d trust roots are there and no older than they should be", len(parts)))}
}

// judgeTrust is a file that keeps the plugin from being configured.
func judgeTrust(err error) Check {
	d, _ := diagnosis.Of(err)
	return failed(TrustRoots, "the configuration is refused, as what signatures are judged by can't be read: "+err.Error(),
		cmp.Or(d.Remedy, "correct the file that is named, or the key that names it"))
}

// rootFacts is what there is to know of one trust root.
type rootFacts struct {
	key string
	now time.Time
	// has is whether there is one, and status what its mirror or file has shown.
	has    bool
	status trustroot.Status
	// kept is what the plugin has on its disk, nil where it has no directory; keptHas
	// whether there is something.
	kept    *trustroot.Status
	keptHas bool
}

func (f rootFacts) judge() part {
	p := part{status: OK, text: f.key + ": " + f.status.String()}
	switch {
	case f.has && f.keptHas:
		p.text += "; kept for a restart: " + f.kept.String()
	case f.keptHas:
		p.text = f.key + ": what is kept for a restart is all that there is: " + f.kept.String()
	}
	d, _ := diagnosis.Of(f.status.Err)
	weak := func(finding, remedy string) part {
		return part{Warning, p.text + ": " + finding, remedy}
	}
	switch {
	case !f.has && !f.keptHas:
		return part{Failed, fmt.Sprintf("%s: there is no trust root, and nothing that is judged by it can be verified: %s", f.key, cmp.Or(d.Cause, "its mirror does not answer")),
			cmp.Or(d.Remedy, mirrorRemedy)}
	case !f.has:
		return weak(cmp.Or(d.Cause, "its mirror does not answer"), cmp.Or(d.Remedy, mirrorRemedy))
	case f.status.Origin.Kind == trustroot.FromBuild:
		return weak("it lacks the keys and logs that came later, and "+cmp.Or(d.Cause, "the mirror does not answer"), cmp.Or(d.Remedy, mirrorRemedy))
	case !f.status.Expires.IsZero() && f.status.Expires.Before(f.now):
		return weak("it should have been replaced: "+cmp.Or(d.Cause, "the repository is not looked after, or somebody holds newer metadata back"),
			cmp.Or(d.Remedy, "see that the repository is signed anew and the mirror gets it, and compare the clock of this node"))
	case f.status.Err != nil:
		return weak(d.Cause, d.Remedy)
	case f.kept != nil && f.kept.Err != nil:
		d, _ := diagnosis.Of(f.kept.Err)
		return weak("it can't be kept for a restart: "+cmp.Or(d.Cause, f.kept.Err.Error()), cmp.Or(d.Remedy, "look at the directory that is named"))
	case len(f.status.Origin.Environment) > 0:
		names := strings.Join(f.status.Origin.Environment, ", ")
		return weak(fmt.Sprintf("who sets the agent's environment (%s) decides whose signatures count", names),
			"name the trust root in the configuration, with a trust_root block, in place of "+names+"; or keep them knowing that")
	}
	return p
}

const mirrorRemedy = "see that this node reaches the mirror, or give the trusted_root.json itself with trusted_root_path"

// times are those that can't be yet if this node's clock is right.
func (f rootFacts) times() (told []toldTime) {
	if f.status.Ahead > 0 {
		told = append(told, toldTime{fmt.Sprintf("the mirror of %s says that it is %s", f.key, stamp(f.now.Add(f.status.Ahead))), f.status.Ahead})
	}
	if f.kept != nil && f.kept.Fetched.After(f.now) {
		told = append(told, toldTime{fmt.Sprintf("what is kept of %s was fetched at %s by this node's own clock", f.key, stamp(f.kept.Fetched)), f.kept.Fetched.Sub(f.now)})
	}
	return told
}
