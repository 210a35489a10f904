package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	podrecord "github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/store"
	"github.com/podseal/podseal/pkg/trustroot"
	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
	"github.com/podseal/podseal/pkg/verify"
)

func TestARegistryIsAskedAsTheFiguresSay(t *testing.T) {
	t.Parallel()
	for _, a := range askedImages {
		for _, keyless := range []bool{false, true} {
			t.Run(fmt.Sprintf("%+v, keyless %t", a, keyless), func(t *testing.T) {
				t.Parallel()
				o := newAsker(t, a, keyless)
				o.start(t)
				if got := o.requests(t, verdictTTL); got != a.first {
					t.Errorf("%d requests the first time, want %d", got, a.first)
				}
				if got := o.requests(t, verdictTTL); got != 0 {
					t.Errorf("%d requests with another configuration", got)
				}
				o.start(t)
				if got := o.requests(t, verdictTTL); got != 0 {
					t.Errorf("%d requests after a restart", got)
				}
				if got := o.requests(t, time.Nanosecond); got != a.again {
					t.Errorf("%d requests for a new list, want %d", got, a.again)
				}
			})
		}
	}
}

// asker is what one node asks about one image, with cache.dir.
type asker struct {
	asked    askedImage
	registry *sigstoretest.Registry
	rules    verify.Config
	pod      *podrecord.Pod
	ca, dir  string
	// stop ends what start has started.
	stop   func()
	client *registry.Client
	store  *store.Store
}

func newAsker(t *testing.T, a askedImage, keyless bool) *asker {
	t.Helper()
	var options sigstoretest.RegistryOptions
	if a.tokens {
		options.Auth = &sigstoretest.Auth{Token: true, Anonymous: true}
	}
	o := &asker{asked: a, registry: sigstoretest.NewRegistry(t, options), ca: filepath.Join(t.TempDir(), "ca.pem"), dir: filepath.Join(t.TempDir(), "cache"), stop: func() {}}
	t.Cleanup(func() { o.stop() })
	if err := os.WriteFile(o.ca, o.registry.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	pushed := o.registry.PushImage("app", sigstoretest.Image{Content: "app", Tag: "1"})
	if a.index {
		other := o.registry.PushImage("app", sigstoretest.Image{Content: "app", Platform: image.Platform{OS: "linux", Architecture: "s390x"}})
		pushed = o.registry.PushIndex("app", sigstoretest.Index{Tag: "1", Children: []sigstoretest.Child{{Pushed: pushed}, {Pushed: other}}})
	}
	w := sigstoretest.New()
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	signature := sigstoretest.Signature{Signer: key, Digest: pushed.Ref.Digest, Format: evidence.SimpleSigning}
	judge, err := sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{key.PublicPEM()}})
	if keyless {
		signature.Signer, signature.Witnesses = w.Keyless(sigstoretest.GitHub("org/app", "release.yml", "refs/tags/v1")), []sigstoretest.Witness{w.Rekor1}
		judge, err = sigstore.NewKeyless(sigstore.KeylessConfig{AnyIdentity: true})
	}
	if a.signature == bundle {
		signature.Format = evidence.Bundle
	}
	if a.signature != "" {
		o.registry.Attach(pushed.Ref, sigstoretest.Usual, sigstoretest.Sign(signature))
	}
	root, rootErr := sigstore.ParseRoot(w.TrustedRoot())
	policies, policyErr := policy.NewSet(&policy.Policy{Name: "p", Mode: policy.Fail, Authorities: []policy.Authority{{Name: "a"}}})
	if err := errors.Join(err, rootErr, policyErr); err != nil {
		t.Fatal(err)
	}
	o.rules = verify.Config{
		Policies: policies, Judges: map[verify.AuthorityName]verify.Judge{{Policy: "p", Authority: "a"}: {Authority: judge, Root: fixed{root}}},
		Budget: time.Minute, MaxEntries: 1, Platform: image.NodePlatform(),
	}
	byTag := pushed.Ref.Repository.String() + ":1"
	spec := pushed.Ref.String()
	if a.byTag {
		spec = byTag
	}
	o.pod = &podrecord.Pod{UID: "u", Namespace: "shop", Name: "web-0", ServiceAccount: "web", Containers: []podrecord.Container{{
		Name: "c", Type: podrecord.Regular, SpecImage: spec, HasStatus: true, ID: "id", Running: true, Image: byTag, ImageID: pushed.Ref.String(),
	}}}
	return o
}

// fixed is a trust root that stays as it is.
type fixed struct{ root *sigstore.Root }

func (f fixed) Current() (*sigstore.Root, trustroot.Status) { return f.root, trustroot.Status{} }

// start starts anew, with what is on the disk.
func (o *asker) start(t *testing.T) {
	t.Helper()
	o.stop()
	o.store = store.Open(store.Config{Dir: o.dir})
	client, err := registry.New(registry.Config{
		Registries: []registry.Registry{{Host: o.registry.Host(), CAPath: o.ca}}, Store: o.store, Salt: o.store.Salt(),
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	o.client = client
	o.stop = func() {
		client.Close()
		o.store.Close()
	}
}

// requests is how many are sent for a call, with a configuration of its own and lists
// that count for so long.
func (o *asker) requests(t *testing.T, ttl time.Duration) int {
	t.Helper()
	rules := o.rules
	rules.Ages = verify.Ages{TTL: ttl, StaleTTL: ttl, NegativeTTL: min(ttl, negativeTTL)}
	v, err := verify.New(rules, verify.Registries(o.client), verify.RecordStatuses{}, o.store)
	if err != nil {
		t.Fatal(err)
	}
	o.registry.Forget()
	if _, err := v.Container(t.Context(), o.pod, &o.pod.Containers[0]); (err == nil) != (o.asked.signature != "") {
		t.Fatalf("verified: %v", err)
	}
	return len(o.registry.Requests())
}

func TestTheMirrorOfATrustRootIsAskedAsTheFiguresSay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := trustroottest.New(someTrust())
		path := filepath.Join(t.TempDir(), "root.json")
		if err := os.WriteFile(path, r.RootJSON(1), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := trustroot.Config{Name: "t", TUF: &trustroot.TUF{Mirror: "https://tuf.example.org", RootPath: path}}
		s, err := trustroot.NewThrough(cfg, slog.New(slog.DiscardHandler), direct{r})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for _, step := range []struct {
			what string
			want int
			do   func()
		}{
			{"the first time", askedMirror.first, func() {}},
			{"the day after", askedMirror.again, func() { time.Sleep(mirrorRefresh) }},
			{"another trust root", askedMirror.news, func() {
				r.SetTarget(r.Targets, someTrust())
				r.Publish()
				time.Sleep(mirrorRefresh)
			}},
		} {
			step.do()
			synctest.Wait()
			if got := r.Requests(); len(got) != step.want {
				t.Errorf("%s: %q, want %d requests", step.what, got, step.want)
			}
		}
	})
}

// someTrust is a trusted_root.json that is unlike every other.
func someTrust() []byte { return sigstoretest.Trust(sigstoretest.NewCTLog()).JSON() }

// direct is a way to a handler that is no socket.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, req)
	resp := w.Result()
	resp.Request = req
	return resp, nil
}
