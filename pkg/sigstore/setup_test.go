package sigstore_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

var (
	// app is the image that runs, evil one that somebody would like to run.
	app  = image.Of([]byte("app"))
	evil = image.Of([]byte("evil"))
	// now is when is judged: long after the certificates' ten minutes.
	now = sigstoretest.Time.Add(24 * time.Hour)
)

type witnesses = []sigstoretest.Witness

// release is who signs.
func release() sigstoretest.Identity {
	return sigstoretest.GitHub("org/app", "release.yml", "refs/tags/v1")
}

// releaseIdentity is what an operator allows.
func releaseIdentity() sigstore.Identity {
	return sigstore.Identity{
		Issuer:  sigstore.Exact(sigstoretest.GitHubIssuer),
		Subject: sigstore.Exact("https://github.com/org/app/.github/workflows/release.yml@refs/tags/v1"),
	}
}

func dev() sigstoretest.Identity {
	return sigstoretest.Identity{Subject: sigstoretest.Email("dev@example.org"), Issuer: "https://accounts.example.org"}
}

// world is a Sigstore that the judge trusts.
type world struct {
	*sigstoretest.Sigstore
	root *sigstore.Root
}

func newWorld(t testing.TB) *world {
	t.Helper()
	s := sigstoretest.New()
	return &world{s, parseRoot(t, s.Root())}
}

func parseRoot(t testing.TB, r sigstoretest.Root) *sigstore.Root {
	t.Helper()
	root, err := sigstore.ParseRoot(r.JSON())
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// signed is a good signature of app by release, for a test to change.
func (w *world) signed() sigstoretest.Signature {
	return sigstoretest.Signature{Signer: w.Keyless(release()), Digest: app, Format: evidence.Bundle, Witnesses: witnesses{w.Rekor1, w.TSA}}
}

func keyless(t testing.TB, identities ...sigstore.Identity) *sigstore.Authority {
	t.Helper()
	return newKeyless(t, sigstore.KeylessConfig{Identities: identities})
}

func newKeyless(t testing.TB, c sigstore.KeylessConfig) *sigstore.Authority {
	t.Helper()
	return made(t)(sigstore.NewKeyless(c))
}

func newKeys(t testing.TB, c sigstore.KeysConfig, signers ...*sigstoretest.Signer) *sigstore.Authority {
	t.Helper()
	for _, s := range signers {
		c.PEM = append(c.PEM, s.PublicPEM())
	}
	return made(t)(sigstore.NewKeys(c))
}

func newPKI(t testing.TB, c sigstore.PKIConfig) *sigstore.Authority {
	t.Helper()
	return made(t)(sigstore.NewPKI(c))
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

// item is the artefact as a registry has it.
func item(t testing.TB, a *sigstoretest.Artefact) evidence.Item {
	t.Helper()
	repository, err := image.ParseRepository("registry.example.org/app")
	if err != nil {
		t.Fatal(err)
	}
	return a.Item(image.Ref{Repository: repository, Digest: app})
}

// sign makes a signature and has it judged for app.
func (w *world) sign(t testing.TB, a *sigstore.Authority, s sigstoretest.Signature) (*sigstore.Signature, error) {
	t.Helper()
	return a.Signature(w.root, item(t, sigstoretest.Sign(s)), []image.Digest{app}, now)
}

// attest makes an attestation and has it judged for app.
func (w *world) attest(t testing.TB, a *sigstore.Authority, s sigstoretest.Signature) (*sigstore.Attestation, error) {
	t.Helper()
	return a.Attestation(w.root, item(t, sigstoretest.Sign(s)), []image.Digest{app}, now)
}

// refused fails the test unless it was refused for that.
func refused(t testing.TB, err error, want sigstore.Reason) {
	t.Helper()
	if err == nil {
		t.Fatal("it was accepted")
	}
	r, ok := errors.AsType[*sigstore.Refusal](err)
	if !ok || r.Reason != want {
		t.Errorf("refused with %q, want %q", err, want)
	}
	t.Log(err)
}
func der(t testing.TB, text []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("no PEM")
	}
	return block.Bytes
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// quote is a value in JSON.
func quote(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// decoded is what is in base64.
func decoded(t testing.TB, text string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
