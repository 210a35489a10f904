package registry_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// store is one that can be made to lie.
type store struct {
	mu  sync.Mutex
	has map[image.Ref]stored
	// lie replaces what is returned.
	lie func(stored) stored
}

type stored struct {
	body      []byte
	mediaType string
}

func newStore() *store { return &store{has: map[image.Ref]stored{}} }

func (s *store) Get(ref image.Ref) (body []byte, mediaType string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.has[ref]
	if ok && s.lie != nil {
		found = s.lie(found)
	}
	return found.body, found.mediaType, ok
}

func (s *store) Put(ref image.Ref, mediaType string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.has[ref] = stored{body, mediaType}
}

// targets are what a registry was asked for since it forgot, without the digest of
// the image.
func targets(r *sigstoretest.Registry, of image.Digest) []string {
	var out []string
	for _, q := range r.Requests() {
		out = append(out, strings.ReplaceAll(strings.TrimPrefix(q.Target, "/v2/pay/api/"), of.Hex(), "X"))
	}
	slices.Sort(out)
	return out
}

var lists = []string{"manifests/sha256-X", "manifests/sha256-X.att", "manifests/sha256-X.sig", "referrers/sha256:X"}

// storing is a registry with an image that has evidence everywhere, and a client
// with a store.
func storing(t *testing.T) (*sigstoretest.Registry, image.Ref, *store, *registry.Client) {
	t.Helper()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	r.Attach(app.Ref, sigstoretest.Usual, signed(evidence.SimpleSigning, "one"), signed(evidence.Envelope, "two"), signed(evidence.Bundle, "three"))
	s := newStore()
	return r, app.Ref, s, newClient(t, registry.Config{Registries: []registry.Registry{block(t, r)}, Store: s})
}

func TestWhatHasADigestIsFetchedOnce(t *testing.T) {
	t.Parallel()
	r, app, _, c := storing(t)
	for round := range 2 {
		r.Forget()
		found, err := c.Conversation(who).Evidence(t.Context(), app)
		wantItems(t, found, err, "one,three,two")
		if got := targets(r, app.Digest); round == 1 && !slices.Equal(got, lists) {
			t.Errorf("the second time it asked for %q", got)
		}
	}
	r.Forget()
	for range 2 {
		body, mediaType, err := c.Conversation(who).Manifest(t.Context(), app.Repository, app.Digest)
		if err != nil || image.Of(body) != app.Digest || mediaType != image.OCIManifest {
			t.Errorf("%q, %v", mediaType, err)
		}
		m, err := image.ParseManifest(body, mediaType)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Conversation(who).Blob(t.Context(), app.Repository, m.Config.Digest, 1<<20); err != nil {
			t.Error(err)
		}
		if _, _, err := c.Conversation(who).Tag(t.Context(), app.Repository, "v1"); err == nil {
			t.Error("there is no such tag")
		}
	}
	if n := len(r.Requests()); n != 4 { // a tag is asked for each time
		t.Errorf("%d requests", n)
	}
	// Another repository of the same content is another place.
	_, _, err := c.Conversation(who).Manifest(t.Context(), r.Repository("pay/other"), app.Digest)
	wantKind(t, err, registry.NotFound)
}

// ADVERSARIAL.md row 42: a signature that was taken away to revoke it is gone,
// whatever the store still has.
func TestAStoreBringsNoRevokedSignatureBack(t *testing.T) {
	t.Parallel()
	r, app, _, c := storing(t)
	found, err := c.Conversation(who).Evidence(t.Context(), app)
	wantItems(t, found, err, "one,three,two")
	r.Break(sigstoretest.On{Path: ".sig"}, sigstoretest.Status(404))
	r.Break(sigstoretest.On{Path: "/referrers/"}, sigstoretest.Body(image.OCIIndex, []byte(`{"schemaVersion":2,"manifests":[]}`)))
	found, err = c.Conversation(who).Evidence(t.Context(), app)
	wantItems(t, found, err, "two")
}

