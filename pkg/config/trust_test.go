package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/config"
)

func tufOf(text string) string { return "trust_root \"a\" {\ntuf {\n" + text + "\n}\n}\n" }

// trustProblemCases has every message about trust roots and Rekor. What is about
// mirrors is ADVERSARIAL.md's row 26.
var trustProblemCases = []problemCase{
	{"a trust root that is a file and a repository", "trust_root \"a\" {\ntrusted_root_path = \"/a\"\ntuf {\nmirror = \"https://tuf.example.org\"\nroot_path = \"/root.json\"\n}\n}",
		[]string{"trust_root[a].tuf: cannot be used with trusted_root_path"}},
	{"a repository without anything", tufOf(""),
		[]string{"trust_root[a].tuf.mirror: must be specified"}},
	{"a repository without a root", tufOf(`mirror = "https://tuf.example.org"`),
		[]string{"trust_root[a].tuf.root_path: must be specified: trust in a mirror begins with it"}},
	{"a repository that is nearly Sigstore's own", tufOf(`mirror = "http://tuf-repo-cdn.sigstore.dev"`),
		[]string{"trust_root[a].tuf.root_path: must be specified: trust in a mirror begins with it"}},
	{"a mirror of trust that is none", tufOf("mirror = \"tuf.example.org\"\nroot_path = \"/root.json\""),
		[]string{`trust_root[a].tuf.mirror: "tuf.example.org" is not the URL of a server`}},
	{"a mirror of trust that is a file", tufOf("mirror = \"file:///srv/tuf\"\nroot_path = \"/root.json\""),
		[]string{`trust_root[a].tuf.mirror: "file:///srv/tuf" is not the URL of a server`}},
	{"a mirror of trust with a query", tufOf("mirror = \"https://tuf.example.org?\"\nroot_path = \"/root.json\""),
		[]string{`trust_root[a].tuf.mirror: "https://tuf.example.org?" is not the URL of a server`}},
	{"a mirror of trust with a password", tufOf("mirror = \"https://u:hunter2@tuf.example.org\"\nroot_path = \"/root.json\""),
		[]string{"trust_root[a].tuf.mirror: no user and no password may be in it: they would not be used"}},
	{"a mirror of trust with a password that is no URL", tufOf("mirror = \"https://u:hunter2@tuf.example.org:x\"\nroot_path = \"/root.json\""),
		[]string{"trust_root[a].tuf.mirror: no user and no password may be in it: they would not be used"}},
	{"relative files of a repository", tufOf("mirror = \"https://tuf.example.org\"\nroot_path = \"root.json\"\ncache_dir = \"/run/podseal/\""), []string{
		`trust_root[a].tuf.root_path: "root.json" is not an absolute, clean path`,
		`trust_root[a].tuf.cache_dir: "/run/podseal/" is not an absolute, clean path`,
	}},
	{"a repository that is asked all the time", tufOf("mirror = \"https://tuf.example.org\"\nroot_path = \"/root.json\"\nrefresh = \"59s\""),
		[]string{"trust_root[a].tuf.refresh: 59s is not 1m to 168h"}},
	{"a repository that is never asked again", tufOf("mirror = \"https://tuf.example.org\"\nroot_path = \"/root.json\"\nrefresh = \"8760h\""),
		[]string{"trust_root[a].tuf.refresh: 8760h is not 1m to 168h"}},
	{"a repository that is asked soon", tufOf("mirror = \"https://tuf.example.org\"\nroot_path = \"/root.json\"\nrefresh = \"soon\""),
		[]string{`trust_root[a].tuf.refresh: time: invalid duration "soon"`}},
	{"an unknown key of a repository", tufOf("mirror = \"https://tuf-repo-cdn.sigstore.dev\"\nroot = \"/root.json\""),
		[]string{"unknown configurations detected: trust_root[a].tuf.root"}},
	{"a repository without a name", "trust_root {\ntuf {\nmirror = \"https://tuf.example.org\"\n}\n}",
		[]string{`trust_root: a name is needed: trust_root "NAME" { ... }`}},

	{"a Rekor with a password", "sigstore {\nrekor_url = \"https://u:hunter2@rekor.example.org\"\n}",
		[]string{"sigstore.rekor_url: no user and no password may be in it: they would not be used"}},
	{"a Rekor that is asked, which is none", "sigstore {\nonline_rekor = true\ntrust_root = \"a\"\n}\ntrust_root \"a\" {\ntrusted_root_path = \"/a\"\n}",
		[]string{"sigstore.online_rekor: rekor_url is required with it where trust_root is given"}},
	{"the older block with a password for Rekor", "experimental {\nsigstore {\nrekor_url = \"https://u:hunter2@rekor.example.org\"\n}\n}",
		[]string{"experimental.sigstore.rekor_url: no user and no password may be in it: they would not be used"}},
	{"the older block with a page of Rekor", "experimental {\nsigstore {\nrekor_url = \"https://rekor.example.org/#log\"\n}\n}",
		[]string{`experimental.sigstore.rekor_url: "https://rekor.example.org/#log" is not the URL of a server`}},
	{"the older block with a password in what is no URL", "experimental {\nsigstore {\nrekor_url = \"https://u:hunter2@rekor.example.org:x\"\n}\n}",
		[]string{"experimental.sigstore.rekor_url: no user and no password may be in it: they would not be used"}},
	{"the older block does not choose whether Rekor is asked", "experimental {\nsigstore {\nrekor_url = \"https://r.example.org\"\nonline_rekor = false\n}\n}",
		[]string{"unknown configurations detected: experimental.sigstore.online_rekor"}},
	{"a policy with a Rekor that is none", policyOf("online_rekor = true\nrekor_url = \"ftp://rekor.example.org\"\nauthority \"ci\" {\nstatic = \"deny\"\n}"),
		[]string{`image_policy[release].rekor_url: "ftp://rekor.example.org" is not the URL of a server`}},
	{"a policy with a password for Rekor", policyOf("rekor_url = \"https://u:hunter2@rekor.example.org\"\nauthority \"ci\" {\nstatic = \"deny\"\n}"),
		[]string{"image_policy[release].rekor_url: no user and no password may be in it: they would not be used"}},
	{"a policy that asks no Rekor", policyOf("online_rekor = true\nauthority \"ci\" {\nstatic = \"deny\"\n}"),
		[]string{"image_policy[release].online_rekor: rekor_url is required with it, here or in sigstore"}},
	{"a policy that asks a Rekor that sigstore does not name", "sigstore {}\n" + policyOf("online_rekor = true\nauthority \"ci\" {\nstatic = \"deny\"\n}"),
		[]string{"image_policy[release].online_rekor: rekor_url is required with it, here or in sigstore"}},
}

