package verify_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/selector"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/store"
	"github.com/podseal/podseal/pkg/verify"
)

// signed is a world with an image that the developer has signed, and the shelf with
// it. Tests of time begin long after it was signed: in a bubble the year is 2000, which
// is before, so that they judge by a key, which has no time.
type signed struct {
	*world
	app   sigstoretest.Pushed
	cfg   verify.Config
	shelf *shelf
	// found is what there is about it.
	found map[image.Ref]*registry.Found
}

func newSigned(t *testing.T) *signed {
	t.Helper()
	s := &signed{world: newWorld(t, sigstoretest.RegistryOptions{})}
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	s.app = s.registry.PushImage("app", sigstoretest.Image{Content: "app", Tag: "1"})
	s.registry.Attach(s.app.Ref, sigstoretest.Usual, s.sign(key, s.app.Ref.Digest, evidence.SimpleSigning, func(s *sigstoretest.Signature) { s.Witnesses = nil }))
	s.cfg = s.requires(t, authority(t)(sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{key.PublicPEM()}})))
	for name := range s.cfg.Judges {
		s.cfg.Judges[name] = verify.Judge{Authority: s.cfg.Judges[name].Authority}
	}
	s.shelf = s.filled(t, s.cfg, func(v *verify.Verifier) { s.holds(t, v) })
	s.found = s.shelf.evidence
	return s
}

// orStale has the policies fall back on evidence from before an outage.
func (s *signed) orStale() *signed {
	for r := range s.cfg.Policies.All() {
		r.OnUnavailable = policy.Stale
	}
	return s
}

// nothing is what there is about an image once its signatures were deleted.
func (s *signed) nothing() map[image.Ref]*registry.Found {
	none := map[image.Ref]*registry.Found{}
	for ref := range s.found {
		none[ref] = &registry.Found{}
	}
	return none
}

// nowhere keeps nothing.
type nowhere struct{}

func (nowhere) Get(image.Ref) ([]byte, string, bool)             { return nil, "", false }
func (nowhere) Put(image.Ref, string, []byte)                    {}
func (nowhere) Record(store.Key) ([]byte, bool)                  { return nil, false }
func (nowhere) PutRecord(store.Key, string, []byte, []image.Ref) {}

// verifier is one that asks the shelf.
func (s *signed) verifier(t *testing.T, kept verify.Store) *verify.Verifier {
	t.Helper()
	return remembering(t, s.cfg, s.shelf, verify.RecordStatuses{}, kept)
}

func memory() *store.Store { return store.Open(store.Config{}) }

func (s *signed) ask(t *testing.T, v *verify.Verifier) (*verify.Result, error) {
	t.Helper()
	p := running(s.app)
	return v.Container(t.Context(), p, &p.Containers[0])
}

func (s *signed) holds(t *testing.T, v *verify.Verifier) *verify.Result {
	t.Helper()
	r, err := s.ask(t, v)
	if err != nil || len(r.Trust.Accepted) == 0 {
		t.Fatalf("it does not hold: %v", err)
	}
	return r
}

func (s *signed) fails(t *testing.T, v *verify.Verifier, kind verify.Kind) {
	t.Helper()
	_, err := s.ask(t, v)
	if e, ok := errors.AsType[*verify.Error](err); !ok || e.Kind() != kind {
		t.Fatalf("it fails with %v, want it %s", err, kind)
	}
}

// asked fails the test unless there were so many conversations.
func (s *signed) asked(t *testing.T, want int) {
	t.Helper()
	synctest.Wait()
	if got, _ := s.shelf.had(); got != want {
		t.Fatalf("%d conversations, want %d", got, want)
	}
}

func selectorsOf(t *testing.T, r *verify.Result) []string {
	t.Helper()
	values, err := selector.Images(r.Trust)
	if err != nil {
		t.Fatal(err)
	}
	return values
}