// ADVERSARIAL.md row 29: nothing in a store is believed, on a disk that others can
// write to neither.
func TestAStoreThatLiesIsNotBelieved(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]func(stored) stored{
		"other content":   func(s stored) stored { return stored{append(slices.Clone(s.body), ' '), s.mediaType} },
		"nothing":         func(s stored) stored { return stored{nil, s.mediaType} },
		"half":            func(s stored) stored { return stored{s.body[:len(s.body)/2], s.mediaType} },
		"somebody else's": func(s stored) stored { return stored{[]byte("evil"), s.mediaType} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, app, s, c := storing(t)
			found, err := c.Conversation(who).Evidence(t.Context(), app)
			wantItems(t, found, err, "one,three,two")
			s.lie = lie
			r.Forget()
			found, err = c.Conversation(who).Evidence(t.Context(), app)
			wantItems(t, found, err, "one,three,two")
			if got := targets(r, app.Digest); len(got) != len(lists)+4 {
				t.Errorf("it asked for %q", got)
			}
			if len(found.Problems) > 0 {
				t.Error(found.Problems)
			}
			// What it had has been put right.
			s.lie = nil
			r.Forget()
			if _, err = c.Conversation(who).Evidence(t.Context(), app); err != nil {
				t.Error(err)
			}
			if got := targets(r, app.Digest); !slices.Equal(got, lists) {
				t.Errorf("then it asked for %q", got)
			}
		})
	}
}

// A media type that the store has made up is not one to the bytes.
func TestAStoresMediaTypeHasToFit(t *testing.T) {
	t.Parallel()
	_, app, s, c := storing(t)
	if _, err := c.Conversation(who).Evidence(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	s.lie = func(s stored) stored { return stored{s.body, image.OCIIndex} }
	found, err := c.Conversation(who).Evidence(t.Context(), app)
	if err != nil || contents(found) != "one,two" || len(found.Problems) != 1 {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestNothingThatIsRefusedIsStored(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	s := newStore()
	c := newClient(t, registry.Config{Registries: []registry.Registry{block(t, r)}, Store: s})
	long := r.PutBlob("pay/api", make([]byte, 1000))
	_, err := c.Conversation(who).Blob(t.Context(), r.Repository("pay/api"), long, 999)
	wantKind(t, err, registry.Limit)
	wrong := r.PutBlob("pay/api", []byte("right"))
	r.Break(sigstoretest.On{Path: wrong.String()}, sigstoretest.Body("x/y", []byte("wrong")))
	_, err = c.Conversation(who).Blob(t.Context(), r.Repository("pay/api"), wrong, 999)
	wantKind(t, err, registry.Malformed)
	if len(s.has) > 0 {
		t.Errorf("stored %v", s.has)
	}
	// A caller who wants less than what is there is not given more by the store.
	if _, err = c.Conversation(who).Blob(t.Context(), r.Repository("pay/api"), long, 1000); err != nil || len(s.has) != 1 {
		t.Errorf("%v: %d stored", err, len(s.has))
	}
	_, err = c.Conversation(who).Blob(t.Context(), r.Repository("pay/api"), long, 999)
	wantKind(t, err, registry.Limit)
}

// Manifests beside an image that are long have to wait for each other while they are
// read, and so are not put where they would be in memory at once.
func TestLongManifestsOfReferrersAreNotStored(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	r.PutBlob("pay/api", []byte("good"))
	layer := descriptor(bundleType, []byte("good"))
	layer["annotations"] = map[string]string{"x": strings.Repeat("x", 300<<10)}
	r.PutManifest("pay/api", image.OCIManifest, manifestOf(app.Ref.Digest, bundleType, layer))
	s := newStore()
	c := newClient(t, registry.Config{Registries: []registry.Registry{block(t, r)}, Store: s})
	for range 2 {
		found, err := c.Conversation(who).Evidence(t.Context(), app.Ref)
		wantItems(t, found, err, "good")
	}
	if len(s.has) != 1 {
		t.Errorf("%d are stored, want the bundle", len(s.has))
	}
}
