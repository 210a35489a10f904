package verify_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/selector"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/store"
	"github.com/podseal/podseal/pkg/trustroot"
	"github.com/podseal/podseal/pkg/verify"
)

// world is a virtual Sigstore and a registry, with a client that may ask it and no
// other.
type world struct {
	*sigstoretest.Sigstore
	registry *sigstoretest.Registry
	client   *registry.Client
	root     *sigstore.Root
}

func newWorld(t testing.TB, o sigstoretest.RegistryOptions) *world {
	t.Helper()
	w := &world{Sigstore: sigstoretest.New(), registry: sigstoretest.NewRegistry(t, o)}
	w.client = w.asks(t, registry.Limits{}, w.registry)
	w.root = root(t, w.TrustedRoot())
	return w
}

// asks is a client of these registries.
func (w *world) asks(t testing.TB, limits registry.Limits, registries ...*sigstoretest.Registry) *registry.Client {
	t.Helper()
	cfg := registry.Config{Limits: limits}
	for _, r := range registries {
		ca := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(ca, r.CAPEM(), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg.Registries = append(cfg.Registries, registry.Registry{Host: r.Host(), CAPath: ca})
	}
	client, err := registry.New(cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// fixed is a root that does not change.
type fixed struct{ root *sigstore.Root }

func (f fixed) Current() (*sigstore.Root, trustroot.Status) { return f.root, trustroot.Status{} }

func root(t testing.TB, trustedRoot []byte) *sigstore.Root {
	t.Helper()
	r, err := sigstore.ParseRoot(trustedRoot)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// keyless is an authority of one identity.
func keyless(t testing.TB, issuer, subject string) *sigstore.Authority {
	t.Helper()
	return authority(t)(sigstore.NewKeyless(sigstore.KeylessConfig{Identities: []sigstore.Identity{{Issuer: sigstore.Exact(issuer), Subject: sigstore.Exact(subject)}}}))
}

func authority(t testing.TB) func(*sigstore.Authority, error) *sigstore.Authority {
	return func(a *sigstore.Authority, err error) *sigstore.Authority {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
}

// dev is the signer of most tests.
const devIssuer, devSubject = "https://accounts.example.org", "dev@example.org"

func (w *world) dev() *sigstoretest.Signer {
	return w.Keyless(sigstoretest.Identity{Issuer: devIssuer, Subject: sigstoretest.Email(devSubject)})
}

// requires is a configuration with one policy for every image, of these
// authorities, which are called a, b and so on.
func (w *world) requires(t testing.TB, authorities ...*sigstore.Authority) verify.Config {
	t.Helper()
	p := &policy.Policy{Name: "p", Mode: policy.Fail}
	cfg := verify.Config{Budget: 20 * time.Second, Platform: image.NodePlatform(), Judges: map[verify.AuthorityName]verify.Judge{}}
	for i, a := range authorities {
		name := string(rune('a' + i))
		p.Authorities = append(p.Authorities, policy.Authority{Name: name})
		cfg.Judges[verify.AuthorityName{Policy: "p", Authority: name}] = verify.Judge{Authority: a, Root: fixed{w.root}}
	}
	cfg.Policies = set(t, p)
	return cfg
}

func set(t testing.TB, policies ...*policy.Policy) policy.Set {
	t.Helper()
	s, err := policy.NewSet(policies...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) verifier(t testing.TB, cfg verify.Config) *verify.Verifier {
	t.Helper()
	return verifier(t, cfg, w.client, verify.RecordStatuses{})
}

func verifier(t testing.TB, cfg verify.Config, client *registry.Client, s verify.Statuses) *verify.Verifier {
	t.Helper()
	return remembering(t, cfg, verify.Registries(client), s, store.Open(store.Config{}))
}

// ages are those of the configuration's defaults.
var ages = verify.Ages{TTL: time.Hour, StaleTTL: 24 * time.Hour, NegativeTTL: 30 * time.Second}

// remembering is a verifier with that store.
func remembering(t testing.TB, cfg verify.Config, r verify.Registry, s verify.Statuses, kept verify.Store) *verify.Verifier {
	t.Helper()
	if cfg.Ages == (verify.Ages{}) {
		cfg.Ages = ages
	}
	cfg.MaxEntries = cmp.Or(cfg.MaxEntries, 2048)
	v, err := verify.New(cfg, r, s, kept)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// running is a pod with one container that runs the image, as containerd reports it
// when the spec names it with a tag.
func running(images ...sigstoretest.Pushed) *pod.Pod {
	p := &pod.Pod{UID: "u", Namespace: "shop", Name: "web-0", ServiceAccount: "web"}
	for i, pushed := range images {
		name := pushed.Ref.Repository.String() + ":1"
		p.Containers = append(p.Containers, pod.Container{
			Name: "c" + string(rune('0'+i)), Type: pod.Regular, SpecImage: name, HasStatus: true, ID: "id" + string(rune('0'+i)), Running: true,
			Image: name, ImageID: pushed.Ref.String(),
		})
	}
	return p
}

// selectors verifies the pod's first container and returns the selectors of image
// trust.
func selectors(t testing.TB, v *verify.Verifier, p *pod.Pod) ([]string, error) {
	t.Helper()
	r, err := v.Container(t.Context(), p, &p.Containers[0])
	values, renderErr := selector.Images(r.Trust)
	if renderErr != nil {
		t.Fatal(renderErr)
	}
	if err != nil && len(values) > 0 {
		t.Errorf("selectors in spite of an error: %q", values)
	}
	return values, err
}

// wantSelectors fails the test unless these are the selectors.
func wantSelectors(t testing.TB, v *verify.Verifier, p *pod.Pod, want ...string) {
	t.Helper()
	got, err := selectors(t, v, p)
	if err != nil {
		t.Errorf("refused: %v", err)
	}
	slices.Sort(want)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("selectors (-want +got):\n%s", diff)
	}
}

// wantRefusal fails the test unless the image is refused for that kind of reason,
// and the error has these texts.
func wantRefusal(t testing.TB, v *verify.Verifier, p *pod.Pod, kind verify.Kind, texts ...string) {
	t.Helper()
	got, err := selectors(t, v, p)
	e, ok := errors.AsType[*verify.Error](err)
	if !ok {
		t.Fatalf("not refused: %q, %v", got, err)
	}
	if e.Kind() != kind {
		t.Errorf("refused as %q, want %q: %v", e.Kind(), kind, err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error does not say %q: %v", text, err)
		}
	}
}

// between is a registry with something in front of it that its evidence goes through.
type between struct {
	verify.Registry
	evidence func(ref image.Ref, ask func() (*registry.Found, error)) (*registry.Found, error)
}

func (b between) Conversation(who fair.Who) verify.Conversation {
	return betweenTalk{b.Registry.Conversation(who), b}
}

type betweenTalk struct {
	verify.Conversation
	between between
}

func (t betweenTalk) Evidence(ctx context.Context, ref image.Ref) (*registry.Found, error) {
	return t.between.evidence(ref, func() (*registry.Found, error) { return t.Conversation.Evidence(ctx, ref) })
}

// through is a verifier that asks the world's registry through it.
func (w *world) through(t testing.TB, cfg verify.Config, s verify.Statuses, evidence func(image.Ref, func() (*registry.Found, error)) (*registry.Found, error)) *verify.Verifier {
	t.Helper()
	return remembering(t, cfg, between{verify.Registries(w.client), evidence}, s, store.Open(store.Config{}))
}
