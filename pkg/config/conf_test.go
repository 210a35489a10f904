package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/image"
)

// TestTheExamplesOfConf takes plugin_data out of each agent.conf as the agent does, from
// the file and from the same file in JSON.
func TestTheExamplesOfConf(t *testing.T) {
	t.Parallel()
	withNodeName := map[string]string{"MY_NODE_NAME": "node-1", "MY_POD_UID": "u-1"}
	withoutNodeName := map[string]string{"MY_POD_UID": "u-1"}
	wants := map[string]func(*parsed){
		"token.conf": func(c *parsed) { c.Kubelet.NodeName = "node-1" },
		"client-certificate.conf": func(c *parsed) {
			c.Kubelet.ServerName = "node-1.example.org"
			c.Kubelet.CAPath = "/etc/kubernetes/pki/kubelet-ca.crt"
			c.Kubelet.TokenPath = ""
			c.Kubelet.CertificatePath = "/etc/podseal/kubelet-client.crt"
			c.Kubelet.PrivateKeyPath = "/etc/podseal/kubelet-client.key"
		},
		"anonymous.conf": func(c *parsed) {
			c.Kubelet.NodeName = "node-1"
			c.Kubelet.Anonymous = true
			c.Kubelet.TokenPath = ""
			c.Warnings = []string{anonymousWarning}
		},
		"read-only-port.conf": func(c *parsed) {
			c.Kubelet = config.Kubelet{Port: 10255, ReloadInterval: time.Minute, Interval: 500 * time.Millisecond, TTL: 500 * time.Millisecond}
			c.Warnings = []string{readOnlyWarning}
		},
		"skip-verification.conf": func(c *parsed) {
			c.Kubelet.NodeName = "node-1"
			c.Kubelet.CAPath = ""
			c.Kubelet.SkipVerification = true
			c.Warnings = []string{skipWarning}
		},
		"pods-api.conf": func(c *parsed) {
			c.PodSource, c.Images.StatusSource = config.FromPodsAPI, config.StatusFromPodsAPI
			c.Kubelet = config.Kubelet{}
		},
		"pinned-certificate.conf": func(c *parsed) {
			c.Kubelet.CAPath = "/hostCert/kubelet.crt"
		},
		"sigstore.conf":     ofSigstoreConf,
		"image-policy.conf": ofImagePolicyConf,
		"air-gapped.conf":   ofAirGappedConf,
	}
	files, err := filepath.Glob("../../conf/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(wants) {
		t.Errorf("%d files in conf, want %d", len(files), len(wants))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{`plugin_cmd = "/opt/podseal/podseal"`, `plugin_checksum = "[0-9a-f]{64}"`} {
			if !regexp.MustCompile(line).Match(text) {
				t.Errorf("%s lacks %s", file, line)
			}
		}
		want := defaults()
		want.OwnPodUID = "u-1"
		env := withoutNodeName
		change, ok := wants[filepath.Base(file)]
		if !ok {
			t.Fatalf("%s is not expected", file)
		}
		change(&want)
		if want.Kubelet.NodeName != "" {
			env = withNodeName
		}
		for _, agentConf := range []string{string(text), toJSON(t, string(text))} {
			pluginData := agentPrints(t, agentConf)
			if diff := cmp.Diff(want, mustParse(t, pluginData, env), sameValues); diff != "" {
				t.Errorf("%s: -want +got:\n%s", file, diff)
			}
		}
	}
}

func ofSigstoreConf(c *parsed) {
	c.Kubelet.NodeName = "node-1"
	id, err := image.ParseID("ghcr.io/spiffe/spire-agent@sha256:" + strings.Repeat("0", 64))
	if err != nil {
		panic(err)
	}
	c.Images.CRISocket, c.Images.StatusSource = "/run/containerd/containerd.sock", config.StatusFromCRI
	c.Images.Sigstore = &config.Sigstore{
		Path: "sigstore",
		Identities: []config.Identity{
			{Issuer: exactly("https://accounts.google.com"), Subject: exactly("release@example.org")},
			{
				Issuer:  exactly("https://token.actions.githubusercontent.com"),
				Subject: exactly("https://github.com/example/app/.github/workflows/release.yaml@refs/heads/main"),
			},
		},
		Skipped:  []image.ID{id},
		RekorURL: publicRekor,
	}
	c.Images.Registries = []config.Registry{
		{Host: "ghcr.io", Path: "registry[ghcr.io]"},
		{
			Host: "registry.example.org", Path: "registry[registry.example.org]", CAPath: "/etc/podseal/registry-ca.pem",
			Username: "podseal", PasswordPath: "/etc/podseal/registry-password", Repositories: []string{"app/"},
		},
	}
}