func TestTrustRootsFromRepositories(t *testing.T) {
	t.Parallel()
	want := defaults()
	want.Images.CRISocket, want.Images.StatusSource = "/run/cri.sock", config.StatusFromCRI
	want.Images.AnyRegistry = true
	want.Images.Sigstore = &config.Sigstore{Path: "sigstore", TrustRoot: "a"}
	const nobody = "sigstore.allowed_identities: empty: nobody's signature is accepted"
	want.Warnings = []string{nobody}
	root := func(tuf config.TUF, warnings ...string) func(*parsed) {
		return func(c *parsed) {
			tuf.Key = "trust_root[a].tuf"
			c.Images.TrustRoots = []config.TrustRoot{{Name: "a", TUF: &tuf}}
			c.Warnings = append(warnings, nobody)
		}
	}
	const overHTTP = "trust_root[a].tuf.mirror: plain HTTP: what is fetched is signed, and checked, but whoever is on the way can keep a change from arriving"
	checkImages(t, withRuntime+"sigstore {\nallowed_identities = {}\ntrust_root = \"a\"\n}\n", want, []imageCase{
		{"what is needed", tufOf("mirror = \"https://tuf.example.org/repo\"\nroot_path = \"/etc/podseal/root.json\""),
			root(config.TUF{Mirror: "https://tuf.example.org/repo", RootPath: "/etc/podseal/root.json", Refresh: 24 * time.Hour})},
		{"everything", tufOf("mirror = \"https://tuf.example.org:8443\"\nroot_path = \"/etc/podseal/root.json\"\ncache_dir = \"/run/podseal/tuf\"\nrefresh = \"1m\"") + cacheOf(`dir = "/c"`), func(c *parsed) {
			root(config.TUF{Mirror: "https://tuf.example.org:8443", RootPath: "/etc/podseal/root.json", CacheDir: "/run/podseal/tuf", Refresh: time.Minute})(c)
			c.Images.Cache.Dir = "/c"
		}},
		{"in the cache's directory", tufOf("mirror = \"https://tuf.example.org\"\nroot_path = \"/etc/podseal/root.json\"\nrefresh = \"168h\"") + cacheOf(`dir = "/var/lib/podseal"`), func(c *parsed) {
			root(config.TUF{Mirror: "https://tuf.example.org", RootPath: "/etc/podseal/root.json", CacheDir: "/var/lib/podseal/tuf/a", Refresh: 168 * time.Hour})(c)
			c.Images.Cache.Dir = "/var/lib/podseal"
		}},
		{"Sigstore's own", tufOf(`mirror = "https://tuf-repo-cdn.sigstore.dev"`), root(config.TUF{Mirror: "https://tuf-repo-cdn.sigstore.dev", Refresh: 24 * time.Hour})},
		{"Sigstore's own, with a slash", tufOf(`mirror = "https://tuf-repo-cdn.sigstore.dev/"`), root(config.TUF{Mirror: "https://tuf-repo-cdn.sigstore.dev/", Refresh: 24 * time.Hour})},
		{"Sigstore's own, from a root of one's own", tufOf("mirror = \"https://tuf-repo-cdn.sigstore.dev\"\nroot_path = \"/root.json\""),
			root(config.TUF{Mirror: "https://tuf-repo-cdn.sigstore.dev", RootPath: "/root.json", Refresh: 24 * time.Hour})},
		{"over HTTP", tufOf("mirror = \"http://tuf.example.org\"\nroot_path = \"/root.json\""),
			root(config.TUF{Mirror: "http://tuf.example.org", RootPath: "/root.json", Refresh: 24 * time.Hour}, overHTTP)},
	})
}

