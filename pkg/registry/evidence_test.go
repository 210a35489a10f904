package registry_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestEvidenceOfEveryFormatInEveryPlace(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	other := r.PushImage("pay/api", sigstoretest.Image{Content: "v2"})
	r.Attach(app.Ref, sigstoretest.Usual, signed(evidence.SimpleSigning, "one"), signed(evidence.SimpleSigning, "two"),
		signed(evidence.Envelope, "three"), signed(evidence.Bundle, "four"), signed(evidence.Bundle, "five"))
	r.Attach(app.Ref, sigstoretest.FallbackTag, signed(evidence.Bundle, "six"))
	r.Attach(other.Ref, sigstoretest.Usual, signed(evidence.SimpleSigning, "of another"), signed(evidence.Bundle, "of another, too"))

	found, err := asks(t, r).Conversation(who).Evidence(t.Context(), app.Ref)
	if err != nil || len(found.Problems) > 0 {
		t.Fatal(found, err)
	}
	tag := "tag sha256-" + app.Ref.Digest.Hex()
	want := []evidence.Item{
		{Format: evidence.SimpleSigning, Source: tag + ".sig", Content: []byte("one"), Annotations: map[string]string{"dev.cosignproject.cosign/signature": "of one"}},
		{Format: evidence.SimpleSigning, Source: tag + ".sig", Content: []byte("two"), Annotations: map[string]string{"dev.cosignproject.cosign/signature": "of two"}},
		{Format: evidence.Envelope, Source: tag + ".att", Content: []byte("three"), Annotations: map[string]string{"dev.cosignproject.cosign/signature": ""}},
		{Format: evidence.Bundle, Content: []byte("five")},
		{Format: evidence.Bundle, Content: []byte("four")},
		{Format: evidence.Bundle, Content: []byte("six")},
	}
	for i := range want {
		want[i].At, want[i].Blob = app.Ref, image.Of(want[i].Content)
	}
	for i, item := range found.Items {
		if item.Format == evidence.Bundle {
			if !strings.HasPrefix(item.Source, "referrer sha256:") {
				t.Errorf("a bundle comes from %q", item.Source)
			}
			found.Items[i].Source = ""
		}
	}
	less := func(a, b evidence.Item) bool { return string(a.Content) < string(b.Content) }
	if diff := cmp.Diff(want, found.Items, cmpopts.SortSlices(less), cmpopts.EquateComparable(image.Digest{}, image.Ref{})); diff != "" {
		t.Error(diff)
	}
	// Four lists side by side, and then what they name.
	if n := len(r.Requests()); n != 4+3+3+3 {
		t.Errorf("%d requests", n)
	}
}

func TestTheOrderDependsOnlyOnWhatThereIs(t *testing.T) {
	t.Parallel()
	var want []evidence.Item
	for attempt := range 5 {
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
		app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
		for i := range 20 {
			r.Attach(app.Ref, sigstoretest.Usual, signed(evidence.SimpleSigning, fmt.Sprint("s", i)))
			r.Attach(app.Ref, []sigstoretest.Place{sigstoretest.Referrers, sigstoretest.FallbackTag}[(i+attempt)%2], signed(evidence.Bundle, fmt.Sprint("b", i)))
		}
		found, err := asks(t, r).Conversation(who).Evidence(t.Context(), app.Ref)
		if err != nil || len(found.Items) != 40 || len(found.Problems) > 0 {
			t.Fatal(found, err)
		}
		for i := range found.Items {
			found.Items[i].At = image.Ref{}
		}
		if attempt == 0 {
			want = found.Items
		}
		if diff := cmp.Diff(want, found.Items, cmpopts.EquateComparable(image.Digest{}, image.Ref{})); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestNoEvidenceIsAnAnswer(t *testing.T) {
	t.Parallel()
	for _, noReferrers := range []bool{false, true} {
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{NoReferrers: noReferrers})
		app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
		found, err := asks(t, r).Conversation(who).Evidence(t.Context(), app.Ref)
		if err != nil || len(found.Items)+len(found.Problems) > 0 {
			t.Errorf("%+v, %v", found, err)
		}
		if n := len(r.Requests()); n != 4 {
			t.Errorf("%d requests", n)
		}
	}
}

// Registries of before there was a list of referrers.
func TestOnlyTheFallbackTag(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 404, 405, 406, 501} {
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
		r.Break(sigstoretest.On{Path: "/referrers/"}, sigstoretest.Status(status))
		app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
		r.Attach(app.Ref, sigstoretest.FallbackTag, signed(evidence.Bundle, "a"))
		r.Attach(app.Ref, sigstoretest.Referrers, signed(evidence.Bundle, "not to be found"))
		found, err := asks(t, r).Conversation(who).Evidence(t.Context(), app.Ref)
		wantItems(t, found, err, "a")
		if err == nil && len(found.Problems) > 0 {
			t.Errorf("%d: %v", status, found.Problems)
		}
	}
}

