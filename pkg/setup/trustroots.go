package setup

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/trustroot"
)

// publicGood is what the public-good trust root is called where the others have the
// names of their blocks.
const publicGood = "public-good"

// SettleTime is for how long trust roots are waited for, all together, by who can go
// on without them.
const SettleTime = 5 * time.Second

// TrustRoot is a trust root of a configuration.
type TrustRoot struct {
	*trustroot.Source
	// Name is the name of its block, "" of the public-good one.
	Name string
	// cfg is where it is from, with the plugin's cache.
	cfg trustroot.Config
	// carried is whether an earlier configuration had it already.
	carried bool
	// keyless are the keys of the authorities that name it and need a CA in it.
	keyless []string
}

// Key is what the configuration calls it.
func (r *TrustRoot) Key() string {
	if r.Name == "" {
		return "the public-good trust root"
	}
	return "trust_root[" + r.Name + "]"
}

// Kept is what the plugin would begin with at a start without a network, false where
// the configuration has no directory for that. It changes nothing there.
func (r *TrustRoot) Kept() (*sigstore.Root, trustroot.Status, bool) {
	if cacheOf(&r.cfg) == "" {
		return nil, trustroot.Status{}, false
	}
	root, status, err := trustroot.Look(r.cfg)
	if err != nil {
		status.Err = err
	}
	return root, status, true
}

func cacheOf(cfg *trustroot.Config) string {
	switch {
	case cfg.TUF != nil:
		return cfg.TUF.CacheDir
	case cfg.PublicGood != nil:
		return cfg.PublicGood.CacheDir
	}
	return ""
}

// caches is what may be done with the caches of trust roots.
type caches int

const (
	// ownCaches are read and written.
	ownCaches caches = iota
	// othersCaches are the plugin's, for a person's question: they are read.
	othersCaches
	// noCaches has every mirror asked.
	noCaches
)

// caches is what this process may do.
func (p *Process) caches() caches {
	if p.Beside {
		return othersCaches
	}
	return ownCaches
}

// of is the configuration with which the trust root is made.
func (c caches) of(cfg trustroot.Config) trustroot.Config {
	cfg.ReadOnly = c != ownCaches
	if c == noCaches && cfg.TUF != nil {
		tuf := *cfg.TUF
		tuf.CacheDir, cfg.TUF = "", &tuf
	}
	if c == noCaches && cfg.PublicGood != nil {
		public := *cfg.PublicGood
		public.CacheDir, cfg.PublicGood = "", &public
	}
	return cfg
}

// trustRoots are those of one configuration: the named ones, sorted, and the
// public-good one where something is judged by it.
type trustRoots []*TrustRoot

func (rs trustRoots) named(name string) *TrustRoot {
	for _, r := range rs {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// closeUnlessIn closes those that kept has not.
func (rs trustRoots) closeUnlessIn(kept trustRoots) {
	for _, r := range rs {
		if other := kept.named(r.Name); other == nil || other.Source != r.Source {
			r.Close()
		}
	}
}

// settle waits for the roots that no earlier configuration had, until ctx ends at the
// latest, and says what is doubtful about any root then.
func (rs trustRoots) settle(ctx context.Context) (warnings []string) {
	for _, r := range rs {
		if !r.carried {
			// They are asked for at once, so each may take what is left. What is wrong
			// is in their statuses.
			_ = r.Settle(ctx)
		}
	}
	now := time.Now()
	for _, r := range rs {
		warnings = append(warnings, r.warnings(now)...)
	}
	return warnings
}

// warnings are what an operator has to know of a root, in sentences.
func (r *TrustRoot) warnings(now time.Time) (warnings []string) {
	root, status := r.Current()
	if about := warningOf(root, status, now); about != "" {
		warnings = append(warnings, r.Key()+": "+about)
	}
	if root != nil && root.IsEmpty() {
		for _, key := range r.keyless {
			warnings = append(warnings, key+".trust_root: no certificate authority is in it, so nobody can be accepted")
		}
	}
	return warnings
}

func warningOf(root *sigstore.Root, status trustroot.Status, now time.Time) string {
	var what string
	switch {
	case root == nil:
		what = "there is no trust root yet, and nothing that is judged by it can be verified until there is"
	case status.Origin.Kind == trustroot.FromBuild:
		what = fmt.Sprintf("the one of %s that is built in is used, which lacks the keys and logs that came later", sigstore.PublicGoodDate.Format(time.DateOnly))
	case !status.Expires.IsZero() && status.Expires.Before(now):
		what = fmt.Sprintf("it should have been replaced by %s and is used all the same", status.Expires.UTC().Format(time.RFC3339))
	case status.Err != nil:
		what = "it can't be refreshed or kept as it should"
	default:
		return ""
	}
	if status.Err == nil {
		if root == nil || status.Origin.Kind == trustroot.FromBuild {
			what += ": the mirror has not answered yet"
		}
		return what
	}
	d, _ := diagnosis.Of(status.Err) // each has one
	return what + ": " + d.String()
}

// root returns the trust root of that name, which is made where nobody asked for it
// before: the public-good one costs a look at the network.
func (t *trust) root(name string) (*TrustRoot, error) {
	if r := t.roots.named(name); r != nil {
		return r, nil
	}
	cfg, err := t.configOf(name)
	if err != nil {
		return nil, err
	}
	r := &TrustRoot{Name: name, cfg: cfg}
	before := t.previous.named(name)
	// A file is read anew, as those of keys are. What was fetched is not.
	if r.carried = before != nil && cfg.TrustedRootPath == "" && reflect.DeepEqual(before.cfg, cfg); r.carried {
		r.Source, err = before.Source, before.Reload()
	} else {
		r.Source, err = t.source(t.caches.of(cfg))
	}
	if err != nil {
		return nil, fmt.Errorf("%s%w", r.prefix(), err)
	}
	t.roots = append(t.roots, r)
	return r, nil
}

func (p *Process) source(cfg trustroot.Config) (*trustroot.Source, error) {
	if p.mirrors != nil {
		return trustroot.NewThrough(cfg, p.log, p.mirrors)
	}
	return trustroot.New(cfg, p.log)
}

// prefix is what the errors of its Source begin with.
func (r *TrustRoot) prefix() string {
	if r.Name == "" {
		return r.Key() + ": "
	}
	return r.Key() + "."
}

func (t *trust) configOf(name string) (trustroot.Config, error) {
	cfg := trustroot.Config{Name: name}
	if name == "" {
		cfg.Name = publicGood
		cfg.PublicGood = &trustroot.PublicGood{
			CacheDir:    t.images.Cache.TUFDir(""),
			Environment: trustroot.Environment(t.images.TrustEnvironment),
		}
		return cfg, nil
	}
	i := slices.IndexFunc(t.images.TrustRoots, func(r config.TrustRoot) bool { return r.Name == name })
	if i < 0 {
		return cfg, errors.New("trust_root[" + name + "]: there is none of that name")
	}
	r := t.images.TrustRoots[i]
	cfg.TrustedRootPath = r.TrustedRootPath
	if r.TUF != nil {
		cfg.TUF = &trustroot.TUF{Mirror: r.TUF.Mirror, RootPath: r.TUF.RootPath, CacheDir: r.TUF.CacheDir, Refresh: r.TUF.Refresh}
	}
	return cfg, nil
}
