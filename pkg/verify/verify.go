// Package verify says whether the image policies that apply to an image hold: it
// finds out what runs, fetches what there is of evidence, has every authority judge
// it, and says what that adds up to, with a reason for everything that did not
// count. It decides nothing itself: what runs is package image's to say, what a
// signature is worth package sigstore's, and what applies package policy's.
//
// Nothing is kept between two calls.
package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/trustroot"
)

// Registry is where images and evidence are, a *registry.Client.
type Registry interface {
	image.Fetcher
	Evidence(ctx context.Context, ref image.Ref) (*registry.Found, error)
}

// Config is what a Verifier verifies.
type Config struct {
	// Block is the sigstore block, or the older one; nil where there is none.
	Block *Block
	// Policies are the image policies, and Judges who judges for their authorities:
	// by the names of policy and authority. Every authority that is not static has
	// one.
	Policies policy.Set
	Judges   map[AuthorityName]Judge
	// Budget bounds the work for one call; positive.
	Budget time.Duration
	// Platform is what this node runs.
	Platform image.Platform
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
}

// New returns a Verifier. Its errors say what is missing in the configuration.
func New(cfg Config, r Registry, s Statuses) (*Verifier, error) {
	if cfg.Budget <= 0 {
		return nil, errors.New("the time for images must be positive")
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
	return &Verifier{cfg: cfg, registry: r, statuses: s}, nil
}

// Concerns is whether a policy may apply to a container of the pod. Then it must be
// known which container it is.
func (v *Verifier) Concerns(p *pod.Pod) bool {
	return v.cfg.Block != nil || v.cfg.Policies.Concerns(p.Namespace, p.ServiceAccount)
}

// Container verifies the image of a container of the pod, which has an ID, for every
// policy that applies to it. Where one does not hold that is an *Error; when ctx
// ends, its cause.
func (v *Verifier) Container(ctx context.Context, p *pod.Pod, c *pod.Container) (*Result, error) {
	r := &Result{NoPolicy: !v.Concerns(p)}
	if r.NoPolicy {
		return r, nil
	}
	bounded, cancel := context.WithTimeoutCause(ctx, v.cfg.Budget, errBudget)
	defer cancel()
	err := v.container(bounded, p, c, r)
	return r, ended(ctx, err)
}

// ended is err, unless the caller's time was over before ours.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (v *Verifier) container(ctx context.Context, p *pod.Pod, c *pod.Container, r *Result) error {
	runs, err := v.statuses.Runs(ctx, p, c)
	if err != nil {
		return v.unestablished(p, c, err)
	}
	applying := v.cfg.Policies.Applying(workload(p, runs))
	if v.cfg.Block == nil && len(applying) == 0 {
		r.NoPolicy = true
		return nil
	}
	checked := v.check(ctx, subject{container: c, runs: runs, policies: applying})
	r.add(checked)
	if len(checked.failures) > 0 {
		return &Error{checked.failures}
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
	for _, s := range []string{runs.SpecImage, runs.Image, runs.ImageID} {
		if s == "" {
			continue
		}
		// A digest without a repository is no name, wherever it stands.
		if id, err := image.ParseID(s); err == nil {
			add(id.Repository, nil)
			continue
		}
		name, err := image.ParseName(s)
		add(name.Repository, err)
	}
	return names
}

// unestablished is the failure of every policy that may apply to a container of
// which it can't be told what it runs.
func (v *Verifier) unestablished(p *pod.Pod, c *pod.Container, why error) *Error {
	return v.failureOf(v.cfg.Policies.Concerning(p.Namespace, p.ServiceAccount),
		Failure{Kind: kindOfStatus(why), Container: c.Name, Image: c.SpecImage, ImageID: c.ImageID, Reasons: []error{why}})
}

func (r *Result) add(c checked) {
	r.Images = append(r.Images, c.image)
	r.Verdicts = append(r.Verdicts, c.verdicts...)
}