func ofImagePolicyConf(c *parsed) {
	c.PodSource, c.Images.StatusSource, c.Kubelet = config.FromPodsAPI, config.StatusFromPodsAPI, config.Kubelet{}
	c.Images.TrustRoots = []config.TrustRoot{{Name: "internal", Key: "trust_root[internal].trusted_root_path", TrustedRootPath: "/etc/podseal/trusted_root.json"}}
	c.Images.Registries = []config.Registry{{
		Host: "registry.example.org", Path: "registry[registry.example.org]",
		CAPath: "/etc/podseal/registry-ca.pem", DockerConfigPath: "/etc/podseal/docker-config.json",
	}}
	c.Images.Limits.Budget, c.Images.Limits.MaxSignatures = 5*time.Second, 16
	c.Images.Cache.TTL, c.Images.Cache.NegativeTTL = 30*time.Minute, 10*time.Second
	c.Warnings = []string{"image_policy[base].mode: audit: a workload whose image does not pass gets its other selectors all the same, such as ns and sa: only registration entries with a selector of this policy keep it out"}
	c.Images.Policies = []config.ImagePolicy{
		{
			Name: "base", Mode: "audit", OnUnavailable: "fail",
			Match: config.Match{
				Namespaces: []string{"kube-system"}, ServiceAccounts: []string{"kube-system/*"}, Images: []string{"registry.example.org/base/**"},
			},
			Authorities: []config.Authority{{
				Name: "pki", Path: "image_policy[base].authority[pki]",
				PKI: &config.PKI{CAPath: "/etc/podseal/signers-ca.pem", Identity: config.Identity{Subject: exactly("base-images@example.org")}},
			}},
		},
		{
			Name: "release", Mode: "fail", OnUnavailable: "fail", Match: config.Match{Namespaces: []string{"pay-*", "shop"}},
			Authorities: []config.Authority{
				{
					Name: "release-key", Path: "image_policy[release].authority[release-key]",
					Keys:      &config.Keys{Path: "/etc/podseal/release.pub", RequireTlog: true, ValidUntil: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)},
					TrustRoot: "internal", Annotations: map[string]string{"environment": "production"},
				},
				{
					Name: "workflow", Path: "image_policy[release].authority[workflow]",
					Keyless: &config.Keyless{
						Identity: config.Identity{
							Issuer:  exactly("https://token.actions.githubusercontent.com"),
							Subject: regexped(`https://github\.com/example/[a-z-]+/\.github/workflows/release\.yaml@refs/tags/v.+`),
						},
						SubjectType: "uri",
						Claims:      map[string]string{"runner-environment": "github-hosted"},
					},
				},
			},
		},
	}
}

func ofAirGappedConf(c *parsed) {
	c.PodSource, c.Images.StatusSource, c.Kubelet = config.FromPodsAPI, config.StatusFromPodsAPI, config.Kubelet{}
	c.Images.TrustRoots = []config.TrustRoot{{Name: "internal", TUF: &config.TUF{
		Key: "trust_root[internal].tuf", Mirror: "https://tuf.example.org", RootPath: "/etc/podseal/root.json",
		CacheDir: "/var/lib/podseal/cache/tuf/internal", Refresh: 6 * time.Hour,
	}}}
	c.Images.Registries = []config.Registry{{Host: "registry.example.org", Path: "registry[registry.example.org]", CAPath: "/etc/podseal/registry-ca.pem"}}
	c.Images.Cache.Dir, c.Images.Cache.StaleTTL = "/var/lib/podseal/cache", 72*time.Hour
	c.Images.Policies = []config.ImagePolicy{{
		Name: "release", Mode: "fail", OnUnavailable: "stale", RekorURL: "https://rekor.example.org",
		Match: config.Match{Namespaces: []string{"pay-*", "shop"}},
		Authorities: []config.Authority{{
			Name: "workflow", Path: "image_policy[release].authority[workflow]",
			Keyless: &config.Keyless{Identity: config.Identity{
				Issuer:  exactly("https://gitlab.example.org"),
				Subject: exactly("https://gitlab.example.org/platform/release//.gitlab-ci.yml@refs/heads/main"),
			}},
			TrustRoot: "internal",
		}},
	}}
}
