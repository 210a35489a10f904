package store_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/store"
)

const mediaType = "application/vnd.oci.image.manifest.v1+json"

// open opens a store that is closed when the test ends, and waits until it knows what
// is in its directory.
func open(t testing.TB, cfg store.Config) *store.Store {
	t.Helper()
	s := store.Open(cfg)
	t.Cleanup(s.Close)
	s.Status()
	return s
}

// inBubble runs a test whose time is that of a bubble: synctest.Wait waits until all
// is written.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

func key(text string) store.Key { return sha256.Sum256([]byte(text)) }

func ref(t testing.TB, repository string, body []byte) image.Ref {
	t.Helper()
	r, err := image.ParseRepository("registry.example.org/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	return image.Ref{Repository: r, Digest: image.Of(body)}
}

// put keeps the body as a blob of a repository.
func put(t testing.TB, s *store.Store, repository string, body []byte) image.Ref {
	t.Helper()
	r := ref(t, repository, body)
	s.Put(r, mediaType, body)
	return r
}

func hasBlob(t testing.TB, s *store.Store, r image.Ref, body []byte) bool {
	t.Helper()
	got, media, ok := s.Get(r)
	if ok && (media != mediaType || !bytes.Equal(got, body)) {
		t.Fatalf("%v: got %d bytes of %q", r, len(got), media)
	}
	return ok
}

func wantBlob(t testing.TB, s *store.Store, r image.Ref, body []byte) {
	t.Helper()
	if !hasBlob(t, s, r, body) {
		t.Errorf("%v is not there", r)
	}
}

func hasRecord(t testing.TB, s *store.Store, k store.Key, want string) bool {
	t.Helper()
	got, ok := s.Record(k)
	if ok && string(got) != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	return ok
}

func wantRecord(t testing.TB, s *store.Store, k store.Key, want string) {
	t.Helper()
	if !hasRecord(t, s, k, want) {
		t.Errorf("the record %q is not there", want)
	}
}

// files are the names in a directory that begin with a prefix.
func files(t testing.TB, dir, prefix string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names
}

func wantFiles(t testing.TB, dir, prefix string, want int) []string {
	t.Helper()
	names := files(t, dir, prefix)
	if len(names) != want {
		t.Fatalf("there are %d files %s*, want %d", len(names), prefix, want)
	}
	return names
}

func body(i int) []byte { return fmt.Appendf(nil, "blob %d", i) }

// onDisk is how much the files of a directory take, in blocks.
func onDisk(t testing.TB, dir string) (sum int64) {
	t.Helper()
	for _, name := range files(t, dir, "") {
		info, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		sum += (info.Size() + 4095) / 4096 * 4096
	}
	return sum
}

// syncBuffer is a log that is read while others write to it.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *syncBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func (b *syncBuffer) count(text string) int { return strings.Count(b.String(), text) }
