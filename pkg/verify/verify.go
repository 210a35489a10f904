// Package verify says whether the image policies that apply to an image hold: it
// finds out what runs, fetches what there is of evidence, has every authority judge
// it, and says what that adds up to, with a reason for everything that did not
// count. It decides nothing itself: what runs is package image's to say, what a
// signature is worth package sigstore's, and what applies package policy's.
//
// A verdict is kept as long as it may count, with everything that it depends on, and
// evidence is kept in a store, from where it is judged again. An image that many wait
// for is looked at once. Who looks at an image waits his turn among the namespaces, so
// that nobody's images keep others from theirs.
package verify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/store"
	"github.com/podseal/podseal/pkg/trustroot"
)

// Config is what a Verifier verifies.
type Config struct {
	// Block is the sigstore block, or the older one; nil where there is none.
	Block *Block
	// Policies are the image policies, and Judges who judges for their authorities:
	// by the names of policy and authority. Every authority that is not static has
	// one. Logs are those of policies that may ask one, by the policy's name.
	Policies policy.Set
	Judges   map[AuthorityName]Judge
	Logs     map[string]Log
	// Budget bounds the work for one image, and a call as a whole; positive.
	Budget time.Duration
	// Ages bound for how long what was found out counts; positive.
	Ages Ages
	// MaxEntries is of how many images verdicts are kept; positive. Those that run on
	// this node are kept beyond, up to twice as many.
	MaxEntries int
	// Present is whether a pod is on this node; nil where that is not known. It is
	// called with a lock held.
	Present func(podUID string) bool
	// Platform is what this node runs.
	Platform image.Platform
	// Explain asks for more in Results, for a person who looks at them.
	Explain bool
	// Log is told of panics that nobody waited to hear of; nil for nobody.
	Log *slog.Logger
}

// AuthorityName names an authority of a policy.
type AuthorityName struct{ Policy, Authority string }

// Judge is an authority of package sigstore with the trusted root that it judges by.
type Judge struct {
	Authority *sigstore.Authority
	// Root may be nil where the authority needs none.
	Root Root
}

// Root is a trusted root that is kept up to date, a *trustroot.Source.
type Root interface {
	// Current returns the root of this moment, nil while there is none, and what is
	// known of it. It waits for nothing.
	Current() (*sigstore.Root, trustroot.Status)
}

// root is the judge's root of this moment. missing is whether nothing can be judged
// for want of one.
func (j Judge) root() (root *sigstore.Root, status trustroot.Status, missing bool) {
	if j.Root != nil {
		root, status = j.Root.Current()
	}
	return root, status, root == nil && j.Authority.NeedsRoot()
}

// Block is SPIRE's configuration of image verification: one policy for every image.
type Block struct {
	Judge Judge
	// Skipped are the image IDs that are not looked at.
	Skipped map[image.ID]bool
	// IgnoreAttestations leaves attestations unjudged.
	IgnoreAttestations bool
	// Older gives the selectors of the older block.
	Older bool
	// Log may be asked for entries; nil for none.
	Log Log
}

func (b *Block) dialect() Dialect {
	if b.Older {
		return DialectOlder
	}
	return DialectSigstore
}

// Verifier verifies images for one configuration. It is safe for concurrent use.
type Verifier struct {
	cfg      Config
	registry Registry
	statuses Statuses
	store    Store

	// mu guards the rest, for as long as a look at what is known takes.
	mu      sync.Mutex
	entries map[question]*entry
	byKey   map[store.Key]*entry
	// latest is what containers run, as far as entries remember them.
	latest map[place]*entry
	// before is what Succeed took over; it is not changed after that.
	before map[store.Key][]string
	// lines are where images of registries wait, by their names; of those without a block
	// as long as somebody is there, and they share one more queue.
	lines  map[string]*line
	shared *fair.Queue
}

