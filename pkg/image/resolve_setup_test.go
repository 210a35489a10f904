package image_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/image"
)

var (
	errGone  = errors.New("404")
	errAway  = errors.New("connection refused")
	goodApp  = mustRepository("good.example.org/app")
	aliasApp = mustRepository("evil.example.net/alias")
)

func mustRepository(s string) image.Repository {
	r, err := image.ParseRepository(s)
	if err != nil {
		panic(err)
	}
	return r
}

// world is the registries of the world, in memory: an image.Fetcher.
type world struct {
	documents map[string]document // by "repository@digest"
	tags      map[string]image.Digest
	// down are repositories that can't be asked, and why.
	down map[image.Repository]error
	// lies are given in place of documents, for "repository@digest".
	lies  map[string]document
	asked []string
}

type document struct{ body, mediaType string }

func newWorld() *world {
	return &world{documents: map[string]document{}, tags: map[string]image.Digest{}, down: map[image.Repository]error{}, lies: map[string]document{}}
}

// push puts a document into a repository, under a tag unless that is empty.
func (w *world) push(r image.Repository, tag string, d document) image.Digest {
	digest := image.Of([]byte(d.body))
	w.documents[key(r, digest)] = d
	if tag != "" {
		w.tags[r.String()+":"+tag] = digest
	}
	return digest
}

// pushImage puts an image there, of those layers; notes make another manifest of
// the same content.
func (w *world) pushImage(r image.Repository, tag, notes string, layers ...string) (manifest, config image.Digest) {
	configuration := configFor(layers...)
	w.push(r, "", document{configuration, ""})
	m := manifestOf(configuration, notes, layers...)
	return w.push(r, tag, document{m, image.OCIManifest}), image.Of([]byte(configuration))
}

func configFor(layers ...string) string {
	ids := make([]string, len(layers))
	for i, l := range layers {
		ids[i] = image.Of([]byte(l)).Hex()
	}
	return configOf(ids...)
}

func manifestOf(configuration, notes string, layers ...string) string {
	var list []string
	for _, l := range layers {
		list = append(list, described("application/vnd.oci.image.layer.v1.tar+gzip", image.Of([]byte("packed "+l)), ""))
	}
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s],"annotations":{"notes":%q}}`,
		image.OCIManifest, described(image.OCIConfig, image.Of([]byte(configuration)), ""), strings.Join(list, ","), notes)
}

func described(mediaType string, d image.Digest, platform string) string {
	if platform != "" {
		os, rest, _ := strings.Cut(platform, "/")
		architecture, variant, _ := strings.Cut(rest, "/")
		platform = fmt.Sprintf(`,"platform":{"os":%q,"architecture":%q,"variant":%q}`, os, architecture, variant)
	}
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":1%s}`, mediaType, d, platform)
}

// listing is an index of what is described.
func listing(descriptors ...string) document {
	return document{fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, image.OCIIndex, strings.Join(descriptors, ",")), image.OCIIndex}
}

func on(d image.Digest, platform string) string {
	return described(image.OCIManifest, d, platform)
}

func key(r image.Repository, d image.Digest) string {
	return image.Ref{Repository: r, Digest: d}.String()
}

func (w *world) get(what string, r image.Repository, d image.Digest) (document, error) {
	w.asked = append(w.asked, what+" "+key(r, d))
	if err := w.down[r]; err != nil {
		return document{}, fmt.Errorf("%s %s: %w", what, key(r, d), err)
	}
	if lie, ok := w.lies[key(r, d)]; ok {
		return lie, nil
	}
	got, ok := w.documents[key(r, d)]
	if !ok {
		return document{}, fmt.Errorf("%s %s: %w", what, key(r, d), errGone)
	}
	return got, nil
}

func (w *world) Manifest(_ context.Context, r image.Repository, d image.Digest) ([]byte, string, error) {
	got, err := w.get("manifest", r, d)
	return []byte(got.body), got.mediaType, err
}

func (w *world) Blob(_ context.Context, r image.Repository, d image.Digest, most int64) ([]byte, error) {
	got, err := w.get("blob", r, d)
	if int64(len(got.body)) > most {
		return nil, image.ErrLimit
	}
	return []byte(got.body), err
}

func (w *world) Tag(_ context.Context, r image.Repository, tag string) ([]byte, string, error) {
	w.asked = append(w.asked, "tag "+r.String()+":"+tag)
	if err := w.down[r]; err != nil {
		return nil, "", fmt.Errorf("tag %s:%s: %w", r, tag, err)
	}
	d, ok := w.tags[r.String()+":"+tag]
	if !ok {
		return nil, "", fmt.Errorf("tag %s:%s: %w", r, tag, errGone)
	}
	got := w.documents[key(r, d)]
	return []byte(got.body), got.mediaType, nil
}

// wasAsked is whether anything of the repository was.
func (w *world) wasAsked(r image.Repository) bool {
	for _, a := range w.asked {
		if strings.Contains(a, r.String()) {
			return true
		}
	}
	return false
}

// spec is what a pod's spec says.
func spec(t *testing.T, s string) image.Name {
	t.Helper()
	n, err := image.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// reported is a container of good.example.org/app:1 with that image ID.
func reported(t *testing.T, r image.Repository, d image.Digest) image.Reported {
	t.Helper()
	return image.Reported{Spec: spec(t, "good.example.org/app:1"), ID: image.ID{Repository: r, Digest: d}, Platform: amd64, ComparesLayers: true}
}

func words(candidates []image.Candidate) []string {
	var all []string
	for _, c := range candidates {
		all = append(all, c.String())
	}
	return all
}

func refs(of ...image.Ref) []string {
	var all []string
	for _, r := range of {
		all = append(all, r.String())
	}
	return all
}

func at(r image.Repository, d image.Digest) image.Ref { return image.Ref{Repository: r, Digest: d} }
