package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

const (
	bundleType        = "application/vnd.dev.sigstore.bundle.v0.3+json"
	simpleSigningType = "application/vnd.dev.cosign.simplesigning.v1+json"
	envelopeType      = "application/vnd.dsse.envelope.v1+json"
)

// who asks, where it is of no importance.
var who = fair.Who{Tenant: "pay"}

// file writes a file of the test's.
func file(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// block is the registry's block in a configuration.
func block(t testing.TB, r *sigstoretest.Registry) registry.Registry {
	t.Helper()
	b := registry.Registry{Host: r.Host()}
	if pem := r.CAPEM(); pem != nil {
		b.CAPath = file(t, "ca.pem", pem)
	} else {
		b.Insecure = true
	}
	return b
}

// logged is what was logged so far.
type logged struct {
	t     testing.TB
	lines chan string
}

func (l logged) Write(p []byte) (int, error) {
	select {
	case l.lines <- string(p):
	default:
	}
	return len(p), nil
}

func (l logged) all() string {
	var b strings.Builder
	for {
		select {
		case s := <-l.lines:
			b.WriteString(s)
		default:
			return b.String()
		}
	}
}

func newLog(t testing.TB) (*slog.Logger, logged) {
	l := logged{t, make(chan string, 1000)}
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})), l
}

// newClient returns a client with that configuration, which ends with the test.
func newClient(t testing.TB, cfg registry.Config) *registry.Client {
	t.Helper()
	return newClientWith(t, cfg, registry.Changes{})
}

func newClientWith(t testing.TB, cfg registry.Config, changes registry.Changes) *registry.Client {
	t.Helper()
	c, err := registry.NewWith(cfg, slog.New(slog.DiscardHandler), changes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// asks returns a client that has a block for each registry.
func asks(t testing.TB, rs ...*sigstoretest.Registry) *registry.Client {
	t.Helper()
	var cfg registry.Config
	for _, r := range rs {
		cfg.Registries = append(cfg.Registries, block(t, r))
	}
	return newClient(t, cfg)
}

// hasty is for servers that never answer.
func hasty(t testing.TB, cfg registry.Config) *registry.Client {
	t.Helper()
	return newClientWith(t, cfg, registry.Changes{Timeout: 2 * time.Second})
}

// anywhere allows all addresses, as if all of the test's were public.
var anywhere = registry.Changes{May: func(netip.Addr) bool { return true }}

// wantKind is whether err is an Error of that kind that says so.
func wantKind(t testing.TB, err error, kind registry.Kind, says ...string) {
	t.Helper()
	e, ok := errors.AsType[*registry.Error](err)
	if !ok || e.Kind != kind {
		t.Errorf("got %v (%+v), want %v", err, e, kind)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q does not say %q", err, s)
		}
	}
}

// wantProblem is whether there is exactly one problem of that kind that says so.
func wantProblem(t testing.TB, f *registry.Found, kind registry.Kind, says ...string) {
	t.Helper()
	if f == nil || len(f.Problems) != 1 {
		t.Errorf("got %+v, want one problem", f)
		return
	}
	wantKind(t, f.Problems[0], kind, says...)
}

// signed is something that stands for a signature: what is in it is of no
// importance here.
func signed(format evidence.Format, content string) *sigstoretest.Artefact {
	a := &sigstoretest.Artefact{Format: format, Content: []byte(content)}
	switch format {
	case evidence.SimpleSigning:
		a.MediaType, a.Annotations = simpleSigningType, map[string]string{"dev.cosignproject.cosign/signature": "of " + content[:min(len(content), 40)]}
	case evidence.Envelope:
		a.MediaType, a.Annotations = envelopeType, map[string]string{"dev.cosignproject.cosign/signature": ""}
	case evidence.Bundle:
		a.MediaType = bundleType
	}
	return a
}

// contents are those of the items, sorted.
func contents(f *registry.Found) string {
	var out []string
	if f != nil {
		for _, i := range f.Items {
			text := string(i.Content)
			if len(text) > 40 {
				text = fmt.Sprintf("%d bytes", len(text))
			}
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}

func wantItems(t testing.TB, f *registry.Found, err error, want string) {
	t.Helper()
	if got := contents(f); err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// descriptor describes bytes.
func descriptor(mediaType string, content []byte) map[string]any {
	return map[string]any{"mediaType": mediaType, "digest": image.Of(content).String(), "size": len(content)}
}

// manifestOf is an image manifest with those layers, which refers to subject.
func manifestOf(subject image.Digest, artifactType string, layers ...map[string]any) []byte {
	m := map[string]any{
		"schemaVersion": 2, "mediaType": image.OCIManifest, "config": descriptor("application/vnd.oci.empty.v1+json", []byte("{}")), "layers": layers,
	}
	if layers == nil {
		m["layers"] = []any{}
	}
	if artifactType != "" {
		m["artifactType"] = artifactType
	}
	if !subject.IsZero() {
		m["subject"] = map[string]any{"mediaType": image.OCIManifest, "digest": subject.String(), "size": 1}
	}
	body, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return body
}

// bundled puts a manifest with a bundle there that refers to the image.
func bundled(r *sigstoretest.Registry, app image.Ref, artifactType, content string) image.Digest {
	path := app.Repository.Path()
	r.PutBlob(path, []byte(content))
	return r.PutManifest(path, image.OCIManifest, manifestOf(app.Digest, artifactType, descriptor(bundleType, []byte(content))))
}

func withTimeout(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}