// The variables are those of pkg/trustroot.
func TestTheTrustRootOfTheEnvironment(t *testing.T) {
	t.Parallel()
	got := mustParse(t, "", map[string]string{
		"SIGSTORE_ROOT_FILE": "/root.pem", "SIGSTORE_REKOR_PUBLIC_KEY": "/rekor.pub", "SIGSTORE_CT_LOG_PUBLIC_KEY_FILE": "/ctlog.pub", "TUF_ROOT": "/tuf", "HOME": "/root",
	}).Images.TrustEnvironment
	want := config.TrustEnvironment{RootFile: "/root.pem", RekorKey: "/rekor.pub", CTLogKey: "/ctlog.pub", TUFRoot: "/tuf", Home: "/root"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Which log the sigstore block asks.
func TestRekorOfSigstore(t *testing.T) {
	t.Parallel()
	want := defaults()
	want.Images.CRISocket, want.Images.StatusSource = "/run/cri.sock", config.StatusFromCRI
	want.Images.AnyRegistry = true
	const nobody = "sigstore.allowed_identities: empty: nobody's signature is accepted"
	block := func(s config.Sigstore, warnings ...string) func(*parsed) {
		return func(c *parsed) {
			s.Path = "sigstore"
			c.Images.Sigstore = &s
			c.Warnings = append([]string{nobody}, warnings...)
			if s.TrustRoot != "" {
				c.Images.TrustRoots = []config.TrustRoot{{Name: "a", Key: "trust_root[a].trusted_root_path", TrustedRootPath: "/a"}}
			}
		}
	}
	const (
		withRoot = "trust_root \"a\" {\ntrusted_root_path = \"/a\"\n}\n"
		weak     = "sigstore.ignore_tlog: signatures need no entry in a transparency log, so that one made in secret, or with a stolen key and a false time, counts too"
		overHTTP = "sigstore.rekor_url: plain HTTP: whoever is on the way sees which signatures are looked up, and can hide their log entries"
	)
	of := func(text string) string { return "sigstore {\nallowed_identities = {}\n" + text + "\n}\n" }
	checkImages(t, withRuntime, want, []imageCase{
		{"as SPIRE does", of(""), block(config.Sigstore{RekorURL: publicRekor})},
		{"in words", of(`online_rekor = true`), block(config.Sigstore{RekorURL: publicRekor})},
		{"another", of(`rekor_url = "https://rekor.example.org"`), block(config.Sigstore{RekorURL: "https://rekor.example.org"})},
		{"another, in words", of("online_rekor = true\nrekor_url = \"https://rekor.example.org/log\""), block(config.Sigstore{RekorURL: "https://rekor.example.org/log"})},
		{"over HTTP", of(`rekor_url = "http://127.0.0.1:3000"`), block(config.Sigstore{RekorURL: "http://127.0.0.1:3000"}, overHTTP)},
		{"none", of(`online_rekor = false`), block(config.Sigstore{})},
		{"another that is not asked", of("online_rekor = false\nrekor_url = \"https://rekor.example.org\""), block(config.Sigstore{})},
		{"without a log none is asked", of("ignore_tlog = true\nrekor_url = \"https://rekor.example.org\""), block(config.Sigstore{IgnoreTlog: true}, weak)},
		{"without a log none is asked, whatever is said", of("ignore_tlog = true\nonline_rekor = true"), block(config.Sigstore{IgnoreTlog: true}, weak)},
		// The public log knows nothing that another trust root accepts.
		{"none with another trust root", of(`trust_root = "a"`) + withRoot, block(config.Sigstore{TrustRoot: "a"})},
		{"the one of another trust root", of("trust_root = \"a\"\nrekor_url = \"https://rekor.example.org\"") + withRoot,
			block(config.Sigstore{TrustRoot: "a", RekorURL: "https://rekor.example.org"})},
		{"not the one of another trust root", of("trust_root = \"a\"\nonline_rekor = false") + withRoot, block(config.Sigstore{TrustRoot: "a"})},
	})
}

// Which log a policy asks: none, unless it says so.
func TestRekorOfPolicies(t *testing.T) {
	t.Parallel()
	want := defaults()
	want.Images.CRISocket, want.Images.StatusSource = "/run/cri.sock", config.StatusFromCRI
	want.Images.Registries = []config.Registry{{Host: "registry.example.org", Path: "registry[registry.example.org]", CAPath: "/ca.pem"}}
	policy := func(rekor string, warnings ...string) func(*parsed) {
		return func(c *parsed) {
			c.Images.Policies = []config.ImagePolicy{{
				Name: "release", Mode: "fail", OnUnavailable: "fail", RekorURL: rekor,
				Authorities: []config.Authority{{Name: "ci", Path: ci, Static: config.StaticDeny}},
			}}
			c.Warnings = warnings
		}
	}
	const nobody = "sigstore.allowed_identities: empty: nobody's signature is accepted"
	beside := func(s config.Sigstore, then func(*parsed)) func(*parsed) {
		return func(c *parsed) {
			then(c)
			s.Path = "sigstore"
			c.Images.Sigstore = &s
			c.Warnings = append(c.Warnings, nobody)
		}
	}
	of := func(text string) string {
		return policyOf(text + "\nauthority \"ci\" {\nstatic = \"deny\"\n}")
	}
	sigstore := func(text string) string { return "sigstore {\nallowed_identities = {}\n" + text + "\n}\n" }
	const overHTTP = "image_policy[release].rekor_url: plain HTTP: whoever is on the way sees which signatures are looked up, and can hide their log entries"
	checkImages(t, withRuntime+withRegistry, want, []imageCase{
		{"none", of(""), policy("")},
		{"none, in words", of("online_rekor = false\nrekor_url = \"https://rekor.example.org\""), policy("")},
		{"one that is not asked", of(`rekor_url = "https://rekor.example.org"`), policy("", "image_policy[release].rekor_url: not asked: online_rekor is not true")},
		{"its own", of("online_rekor = true\nrekor_url = \"https://rekor.example.org\""), policy("https://rekor.example.org")},
		{"over HTTP", of("online_rekor = true\nrekor_url = \"http://127.0.0.1:3000\""), policy("http://127.0.0.1:3000", overHTTP)},
		{"that of sigstore", sigstore(`rekor_url = "https://rekor.example.org"`) + of("online_rekor = true"),
			beside(config.Sigstore{RekorURL: "https://rekor.example.org"}, policy("https://rekor.example.org"))},
		{"that of sigstore, which does not ask it", sigstore("online_rekor = false\nrekor_url = \"https://rekor.example.org\"") + of("online_rekor = true"),
			beside(config.Sigstore{}, policy("https://rekor.example.org"))},
		{"its own beside that of sigstore", sigstore(`rekor_url = "https://a.example.org"`) + of("online_rekor = true\nrekor_url = \"https://b.example.org\""),
			beside(config.Sigstore{RekorURL: "https://a.example.org"}, policy("https://b.example.org"))},
		{"none beside sigstore", sigstore("") + of(""), beside(config.Sigstore{RekorURL: publicRekor}, policy(""))},
		{"that of the older block", "experimental {\nsigstore {\nrekor_url = \"https://rekor.example.org\"\n}\n}\n" + of("online_rekor = true"), func(c *parsed) {
			policy("https://rekor.example.org", "experimental.sigstore.allowed_subjects_list: empty: nobody's signature is accepted", olderWarning)(c)
			c.Images.Sigstore = &config.Sigstore{Path: "experimental.sigstore", Older: true, IgnoreAttestations: true, RekorURL: "https://rekor.example.org"}
		}},
	})
}