// What is found twice is judged once.
func TestTheSameBundleInBothLists(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	for _, d := range r.Attach(app.Ref, sigstoretest.Referrers, signed(evidence.Bundle, "a")) {
		r.AddFallback(app.Ref, d)
	}
	bundled(r, app.Ref, "another/manifest", "a")
	found, err := asks(t, r).Conversation(who).Evidence(t.Context(), app.Ref)
	wantItems(t, found, err, "a")
}

// A list says what it likes; each candidate is taken for what it is.
func TestWhatAListSaysOfAnEntryDecidesNothing(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	bundled(r, app.Ref, "", "no type")
	bundled(r, app.Ref, "application/spdx+json", "wrong type")
	bundled(r, app.Ref, bundleType, "right type")
	bundled(r, app.Ref, "application/vnd.dev.sigstore.bundle+json;version=0.1", "old type")
	// Says that it is a bundle, and is none.
	r.PutBlob("pay/api", []byte("sbom"))
	r.PutManifest("pay/api", image.OCIManifest, manifestOf(app.Ref.Digest, bundleType, descriptor("application/spdx+json", []byte("sbom"))))
	r.PutManifest("pay/api", image.OCIManifest, manifestOf(app.Ref.Digest, bundleType))
	r.PutManifest("pay/api", image.OCIManifest, manifestOf(app.Ref.Digest, bundleType, descriptor("application/vnd.dev.sigstore.bundlejson", []byte("sbom"))))
	found, err := asks(t, r).Conversation(who).Evidence(t.Context(), app.Ref)
	wantItems(t, found, err, "no type,old type,right type,wrong type")
	if err == nil && len(found.Problems) > 0 {
		t.Error(found.Problems)
	}
}

// go-containerregistry's registry lists the type of the configuration in place of
// the artifact's.
func TestAReferenceRegistryThatListsWrongTypes(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(ggcr.New(ggcr.WithReferrersSupport(true), ggcr.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "https://")
	with := remote.WithTransport(server.Client().Transport)
	push := func(add func(v1.Image) v1.Image, layers ...v1.Layer) v1.Hash {
		t.Helper()
		img, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layers...)
		if err != nil {
			t.Fatal(err)
		}
		if add != nil {
			img = add(img)
		}
		hash, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		to, err := name.NewDigest(host + "/pay/api@" + hash.String())
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(to, img, with); err != nil {
			t.Fatal(err)
		}
		return hash
	}
	app := push(nil, static.NewLayer([]byte("app"), types.OCILayer))
	ref, err := image.ParseRef(host + "/pay/api@" + app.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"a", "b"} {
		push(func(img v1.Image) v1.Image {
			return mutate.Subject(img, v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: app, Size: 1}).(v1.Image)
		}, static.NewLayer([]byte(content), bundleType))
	}
	c := newClient(t, registry.Config{Registries: []registry.Registry{{Host: host, CAPath: file(t, "ca.pem", certificate(server.Certificate()))}}})
	found, err := c.Conversation(who).Evidence(t.Context(), ref)
	wantItems(t, found, err, "a,b")
}

