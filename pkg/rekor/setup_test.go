package rekor_test

import (
	"crypto"
	"errors"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/rekor"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

var (
	// app is the image that runs.
	app = image.Of([]byte("app"))
	now = sigstoretest.Time.Add(24 * time.Hour)
	pay = fair.Who{Tenant: "pay"}
)

type witnesses = []sigstoretest.Witness

// world is a Sigstore whose Rekor v1 can be asked.
type world struct {
	*sigstoretest.Sigstore
	root   *sigstore.Root
	server *sigstoretest.Rekor
	client *rekor.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := sigstoretest.New()
	root, err := sigstore.ParseRoot(s.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	server := sigstoretest.NewRekor(t, s.Rekor1)
	return &world{s, root, server, newClient(t, rekor.Config{URL: server.URL()})}
}

func newClient(t *testing.T, c rekor.Config) *rekor.Client {
	t.Helper()
	client, err := rekor.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func dev() sigstoretest.Identity {
	return sigstoretest.Identity{Subject: sigstoretest.Email("dev@example.org"), Issuer: "https://accounts.example.org"}
}

// unbundled is a signature that is in the log and does not have the log's entry.
func (w *world) unbundled(s sigstoretest.Signature) *sigstoretest.Artefact {
	if s.Signer == nil {
		s.Signer = w.Keyless(dev())
	}
	s.Digest, s.Break = app, sigstoretest.LogOnly
	if s.Witnesses == nil {
		s.Witnesses = witnesses{w.Rekor1}
	}
	return sigstoretest.Sign(s)
}

// item is the artefact as a registry has it.
func item(t testing.TB, a *sigstoretest.Artefact) evidence.Item {
	t.Helper()
	repository, err := image.ParseRepository("registry.example.org/app")
	if err != nil {
		t.Fatal(err)
	}
	return a.Item(image.Ref{Repository: repository, Digest: app})
}

func made(t testing.TB) func(*sigstore.Authority, error) *sigstore.Authority {
	return func(a *sigstore.Authority, err error) *sigstore.Authority {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
}

func keyless(t testing.TB) *sigstore.Authority {
	t.Helper()
	return made(t)(sigstore.NewKeyless(sigstore.KeylessConfig{
		Identities: []sigstore.Identity{{Issuer: sigstore.Exact("https://accounts.example.org"), Subject: sigstore.Exact("dev@example.org")}},
	}))
}

func keyed(t testing.TB, signer *sigstoretest.Signer) *sigstore.Authority {
	t.Helper()
	return made(t)(sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{signer.PublicPEM()}, RequireLog: true}))
}

// judge is when a log says that an item was signed.
func (w *world) judge(a *sigstore.Authority, item evidence.Item) (time.Time, error) {
	if signature, err := a.Signature(w.root, item, []image.Digest{app}, now); err == nil {
		return signature.IntegratedTime(), nil
	} else if !errors.Is(err, sigstore.ErrNotSignature) {
		return time.Time{}, err
	}
	attestation, err := a.Attestation(w.root, item, []image.Digest{app}, now)
	if err != nil {
		return time.Time{}, err
	}
	return attestation.IntegratedTime(), nil
}

// keyOf is the key of what lacks nothing but the log's entry.
func keyOf(t testing.TB, err error) []crypto.PublicKey {
	t.Helper()
	unlogged, ok := errors.AsType[*sigstore.UnloggedError](err)
	if !ok {
		t.Fatalf("it lacks something else, or nothing: %v", err)
	}
	if unlogged.Key == nil {
		return nil
	}
	return []crypto.PublicKey{unlogged.Key}
}

// failed fails the test unless it is an Error of that kind.
func failed(t testing.TB, err error, want rekor.Kind) {
	t.Helper()
	e, ok := errors.AsType[*rekor.Error](err)
	if !ok || e.Kind != want {
		t.Errorf("got %v, want one that is %s", err, want)
		return
	}
	t.Log(err)
}
