package config

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/podseal/podseal/pkg/image"
)

const (
	weakTlog = "signatures need no entry in a transparency log, so that one made in secret, or with a stolen key and a false time, counts too"
	weakSCT  = "certificates need no proof that they were published, so that one which the authority was tricked into goes unnoticed"
)

// sigstore reads SPIRE's block.
func (b *builder) sigstore(s *section) {
	if s == nil {
		return
	}
	c := &Sigstore{
		Path:               s.path,
		Skipped:            b.imageIDs(s, "skipped_images"),
		IgnoreTlog:         s.flag("ignore_tlog"),
		IgnoreSCT:          s.flag("ignore_sct"),
		IgnoreAttestations: s.flag("ignore_attestations"),
		TrustRoot:          b.trustRoot(s),
	}
	b.config.Images.Sigstore = c
	b.allowedIdentities(c, s)
	c.RekorURL = b.rekorURL(s, c.IgnoreTlog)
	if c.IgnoreTlog {
		b.warnAt(s, "ignore_tlog", "%s", weakTlog)
	}
	if c.IgnoreSCT {
		b.warnAt(s, "ignore_sct", "%s", weakSCT)
	}
	b.registryCredentials(s)
}

// allowedIdentities is SPIRE's list, in which a string is a pattern when it looks like
// one. The built-in attestor lets patterns match any part, and takes an empty list for
// none at all; here they must match the whole, and an empty list is nobody.
func (b *builder) allowedIdentities(c *Sigstore, s *section) {
	const key = "allowed_identities"
	if !s.given(key) {
		c.AnyIdentity = true
		if !b.partial {
			b.warnAt(s, key, "not given: everybody with a certificate of the trust root may have signed")
		}
		return
	}
	for _, e := range s.entries(key) {
		l := identityList{b: b, path: inBrackets(s.key(key), e.name)}
		issuer := l.pattern(e.name, e.pos, "issuer", issuerProbes)
		for _, subject := range e.list {
			c.Identities = append(c.Identities, Identity{issuer, l.pattern(subject.text, subject.pos, "subject", subjectProbes)})
		}
	}
	if len(c.Identities) == 0 && !b.partial {
		b.warnAt(s, key, "empty: nobody's signature is accepted").BuiltInIgnores = s.certain
	}
	c.Identities = sortedIdentities(c.Identities)
}

func sortedIdentities(all []Identity) []Identity {
	slices.SortFunc(all, func(x, y Identity) int {
		return cmp.Or(strings.Compare(x.Issuer.Text, y.Issuer.Text), strings.Compare(x.Subject.Text, y.Subject.Text))
	})
	return slices.Compact(all)
}

// identityList is an issuer's part of such a list.
type identityList struct {
	b    *builder
	path string
}

// pattern is a string of allowed_identities, which is what people expect only as long
// as it does not look like a pattern.
func (l identityList) pattern(text string, pos Pos, of string, probes []string) Pattern {
	if text == "" {
		l.b.problems.add(l.path, pos, "%s: an empty string is nobody's identity", l.path)
	}
	if !looksLikePattern(text) {
		return Pattern{Text: text}
	}
	p, anything, err := regularExpression(text, probes)
	switch {
	case err != nil:
		l.b.problems.add(l.path, pos, "%s: %q is not a pattern that can be read: %v", l.path, text, err)
	case anything:
		l.b.warnings.add(l.path, pos, "%s: the pattern %q matches anything: any %s is accepted", l.path, text, of)
	default:
		l.b.warnings.add(l.path, pos, "%s: %q is taken for a pattern, which must match from beginning to end; in an authority of an image_policy, %s_regexp says so and %s is exact", l.path, text, of, of)
	}
	return p
}

// imageIDs is a list of images by what the kubelet calls them.
func (b *builder) imageIDs(s *section, key string) []image.ID {
	var ids []image.ID
	for _, i := range s.list(key) {
		id, err := image.ParseID(i.text)
		if err != nil {
			b.problems.add(s.key(key), i.pos, "%s: %v", s.key(key), err)
			// It is compared with image IDs, and equals none.
			b.problems[len(b.problems)-1].BuiltInIgnores = s.certain
			continue
		}
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(x, y image.ID) int { return strings.Compare(x.String(), y.String()) })
	return slices.Compact(ids)
}

// olderSigstore reads the block of SPIRE 1.10 and before. There an issuer and its
// subjects are meant exactly, and without a list nobody is accepted.
func (b *builder) olderSigstore(s *section) {
	if s == nil {
		return
	}
	if b.config.Images.Sigstore != nil {
		b.problem("sigstore", "sigstore cannot be used with %s", s.path)
	}
	c := &Sigstore{
		Path:    s.path,
		Older:   true,
		Skipped: b.imageIDs(s, "skip_signature_verification_image_list"),
		// That version looked for no attestations.
		IgnoreAttestations: true,
	}
	b.config.Images.Sigstore = c
	const key = "allowed_subjects_list"
	for _, e := range s.entries(key) {
		for _, subject := range e.list {
			if path := inBrackets(s.key(key), e.name); e.name == "" || subject.text == "" {
				b.problems.add(path, subject.pos, "%s: an empty string is nobody's identity", path)
			}
			c.Identities = append(c.Identities, Identity{Pattern{Text: e.name}, Pattern{Text: subject.text}})
		}
	}
	c.Identities = sortedIdentities(c.Identities)
	if len(c.Identities) == 0 && !b.partial {
		b.warnAt(s, key, "empty: nobody's signature is accepted")
	}
	if c.IgnoreSCT = s.given("enforce_sct") && !s.flag("enforce_sct"); c.IgnoreSCT {
		b.warnAt(s, "enforce_sct", "%s", weakSCT)
	}
	c.RekorURL = b.olderRekor(s)
	b.warnings.add(s.path, s.pos, "%s: the block of SPIRE 1.10, with that version's selectors: images on the skip list get sigstore-validation:passed although nothing was verified", s.path)
}

// olderRekor is the log that is asked, with that version's messages.
func (b *builder) olderRekor(s *section) string {
	const key = "rekor_url"
	path, pos := s.place(key)
	text := s.text(key)
	u, err := url.Parse(text)
	switch {
	case !s.given(key):
		b.problems.add(path, pos, "missing Rekor URL")
	case text == "":
		b.problems.add(path, pos, "failed to set Rekor URL: rekor URL is empty")
	case b.hasUser(s, key, u, err):
	case err != nil:
		b.problems.add(path, pos, "failed to set Rekor URL: failed parsing rekor URI: %v", err)
	case u.Host == "":
		b.problems.add(path, pos, "failed to set Rekor URL: host is required on rekor URL")
	case u.Scheme != "https":
		b.problems.add(path, pos, "failed to set Rekor URL: invalid rekor URL Scheme %q", u.Scheme)
	case !isServer(u):
		b.refuse(s, key, notAServer, text)
	}
	return text
}
