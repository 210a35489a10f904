package sigstoretest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

func digestOf(t *testing.T, ref image.Ref) name.Digest {
	t.Helper()
	d, err := name.NewDigest(ref.String())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// ask asks as go-containerregistry does.
func ask(t *testing.T, r *sigstoretest.Registry, more ...remote.Option) []remote.Option {
	t.Helper()
	return append([]remote.Option{remote.WithTransport(r.Client().Transport), remote.WithContext(t.Context())}, more...)
}

func TestGoContainerRegistryReadsImages(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]sigstoretest.RegistryOptions{
		"HTTPS":  {},
		"HTTP":   {Plain: true},
		"tokens": {Auth: &sigstoretest.Auth{Token: true, Users: map[string]string{"u": "p"}}},
		"Basic":  {Auth: &sigstoretest.Auth{Users: map[string]string{"u": "p"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sigstoretest.NewRegistry(t, o)
			one := r.PushImage("pay/api", sigstoretest.Image{Content: "v1", Layers: 2})
			same := r.PushImage("evil/copy", sigstoretest.Image{Content: "v1", Layers: 2, Annotations: map[string]string{"by": "evil"}})
			if one.Config != same.Config || one.Ref.Digest == same.Ref.Digest {
				t.Errorf("configurations %s and %s of manifests %s and %s", one.Config, same.Config, one.Ref.Digest, same.Ref.Digest)
			}
			arm := r.PushImage("pay/api", sigstoretest.Image{Content: "v1", Platform: image.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}})
			index := r.PushIndex("pay/api", sigstoretest.Index{Children: []sigstoretest.Child{{Pushed: one}, {Pushed: arm}}, Tag: "v1"})
			var more []remote.Option
			if o.Auth != nil {
				more = append(more, remote.WithAuth(&authn.Basic{Username: "u", Password: "p"}))
			}
			got, err := remote.Index(digestOf(t, index.Ref), ask(t, r, more...)...)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate.Index(got); err != nil {
				t.Error(err)
			}
			if o.Auth == nil {
				return
			}
			_, err = remote.Index(digestOf(t, index.Ref), ask(t, r, remote.WithAuth(&authn.Basic{Username: "u", Password: "wrong"}))...)
			if err == nil {
				t.Error("a wrong password was taken")
			}
		})
	}
}

func TestGoContainerRegistryFindsReferrers(t *testing.T) {
	t.Parallel()
	s := sigstoretest.New()
	signer := s.Keyless(sigstoretest.Identity{Subject: sigstoretest.Email("dev@example.org"), Issuer: "https://example.org"})
	for _, place := range []sigstoretest.Place{sigstoretest.Referrers, sigstoretest.FallbackTag} {
		r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{NoReferrers: place == sigstoretest.FallbackTag})
		app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
		var want []string
		for range 3 {
			a := sigstoretest.Sign(sigstoretest.Signature{Signer: signer, Digest: app.Ref.Digest, Format: evidence.Bundle})
			r.Attach(app.Ref, place, a)
			want = append(want, string(a.Content))
		}
		index, err := remote.Referrers(digestOf(t, app.Ref), ask(t, r)...)
		if err != nil {
			t.Fatal(err)
		}
		list, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range list.Manifests {
			if d.ArtifactType != "application/vnd.dev.sigstore.bundle.v0.3+json" || d.Annotations["dev.sigstore.bundle.predicateType"] != sigstoretest.SignPredicate {
				t.Errorf("descriptor %+v", d)
			}
			got = append(got, layers(t, r, digestOf(t, image.Ref{Repository: app.Ref.Repository, Digest: parsed(t, d.Digest)}))[0].content)
		}
		if d := cmp.Diff(want, got, sorted); d != "" {
			t.Error(d)
		}
	}
}

var sorted = cmp.Transformer("sorted", func(s []string) map[string]int {
	m := make(map[string]int)
	for _, v := range s {
		m[v]++
	}
	return m
})

