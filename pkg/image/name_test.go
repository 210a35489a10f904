package image_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/image"
)

// ADVERSARIAL.md row 32: lists of images are compared, and must not be got around
// by spelling.
func TestARepositoryHasOneSpelling(t *testing.T) {
	t.Parallel()
	for want, spellings := range map[string][]string{
		"docker.io/library/alpine": {"alpine", "library/alpine", "docker.io/alpine", "index.docker.io/alpine", "registry-1.docker.io/library/alpine",
			"docker.io:443/alpine", "Docker.IO/library/alpine", "INDEX.DOCKER.IO:443/alpine", "docker.io:00443/alpine"},
		"docker.io/a/b":                  {"a/b", "docker.io/a/b"},
		"docker.io:5000/alpine":          {"docker.io:5000/alpine"},
		"index.docker.io:80/x":           {"index.docker.io:80/x"},
		"registry.example.org/pay/api":   {"registry.example.org/pay/api", "Registry.Example.ORG:443/pay/api"},
		"registry.example.org:5000/x":    {"registry.example.org:5000/x", "registry.example.org:05000/x"},
		"localhost/x":                    {"localhost/x", "localhost:443/x", "LOCALHOST/x"},
		"localhost:5000/x/y":             {"localhost:5000/x/y"},
		"registry:443/x":                 {"registry:443/x", "REGISTRY/x", "Registry:443/x"},
		"127.0.0.1:5000/x":               {"127.0.0.1:5000/x"},
		"[::1]/x":                        {"[::1]/x", "[::1]:443/x", "[0:0:0:0:0:0:0:1]/x", "[0000:0::1]:443/x"},
		"[2001:db8::a]:5000/x":           {"[2001:DB8::A]:5000/x", "[2001:db8:0::a]:5000/x"},
		"xn--bcher-kva.example/x":        {"xn--bcher-kva.example/x"},
		"docker.io/library/a.b_c__d---e": {"a.b_c__d---e"},
		"example.org/a/b/c/d":            {"example.org/a/b/c/d"},
	} {
		for _, s := range spellings {
			r, err := image.ParseRepository(s)
			if err != nil {
				t.Errorf("%q: %v", s, err)
				continue
			}
			if r.String() != want || r.Registry()+"/"+r.Path() != want {
				t.Errorf("%q is %q (%q, %q), want %q", s, r, r.Registry(), r.Path(), want)
			}
			if again, err := image.ParseRepository(r.String()); err != nil || again != r {
				t.Errorf("%q read again is %q, %v", r, again, err)
			}
		}
	}
}

