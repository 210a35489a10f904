package config_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/image"
)

const (
	hexA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hexB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

	anyIdentityWarning = "sigstore.allowed_identities: not given: everybody with a certificate of the trust root may have signed"
	copyWarning        = "image_status_source: kubelet: what runs is believed from a status that everybody with rights on pods/status can write: an unsigned image can pass for a signed one; set cri_socket, or pod_source = \"pods_api\""
	explicitWarning    = "image_status_source: kubelet: what runs is believed from a status that everybody with rights on pods/status can write: an unsigned image can pass for a signed one"
	publicRekor        = "https://rekor.sigstore.dev"
	olderWarning       = "experimental.sigstore: the block of SPIRE 1.10, with that version's selectors: images on the skip list get sigstore-validation:passed although nothing was verified"
	noRegistryWarning  = `registries: "configured", and there is no registry block: no registry may be asked, so that no signature is found`
)

func exactly(text string) config.Pattern { return config.Pattern{Text: text} }
func regexped(text string) config.Pattern {
	return config.Pattern{Text: text, Regexp: true}
}

func imageID(t *testing.T, s string) image.ID {
	t.Helper()
	id, err := image.ParseID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// imageCase is a text about images, given with a source of statuses that is no
// weakness, and with a registry.
type imageCase struct {
	name string
	text string
	want func(*parsed)
}

const (
	withRuntime  = "cri_socket = \"/run/cri.sock\"\n"
	withRegistry = "registry \"registry.example.org\" {\nca_path = \"/ca.pem\"\n}\n"
)

func checkImages(t *testing.T, given string, want parsed, cases []imageCase) {
	t.Helper()
	for _, c := range cases {
		want := want
		want.Images.TrustRoots = nil
		c.want(&want)
		for spelling, text := range spellings(t, given+c.text) {
			t.Run(c.name+", "+spelling, func(t *testing.T) {
				t.Parallel()
				if diff := cmp.Diff(want, mustParse(t, text, nil), sameValues); diff != "" {
					t.Errorf("-want +got:\n%s\nof:\n%s", diff, text)
				}
			})
		}
	}
}

// TestSigstore has the block of SPIRE's built-in attestor.
func TestSigstore(t *testing.T) {
	t.Parallel()
	want := defaults()
	want.Images.CRISocket, want.Images.StatusSource = "/run/cri.sock", config.StatusFromCRI
	want.Images.AnyRegistry = true
	block := func(more func(*config.Sigstore), warnings ...string) func(*parsed) {
		return func(c *parsed) {
			c.Images.Sigstore = &config.Sigstore{Path: "sigstore", RekorURL: publicRekor}
			more(c.Images.Sigstore)
			c.Warnings = warnings
		}
	}
	anybody := func(s *config.Sigstore) { s.AnyIdentity = true }
	checkImages(t, withRuntime, want, []imageCase{
		{"empty", `sigstore {}`, block(anybody, anyIdentityWarning)},
		{"exact identities", `sigstore {
			allowed_identities = {
				"https://accounts.google.com" = ["dev@example.org", "ci@example.org", "dev@example.org"]
				"https://a.example.org"       = "one@example.org"
			}
		}`, block(func(s *config.Sigstore) {
			s.Identities = []config.Identity{
				{Issuer: exactly("https://a.example.org"), Subject: exactly("one@example.org")},
				{Issuer: exactly("https://accounts.google.com"), Subject: exactly("ci@example.org")},
				{Issuer: exactly("https://accounts.google.com"), Subject: exactly("dev@example.org")},
			}
		})},
		{"identities in two blocks", `sigstore {
			allowed_identities { "https://b.example.org" = ["b"] }
			allowed_identities { "https://a.example.org" = ["a"] }
		}`, block(func(s *config.Sigstore) {
			s.Identities = []config.Identity{
				{Issuer: exactly("https://a.example.org"), Subject: exactly("a")},
				{Issuer: exactly("https://b.example.org"), Subject: exactly("b")},
			}
		})},
		{"patterns", `sigstore {
			allowed_identities = {
				"https://.+\\.example\\.org" = ["dev@example.org"]
				"https://example.org"       = ["https://github.com/org/.*", ".*"]
			}
		}`, block(func(s *config.Sigstore) {
			s.Identities = []config.Identity{
				{Issuer: regexped(`https://.+\.example\.org`), Subject: exactly("dev@example.org")},
				{Issuer: exactly("https://example.org"), Subject: regexped(".*")},
				{Issuer: exactly("https://example.org"), Subject: regexped("https://github.com/org/.*")},
			}
		},
			`sigstore.allowed_identities["https://.+\\.example\\.org"]: "https://.+\\.example\\.org" is taken for a pattern, which must match from beginning to end; in an authority of an image_policy, issuer_regexp says so and issuer is exact`,
			`sigstore.allowed_identities[https://example.org]: "https://github.com/org/.*" is taken for a pattern, which must match from beginning to end; in an authority of an image_policy, subject_regexp says so and subject is exact`,
			`sigstore.allowed_identities[https://example.org]: the pattern ".*" matches anything: any subject is accepted`,
		)},
		{"any issuer", `sigstore { allowed_identities = { "https://.*" = ["a"] } }`, block(func(s *config.Sigstore) {
			s.Identities = []config.Identity{{Issuer: regexped("https://.*"), Subject: exactly("a")}}
		}, `sigstore.allowed_identities[https://.*]: the pattern "https://.*" matches anything: any issuer is accepted`)},
		// The built-in attestor takes both for everybody.
		{"nobody", `sigstore { allowed_identities = {} }`, block(func(*config.Sigstore) {}, "sigstore.allowed_identities: empty: nobody's signature is accepted")},
		{"nobody of an issuer", `sigstore { allowed_identities = { "https://a" = [] } }`, block(func(*config.Sigstore) {}, "sigstore.allowed_identities: empty: nobody's signature is accepted")},
		// ADVERSARIAL.md row 32: one image has many names.
		{"skipped images, of which all spellings are one", fmt.Sprintf(`sigstore {
			skipped_images = [
				"registry.example.org/app@sha256:%[1]s", "docker-pullable://Registry.example.org:443/app@sha256:%[1]s", "sha256:%[2]s",
				"index.docker.io/nginx@sha256:%[1]s", "docker.io/library/nginx:1.27@sha256:%[1]s", "nginx@sha256:%[1]s"
			]
		}`, hexA, hexB), block(func(s *config.Sigstore) {
			s.AnyIdentity = true
			s.Skipped = []image.ID{imageID(t, "docker.io/library/nginx@sha256:"+hexA), imageID(t, "registry.example.org/app@sha256:"+hexA), imageID(t, "sha256:"+hexB)}
		}, anyIdentityWarning)},
		{"what weakens", `sigstore {
			ignore_tlog         = true
			ignore_sct          = true
			ignore_attestations = true
		}`, block(func(s *config.Sigstore) {
			s.AnyIdentity, s.IgnoreTlog, s.IgnoreSCT, s.IgnoreAttestations, s.RekorURL = true, true, true, true, ""
		}, anyIdentityWarning,
			"sigstore.ignore_tlog: signatures need no entry in a transparency log, so that one made in secret, or with a stolen key and a false time, counts too",
			"sigstore.ignore_sct: certificates need no proof that they were published, so that one which the authority was tricked into goes unnoticed",
		)},
		{"nothing that weakens", `sigstore {
			ignore_tlog         = false
			ignore_sct          = false
			ignore_attestations = false
			rekor_url           = ""
			skipped_images      = []
			trust_root          = ""
			registry_credentials = {}
		}`, block(anybody, anyIdentityWarning)},
		{"credentials", `sigstore {
			registry_credentials = {
				"registry.example.org" = { username = "u", password = "p" }
				"docker.io"            = { username = "v", password = "q" }
			}
		}`, func(c *parsed) {
			block(anybody, anyIdentityWarning)(c)
			c.Images.Registries = []config.Registry{
				{Host: "docker.io", Path: "sigstore.registry_credentials[docker.io]", Username: "v", Password: "q"},
				{Host: "registry.example.org", Path: "sigstore.registry_credentials[registry.example.org]", Username: "u", Password: "p"},
			}
		}},
		{"half of the credentials", `sigstore {
			registry_credentials "registry.example.org" { username = "u" }
		}`, func(c *parsed) {
			block(anybody, anyIdentityWarning, "sigstore.registry_credentials[registry.example.org]: not used: both username and password must be given")(c)
			c.Images.Registries = []config.Registry{{Host: "registry.example.org", Path: "sigstore.registry_credentials[registry.example.org]"}}
		}},
		{"credentials for a registry that has a block", `
			registry "Registry.example.org:443" { ca_path = "/ca.pem" }
			sigstore {
				registry_credentials "registry.example.org" {
					username = "u"
					password = "p"
				}
			}
		`, func(c *parsed) {
			block(anybody, anyIdentityWarning)(c)
			c.Images.Registries = []config.Registry{{Host: "registry.example.org", Path: "registry[Registry.example.org:443]", CAPath: "/ca.pem", Username: "u", Password: "p"}}
		}},
		{"a trust root", `
			sigstore { trust_root = "airgap" }
			trust_root "airgap" { trusted_root_path = "/etc/podseal/root.json" }
		`, func(c *parsed) {
			block(func(s *config.Sigstore) { s.AnyIdentity, s.TrustRoot, s.RekorURL = true, "airgap", "" }, anyIdentityWarning)(c)
			c.Images.TrustRoots = []config.TrustRoot{{Name: "airgap", Key: "trust_root[airgap].trusted_root_path", TrustedRootPath: "/etc/podseal/root.json"}}
		}},
		{"only configured registries", `
			sigstore {}
			registries = "configured"
		`, func(c *parsed) {
			block(anybody, anyIdentityWarning, noRegistryWarning)(c)
			c.Images.AnyRegistry = false
		}},
	})
}

// TestOlderSigstore has the block of SPIRE 1.10 and before.
func TestOlderSigstore(t *testing.T) {
	t.Parallel()
	want := defaults()
	want.Images.CRISocket, want.Images.StatusSource = "/run/cri.sock", config.StatusFromCRI
	want.Images.AnyRegistry = true
	block := func(more func(*config.Sigstore), warnings ...string) func(*parsed) {
		return func(c *parsed) {
			c.Images.Sigstore = &config.Sigstore{Path: "experimental.sigstore", Older: true, IgnoreAttestations: true, RekorURL: publicRekor}
			more(c.Images.Sigstore)
			c.Warnings = append(warnings, olderWarning)
		}
	}
	const nobody = "experimental.sigstore.allowed_subjects_list: empty: nobody's signature is accepted"
	checkImages(t, withRuntime, want, []imageCase{
		{"nobody", `experimental { sigstore { rekor_url = "https://rekor.sigstore.dev" } }`, block(func(*config.Sigstore) {}, nobody)},
		{"all keys, of which none is a pattern", fmt.Sprintf(`experimental {
			sigstore {
				rekor_url = "https://rekor.sigstore.dev"
				allowed_subjects_list = {
					"https://accounts.google.com" = ["dev@example.org", ".*"]
				}
				skip_signature_verification_image_list = ["sha256:%s"]
				enforce_sct = true
			}
		}`, hexA), block(func(s *config.Sigstore) {
			s.Identities = []config.Identity{
				{Issuer: exactly("https://accounts.google.com"), Subject: exactly(".*")},
				{Issuer: exactly("https://accounts.google.com"), Subject: exactly("dev@example.org")},
			}
			s.Skipped = []image.ID{imageID(t, "sha256:"+hexA)}
		})},
		{"no SCT", `experimental {
			sigstore {
				rekor_url = "https://rekor.sigstore.dev"
				allowed_subjects_list = { "https://accounts.google.com" = ["dev@example.org"] }
				enforce_sct = false
			}
		}`, block(func(s *config.Sigstore) {
			s.Identities = []config.Identity{{Issuer: exactly("https://accounts.google.com"), Subject: exactly("dev@example.org")}}
			s.IgnoreSCT = true
		}, "experimental.sigstore.enforce_sct: certificates need no proof that they were published, so that one which the authority was tricked into goes unnoticed")},
	})
}

// TestRegistriesAndLimits has what is shared by all policies.
func TestRegistriesAndLimits(t *testing.T) {
	t.Parallel()
	want := defaults()
	want.Images.CRISocket, want.Images.StatusSource = "/run/cri.sock", config.StatusFromCRI
	want.Images.Sigstore = &config.Sigstore{Path: "sigstore", RekorURL: publicRekor}
	want.Images.AnyRegistry = true
	const nobody = "sigstore.allowed_identities: empty: nobody's signature is accepted"
	want.Warnings = []string{nobody}
	registry := func(r config.Registry, warnings ...string) func(*parsed) {
		return func(c *parsed) {
			c.Images.Registries = []config.Registry{r}
			c.Warnings = append(warnings, nobody)
		}
	}
	checkImages(t, withRuntime+"sigstore {\nallowed_identities = {}\n}\n", want, []imageCase{
		{"a registry", `registry "registry.example.org:5000" {}`, registry(config.Registry{Host: "registry.example.org:5000", Path: "registry[registry.example.org:5000]"})},
		{"Docker Hub under another name", `registry "index.docker.io" {}`, registry(config.Registry{Host: "docker.io", Path: "registry[index.docker.io]"})},
		{"everything about a registry", `registry "registry.example.org" {
			ca_path       = "/etc/podseal/ca.pem"
			mirror        = "Mirror.example.org:5000/hub/"
			token_hosts   = ["Auth.example.org:443"]
			username      = "u"
			password_path = "/etc/podseal/password"
			repositories  = ["pay/", "base/app"]
			proxy_url     = "http://proxy.example.org:3128"
		}`, registry(config.Registry{
			Host: "registry.example.org", Path: "registry[registry.example.org]", CAPath: "/etc/podseal/ca.pem", Mirror: "mirror.example.org:5000/hub",
			Username: "u", PasswordPath: "/etc/podseal/password", Repositories: []string{"base/app", "pay/"}, TokenHosts: []string{"auth.example.org"}, ProxyURL: "http://proxy.example.org:3128",
		})},
		{"a mirror", `registry "docker.io" { mirror = "mirror.example.org" }`,
			registry(config.Registry{Host: "docker.io", Path: "registry[docker.io]", Mirror: "mirror.example.org"})},
		{"a docker configuration", `registry "registry.example.org" {
			docker_config_path = "/root/.docker/config.json"
			repositories       = "pay"
		}`, registry(config.Registry{Host: "registry.example.org", Path: "registry[registry.example.org]", DockerConfigPath: "/root/.docker/config.json", Repositories: []string{"pay"}})},
		{"plain HTTP", `registry "registry.example.org" { insecure = true }`,
			registry(config.Registry{Host: "registry.example.org", Path: "registry[registry.example.org]", Insecure: true},
				"registry[registry.example.org].insecure: plain HTTP: whoever is on the way to the registry can hide signatures, and reads the credentials")},
		{"registries are sorted", "registry \"b.example.org\" {}\nregistry \"a.example.org\" {}", func(c *parsed) {
			c.Images.Registries = []config.Registry{{Host: "a.example.org", Path: "registry[a.example.org]"}, {Host: "b.example.org", Path: "registry[b.example.org]"}}
		}},
		{"any registry, in words", `registries = "any"`, func(c *parsed) {
			c.Warnings = []string{nobody, "registries: any: whoever creates a pod decides which registries are asked"}
		}},
		{"limits", `limits {
			image_budget   = "2500ms"
			max_signatures = 1
			max_referrers  = 2
			max_manifest   = "512KiB"
			max_bundle     = 1000
		}`, func(c *parsed) {
			c.Images.Limits = config.ImageLimits{Budget: 2500 * time.Millisecond, MaxSignatures: 1, MaxReferrers: 2, MaxManifest: 512 << 10, MaxBundle: 1000}
		}},
		{"the most that limits can be", `limits {
			image_budget   = "10s"
			max_signatures = 32
			max_referrers  = 64
			max_manifest   = "4MiB"
			max_bundle     = "8MiB"
		}`, func(*parsed) {}},
		{"no limits of one's own", `limits {}`, func(*parsed) {}},
		{"trust roots are sorted", "trust_root \"b.1\" {\ntrusted_root_path = \"/b\"\n}\ntrust_root \"a-1\" {\ntrusted_root_path = \"/a\"\n}", func(c *parsed) {
			c.Warnings = []string{nobody, "trust_root[b.1]: not used: neither sigstore nor an authority names it", "trust_root[a-1]: not used: neither sigstore nor an authority names it"}
			c.Images.TrustRoots = []config.TrustRoot{
				{Name: "a-1", Key: "trust_root[a-1].trusted_root_path", TrustedRootPath: "/a"},
				{Name: "b.1", Key: "trust_root[b.1].trusted_root_path", TrustedRootPath: "/b"},
			}
		}},
	})
}