func TestGoContainerRegistryFindsCosignsImages(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	app := r.PushImage("pay/api", sigstoretest.Image{Content: "v1"})
	signature := sigstoretest.Sign(sigstoretest.Signature{Signer: sigstoretest.NewKey(0), Digest: app.Ref.Digest})
	second := sigstoretest.Sign(sigstoretest.Signature{Signer: sigstoretest.NewKey(0), Digest: app.Ref.Digest})
	attestation := sigstoretest.Sign(sigstoretest.Signature{Signer: sigstoretest.NewKey(0), Digest: app.Ref.Digest, Format: evidence.Envelope})
	r.Attach(app.Ref, sigstoretest.Usual, signature, second, attestation)
	base := r.Host() + "/pay/api:sha256-" + app.Ref.Digest.Hex()
	for suffix, want := range map[string][]*sigstoretest.Artefact{".sig": {signature, second}, ".att": {attestation}} {
		tag, err := name.NewTag(base + suffix)
		if err != nil {
			t.Fatal(err)
		}
		got := layers(t, r, tag)
		if len(got) != len(want) {
			t.Fatalf("%d layers, want %d", len(got), len(want))
		}
		for i, a := range want {
			if d := cmp.Diff(layer{string(a.Content), a.Annotations}, got[i], cmp.AllowUnexported(layer{})); d != "" {
				t.Error(d)
			}
		}
	}
}

type layer struct {
	content     string
	annotations map[string]string
}

func layers(t *testing.T, r *sigstoretest.Registry, ref name.Reference) []layer {
	t.Helper()
	img, err := remote.Image(ref, ask(t, r)...)
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	var out []layer
	for _, d := range m.Layers {
		l, err := img.LayerByDigest(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		body, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close()); err != nil {
			t.Fatal(err)
		}
		out = append(out, layer{string(content), d.Annotations})
	}
	return out
}

func parsed(t *testing.T, h v1.Hash) image.Digest {
	t.Helper()
	d, err := image.ParseDigest(h.String())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestReferrersComeInPages(t *testing.T) {
	t.Parallel()
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{PageSize: 2})
	app := r.PushImage("pay/api", sigstoretest.Image{})
	for i := range 5 {
		a := &sigstoretest.Artefact{Format: evidence.Bundle, MediaType: "application/x", Content: fmt.Appendf(nil, "%d", i)}
		r.Attach(app.Ref, sigstoretest.Referrers, a)
	}
	next, sizes := "/v2/pay/api/referrers/"+app.Ref.Digest.String()+"?artifactType=application%2Fx", []int{}
	for next != "" {
		response, body := get(t, r, next)
		if filters := response.Header.Get("OCI-Filters-Applied"); filters != "artifactType" {
			t.Errorf("filters applied: %q", filters)
		}
		var index struct {
			Manifests []struct{ ArtifactType string }
		}
		if err := json.Unmarshal(body, &index); err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(index.Manifests))
		link, found := strings.CutSuffix(response.Header.Get("Link"), `>; rel="next"`)
		next = strings.TrimPrefix(link, "<")
		if !found {
			next = ""
		}
	}
	if d := cmp.Diff([]int{2, 2, 1}, sizes); d != "" {
		t.Error(d)
	}
	if _, body := get(t, r, "/v2/pay/api/referrers/"+app.Ref.Digest.String()+"?artifactType=application%2Fother"); !strings.Contains(string(body), `"manifests":[]`) {
		t.Errorf("referrers of another type: %s", body)
	}
}

// get asks for a path, accepting everything.
func get(t *testing.T, r *sigstoretest.Registry, target string) (*http.Response, []byte) {
	t.Helper()
	response, err := do(t, r.Client(), http.MethodGet, r.URL()+target, http.Header{"Accept": {"*/*"}})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return response, body
}

func do(t *testing.T, c *http.Client, method, url string, header http.Header) (*http.Response, error) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header = header
	return c.Do(q)
}

// recorder is a test that may fail.
type recorder struct {
	*testing.T
	mu     sync.Mutex
	errors []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) failed() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.errors
}

