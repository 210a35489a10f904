package config

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/podseal/podseal/pkg/policy"
)

func (b *builder) imagePolicy(s *section) {
	b.named(s)
	p := ImagePolicy{
		Name:          s.name,
		Match:         b.match(s.block("match")),
		Mode:          b.oneOf(s, "mode", string(policy.Fail), withhold, audit),
		OnUnavailable: b.oneOf(s, "on_unavailable", string(policy.FailUnavailable), withhold, stale),
		RekorURL:      b.policyRekorURL(s),
	}
	b.modes(s, p)
	for _, a := range s.all("authority") {
		p.Authorities = append(p.Authorities, b.authority(a))
	}
	if len(p.Authorities) == 0 {
		b.refuse(s, "authority", "at least one is required")
	}
	slices.SortFunc(p.Authorities, func(x, y Authority) int { return cmp.Compare(x.Name, y.Name) })
	if p.Match.Images != nil && p.Match.Namespaces == nil && p.Match.ServiceAccounts == nil {
		b.warnAt(s.block("match"), "images", "no gate alone: a pod's author chooses the image's name, and an image of another name is not looked at; match namespaces or service_accounts too")
	}
	b.config.Images.Policies = append(b.config.Images.Policies, p)
}

// Values of mode and on_unavailable.
const (
	withhold, audit = string(policy.Withhold), string(policy.Audit)
	stale           = string(policy.Stale)
)

// oneOf is a key's value, which must be one of all; the first where it is not given.
func (b *builder) oneOf(s *section, key string, all ...string) string {
	text := cmp.Or(s.text(key), all[0])
	if !slices.Contains(all, text) {
		b.refuse(s, key, "unsupported value %q; must be one of [%s]", text, strings.Join(all, ", "))
	}
	return text
}

// modes warns of what mode and on_unavailable come to together.
func (b *builder) modes(s *section, p ImagePolicy) {
	const key = "on_unavailable"
	switch p.Mode {
	case string(policy.Fail):
		if p.OnUnavailable == withhold && !b.partial {
			b.warnAt(s, key, "%s: while a registry does not answer, a workload gets its other selectors whatever it runs, such as ns and sa: %s", withhold, onlyEntries)
		}
	case withhold, audit:
		b.warnAt(s, "mode", "%s: a workload whose image does not pass gets its other selectors all the same, such as ns and sa: %s", p.Mode, onlyEntries)
		if s.text(key) != "" && p.OnUnavailable != stale {
			b.warnAt(s, key, "%s: without effect: mode = %q says what follows", p.OnUnavailable, p.Mode)
		}
	}
}

const onlyEntries = "only registration entries with a selector of this policy keep it out"

// onUnavailable warns of what it does not do.
func (b *builder) onUnavailable() {
	anyStale := false
	for _, s := range b.s.all("image_policy") {
		const key = "on_unavailable"
		choice := s.text(key)
		anyStale = anyStale || choice == stale
		if choice != "" && choice != string(policy.FailUnavailable) && b.config.Images.AnyRegistry {
			b.warnAt(s, key, "%s: only for registries with a registry block: where another one does not answer, mode says what follows", choice)
		}
	}
	if cache := b.s.block("cache"); cache.text("stale_ttl") != "" && !anyStale && b.config.Images.Wanted() && !b.partial {
		b.warnAt(cache, "stale_ttl", "not used: no image_policy has on_unavailable = %q", stale)
	}
}

func (b *builder) match(s *section) (m Match) {
	if s == nil {
		return m
	}
	m.Namespaces = b.patterns(s, "namespaces", func(list []string) (policy.Match, error) { return policy.NewMatch(list, nil, nil) })
	m.ServiceAccounts = b.patterns(s, "service_accounts", func(list []string) (policy.Match, error) { return policy.NewMatch(nil, list, nil) })
	m.Images = b.patterns(s, "images", func(list []string) (policy.Match, error) { return policy.NewMatch(nil, nil, list) })
	return m
}

// patterns is a list that the policy's rules hold for, nil where it is not given.
func (b *builder) patterns(s *section, key string, match func([]string) (policy.Match, error)) []string {
	if !s.given(key) {
		return nil
	}
	list := []string{}
	for _, i := range s.list(key) {
		list = append(list, i.text)
	}
	if _, err := match(list); err != nil {
		// The error begins with the key's name.
		b.problems.add(s.key(key), s.at(key), "%s.%v", s.path, err)
	}
	return list
}

// What keys each kind of authority has; trust_root and annotations are of all but the
// last one.
var (
	identityKeys = []string{"issuer", "issuer_regexp", "subject", "subject_regexp", "subject_type", "allow_any"}
	claimKeys    = []string{"source_repository", "source_ref", "source_digest", "build_signer", "build_trigger", "runner_environment"}
	keysKeys     = []string{"key_path", "key_pem", "key_dir"}
	windowKeys   = []string{"valid_from", "valid_until"}
)