func TestNamesThatAreNoRepository(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "/", "a/", "/a", "a//b", "Alpine", "a/B", "a b", "a\n", "a:1", "a@sha256:" + hexA, "-a", "a-", "a..b", "a___b", "a._b", "a.-b", ".a", "a.",
		"example.org/", "example.org/../x", "example.org/./x", "example.org/%2e%2e/x", "example.org/x?y", "example.org/x#y", "https://example.org/x",
		"user@example.org/x", "user:pw@example.org/x", "exa_mple.org/x", "example.org./x", ".example.org/x", "-example.org/x", "example-.org/x",
		"example..org/x", "example.org:/x", "example.org:0/x", "example.org:65536/x", "example.org:+443/x", "example.org:-1/x", "example.org:http/x",
		"example.org:5000:1/x", "[::1/x", "[]/x", "[1.2.3.4]/x", "[::ffff:1.2.3.4]/x", "[::ffff:102:304]/x", "[fe80::1%25eth0]/x", "[fe80::1%eth0]/x",
		"[::1]x/y", "[::1]:/x", "::1/x", "éxample.org/x", "example.org/é", "\xff/x", "example.org\x00/x",
		strings.Repeat("a", 256), strings.Repeat("a.", 128) + "a/x", "example.org/" + strings.Repeat("a/", 600) + "a",
	} {
		if r, err := image.ParseRepository(s); err == nil || !r.IsZero() {
			t.Errorf("%q is %q, %v", s, r, err)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	repo := func(s string) image.Repository {
		r, err := image.ParseRepository(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	a := digestOf(t, hexA)
	for s, want := range map[string]image.Name{
		"alpine":                    {Repository: repo("alpine"), Tag: "latest"},
		"alpine:3.20":               {Repository: repo("alpine"), Tag: "3.20"},
		"alpine@" + a.String():      {Repository: repo("alpine"), Digest: a},
		"alpine:3@" + a.String():    {Repository: repo("alpine"), Tag: "3", Digest: a},
		"localhost:5000/x":          {Repository: repo("localhost:5000/x"), Tag: "latest"},
		"localhost:5000/x:V1_2.3-4": {Repository: repo("localhost:5000/x"), Tag: "V1_2.3-4"},
		"[::1]:5000/x:1":            {Repository: repo("[::1]:5000/x"), Tag: "1"},
		"a:" + strings.Repeat("t", 128): {
			Repository: repo("a"), Tag: strings.Repeat("t", 128)},
		// Without a slash no host: this is what all engines make of it.
		"localhost:5000": {Repository: repo("localhost"), Tag: "5000"},
	} {
		got, err := image.ParseName(s)
		if err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", s, got, err, want)
		}
		if again, err := image.ParseName(got.String()); err != nil || again != got {
			t.Errorf("%q read again is %+v, %v", got, again, err)
		}
	}
	for _, s := range []string{
		"", ":1", "a:", "a:.1", "a:-1", "a:b:c", "a:" + strings.Repeat("t", 129), "a:\n", "a@", "a@sha256:../../x", "a@sha1:" + hexA[:40], "a@sha256:" + strings.ToUpper(hexA),
		"a@@sha256:" + hexA, "a@sha256:" + hexA + "@sha256:" + hexB, "@sha256:" + hexA, hexA,
		// As a name this would be a tag at Docker Hub that anybody could push.
		"sha256:" + hexA, "sha256:" + hexA[1:], "sha256:latest",
		strings.Repeat("a", 2000),
	} {
		if n, err := image.ParseName(s); err == nil || !n.IsZero() {
			t.Errorf("%q is %+v, %v", s, n, err)
		}
	}
}

func TestARefIsAlwaysPinned(t *testing.T) {
	t.Parallel()
	r, err := image.ParseRef("Example.org:443/app:v1@sha256:" + hexA)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("example.org/app@sha256:"+hexA, r.String()); diff != "" {
		t.Error(diff)
	}
	for _, s := range []string{"app", "app:v1", "example.org/app:sha256-" + hexA} {
		if r, err := image.ParseRef(s); !errors.Is(err, image.ErrNotPinned) || !r.IsZero() {
			t.Errorf("%q is %v, %v", s, r, err)
		}
	}
}

// The forms that LOCATING.md and DESIGN.md 6.2 name.
func TestImageIDs(t *testing.T) {
	t.Parallel()
	a := digestOf(t, hexA)
	for s, want := range map[string]string{
		"example.org/app@" + a.String():                   "example.org/app@" + a.String(),
		"docker.io/library/alpine@" + a.String():          "docker.io/library/alpine@" + a.String(),
		"docker-pullable://alpine@" + a.String():          "docker.io/library/alpine@" + a.String(),
		"docker-pullable://example.org/a/b@" + a.String(): "example.org/a/b@" + a.String(),
		"docker://" + a.String():                          a.String(),
		a.String():                                        a.String(),
		a.Hex():                                           a.String(), // CRI-O
		"example.org/app:v1@" + a.String():                "example.org/app@" + a.String(),
	} {
		got, err := image.ParseID(s)
		if err != nil || got.String() != want || got.Digest != a {
			t.Errorf("%q is %v, %v; want %v", s, got, err, want)
		}
		if ref, ok := got.Ref(); ok != strings.Contains(want, "@") || ok && ref.String() != want {
			t.Errorf("%q is %v, %v", s, ref, ok)
		}
	}
	for _, s := range []string{
		"", "docker://", "docker-pullable://", "alpine", "example.org/app:v1", "docker://alpine", "containerd://" + a.String(), "docker://docker://" + a.String(),
		"sha256:" + strings.ToUpper(hexA), "sha256:" + hexA[1:], "sha512:" + hexA + hexA, hexA[1:], "example.org/app@sha256:../../x", " " + a.String(),
		"docker-pullable://" + a.String() + "\n",
	} {
		if id, err := image.ParseID(s); err == nil || !id.IsZero() {
			t.Errorf("%q is %v, %v", s, id, err)
		}
	}
}

func TestErrorsQuoteWhatStrangersWrote(t *testing.T) {
	t.Parallel()
	evil := "x\x1b[2J\nok" + strings.Repeat("y", 1000)
	_, digestErr := image.ParseDigest(evil)
	_, nameErr := image.ParseName(evil)
	_, idErr := image.ParseID("docker://" + evil[:50])
	_, repositoryErr := image.ParseRepository(evil)
	_, registryErr := image.ParseRegistry(evil[:20])
	for _, err := range []error{digestErr, nameErr, idErr, repositoryErr, registryErr} {
		if err == nil || strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 700 {
			t.Errorf("%v", err)
		}
	}
}
