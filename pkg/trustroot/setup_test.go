package trustroot_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/trustroot"
	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
)

const mirror = "https://tuf.example.org/repository"

// through is a way to a handler that is no socket, for bubbles of synctest.
type through struct{ handler http.Handler }

func (t through) RoundTrip(req *http.Request) (*http.Response, error) {
	inner := req.Clone(req.Context())
	inner.URL.Path = req.URL.Path[len("/repository"):]
	if req.URL.RawPath != "" {
		inner.URL.RawPath = req.URL.RawPath[len("/repository"):]
	}
	w := httptest.NewRecorder()
	t.handler.ServeHTTP(w, inner)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

// notFound answers every request with 404.
func (t through) notFound(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	http.NotFound(w, req)
	return w.Result(), nil
}

// away is a network that is away.
type away struct{ times atomic.Int64 }

func (a *away) RoundTrip(*http.Request) (*http.Response, error) {
	a.times.Add(1)
	return nil, errors.New("network is unreachable")
}

// asked is how often it was tried.
func (a *away) asked() int { return int(a.times.Load()) }

// someRoot is a trusted_root.json that is unlike every other.
func someRoot() []byte { return sigstoretest.Trust(sigstoretest.NewCTLog()).JSON() }

func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func write(t testing.TB, path string, content []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ofRepository configures a repository as a trust_root block does.
func ofRepository(t *testing.T, r *trustroottest.Repository) trustroot.Config {
	return trustroot.Config{Name: "test", TUF: &trustroot.TUF{
		Mirror: mirror, RootPath: write(t, filepath.Join(t.TempDir(), "root.json"), r.RootJSON(1)),
	}}
}

func open(t *testing.T, cfg trustroot.Config, transport http.RoundTripper) *trustroot.Source {
	t.Helper()
	s, err := trustroot.NewThrough(cfg, logger(t), transport)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// settle waits for a root for as long as Configure does.
func settle(t *testing.T, s *trustroot.Source) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Settle(ctx); err != nil {
		t.Fatal(err)
	}
}

// wantRoot checks which root is in use.
func wantRoot(t *testing.T, s *trustroot.Source, content []byte) trustroot.Status {
	t.Helper()
	root, status := s.Current()
	switch {
	case content == nil && root != nil:
		t.Fatalf("there is a root, from %v", status.Origin)
	case content == nil:
	case root == nil:
		t.Fatalf("there is no root: %v", status.Err)
	case root.Digest() != image.Of(content):
		t.Fatalf("another root is in use than wanted, from %v: %v", status.Origin, status.Err)
	}
	return status
}

// wantKind checks of which kind the last problem is.
func wantKind(t *testing.T, status trustroot.Status, want trustroot.Kind) {
	t.Helper()
	e, ok := errors.AsType[*trustroot.Error](status.Err)
	if !ok || e.Kind != want {
		t.Fatalf("got the problem %v, want one of the kind %v", status.Err, want)
	}
}

func wantNoProblem(t *testing.T, status trustroot.Status) {
	t.Helper()
	if status.Err != nil {
		t.Fatal(status.Err)
	}
}
