package registry_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

func TestManifestsTagsAndBlobs(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	c := asks(t, r)
	for _, docker := range []bool{false, true} {
		app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1", Tag: "v1", Docker: docker})
		body, mediaType, err := c.Conversation(who).Manifest(t.Context(), app.Ref.Repository, app.Ref.Digest)
		if !bytes.Equal(body, app.Manifest) || mediaType != app.MediaType || err != nil {
			t.Errorf("manifest: %s, %q, %v", body, mediaType, err)
		}
		body, mediaType, err = c.Conversation(who).Tag(t.Context(), app.Ref.Repository, "v1")
		if !bytes.Equal(body, app.Manifest) || mediaType != app.MediaType || err != nil {
			t.Errorf("tag: %s, %q, %v", body, mediaType, err)
		}
		config, err := c.Conversation(who).Blob(t.Context(), app.Ref.Repository, app.Config, 4<<20)
		if err != nil || image.Of(config) != app.Config {
			t.Errorf("blob: %s, %v", config, err)
		}
		if _, err := image.ParseConfig(config); err != nil {
			t.Error(err)
		}
	}
	for _, q := range r.Requests() {
		if q.Method != http.MethodGet || q.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("%s %s with %v", q.Method, q.Target, q.Header)
		}
	}
}

func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	c := asks(t, r)
	none := image.Of([]byte("none"))
	repo := r.Repository("pay/api")
	_, _, err := c.Conversation(who).Manifest(t.Context(), repo, none)
	wantKind(t, err, registry.NotFound, repo.String(), none.String(), "404")
	_, _, err = c.Conversation(who).Tag(t.Context(), repo, "v1")
	wantKind(t, err, registry.NotFound, repo.String(), `"v1"`, "404")
	_, err = c.Conversation(who).Blob(t.Context(), repo, none, 100)
	wantKind(t, err, registry.NotFound, repo.String(), none.String())
	if e, ok := errors.AsType[*registry.Error](err); !ok || e.Registry() != r.Host() || e.Repository != repo {
		t.Errorf("%+v", e)
	}
}

// ADVERSARIAL.md row 20: what is no digest or no tag is not asked for.
func TestWhatIsNoDigestOrTagIsNotAskedFor(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	c := asks(t, r)
	repo := r.Repository("pay/api")
	_, _, err := c.Conversation(who).Manifest(t.Context(), repo, image.Digest{})
	wantKind(t, err, registry.Malformed, "no digest")
	_, err = c.Conversation(who).Blob(t.Context(), repo, image.Digest{}, 100)
	wantKind(t, err, registry.Malformed, "no digest")
	_, err = c.Conversation(who).Evidence(t.Context(), image.Ref{Repository: repo})
	wantKind(t, err, registry.Malformed, "no digest")
	_, err = c.Conversation(who).Evidence(t.Context(), image.Ref{Digest: image.Of(nil)})
	wantKind(t, err, registry.Malformed, "no repository")
	for _, tag := range []string{"", "../../x", "a/b", "sha256:" + strings.Repeat("a", 64), "a?b", "a%2fb", "\n"} {
		_, _, err = c.Conversation(who).Tag(t.Context(), repo, tag)
		wantKind(t, err, registry.Malformed, "not a tag")
	}
	if n := len(r.Requests()); n > 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// ADVERSARIAL.md row 19: a registry that answers one thing today and another one
// tomorrow, and says in a header that it is the same.
func TestARegistryThatAnswersWithSomethingElse(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	c := asks(t, r)
	good := r.PushImage("app", sigstoretest.Image{Content: "good"})
	evil := r.PushImage("app", sigstoretest.Image{Content: "evil"})
	r.Break(sigstoretest.On{Path: "/manifests/" + good.Ref.Digest.String()}, sigstoretest.Body(good.MediaType, evil.Manifest))
	_, _, err := c.Conversation(who).Manifest(t.Context(), good.Ref.Repository, good.Ref.Digest)
	wantKind(t, err, registry.Malformed, "something else", evil.Ref.Digest.String())
	r.Break(sigstoretest.On{Path: "/blobs/" + good.Config.String()}, sigstoretest.Body("application/octet-stream", []byte("{}")))
	_, err = c.Conversation(who).Blob(t.Context(), good.Ref.Repository, good.Config, 100)
	wantKind(t, err, registry.Malformed, "something else")

	// The header alone decides nothing.
	r.Mend()
	r.Break(sigstoretest.On{}, sigstoretest.Header("Docker-Content-Digest", evil.Ref.Digest.String()))
	if _, _, err := c.Conversation(who).Manifest(t.Context(), good.Ref.Repository, good.Ref.Digest); err != nil {
		t.Error(err)
	}
}

// go-containerregistry is the reference for ordinary images in ordinary registries.
func TestTheReferenceReadsTheSame(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(ggcr.New(ggcr.WithReferrersSupport(true), ggcr.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "https://")
	c := newClient(t, registry.Config{Registries: []registry.Registry{{Host: host, CAPath: file(t, "ca.pem", certificate(server.Certificate()))}}})
	with := remote.WithTransport(server.Client().Transport)

	index, err := random.Index(300, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(host + "/some/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index, with); err != nil {
		t.Fatal(err)
	}
	repo, err := image.ParseRepository(tag.Context().Name())
	if err != nil {
		t.Fatal(err)
	}

	body, mediaType, err := c.Conversation(who).Tag(t.Context(), repo, "v1")
	if err != nil {
		t.Fatal(err)
	}
	want, err := remote.Get(tag, with)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want.Manifest), string(body)); diff != "" || mediaType != string(want.MediaType) || image.Of(body).String() != want.Digest.String() {
		t.Error(diff)
	}
	m, err := image.ParseManifest(body, mediaType)
	if err != nil || len(m.Manifests) != 3 {
		t.Fatalf("%+v, %v", m, err)
	}
	for _, child := range m.Manifests {
		digest, err := name.NewDigest(repo.String() + "@" + child.Digest.String())
		if err != nil {
			t.Fatal(err)
		}
		want, err := remote.Image(digest, with)
		if err != nil {
			t.Fatal(err)
		}
		wantBody, err := want.RawManifest()
		if err != nil {
			t.Fatal(err)
		}
		body, mediaType, err := c.Conversation(who).Manifest(t.Context(), repo, child.Digest)
		if diff := cmp.Diff(string(wantBody), string(body)); diff != "" || err != nil {
			t.Fatal(diff, err)
		}
		m, err := image.ParseManifest(body, mediaType)
		if err != nil {
			t.Fatal(err)
		}
		config, err := c.Conversation(who).Blob(t.Context(), repo, m.Config.Digest, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		wantConfig, err := want.RawConfigFile()
		if diff := cmp.Diff(string(wantConfig), string(config)); diff != "" || err != nil {
			t.Fatal(diff, err)
		}
		parsed, err := image.ParseConfig(config)
		if err != nil || parsed.Digest != m.Config.Digest {
			t.Fatal(err)
		}
		if err := parsed.Identifies(m); err != nil {
			t.Error(err)
		}
	}
}

func certificate(c *x509.Certificate) []byte { return pemOf("CERTIFICATE", c.Raw) }
