package config_test

import (
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/config"
)

func cacheOf(text string) string { return "cache {\n" + text + "\n}\n" }

// cacheProblemCases has every message about the cache. The bounds of ttl and stale_ttl
// are ADVERSARIAL.md's row 42.
var cacheProblemCases = []problemCase{
	{"a time with a control character", cacheOf(`negative_ttl = "\t"`), []string{
		`unable to decode configuration: cache.negative_ttl: "\t" has control characters`,
	}},
	{"a cache whose times can't be read", cacheOf("ttl = \"long\"\nstale_ttl = \"1w\"\nnegative_ttl = \"30\""), []string{
		`cache.ttl: time: invalid duration "long"`,
		`cache.stale_ttl: time: unknown unit "w" in duration "1w"`,
		`cache.negative_ttl: time: missing unit in duration "30"`,
	}},
	{"a cache whose times are too short", cacheOf("ttl = \"59s\"\nstale_ttl = \"59m\"\nnegative_ttl = \"999ms\"\nmax_entries = 15"), []string{
		"cache.ttl: 59s is not 1m to 24h",
		"cache.stale_ttl: 59m is not 1h to 168h",
		"cache.negative_ttl: 999ms is not 1s to 1h",
		"cache.max_entries: 15 is not 16 to 65536",
	}},
	{"a cache whose times are too long", cacheOf("ttl = \"24h1s\"\nstale_ttl = \"168h1s\"\nnegative_ttl = \"61m\"\nmax_entries = 65537"), []string{
		"cache.ttl: 24h1s is not 1m to 24h",
		"cache.stale_ttl: 168h1s is not 1h to 168h",
		"cache.negative_ttl: 61m is not 1s to 1h",
		"cache.max_entries: 65537 is not 16 to 65536",
	}},
	{"a cache whose times are none at all", cacheOf("ttl = 0\nstale_ttl = \"0s\"\nnegative_ttl = \"-1s\"\nmax_entries = 0"), []string{
		"cache.ttl: 0 is not 1m to 24h",
		"cache.stale_ttl: 0s is not 1h to 168h",
		"cache.negative_ttl: -1s is not 1s to 1h",
		"cache.max_entries: 0 is not 16 to 65536",
	}},
	{"a cache whose times contradict each other", cacheOf("ttl = \"90m\"\nstale_ttl = \"1h\"\nnegative_ttl = \"91m\""), []string{
		"cache.stale_ttl: 1h is not 1h30m to 168h",
		"cache.negative_ttl: 91m is not 1s to 1h30m",
	}},
	{"a cache in a relative directory", cacheOf(`dir = "cache"`),
		[]string{`cache.dir: "cache" is not an absolute, clean path`}},
	{"a cache that leaves its directory", cacheOf(`dir = "/var/lib/podseal/../../.."`),
		[]string{`cache.dir: "/var/lib/podseal/../../.." is not an absolute, clean path`}},
	{"a cache of the wrong types", cacheOf("ttl = true\nmax_entries = \"many\"\ndir = []"), []string{
		"unable to decode configuration: cache.ttl: a duration, such as \"500ms\", is needed, found true",
		"unable to decode configuration: cache.max_entries: a whole number is needed, found \"many\"",
		"unable to decode configuration: cache.dir: a string is needed, found a list",
	}},
	{"an unknown key of the cache", cacheOf(`stale_tll = "1h"`),
		[]string{"unknown configurations detected: cache.stale_tll"}},
	{"a scalar for the cache", `cache = "/var/cache"`,
		[]string{`unable to decode configuration: cache: a block is needed, found "/var/cache"`}},
}

func TestCache(t *testing.T) {
	t.Parallel()
	want := defaults()
	want.Images.CRISocket, want.Images.StatusSource = "/run/cri.sock", config.StatusFromCRI
	want.Images.Sigstore = &config.Sigstore{Path: "sigstore", RekorURL: publicRekor}
	want.Images.AnyRegistry = true
	const nobody = "sigstore.allowed_identities: empty: nobody's signature is accepted"
	want.Warnings = []string{nobody}
	cache := func(c config.Cache, warnings ...string) func(*parsed) {
		return func(p *parsed) {
			p.Images.Cache = c
			p.Warnings = append([]string{nobody}, warnings...)
		}
	}
	const noStale = `cache.stale_ttl: not used: no image_policy has on_unavailable = "stale"`
	checkImages(t, withRuntime+"sigstore {\nallowed_identities = {}\n}\n", want, []imageCase{
		{"empty", "cache {}", func(*parsed) {}},
		{"what it is by default", cacheOf("ttl = \"1h\"\nnegative_ttl = \"30s\"\nmax_entries = 2048\ndir = \"\""), func(*parsed) {}},
		{"the least", cacheOf("ttl = \"1m\"\nstale_ttl = \"1m\"\nnegative_ttl = \"1s\"\nmax_entries = 16\ndir = \"/c\""),
			cache(config.Cache{TTL: time.Minute, StaleTTL: time.Minute, NegativeTTL: time.Second, MaxEntries: 16, Dir: "/c"}, noStale)},
		{"the most", cacheOf("ttl = \"24h\"\nstale_ttl = \"168h\"\nnegative_ttl = \"24h\"\nmax_entries = \"65536\"\ndir = \"/var/lib/podseal\""),
			cache(config.Cache{TTL: 24 * time.Hour, StaleTTL: 168 * time.Hour, NegativeTTL: 24 * time.Hour, MaxEntries: 65536, Dir: "/var/lib/podseal"}, noStale)},
		{"in two parts", cacheOf(`ttl = "2h"`) + cacheOf(`dir = "/c"`),
			cache(config.Cache{TTL: 2 * time.Hour, StaleTTL: 24 * time.Hour, NegativeTTL: 30 * time.Second, MaxEntries: 2048, Dir: "/c"})},
	})
}

