package setup

import (
	"fmt"
	"reflect"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/cri"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/store"
	"github.com/podseal/podseal/pkg/verify"
)

// images is what verifies images: all nil where nothing is asked of them.
type images struct {
	verifier *verify.Verifier
	ahead    *verify.Ahead
	store    *store.Store
	registry *registry.Client
	logs     logs
	runtime  *cri.Client
	roots    trustRoots
}

// images makes the part that verifies images. Keys and trust roots are read anew,
// so that a reconfiguration takes up what was changed in their files.
func (p *Process) images(cfg *config.Config, locator *container.Locator, s sources, previous *Parts) (i images, err error) {
	if !cfg.Images.Wanted() {
		return images{}, nil
	}
	defer func() {
		if err != nil {
			i.closeUnlessIn(partsImages(previous))
			i = images{}
		}
	}()
	t := &trust{Process: p, images: &cfg.Images, caches: p.caches(), previous: partsImages(previous).roots, logsBefore: partsImages(previous).logs}
	rules, err := t.rules()
	i.roots, i.logs = t.roots, t.logs
	if err != nil {
		return i, err
	}
	i.store = p.store(&cfg.Images, previous)
	if i.registry, err = p.registry(&cfg.Images, i.store, previous); err != nil {
		return i, err
	}
	var statuses verify.Statuses = verify.RecordStatuses{}
	switch cfg.Images.StatusSource {
	case config.StatusFromCRI:
		if i.runtime, err = p.runtime(cfg, locator, previous); err != nil {
			return i, fmt.Errorf("cri_socket: %w", err)
		}
		statuses = verify.RuntimeStatuses{Runtime: i.runtime}
	case config.StatusFromPodsAPI:
		statuses = verify.PodsAPIStatuses{Pods: s.api}
	}
	i.verifier, err = verify.New(rules, verify.Registries(i.registry), statuses, i.store)
	return i, err
}

// store makes the part that keeps what was fetched. Beside the plugin nothing is kept
// on its disk: it alone knows what runs here, and so what not to throw away.
func (p *Process) store(cfg *config.Images, previous *Parts) *store.Store {
	if kept := partsImages(previous).store; kept != nil && previous.Config.Images.Cache.Dir == cfg.Cache.Dir && previous.Config.Images.Cache.MaxEntries == cfg.Cache.MaxEntries {
		return kept
	}
	dir := cfg.Cache.Dir
	if p.Beside {
		dir = ""
	}
	return store.Open(store.Config{Dir: dir, MaxRecords: cfg.Cache.MaxEntries, Pinned: p.pinned, Log: p.log})
}

// pinned is whether stored evidence is of an image that runs on this node.
func (p *Process) pinned(key store.Key) bool {
	v := p.verifier.Load()
	return v != nil && v.Pinned(key)
}

func partsImages(p *Parts) images {
	if p == nil {
		return images{}
	}
	return p.images
}

// closeUnlessIn closes what kept does not use.
func (i images) closeUnlessIn(kept images) {
	if i.ahead != nil && i.ahead != kept.ahead {
		i.ahead.Close()
	}
	if i.registry != nil && i.registry != kept.registry {
		i.registry.Close()
	}
	if i.runtime != nil && i.runtime != kept.runtime {
		i.runtime.Close()
	}
	i.logs.closeUnlessIn(kept.logs)
	i.roots.closeUnlessIn(kept.roots)
	if i.store != nil && i.store != kept.store {
		i.store.Close()
	}
}

// registry makes the part that asks registries. It reads its files again by itself
// when they change.
func (p *Process) registry(cfg *config.Images, s *store.Store, previous *Parts) (*registry.Client, error) {
	before := partsImages(previous)
	if before.registry != nil && before.store == s && reflect.DeepEqual(registryConfig(&previous.Config.Images), registryConfig(cfg)) {
		return before.registry, nil
	}
	c := registryConfig(cfg)
	c.Store, c.Salt = s, s.Salt()
	return registry.New(c, p.log)
}

func registryConfig(cfg *config.Images) registry.Config {
	c := registry.Config{
		Any:              cfg.AnyRegistry,
		DockerConfigPath: cfg.DockerConfigPath,
		Limits: registry.Limits{
			MaxSignatures: cfg.Limits.MaxSignatures,
			MaxReferrers:  cfg.Limits.MaxReferrers,
			MaxManifest:   cfg.Limits.MaxManifest,
			MaxBundle:     cfg.Limits.MaxBundle,
		},
	}
	for _, r := range cfg.Registries {
		c.Registries = append(c.Registries, registry.Registry{
			Key:              r.Path,
			Host:             r.Host,
			CAPath:           r.CAPath,
			Mirror:           r.Mirror,
			Insecure:         r.Insecure,
			Username:         r.Username,
			Password:         string(r.Password),
			PasswordPath:     r.PasswordPath,
			DockerConfigPath: r.DockerConfigPath,
			Repositories:     r.Repositories,
			TokenHosts:       r.TokenHosts,
			ProxyURL:         string(r.ProxyURL),
		})
	}
	return c
}

