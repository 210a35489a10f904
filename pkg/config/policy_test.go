package config_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/config"
)

// policyOf is an image_policy "release" with that in it.
func policyOf(text string) string { return "image_policy \"release\" {\n" + text + "\n}\n" }

// authorityOf is one with an authority "ci".
func authorityOf(text string) string {
	return policyOf("authority \"ci\" {\n" + text + "\n}")
}

const publicKey = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"

func TestImagePolicies(t *testing.T) {
	t.Parallel()
	want := defaults()
	want.Images.CRISocket, want.Images.StatusSource = "/run/cri.sock", config.StatusFromCRI
	want.Images.Registries = []config.Registry{{Host: "registry.example.org", Path: "registry[registry.example.org]", CAPath: "/ca.pem"}}
	policies := func(all ...config.ImagePolicy) func(*parsed) {
		return func(c *parsed) { c.Images.Policies = all }
	}
	warned := func(warning string, more func(*parsed)) func(*parsed) {
		return func(c *parsed) {
			more(c)
			c.Warnings = append(c.Warnings, warning)
		}
	}
	authority := func(a config.Authority) config.ImagePolicy {
		a.Name, a.Path = "ci", "image_policy[release].authority[ci]"
		return config.ImagePolicy{Name: "release", Mode: "fail", OnUnavailable: "fail", Authorities: []config.Authority{a}}
	}
	keyFile := config.Authority{Keys: &config.Keys{Path: "/ci.pub"}}
	matched := func(m config.Match) config.ImagePolicy {
		p := authority(keyFile)
		p.Match = m
		return p
	}
	const key = "authority \"ci\" {\nkey_path = \"/ci.pub\"\n}\n"
	const identity = "image_policy[release].authority[ci]"
	checkImages(t, withRuntime+withRegistry, want, []imageCase{
		{"keyless", authorityOf(`
			issuer  = "https://token.actions.githubusercontent.com"
			subject = "https://github.com/org/app/.github/workflows/release.yaml@refs/heads/main"
		`), policies(authority(config.Authority{Keyless: &config.Keyless{Identity: config.Identity{
			Issuer:  exactly("https://token.actions.githubusercontent.com"),
			Subject: exactly("https://github.com/org/app/.github/workflows/release.yaml@refs/heads/main"),
		}}}))},
		{"keyless with patterns and claims", authorityOf(`
			issuer_regexp      = "https://(token\\.actions\\.githubusercontent\\.com|accounts\\.google\\.com)"
			subject_regexp     = "https://github\\.com/org/.+"
			subject_type       = "uri"
			source_repository  = "https://github.com/org/app"
			source_ref         = "refs/heads/main"
			source_digest      = "abc"
			build_signer       = "https://github.com/org/app/.github/workflows/release.yaml@refs/heads/main"
			build_trigger      = "push"
			runner_environment = "github-hosted"
			annotations        = { env = "prod", "team.example.org/name" = "pay" }
		`), policies(authority(config.Authority{
			Keyless: &config.Keyless{
				Identity: config.Identity{
					Issuer:  regexped(`https://(token\.actions\.githubusercontent\.com|accounts\.google\.com)`),
					Subject: regexped(`https://github\.com/org/.+`),
				},
				SubjectType: "uri",
				Claims: map[string]string{
					"source-repository": "https://github.com/org/app", "source-ref": "refs/heads/main", "source-digest": "abc",
					"build-signer":  "https://github.com/org/app/.github/workflows/release.yaml@refs/heads/main",
					"build-trigger": "push", "runner-environment": "github-hosted",
				},
			},
			Annotations: map[string]string{"env": "prod", "team.example.org/name": "pay"},
		}))},
		{"any subject, on purpose", authorityOf(`
			issuer         = "https://accounts.google.com"
			subject_regexp = ".+"
			allow_any      = true
		`), warned(identity+`.subject_regexp: ".+" matches anything: any subject is accepted`,
			policies(authority(config.Authority{Keyless: &config.Keyless{Identity: config.Identity{Issuer: exactly("https://accounts.google.com"), Subject: regexped(".+")}}})))},
		{"a key in a file", authorityOf(`key_path = "/ci.pub"`), policies(authority(keyFile))},
		{"keys in a directory", authorityOf(`key_dir = "/keys"`), policies(authority(config.Authority{Keys: &config.Keys{Dir: "/keys"}}))},
		{"a key in place", authorityOf(fmt.Sprintf("key_pem = %q", publicKey)), policies(authority(config.Authority{Keys: &config.Keys{PEM: publicKey}}))},
		{"all about a key", authorityOf(`
			key_path     = "/ci.pub"
			require_tlog = true
			valid_from   = "2026-01-31T00:00:00Z"
			valid_until  = "2026-12-31T01:00:00+01:00"
			trust_root   = "airgap"
		`) + "trust_root \"airgap\" {\ntrusted_root_path = \"/root.json\"\n}\n", func(c *parsed) {
			c.Images.TrustRoots = []config.TrustRoot{{Name: "airgap", Key: "trust_root[airgap].trusted_root_path", TrustedRootPath: "/root.json"}}
			policies(authority(config.Authority{
				Keys: &config.Keys{Path: "/ci.pub", RequireTlog: true,
					ValidFrom: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC), ValidUntil: time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)},
				TrustRoot: "airgap",
			}))(c)
		}},
		{"a private PKI", authorityOf("ca_path = \"/pki.pem\"\nsubject = \"ci@example.org\""),
			policies(authority(config.Authority{PKI: &config.PKI{CAPath: "/pki.pem", Identity: config.Identity{Subject: exactly("ci@example.org")}}}))},
		{"a private PKI with an issuer", authorityOf("require_tlog = true\nsubject_type = \"email\"\nca_path = \"/pki.pem\"\nissuer = \"https://a.example.org\"\nsubject_regexp = \".+@example\\\\.org\""),
			policies(authority(config.Authority{PKI: &config.PKI{CAPath: "/pki.pem", Identity: config.Identity{Issuer: exactly("https://a.example.org"), Subject: regexped(`.+@example\.org`)},
				SubjectType: "email", RequireTlog: true}}))},
		{"static deny", authorityOf(`static = "deny"`), policies(authority(config.Authority{Static: config.StaticDeny}))},
		{"static allow", authorityOf(`static = "allow"`), warned(identity+".static: allow: every image is accepted, whoever made it", policies(authority(config.Authority{Static: config.StaticAllow})))},

		{"policies and authorities are sorted", "image_policy \"b\" {\nauthority \"y\" {\nstatic = \"deny\"\n}\nauthority \"x\" {\nstatic = \"deny\"\n}\n}\nimage_policy \"a.1-x\" {\nmode = \"fail\"\nauthority \"z\" {\nstatic = \"deny\"\n}\n}\n", policies(
			config.ImagePolicy{Name: "a.1-x", Mode: "fail", OnUnavailable: "fail", Authorities: []config.Authority{{Name: "z", Path: "image_policy[a.1-x].authority[z]", Static: config.StaticDeny}}},
			config.ImagePolicy{Name: "b", Mode: "fail", OnUnavailable: "fail", Authorities: []config.Authority{
				{Name: "x", Path: "image_policy[b].authority[x]", Static: config.StaticDeny},
				{Name: "y", Path: "image_policy[b].authority[y]", Static: config.StaticDeny},
			}},
		)},

		{"matched by everything", policyOf(`
			match {
				namespaces       = ["pay-*", "shop"]
				service_accounts = ["pay/api", "*/deployer"]
				images           = ["registry.example.org/pay/**", "docker.io/nginx", "**"]
			}
		` + key), policies(matched(config.Match{
			Namespaces: []string{"pay-*", "shop"}, ServiceAccounts: []string{"pay/api", "*/deployer"}, Images: []string{"registry.example.org/pay/**", "docker.io/nginx", "**"},
		}))},
		{"matched by one namespace", policyOf("match {\nnamespaces = \"pay\"\n}\n" + key), policies(matched(config.Match{Namespaces: []string{"pay"}}))},
		{"matched by anything", policyOf("match {}\n" + key), policies(matched(config.Match{}))},
		{"matched by images only", policyOf("match {\nimages = [\"registry.example.org/**\"]\n}\n" + key),
			warned("image_policy[release].match.images: no gate alone: a pod's author chooses the image's name, and an image of another name is not looked at; match namespaces or service_accounts too",
				policies(matched(config.Match{Images: []string{"registry.example.org/**"}})))},
		{"beside the sigstore block", "sigstore {\nallowed_identities = {}\n}\n" + policyOf(key), func(c *parsed) {
			policies(authority(keyFile))(c)
			c.Images.Sigstore = &config.Sigstore{Path: "sigstore", RekorURL: publicRekor}
			c.Warnings = []string{"sigstore.allowed_identities: empty: nobody's signature is accepted"}
		}},
	})
}

