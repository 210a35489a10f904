package config

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// How often a TUF repository is asked: not all the time, for all nodes do, and so often
// that an authority or a log that its owner withdraws is soon trusted by nobody.
const (
	defaultRefresh, minRefresh, maxRefresh = 24 * time.Hour, time.Minute, 7 * 24 * time.Hour
)

// publicMirror is Sigstore's own repository, whose root is known.
const publicMirror = "https://tuf-repo-cdn.sigstore.dev"

func (b *builder) trustRoots() {
	for _, s := range b.s.all("trust_root") {
		b.named(s)
		root := TrustRoot{Name: s.name, TUF: b.tuf(s.block("tuf"), s.name)}
		switch file := b.file(s, "trusted_root_path"); {
		case file != "" && root.TUF != nil:
			b.refuse(s, "tuf", "cannot be used with trusted_root_path")
		case file != "":
			root.Key, root.TrustedRootPath = s.key("trusted_root_path"), file
		case root.TUF == nil:
			b.refuse(s, "trusted_root_path", "must be specified, or tuf")
		}
		b.config.Images.TrustRoots = append(b.config.Images.TrustRoots, root)
	}
}

// tuf reads the block of the trust root of that name.
func (b *builder) tuf(s *section, name string) *TUF {
	if s == nil {
		return nil
	}
	t := &TUF{
		Key:      s.path,
		Mirror:   b.server(s, "mirror", "what is fetched is signed, and checked, but whoever is on the way can keep a change from arriving"),
		RootPath: b.file(s, "root_path"),
		CacheDir: b.file(s, "cache_dir"),
		Refresh:  b.within(s, "refresh", defaultRefresh, minRefresh, maxRefresh),
	}
	if t.CacheDir == "" {
		t.CacheDir = b.config.Images.Cache.TUFDir(name)
	}
	if s.text("mirror") == "" {
		b.refuse(s, "mirror", "must be specified")
	}
	if t.RootPath == "" && t.Mirror != "" && strings.TrimRight(t.Mirror, "/") != publicMirror {
		b.refuse(s, "root_path", "must be specified: trust in a mirror begins with it")
	}
	return t
}

// server is a key's URL of a server, or "" where it is not given or refused. overHTTP
// is what is warned of where it is plain HTTP.
func (b *builder) server(s *section, key, overHTTP string) string {
	text := s.text(key)
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	if b.hasUser(s, key, u, err) {
		return ""
	}
	if err != nil || !isServer(u) {
		b.refuse(s, key, notAServer, text)
		return ""
	}
	if u.Scheme == "http" {
		b.warnAt(s, key, "plain HTTP: %s", overHTTP)
	}
	return text
}

const notAServer = "%q is not the URL of a server"

// isServer is whether it is an https or http URL with a host and nothing that only a
// page has.
func isServer(u *url.URL) bool {
	return (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.RawQuery == "" && !u.ForceQuery && u.Fragment == ""
}

// hasUser refuses a URL, as it was parsed, that has a user or a password in it, without
// showing it.
func (b *builder) hasUser(s *section, key string, u *url.URL, err error) bool {
	if err == nil && u.User == nil || err != nil && !strings.Contains(s.text(key), "@") {
		return false
	}
	b.refuse(s, key, "no user and no password may be in it: they would not be used")
	b.problems[len(b.problems)-1].BuiltInIgnores = s.certain && err == nil
	return true
}

// trustRoot is the name that a section's trust_root has, which must be that of one.
func (b *builder) trustRoot(s *section) string {
	name := s.text("trust_root")
	roots := b.config.Images.TrustRoots
	if name != "" && !slices.ContainsFunc(roots, func(r TrustRoot) bool { return r.Name == name }) {
		b.refuse(s, "trust_root", "there is no trust_root %q", name)
	}
	return name
}

// unusedTrustRoots warns of a root that somebody may count on while the public-good one
// is in use.
func (b *builder) unusedTrustRoots() {
	i := &b.config.Images
	used := map[string]bool{}
	if i.Sigstore != nil {
		used[i.Sigstore.TrustRoot] = true
	}
	for _, p := range i.Policies {
		for _, a := range p.Authorities {
			used[a.TrustRoot] = true
		}
	}
	for _, s := range b.s.all("trust_root") {
		if !used[s.name] && i.Wanted() && !b.partial {
			b.warnAt(s, "", "not used: neither sigstore nor an authority names it")
		}
	}
}

// trustEnvironment has the variables that SPIRE's built-in attestor and cosign have.
func (b *builder) trustEnvironment() TrustEnvironment {
	return TrustEnvironment{
		RootFile: b.env("SIGSTORE_ROOT_FILE"),
		RekorKey: b.env("SIGSTORE_REKOR_PUBLIC_KEY"),
		CTLogKey: b.env("SIGSTORE_CT_LOG_PUBLIC_KEY_FILE"),
		TUFRoot:  b.env("TUF_ROOT"),
		Home:     b.env("HOME"),
	}
}

const rekorOverHTTP = "whoever is on the way sees which signatures are looked up, and can hide their log entries"

// rekorURL is the log that sigstore asks, or "".
func (b *builder) rekorURL(s *section, ignoreTlog bool) string {
	const key = "online_rekor"
	rekor := b.server(s, "rekor_url", rekorOverHTTP)
	switch {
	case ignoreTlog, s.given(key) && !s.flag(key):
		return ""
	case s.text("rekor_url") != "":
		return rekor
	case s.text("trust_root") == "":
		return defaultRekorURL
	case s.given(key):
		b.refuse(s, key, "rekor_url is required with it where trust_root is given")
	}
	// The public log's entries are none to a trust root of one's own, and it need not
	// learn what runs here.
	return ""
}

// policyRekorURL is the log that a policy asks, or "".
func (b *builder) policyRekorURL(s *section) string {
	const key = "online_rekor"
	rekor := b.server(s, "rekor_url", rekorOverHTTP)
	switch {
	case !s.given(key):
		if rekor != "" && !b.partial {
			b.warnAt(s, "rekor_url", "not asked: online_rekor is not true")
		}
		return ""
	case !s.flag(key):
		return ""
	case s.text("rekor_url") != "":
		return rekor
	}
	for _, block := range []*section{b.s.block("sigstore"), b.s.block("experimental").block("sigstore")} {
		if rekor := block.text("rekor_url"); rekor != "" {
			return rekor
		}
	}
	b.refuse(s, key, "rekor_url is required with it, here or in sigstore")
	return ""
}
