package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/config"
)

// ADVERSARIAL.md row 37: whose word on what runs is taken.
func TestStatusSource(t *testing.T) {
	t.Parallel()
	const nobody = "sigstore.allowed_identities: empty: nobody's signature is accepted"
	for _, c := range []struct {
		name, text string
		want       config.StatusSource
		warning    string
	}{
		{"the runtime, where it is known", withRuntime, config.StatusFromCRI, ""},
		{"the runtime before the Pods API", withRuntime + "pod_source = \"pods_api\"\n", config.StatusFromCRI, ""},
		{"the Pods API, where pods are from there", "pod_source = \"pods_api\"\nimage_status_source = \"auto\"\n", config.StatusFromPodsAPI, ""},
		{"a copy, where there is nothing better", "", config.StatusFromKubelet, copyWarning},
		{"a copy, where there is nothing better, in words", "image_status_source = \"auto\"\npod_source = \"kubelet\"\n", config.StatusFromKubelet, copyWarning},
		{"what is asked for: the runtime", withRuntime + "image_status_source = \"cri\"\n", config.StatusFromCRI, ""},
		{"what is asked for: the Pods API", "image_status_source = \"pods_api\"\n", config.StatusFromPodsAPI, ""},
		{"what is asked for: the Pods API in spite of the runtime", withRuntime + "image_status_source = \"pods_api\"\n", config.StatusFromPodsAPI, ""},
		{"what is asked for: a copy", withRuntime + "image_status_source = \"kubelet\"\n", config.StatusFromKubelet, explicitWarning},
	} {
		for spelling, text := range spellings(t, c.text+"sigstore {\nallowed_identities = {}\n}\n") {
			t.Run(c.name+", "+spelling, func(t *testing.T) {
				t.Parallel()
				got := mustParse(t, text, nil)
				want := []string{nobody}
				if c.warning != "" {
					want = append(want, c.warning)
				}
				if diff := cmp.Diff(want, got.Warnings); diff != "" || got.Images.StatusSource != c.want {
					t.Errorf("%s, want %s; warnings -want +got:\n%s", got.Images.StatusSource, c.want, diff)
				}
			})
		}
	}
}

func TestWhatIsThereForNothingIsWarnedAbout(t *testing.T) {
	t.Parallel()
	text := withRuntime + withRegistry + "image_status_source = \"kubelet\"\nregistries = \"configured\"\nlimits {}\ncache {}\ntrust_root \"a\" {\ntrusted_root_path = \"/a\"\n}\n"
	for _, text := range spellings(t, text) {
		got := mustParse(t, text, nil)
		want := []string{"cri_socket, image_status_source, trust_root, registries, registry, limits, cache: not used, since there is neither sigstore nor image_policy"}
		if diff := cmp.Diff(want, got.Warnings); diff != "" || got.Images.Wanted() {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// What can't be read counted as absent: nothing is said of what follows from that.
func TestNoWarningOfWhatCantBeRead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		withRuntime + "sigstore {\nallowed_identities = [\"a\"]\n}",
		withRuntime + "experimental {\nsigstore {\nrekor_url = true\nallowed_subjects_list = 1\n}\n}",
		"cri_socket = true\nsigstore {\nallowed_identities = {\n\"https://a\" = [\"b\"]\n}\n}",
		withRuntime + withRegistry + policyOf("mode = true\non_unavailable = \"withhold\"\nonline_rekor = 1\nrekor_url = \"https://r.example.org\"\nauthority \"ci\" {\nstatic = \"deny\"\n}"),
		withRuntime + withRegistry + cacheOf(`stale_ttl = "1h"`) + policyOf("on_unavailable = 1.5\nauthority \"ci\" {\nstatic = \"deny\"\n}"),
		withRuntime + "registries = \"configured\"\nregistry = \"x\"\nsigstore {\nallowed_identities = {\n\"https://a\" = [\"b\"]\n}\n}",
	} {
		for _, w := range config.Parse(text, environment(nil)).Warnings {
			if w.Message != olderWarning {
				t.Errorf("%q of:\n%s", w.Message, text)
			}
		}
	}
}

func TestAPasswordIsNotPrinted(t *testing.T) {
	t.Parallel()
	got := mustParse(t, withRuntime+"sigstore {\nregistry_credentials \"a.example.org\" {\nusername = \"u\"\npassword = \"hunter2\"\n}\n}", nil)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(format, got.Images.Registries); strings.Contains(text, "hunter2") {
			t.Errorf("%s prints %s", format, text)
		}
	}
	if got.Images.Registries[0].Password != "hunter2" {
		t.Error("the password is lost")
	}
}

// Where docker has its configuration, and the built-in attestor looks for it.
func TestTheDockerConfigurationOfTheEnvironment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"HOME": "/root"}, "/root/.docker/config.json"},
		{map[string]string{"HOME": "/root", "DOCKER_CONFIG": "/etc/docker/"}, "/etc/docker/config.json"},
		{map[string]string{"DOCKER_CONFIG": "docker"}, ""},
		{nil, ""},
	} {
		if got := mustParse(t, "", c.env).Images.DockerConfigPath; got != c.want {
			t.Errorf("%q, want %q, with %v", got, c.want, c.env)
		}
	}
}

func TestManyWarningsAreCounted(t *testing.T) {
	t.Parallel()
	text := "sigstore {\nallowed_identities = {\n\"https://a\" = [" + strings.Repeat(`"a.*", `, 150) + "]\n}\n}"
	got := config.Parse(withRuntime+text, environment(nil))
	if len(got.Warnings) != 101 || got.Warnings[100].Message != "and 50 more warnings" {
		t.Errorf("%d warnings, the last one %q", len(got.Warnings), got.Warnings[len(got.Warnings)-1].Message)
	}
}