func (b *builder) authority(s *section) Authority {
	b.named(s)
	a := Authority{Name: s.name, Path: s.path, TrustRoot: b.trustRoot(s), Annotations: b.annotations(s)}
	// What only belongs to one kind says which is meant, and nothing else may be there
	// then.
	keyed, pki, static := givenOf(s, keysKeys), s.given("ca_path"), s.given("static")
	switch {
	case static:
		b.not(s, "static", slices.Concat(identityKeys, claimKeys, keysKeys, windowKeys, []string{"require_tlog", "ca_path", "trust_root", "annotations"}))
		a.Static = b.static(s)
	case pki:
		b.not(s, "ca_path", slices.Concat(claimKeys, keysKeys, windowKeys))
		a.PKI = &PKI{CAPath: b.file(s, "ca_path"), Identity: b.identity(s, false), SubjectType: b.subjectType(s), RequireTlog: s.flag("require_tlog")}
		b.needed(s, "ca_path")
	case len(keyed) > 0:
		b.not(s, keyed[0], slices.Concat(identityKeys, claimKeys, keyed[1:]))
		a.Keys = b.keys(s)
		b.needed(s, keyed[0])
	case len(givenOf(s, identityKeys)) > 0:
		b.not(s, givenOf(s, identityKeys)[0], append([]string{"require_tlog"}, windowKeys...))
		a.Keyless = &Keyless{Identity: b.identity(s, true), SubjectType: b.subjectType(s), Claims: b.claims(s)}
	default:
		b.refuse(s, "", "it must say who may sign: issuer and subject, a key, ca_path or static")
	}
	return a
}

func givenOf(s *section, keys []string) (given []string) {
	for _, key := range keys {
		if s.given(key) {
			given = append(given, key)
		}
	}
	return given
}

// not reports keys that are of another kind than the one that is there.
func (b *builder) not(s *section, kind string, others []string) {
	for _, key := range givenOf(s, others) {
		b.refuse(s, key, "cannot be used with %s: an authority is of one kind", kind)
	}
}

// needed reports a key that is given and empty.
func (b *builder) needed(s *section, key string) {
	if s.text(key) == "" {
		b.refuse(s, key, "it is empty")
	}
}

// identity is who signs: a subject, and its issuer, which a private authority's
// certificates may not say.
func (b *builder) identity(s *section, withIssuer bool) (id Identity) {
	id.Issuer = b.pattern(s, "issuer", issuerProbes, withIssuer)
	id.Subject = b.pattern(s, "subject", subjectProbes, true)
	return id
}

// pattern is a key, or in its place the same with _regexp.
func (b *builder) pattern(s *section, key string, probes []string, needed bool) Pattern {
	asRegexp := key + "_regexp"
	exactly, text := s.text(key), s.text(asRegexp)
	switch {
	case exactly != "" && text != "":
		b.refuse(s, asRegexp, "cannot be used with %s", key)
	case exactly == "" && text == "":
		if needed || s.given(key) || s.given(asRegexp) {
			b.refuse(s, key, "must be specified, or %s", asRegexp)
		}
	}
	if text == "" {
		return Pattern{Text: exactly}
	}
	p, anything, err := regularExpression(text, probes)
	switch {
	case err != nil:
		b.refuse(s, asRegexp, "%q is not a pattern that can be read: %v", text, err)
	case anything && s.flag("allow_any"):
		b.warnAt(s, asRegexp, "%q matches anything: any %s is accepted", text, key)
	case anything:
		b.refuse(s, asRegexp, "%q matches anything; say allow_any = true if that is meant", text)
	}
	return p
}

func (b *builder) subjectType(s *section) string {
	const key = "subject_type"
	text := s.text(key)
	if types := []string{"email", "uri", "dns", "ip", "othername"}; text != "" && !slices.Contains(types, text) {
		b.refuse(s, key, "unsupported value %q; must be one of [%s]", text, strings.Join(types, ", "))
	}
	return text
}

// claims are those that are given. One that is given and empty is no claim that a
// certificate could have.
func (b *builder) claims(s *section) map[string]string {
	var all map[string]string
	for _, key := range givenOf(s, claimKeys) {
		b.needed(s, key)
		if all == nil {
			all = map[string]string{}
		}
		all[strings.ReplaceAll(key, "_", "-")] = s.text(key)
	}
	return all
}

func (b *builder) keys(s *section) *Keys {
	k := &Keys{
		Path:        b.file(s, "key_path"),
		Dir:         b.file(s, "key_dir"),
		PEM:         s.text("key_pem"),
		RequireTlog: s.flag("require_tlog"),
		ValidFrom:   b.time(s, "valid_from"),
		ValidUntil:  b.time(s, "valid_until"),
	}
	if !k.ValidFrom.IsZero() && !k.ValidUntil.IsZero() && k.ValidUntil.Before(k.ValidFrom) {
		b.refuse(s, "valid_until", "it is before valid_from")
	}
	return k
}

func (b *builder) time(s *section, key string) time.Time {
	text := s.text(key)
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		b.refuse(s, key, "%q is not a time, such as 2026-01-31T00:00:00Z", text)
	}
	return t.UTC()
}

func (b *builder) static(s *section) Static {
	const key = "static"
	static := Static(s.text(key))
	switch static {
	case StaticDeny:
	case StaticAllow:
		b.warnAt(s, key, "allow: every image is accepted, whoever made it")
	default:
		b.refuse(s, key, "unsupported value %q; must be one of [%s, %s]", static, StaticAllow, StaticDeny)
	}
	return static
}

func (b *builder) annotations(s *section) map[string]string {
	const key = "annotations"
	if !s.given(key) {
		return nil
	}
	all := map[string]string{}
	for _, e := range s.entries(key) {
		all[e.name] = e.text
	}
	if len(all) == 0 {
		b.refuse(s, key, "at least one is required where it is given")
	}
	return all
}