func TestAPolicyWithoutAnyRegistryIsWarnedAbout(t *testing.T) {
	t.Parallel()
	for _, text := range spellings(t, withRuntime+authorityOf(`static = "deny"`)) {
		if got := mustParse(t, text, nil); len(got.Warnings) != 1 || got.Warnings[0] != noRegistryWarning || got.Images.AnyRegistry {
			t.Errorf("warnings %q, any registry: %v", got.Warnings, got.Images.AnyRegistry)
		}
	}
}

// A policy that has only blocks is taken apart by HCL's JSON parser: the agent then
// prints each part with all its labels.
func TestAPolicyInPartsIsOne(t *testing.T) {
	t.Parallel()
	const text = withRuntime + withRegistry + "image_policy \"release\" \"match\" {\nnamespaces = [\"pay\"]\n}\nimage_policy \"release\" \"authority\" \"ci\" {\nkey_path = \"/ci.pub\"\n}\n"
	want := []config.ImagePolicy{{
		Name: "release", Mode: "fail", OnUnavailable: "fail", Match: config.Match{Namespaces: []string{"pay"}},
		Authorities: []config.Authority{{Name: "ci", Path: "image_policy[release].authority[ci]", Keys: &config.Keys{Path: "/ci.pub"}}},
	}}
	if diff := cmp.Diff(want, mustParse(t, text, nil).Images.Policies); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