// The failure of one place hides nothing of another; that it failed is said, and that
// the registry is not away: who may push could bring that about (ADVERSARIAL.md, row 38).
func TestOnePlaceThatFailsHidesNothing(t *testing.T) {
	t.Parallel()
	for _, path := range []string{".sig", ".att", "/referrers/", "/manifests/sha256-"} {
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
		app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
		r.Attach(app.Ref, sigstoretest.Usual, signed(evidence.SimpleSigning, "s"), signed(evidence.Envelope, "e"), signed(evidence.Bundle, "b"))
		r.Attach(app.Ref, sigstoretest.FallbackTag, signed(evidence.Bundle, "f"))
		want := map[string]string{".sig": "b,e,f", ".att": "b,f,s", "/referrers/": "e,f,s", "/manifests/sha256-": "b"}[path]
		r.Break(sigstoretest.On{Path: path}, sigstoretest.Status(http.StatusBadGateway))
		found, err := asks(t, r).Conversation(who).Evidence(t.Context(), app.Ref)
		wantItems(t, found, err, want)
		if found == nil || len(found.Problems) == 0 {
			t.Errorf("%s: no problem", path)
			continue
		}
		for _, problem := range found.Problems {
			wantKind(t, problem, registry.Incomplete, "502")
		}
	}
}

func TestNothingAnswers(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	c := asks(t, r)
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	r.Break(sigstoretest.On{}, sigstoretest.Status(http.StatusBadGateway))
	_, err := c.Conversation(who).Evidence(t.Context(), app.Ref)
	wantKind(t, err, registry.Unavailable, "502", app.Ref.Digest.String(), app.Ref.Repository.String())

	// Of several reasons that counts for which waiting helps least.
	r.Mend()
	r.Break(sigstoretest.On{Path: ".sig"}, sigstoretest.Status(http.StatusForbidden))
	r.Break(sigstoretest.On{}, sigstoretest.Status(http.StatusBadGateway))
	_, err = c.Conversation(who).Evidence(t.Context(), app.Ref)
	wantKind(t, err, registry.Denied, "502", "403")

	r.Close()
	_, err = c.Conversation(who).Evidence(t.Context(), app.Ref)
	wantKind(t, err, registry.Unavailable, "refused")
}