func TestTheDirectoriesOfTrustRoots(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ dir, name, want string }{
		{"", "public", ""},
		{"", "", ""},
		{"/c", "public", "/c/tuf/public"},
		{"/c", "", "/c/tuf"},
	} {
		if got := (config.Cache{Dir: c.dir}).TUFDir(c.name); got != c.want {
			t.Errorf("TUFDir(%q) in %q is %q, want %q", c.name, c.dir, got, c.want)
		}
	}
}

// What mode and on_unavailable come to, and what is said where they do not come to what
// somebody may think. ADVERSARIAL.md row 38: who can keep a registry away.
func TestModes(t *testing.T) {
	t.Parallel()
	want := defaults()
	want.Images.CRISocket, want.Images.StatusSource = "/run/cri.sock", config.StatusFromCRI
	want.Images.Registries = []config.Registry{{Host: "registry.example.org", Path: "registry[registry.example.org]", CAPath: "/ca.pem"}}
	const (
		release   = "image_policy[release]."
		others    = ": a workload whose image does not pass gets its other selectors all the same, such as ns and sa: only registration entries with a selector of this policy keep it out"
		onlyBlock = ": only for registries with a registry block: where another one does not answer, mode says what follows"
		anybody   = "registries: any: whoever creates a pod decides which registries are asked"
		authority = "authority \"ci\" {\nstatic = \"deny\"\n}\n"
	)
	const away = release + "on_unavailable: withhold: while a registry does not answer, a workload gets its other selectors whatever it runs, such as ns and sa: only registration entries with a selector of this policy keep it out"
	policy := func(mode, onUnavailable string, warnings ...string) func(*parsed) {
		return func(c *parsed) {
			c.Images.Policies = []config.ImagePolicy{{
				Name: "release", Mode: mode, OnUnavailable: onUnavailable,
				Authorities: []config.Authority{{Name: "ci", Path: ci, Static: config.StaticDeny}},
			}}
			c.Warnings = warnings
		}
	}
	anyRegistry := func(then func(*parsed)) func(*parsed) {
		return func(c *parsed) {
			then(c)
			c.Images.AnyRegistry = true
		}
	}
	of := func(text string) string { return policyOf(text + "\n" + authority) }
	checkImages(t, withRuntime+withRegistry, want, []imageCase{
		{"by default", of(""), policy("fail", "fail")},
		{"empty", of("mode = \"\"\non_unavailable = \"\""), policy("fail", "fail")},
		{"in words", of("mode = \"fail\"\non_unavailable = \"fail\""), policy("fail", "fail")},
		{"withhold while it is not known", of(`on_unavailable = "withhold"`), policy("fail", "withhold", away)},
		{"stale evidence", of(`on_unavailable = "stale"`), policy("fail", "stale")},
		{"stale evidence for a while", of(`on_unavailable = "stale"`) + cacheOf(`stale_ttl = "2h"`), func(c *parsed) {
			policy("fail", "stale")(c)
			c.Images.Cache.StaleTTL = 2 * time.Hour
		}},
		{"withhold", of(`mode = "withhold"`), policy("withhold", "fail", release+"mode: withhold"+others)},
		{"audit", of(`mode = "audit"`), policy("audit", "fail", release+"mode: audit"+others)},
		{"withhold, and the same again", of("mode = \"withhold\"\non_unavailable = \"withhold\""), policy("withhold", "withhold",
			release+"mode: withhold"+others, release+`on_unavailable: withhold: without effect: mode = "withhold" says what follows`)},
		{"audit that is thought to be strict", of("mode = \"audit\"\non_unavailable = \"fail\""), policy("audit", "fail",
			release+"mode: audit"+others, release+`on_unavailable: fail: without effect: mode = "audit" says what follows`)},
		{"audit of stale evidence", of("mode = \"audit\"\non_unavailable = \"stale\""), policy("audit", "stale", release+"mode: audit"+others)},

		{"withhold, with any registry", of(`on_unavailable = "withhold"`) + "registries = \"any\"\n",
			anyRegistry(policy("fail", "withhold", away, anybody, release+"on_unavailable: withhold"+onlyBlock))},
		{"stale, with any registry", of(`on_unavailable = "stale"`) + "registries = \"any\"\n",
			anyRegistry(policy("fail", "stale", anybody, release+"on_unavailable: stale"+onlyBlock))},
		{"fail, with any registry", of(`on_unavailable = "fail"`) + "registries = \"any\"\n",
			anyRegistry(policy("fail", "fail", anybody))},
	})
}