// A client that breaks the protocol fails its test.
func TestAClientThatBreaksTheProtocolFailsItsTest(t *testing.T) {
	t.Parallel()
	const digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	basic := http.Header{"Authorization": {"Basic dTpw"}}
	for name, test := range map[string]struct {
		auth           *sigstoretest.Auth
		method, target string
		header         http.Header
		want           string
	}{
		"credentials nobody asked for": {target: "/v2/", header: basic, want: "asked for none"},
		"a password in place of a token": {
			auth: &sigstoretest.Auth{Token: true}, target: "/v2/a/blobs/" + digest, header: basic, want: "takes tokens",
		},
		"a token of somebody else": {
			auth: &sigstoretest.Auth{Token: true}, target: "/v2/a/blobs/" + digest,
			header: http.Header{"Authorization": {"Bearer x"}}, want: "another realm",
		},
		"a password for who gives no tokens": {target: "/token?service=x", header: basic, want: "gives no tokens"},
		"writing":                            {method: http.MethodPut, target: "/v2/a/manifests/v1", want: "GET or HEAD"},
		"a digest that is none":              {target: "/v2/a/blobs/sha256:../../x", want: "no "},
		"an upper-case digest":               {target: "/v2/a/blobs/" + strings.Replace(digest, "0", "A", 1), want: "no digest"},
		"a tag that is none":                 {target: "/v2/a/manifests/sha256:00", want: "neither"},
		"a path that is none":                {target: "/v1/a", want: "no path"},
		"a repository that is none":          {target: "/v2/A/blobs/" + digest, want: "no path"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tb := &recorder{T: t}
			r := sigstoretest.NewRegistry(tb, sigstoretest.RegistryOptions{Auth: test.auth})
			method := test.method
			if method == "" {
				method = http.MethodGet
			}
			response, err := do(t, r.Client(), method, r.URL()+test.target, test.header)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if got := tb.failed(); len(got) != 1 || !strings.Contains(got[0], test.want) {
				t.Errorf("failed with %q, want %q", got, test.want)
			}
			if got := r.Requests(); len(got) != 1 || got[0].Method != method || got[0].Target != test.target || got[0].Authorization != test.header.Get("Authorization") {
				t.Errorf("requests %+v", got)
			}
		})
	}
}

// A token is for one repository, and for as long as it is not revoked; it may be
// another host's.
func TestTokensAreForOneRepository(t *testing.T) {
	t.Parallel()
	realm := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Token: true, Users: map[string]string{"u": "p"}, Anonymous: true}})
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Token: true, Issuer: realm}})
	for _, path := range []string{"pay/api", "pay/web"} {
		r.PushImage(path, sigstoretest.Image{Tag: "v1"})
	}
	refused, err := do(t, r.Client(), http.MethodGet, r.URL()+"/v2/pay/api/manifests/v1", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = refused.Body.Close()
	want := fmt.Sprintf(`Bearer realm="%s/token",service="%s",scope="repository:pay/api:pull"`, realm.URL(), r.Host())
	if got := refused.Header.Get("WWW-Authenticate"); refused.StatusCode != http.StatusUnauthorized || got != want {
		t.Errorf("%d with challenge %s, want %s", refused.StatusCode, got, want)
	}
	_, body := get(t, realm, "/token?service="+r.Host()+"&scope=repository:pay/api:pull")
	var answer struct{ Token string }
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	status := func(path string) int {
		response, err := do(t, r.Client(), http.MethodGet, r.URL()+"/v2/"+path+"/manifests/v1", http.Header{
			"Accept": {"*/*"}, "Authorization": {"Bearer " + answer.Token},
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	if got := []int{status("pay/api"), status("pay/web")}; got[0] != http.StatusOK || got[1] != http.StatusUnauthorized {
		t.Errorf("status %v", got)
	}
	realm.RevokeTokens()
	if got := status("pay/api"); got != http.StatusUnauthorized {
		t.Errorf("status %d with a revoked token", got)
	}
}
