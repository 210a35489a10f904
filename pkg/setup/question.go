package setup

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/store"
	"github.com/podseal/podseal/pkg/verify"
)

// Verification verifies what it is given, whatever runs on this node: for a person who
// asks about an image. It must be closed.
type Verification struct {
	*verify.Verifier
	images images
}

// Verification makes one. What the plugin keeps on the disk is read and not changed.
func (p *Process) Verification(cfg *config.Config) (v *Verification, err error) {
	v = &Verification{}
	defer func() {
		if err != nil {
			v.Close()
			v = nil
		}
	}()
	t := &trust{Process: p, images: &cfg.Images, caches: othersCaches}
	rules, err := t.rules()
	v.images.roots, v.images.logs = t.roots, t.logs
	if err != nil {
		return v, err
	}
	v.images.store = p.store(&cfg.Images, nil)
	if v.images.registry, err = p.registry(&cfg.Images, v.images.store, nil); err != nil {
		return v, err
	}
	v.images.verifier, err = verify.New(rules, verify.Registries(v.images.registry), verify.RecordStatuses{}, v.images.store)
	v.Verifier = v.images.verifier
	return v, err
}

// SettleRoots is that of Parts.
func (v *Verification) SettleRoots(ctx context.Context) (warnings []string) {
	return v.images.roots.settle(ctx)
}

// Close ends it.
func (v *Verification) Close() { v.images.closeUnlessIn(images{}) }

// TrustRoots makes the trust roots by which a configuration has images judged, none
// where nothing is asked of images or keys alone are needed: for a person who asks
// about them. Every mirror is asked. An error is about a file, and the plugin refuses
// the configuration for it. They must be closed.
func (p *Process) TrustRoots(cfg *config.Config) ([]*TrustRoot, error) {
	if !cfg.Images.Wanted() {
		return nil, nil
	}
	t := &trust{Process: p, images: &cfg.Images, caches: noCaches}
	if _, err := t.rules(); err != nil {
		t.roots.closeUnlessIn(nil)
		return nil, err
	}
	return t.roots, nil
}

// Registries makes the part that asks registries, for a person who asks about them. It
// remembers nothing over its end, and must be closed.
func (p *Process) Registries(cfg *config.Config) (*registry.Client, error) {
	return registry.New(registryConfig(&cfg.Images), p.log)
}

// Evidence opens the evidence store that the plugin has on the disk, for a person who
// asks about it; nil where there is none yet. Nothing may be put into it, and it must be
// closed.
func (p *Process) Evidence(cfg *config.Config) *store.Store {
	dir := cfg.Images.Cache.Dir
	if _, err := os.Stat(dir); dir == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return store.Open(store.Config{Dir: dir, MaxRecords: cfg.Images.Cache.MaxEntries, Log: p.log})
}
