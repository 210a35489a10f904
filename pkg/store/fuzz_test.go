package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/store"
)

// FuzzRecord reads what somebody put in the place of a record. Only what the store
// would write itself is one.
func FuzzRecord(f *testing.F) {
	dir := f.TempDir()
	s := store.Open(store.Config{Dir: filepath.Join(dir, "store")})
	s.PutRecord(key("empty"), "", nil, nil)
	s.PutRecord(key("a"), "ns", []byte("record"), []image.Ref{put(f, s, "app", body(1)), put(f, s, "app", body(2))})
	s.Close()
	for _, name := range files(f, filepath.Join(dir, "store"), "") {
		content, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
		f.Add(content[:len(content)/2])
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if again, ok := store.ParseRecord(content); ok && !bytes.Equal(again, content) {
			t.Fatalf("%q is read as %q", content, again)
		}
		// The same with checksums that are right, so that what stands behind them is read.
		if again, ok := store.ParseRecord(store.Sealed(content)); ok && !bytes.Equal(again, store.Sealed(content)) {
			t.Fatalf("%q is read as %q", content, again)
		}
	})
}