// New returns a Verifier. Verdicts belong to it: another one, with another
// configuration, makes its own, by what is in the store. Its errors say what is missing
// in the configuration.
func New(cfg Config, r Registry, s Statuses, kept Store) (*Verifier, error) {
	if cfg.Budget <= 0 || cfg.Ages.TTL <= 0 || cfg.Ages.StaleTTL <= 0 || cfg.Ages.NegativeTTL <= 0 || cfg.MaxEntries <= 0 {
		return nil, errors.New("the time for images, the ages of verdicts and their number must be positive")
	}
	for p := range cfg.Policies.All() {
		for _, a := range p.Authorities {
			if a.Static == policy.NotStatic && cfg.Judges[AuthorityName{p.Name, a.Name}].Authority == nil {
				return nil, fmt.Errorf("image_policy %q: authority %q: nobody judges for it", p.Name, a.Name)
			}
		}
	}
	if cfg.Block != nil && cfg.Block.Judge.Authority == nil {
		return nil, fmt.Errorf("%s: nobody judges for it", cfg.Block.dialect())
	}
	return &Verifier{
		cfg: cfg, registry: r, statuses: s, store: kept,
		entries: map[question]*entry{}, byKey: map[store.Key]*entry{}, latest: map[place]*entry{}, lines: map[string]*line{},
		shared: fair.New(fair.Limits{Slots: flights, TenantSlots: flightsOfOne, Waiting: flightsWaiting}),
	}, nil
}

// Concerns is whether a policy may apply to a container of the pod. Then it must be
// known which container it is.
func (v *Verifier) Concerns(p *pod.Pod) bool {
	return v.cfg.Block != nil || v.cfg.Policies.Concerns(p.Namespace, p.ServiceAccount)
}

// Container verifies the image of a container of the pod, which has an ID, for every
// policy that applies to it. Where one does not hold that fails attestations that is
// an *Error; when ctx ends before that can be told of one of those, its cause.
func (v *Verifier) Container(ctx context.Context, p *pod.Pod, c *pod.Container) (*Result, error) {
	return v.verify(ctx, p, c, false)
}

// Prepare does the same for somebody who has not asked yet: after those who have.
func (v *Verifier) Prepare(ctx context.Context, p *pod.Pod, c *pod.Container) error {
	_, err := v.verify(ctx, p, c, true)
	return err
}

func (v *Verifier) verify(ctx context.Context, p *pod.Pod, c *pod.Container, background bool) (*Result, error) {
	r := &Result{NoPolicy: !v.Concerns(p)}
	if r.NoPolicy {
		return r, nil
	}
	bounded, cancel := context.WithTimeoutCause(ctx, v.cfg.Budget, errBudget)
	defer cancel()
	err := v.container(bounded, subject{pod: p, container: c, background: background}, r)
	return r, ended(ctx, err)
}

// ended is err, unless the caller's time was over before ours.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (v *Verifier) container(ctx context.Context, s subject, r *Result) (err error) {
	if s.runs, err = v.statuses.Runs(ctx, s.pod, s.container); err != nil {
		return r.take(v.unestablished(s.pod, s.container, err))
	}
	s.policies = v.cfg.Policies.Applying(workload(s.pod, s.runs))
	if v.cfg.Block == nil && len(s.policies) == 0 {
		r.NoPolicy = true
		return nil
	}
	checked, err := v.check(ctx, s)
	if err != nil {
		return err
	}
	r.add(*checked)
	if err := r.take(checked.failures); err != nil {
		return err
	}
	r.Trust = checked.trust
	return nil
}

// workload is what policies match of an image in a pod.
func workload(p *pod.Pod, runs Runs) policy.Workload {
	return policy.Workload{Namespace: p.Namespace, ServiceAccount: p.ServiceAccount, Names: namesOf(runs)}
}

// namesOf are the repositories that an image is said to be of.
func namesOf(runs Runs) policy.Names {
	var names policy.Names
	add := func(r image.Repository, err error) {
		switch {
		case err != nil:
			names.Unreadable = true
		case !r.IsZero() && !slices.Contains(names.Repositories, r):
			names.Repositories = append(names.Repositories, r)
		}
	}
	said := [...]string{runs.SpecImage, runs.Image, runs.ImageID}
	for i, s := range said {
		if s == "" || slices.Contains(said[:i], s) {
			continue
		}
		name, err := image.ParseName(s)
		if err != nil {
			// A digest without a repository is no name, wherever it stands.
			if id, err := image.ParseID(s); err == nil {
				add(id.Repository, nil)
				continue
			}
		}
		add(name.Repository, err)
	}
	return names
}

// unestablished are the failures of every policy that may apply to a container of
// which it can't be told what it runs.
func (v *Verifier) unestablished(p *pod.Pod, c *pod.Container, why error) []Failure {
	return v.failuresOf(v.cfg.Policies.Concerning(p.Namespace, p.ServiceAccount),
		Failure{Kind: kindOfStatus(why), Container: c.Name, Image: c.SpecImage, ImageID: c.ImageID, Reasons: []error{why}})
}

func (r *Result) add(c checked) {
	r.Images = append(r.Images, c.image)
	r.Verdicts = append(r.Verdicts, c.verdicts...)
}
