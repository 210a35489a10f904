package image_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/image"
)

func FuzzParseDigest(f *testing.F) {
	for _, s := range []string{"sha256:" + hexA, "sha256:../../x", "sha1:" + hexA, "SHA256:" + hexA, hexA, ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := image.ParseDigest(s); (err == nil) != (d.String() == s && s != "") {
			t.Errorf("%q is %v, %v", s, d, err)
		}
	})
}

// Whatever is accepted has one spelling, which nothing can get around, and no
// character that means something in a path, a query or a header.
func FuzzParseName(f *testing.F) {
	for _, s := range []string{
		"alpine", "docker.io/library/alpine:3@sha256:" + hexA, "INDEX.docker.io:443/a", "[::1]:5000/a/b:c", "localhost:5000", "sha256:" + hexA, hexA,
		"docker-pullable://alpine@sha256:" + hexA, "docker://sha256:" + hexA, "a.b_c__d---e/f:G", "FOO/bar", "foo:443/bar", "example.org/../x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := image.ParseName(s); err == nil {
			wantCanonical(t, n.Repository)
			if again, err := image.ParseName(n.String()); err != nil || again != n {
				t.Errorf("%q is %q, which is %q, %v", s, n, again, err)
			}
			if n.Tag == "" && n.Digest.IsZero() || n.Tag != "" && !image.ValidTag(n.Tag) {
				t.Errorf("%q is %+v", s, n)
			}
		}
		if r, err := image.ParseRepository(s); err == nil {
			wantCanonical(t, r)
		}
		if r, err := image.ParseRef(s); err == nil {
			wantCanonical(t, r.Repository)
			if again, err := image.ParseRef(r.String()); err != nil || again != r || r.Digest.IsZero() {
				t.Errorf("%q is %q, which is %q, %v", s, r, again, err)
			}
		}
		if id, err := image.ParseID(s); err == nil {
			if again, err := image.ParseID(id.String()); err != nil || again != id || id.Digest.IsZero() {
				t.Errorf("%q is %q, which is %q, %v", s, id, again, err)
			}
			if !strings.Contains(s, "@") && !id.Repository.IsZero() {
				t.Errorf("%q was given the repository %q", s, id.Repository)
			}
		}
	})
}

func wantCanonical(t *testing.T, r image.Repository) {
	t.Helper()
	if again, err := image.ParseRepository(r.String()); err != nil || again != r {
		t.Errorf("%q is %q, %v", r, again, err)
	}
	if again, err := image.ParseRegistry(r.Registry()); err != nil || again != r.Registry() {
		t.Errorf("registry %q is %q, %v", r.Registry(), again, err)
	}
	for component := range strings.SplitSeq(r.Path(), "/") {
		if component == "" || component == "." || component == ".." {
			t.Errorf("%q has the part %q", r, component)
		}
	}
	if s := r.String(); s != strings.ToLower(s) || strings.ContainsAny(s, "%?#@\\ \t\r\n\"'<>;,") {
		t.Errorf("%q is not canonical", s)
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(imageManifest(`,"subject":`+descriptor(image.OCIManifest, hexC, ""))), image.OCIManifest)
	f.Add([]byte(indexManifest(entry(hexA, "linux/arm/v7"), entry(hexB, ""))), image.OCIIndex)
	f.Add([]byte(strings.ReplaceAll(indexManifest(entry(hexA, "unknown/unknown")), image.OCIIndex, image.DockerIndex)), "")
	f.Add([]byte(imageManifest(`,"manifests":[],"Layers":[]`)), "")
	f.Add([]byte(strings.Replace(imageManifest(""), `"size":7`, `"size":7,"annotations":{"a":"b"}`, 1)), "")
	f.Fuzz(func(t *testing.T, body []byte, mediaType string) {
		m, err := image.ParseManifest(body, mediaType)
		if err != nil {
			if m != nil {
				t.Errorf("both %+v and %v", m, err)
			}
			return
		}
		if mediaType != "" && m.MediaType != mediaType {
			t.Errorf("a %q was read as a %q", mediaType, m.MediaType)
		}
		if m.IsIndex() != (m.Config.Digest.IsZero()) || m.IsIndex() && m.Layers != nil || !m.IsIndex() && m.Manifests != nil {
			t.Errorf("%+v is two things", m)
		}
		for _, d := range append(m.Layers, m.Manifests...) {
			if d.Digest.IsZero() || d.Size < 0 || d.MediaType == "" {
				t.Errorf("%+v is not whole", d)
			}
		}
		for _, node := range []image.Platform{amd64, arm64} {
			runnable, _ := m.Runnable(node, nil)
			for _, d := range runnable {
				if !lists(m, d) {
					t.Errorf("%v of %+v could run, which it does not list", d, m)
				}
			}
		}
	})
}

func lists(m *image.Manifest, digest image.Digest) bool {
	return slices.ContainsFunc(m.Manifests, func(d image.Descriptor) bool { return d.Digest == digest })
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(configOf(hexA, hexB)))
	f.Add([]byte(configOf()))
	f.Add([]byte("{}"))
	f.Add([]byte(`{"rootfs":{"type":"layers","diff_ids":["sha256:../../x"]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := image.ParseConfig(body)
		if err != nil {
			return
		}
		if c.Digest != image.Of(body) {
			t.Error("the digest is not that of the document")
		}
		m := &image.Manifest{MediaType: image.OCIManifest, Config: image.Descriptor{MediaType: image.OCIConfig, Digest: c.Digest}, Layers: make([]image.Descriptor, len(c.DiffIDs))}
		if err := c.Identifies(m); (err == nil) != (len(c.DiffIDs) > 0) {
			t.Errorf("%+v identifies %+v: %v", c, m, err)
		}
	})
}