// runtime makes the part that asks the container runtime.
func (p *Process) runtime(cfg *config.Config, locator *container.Locator, previous *Parts) (*cri.Client, error) {
	// Who may listen on the socket depends on where pods are.
	if kept := partsImages(previous).runtime; kept != nil && previous.Config.Images.CRISocket == cfg.Images.CRISocket && previous.Config.CgroupRoot == cfg.CgroupRoot {
		return kept, nil
	}
	return cri.New(cri.Config{Socket: cfg.Images.CRISocket}, inPod(locator))
}

// rules makes the rules of the configuration: its policies with those who judge for
// them, whose keys and trust roots are read here.
func (t *trust) rules() (verify.Config, error) {
	cfg := t.images
	rules := verify.Config{
		Judges:     map[verify.AuthorityName]verify.Judge{},
		Logs:       map[string]verify.Log{},
		Budget:     cfg.Limits.Budget,
		Ages:       verify.Ages{TTL: cfg.Cache.TTL, StaleTTL: cfg.Cache.StaleTTL, NegativeTTL: cfg.Cache.NegativeTTL},
		MaxEntries: cfg.Cache.MaxEntries,
		Present:    t.roster.Present,
		Platform:   image.NodePlatform(),
		Explain:    t.Beside,
		Log:        t.Process.log,
	}
	// All are read, so that a mistake in one that nothing uses yet is not found at
	// night.
	for _, r := range cfg.TrustRoots {
		if _, err := t.root(r.Name); err != nil {
			return verify.Config{}, err
		}
	}
	if cfg.Sigstore != nil {
		block, err := t.block(cfg.Sigstore)
		if err != nil {
			return verify.Config{}, err
		}
		rules.Block = block
	}
	var policies []*policy.Policy
	for _, p := range cfg.Policies {
		match, err := policy.NewMatch(p.Match.Namespaces, p.Match.ServiceAccounts, p.Match.Images)
		if err != nil {
			return verify.Config{}, fmt.Errorf("image_policy[%s].match.%w", p.Name, err)
		}
		made := &policy.Policy{Name: p.Name, Match: match, Mode: policy.Mode(p.Mode), OnUnavailable: policy.OnUnavailable(p.OnUnavailable)}
		if log, err := t.log(p.RekorURL); err != nil {
			return verify.Config{}, fmt.Errorf("image_policy[%s].rekor_url: %w", p.Name, err)
		} else if log != nil {
			rules.Logs[p.Name] = log
		}
		for _, a := range p.Authorities {
			made.Authorities = append(made.Authorities, policy.Authority{Name: a.Name, Static: policy.Static(a.Static)})
			if a.Static != "" {
				continue
			}
			judge, err := t.judge(a)
			if err != nil {
				return verify.Config{}, err
			}
			rules.Judges[verify.AuthorityName{Policy: p.Name, Authority: a.Name}] = judge
		}
		policies = append(policies, made)
	}
	var err error
	rules.Policies, err = policy.NewSet(policies...)
	return rules, err
}

// block makes the rules of SPIRE's block.
func (t *trust) block(s *config.Sigstore) (*verify.Block, error) {
	var identities []sigstore.Identity
	for _, id := range s.Identities {
		made, err := identityOf(id, "", nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Path, err)
		}
		identities = append(identities, made)
	}
	authority, err := sigstore.NewKeyless(sigstore.KeylessConfig{
		Identities: identities, AnyIdentity: s.AnyIdentity, IgnoreLog: s.IgnoreTlog, IgnoreSCT: s.IgnoreSCT,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Path, err)
	}
	root, err := t.root(s.TrustRoot)
	if err != nil {
		return nil, err
	}
	log, err := t.log(s.RekorURL)
	if err != nil {
		return nil, fmt.Errorf("%s.rekor_url: %w", s.Path, err)
	}
	block := &verify.Block{
		Log:                log,
		Judge:              verify.Judge{Authority: authority, Root: root},
		Skipped:            make(map[image.ID]bool, len(s.Skipped)),
		IgnoreAttestations: s.IgnoreAttestations,
		Older:              s.Older,
	}
	for _, id := range s.Skipped {
		block.Skipped[id] = true
	}
	return block, nil
}

func identityOf(id config.Identity, subjectType string, claims map[string]string) (sigstore.Identity, error) {
	issuer, err := patternOf(id.Issuer)
	if err != nil {
		return sigstore.Identity{}, fmt.Errorf("issuer_regexp: %w", err)
	}
	subject, err := patternOf(id.Subject)
	if err != nil {
		return sigstore.Identity{}, fmt.Errorf("subject_regexp: %w", err)
	}
	made := sigstore.Identity{Issuer: issuer, Subject: subject, SubjectType: sigstore.SubjectType(subjectType)}
	for name, value := range claims {
		if made.Claims == nil {
			made.Claims = map[sigstore.Claim]string{}
		}
		made.Claims[sigstore.Claim(name)] = value
	}
	return made, nil
}

func patternOf(p config.Pattern) (sigstore.Pattern, error) {
	if p.Regexp {
		return sigstore.Regexp(p.Text)
	}
	return sigstore.Exact(p.Text), nil
}
