package policy_test

import (
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/policy"
)

func names(t testing.TB, repositories ...string) policy.Names {
	t.Helper()
	var n policy.Names
	for _, r := range repositories {
		parsed, err := image.ParseRepository(r)
		if err != nil {
			t.Fatal(err)
		}
		n.Repositories = append(n.Repositories, parsed)
	}
	return n
}

// ADVERSARIAL.md 8 and 32: a pattern is anchored, a dot is a dot, and an image has
// as many spellings as it likes.
func TestPatternsOfImages(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, repository string
		want                bool
	}{
		{"**", "docker.io/library/nginx", true},
		{"docker.io/library/nginx", "nginx", true},
		{"docker.io/nginx", "nginx", true},
		{"index.docker.io/nginx", "docker.io/nginx", true},
		{"registry-1.docker.io/library/nginx", "index.docker.io/library/nginx", true},
		{"docker.io/*", "nginx", true},
		{"docker.io/*", "acme/nginx", false},
		{"docker.io/**", "acme/nginx", true},
		{"docker.io/**", "nginx", true},
		{"docker.io/acme/*", "acme/nginx", true},
		{"Registry.Example.org/pay/api", "registry.example.org/pay/api", true},
		{"registry.example.org:443/pay/api", "registry.example.org/pay/api", true},
		{"registry.example.org/pay/api", "registry.example.org:443/pay/api", true},
		{"registry.example.org/pay/api", "registry.example.org:5000/pay/api", false},
		{"registry.example.org:5000/pay/api", "registry.example.org:5000/pay/api", true},
		{"registry.example.org/pay/*", "registry.example.org/pay/api", true},
		{"registry.example.org/pay/*", "registry.example.org/pay/api/v2", false},
		{"registry.example.org/pay/**", "registry.example.org/pay/api/v2", true},
		{"registry.example.org/pay/**", "registry.example.org/pay", false},
		{"registry.example.org/pay**", "registry.example.org/payroll/x", true},
		{"registry.example.org/pay/api", "evil.example/registry.example.org/pay/api", false},
		{"registry.example.org/pay/api", "registry.example.org/pay/api-evil", false},
		{"registry.example.org/pay/api", "registry-example.org/pay/api", false},
		{"*/pay/api", "registry.example.org/pay/api", true},
		{"*/pay/api", "registry.example.org/x/pay/api", false},
		{"localhost/pay/api", "localhost/pay/api", true},
	} {
		m, err := policy.NewMatch(nil, nil, []string{test.pattern})
		if err != nil {
			t.Errorf("%q: %v", test.pattern, err)
			continue
		}
		if got := m.Applies(policy.Workload{Names: names(t, test.repository)}); got != test.want {
			t.Errorf("%q matches %q: %t, want %t", test.pattern, test.repository, got, test.want)
		}
	}
}

func TestPatternsOfNamespacesAndServiceAccounts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		namespaces, accounts string // comma-separated, none when empty
		namespace, account   string
		want                 bool
	}{
		{"", "", "", "", true},
		{"pay", "", "pay", "x", true},
		{"pay", "", "pay-eu", "x", false},
		{"pay", "", "xpay", "x", false},
		{"pay*", "", "pay", "x", true},
		{"pay-*,shop", "", "shop", "x", true},
		{"*", "", "", "", true},
		{"", "pay/api", "pay", "api", true},
		{"", "pay/api", "pay", "api2", false},
		{"", "*/api", "pay", "api", true},
		{"", "pay/*", "pay", "", true},
		{"", "pay/*", "pay-eu", "api", false},
		{"", "pay/api.v1", "pay", "apixv1", false},
		{"pay", "shop/*", "pay", "api", false},
		{"pay", "pay/web,pay/api", "pay", "api", true},
	} {
		m, err := policy.NewMatch(split(test.namespaces), split(test.accounts), nil)
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		if got := m.Applies(policy.Workload{Namespace: test.namespace, ServiceAccount: test.account}); got != test.want {
			t.Errorf("%+v: %t", test, got)
		}
	}
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// A pattern that can match nothing would leave a policy without effect, and nobody
// would notice: each is an error that names its key.
func TestPatternsThatCantMatchAreErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ key, pattern string }{
		{"namespaces", ""}, {"namespaces", "Pay"}, {"namespaces", "pay/api"}, {"namespaces", "pay.eu"}, {"namespaces", "pay?"}, {"namespaces", "pay[a-z]"}, {"namespaces", "pay\n"}, {"namespaces", "***"},
		{"namespaces", strings.Repeat("a", 513)},
		{"service_accounts", ""}, {"service_accounts", "api"}, {"service_accounts", "pay/api/x"}, {"service_accounts", "**"}, {"service_accounts", "**/api"}, {"service_accounts", "system:serviceaccount:pay:api"},
		{"images", ""}, {"images", "nginx"}, {"images", "*"}, {"images", "library/nginx"}, {"images", "registry.example.org"}, {"images", "registry.example.org/"}, {"images", "registry.example.org//x"},
		{"images", "registry.example.org/pay/"}, {"images", "registry.example.org/pay/api:v1"}, {"images", "registry.example.org/pay/api@sha256:" + strings.Repeat("a", 64)},
		{"images", "registry.example.org/Pay"}, {"images", "https://registry.example.org/pay"}, {"images", "registry.example.org/pаy"}, {"images", "registry.example.org/(pay|shop)"},
	} {
		lists := map[string][]string{test.key: {"*/*x", test.pattern}}
		if test.key == "namespaces" {
			lists = map[string][]string{test.key: {test.pattern}}
		}
		_, err := policy.NewMatch(lists["namespaces"], lists["service_accounts"], lists["images"])
		if err == nil || !strings.HasPrefix(err.Error(), test.key+": ") {
			t.Errorf("%s %q: %v", test.key, test.pattern, err)
		}
	}
	for _, key := range []string{"namespaces", "service_accounts", "images"} {
		lists := map[string][]string{key: {}}
		if _, err := policy.NewMatch(lists["namespaces"], lists["service_accounts"], lists["images"]); err == nil || !strings.HasPrefix(err.Error(), key+": the list is empty") {
			t.Errorf("an empty list of %s: %v", key, err)
		}
	}
}

// Patterns are the operator's, names are strangers': none may take long or panic,
// and a pattern without wildcards matches itself alone.
func FuzzPatternsOfImages(f *testing.F) {
	f.Add("registry.example.org/pay/**", "registry.example.org/pay/api")
	f.Add("docker.io/*", "nginx")
	f.Add("**", "x.example/***")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		m, err := policy.NewMatch(nil, nil, []string{pattern})
		if err != nil {
			return
		}
		repository, err := image.ParseRepository(name)
		if err != nil {
			return
		}
		matches := m.Applies(policy.Workload{Names: policy.Names{Repositories: []image.Repository{repository}}})
		if self, err := image.ParseRepository(pattern); err == nil && matches != (self == repository) {
			t.Errorf("%q matches %q: %t", pattern, name, matches)
		}
	})
}