// What is there and can't be taken is said, and nothing else suffers.
func TestEvidenceThatIsBroken(t *testing.T) {
	t.Parallel()
	none := image.Of([]byte("none"))
	for name, c := range map[string]struct {
		spoil func(r *sigstoretest.Registry, app image.Ref)
		kind  registry.Kind
		says  string
	}{
		"a manifest that is gone": {func(r *sigstoretest.Registry, app image.Ref) {
			r.Delete("pay/api", bundled(r, app, "", "x").String())
			r.AddFallback(app, bundled(r, app, "", "y"))
			r.Delete("pay/api", bundled(r, app, "", "y").String())
		}, registry.NotFound, "referrer sha256:"},
		"a bundle that is gone": {func(r *sigstoretest.Registry, app image.Ref) {
			bundled(r, app, "", "x")
			r.Delete("pay/api", image.Of([]byte("x")).String())
		}, registry.NotFound, "blob sha256:"},
		"a manifest with two bundles": {func(r *sigstoretest.Registry, app image.Ref) {
			r.PutManifest("pay/api", image.OCIManifest, manifestOf(app.Digest, "", descriptor(bundleType, []byte("x")), descriptor(bundleType, []byte("y"))))
		}, registry.Malformed, "2 bundles"},
		"a manifest that is two things (row 21)": {func(r *sigstoretest.Registry, app image.Ref) {
			body := strings.Replace(string(manifestOf(app.Digest, "", descriptor(bundleType, []byte("x")))), `"layers"`, `"manifests":[],"layers"`, 1)
			r.PutManifest("pay/api", image.OCIManifest, []byte(body))
		}, registry.Malformed, "no manifests"},
		"a size that is too small": {func(r *sigstoretest.Registry, app image.Ref) {
			r.PutBlob("pay/api", []byte("long enough"))
			layer := descriptor(bundleType, []byte("long enough"))
			layer["size"] = 3
			r.PutManifest("pay/api", image.OCIManifest, manifestOf(app.Digest, "", layer))
		}, registry.Malformed, "longer than the 3 bytes"},
		"a size that is too large": {func(r *sigstoretest.Registry, app image.Ref) {
			r.PutBlob("pay/api", []byte("short"))
			layer := descriptor(bundleType, []byte("short"))
			layer["size"] = 7 << 20
			r.PutManifest("pay/api", image.OCIManifest, manifestOf(app.Digest, "", layer))
		}, registry.Malformed, "5 bytes long"},
		"another blob in its place (row 19)": {func(r *sigstoretest.Registry, app image.Ref) {
			bundled(r, app, "", "x")
			r.Break(sigstoretest.On{Path: "/blobs/" + image.Of([]byte("x")).String()}, sigstoretest.Body("", []byte("y")))
		}, registry.Malformed, "something else"},
		"another manifest in its place (row 19)": {func(r *sigstoretest.Registry, app image.Ref) {
			d := bundled(r, app, "", "x")
			r.Break(sigstoretest.On{Path: "/manifests/" + d.String()}, sigstoretest.Body(image.OCIManifest, manifestOf(none, "")))
		}, registry.Malformed, "something else"},
		"an index under the tag for signatures": {func(r *sigstoretest.Registry, app image.Ref) {
			r.Tag("pay/api", "sha256-"+app.Digest.Hex()+".att", r.PutManifest("pay/api", image.OCIIndex, []byte(`{"schemaVersion":2,"mediaType":"`+image.OCIIndex+`","manifests":[]}`)))
		}, registry.Malformed, "it is an index"},
		"an image under the tag for lists": {func(r *sigstoretest.Registry, app image.Ref) {
			r.Tag("pay/api", "sha256-"+app.Digest.Hex(), r.PutManifest("pay/api", image.OCIManifest, manifestOf(none, "")))
		}, registry.Malformed, "not a list of manifests"},
		"a page of HTML in place of a list": {func(r *sigstoretest.Registry, _ image.Ref) {
			r.Break(sigstoretest.On{Path: "/referrers/"}, sigstoretest.Body("text/html", []byte("<h1>hello")))
		}, registry.Malformed, "text/html"},
		"HTML that is called a list": {func(r *sigstoretest.Registry, _ image.Ref) {
			r.Break(sigstoretest.On{Path: "/referrers/"}, sigstoretest.Body(image.OCIIndex, []byte("<h1>hello")))
		}, registry.Malformed, "referrers"},
		"a list without a list": {func(r *sigstoretest.Registry, _ image.Ref) {
			r.Break(sigstoretest.On{Path: "/referrers/"}, sigstoretest.Body(image.OCIIndex, []byte("{}")))
		}, registry.Malformed, "lists no manifests"},
		"an entry with a malformed digest (row 20)": {func(r *sigstoretest.Registry, app image.Ref) {
			r.Break(sigstoretest.On{Path: "/referrers/"}, sigstoretest.Body(image.OCIIndex, []byte(`{"manifests":[{"digest":"sha256:../../x"},{"digest":"`+
				bundled(r, app, "", "found").String()+`"},null,7,{"digest":7}]}`)))
		}, registry.Malformed, "4 of the entries"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
			app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
			r.Attach(app.Ref, sigstoretest.Usual, signed(evidence.SimpleSigning, "good"))
			c.spoil(r, app.Ref)
			found, err := asks(t, r).Conversation(who).Evidence(t.Context(), app.Ref)
			if !strings.Contains(contents(found), "good") {
				t.Errorf("got %q, %v", contents(found), err)
			}
			wantProblem(t, found, c.kind, c.says)
		})
	}
}

// Somebody who may push describes a blob of somebody else's wrongly.
func TestAWrongDescriptionOfABlobSpoilsNoRightOne(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	bundled(r, app.Ref, "", "good")
	for _, size := range []int{0, 3, 5, 1 << 20} {
		layer := descriptor(bundleType, []byte("good"))
		layer["size"] = size
		r.PutManifest("pay/api", image.OCIManifest, manifestOf(app.Ref.Digest, bundleType, layer))
	}
	found, err := asks(t, r).Conversation(who).Evidence(t.Context(), app.Ref)
	wantItems(t, found, err, "good")
}
