package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/store"
)

func TestWhatIsKeptIsThereAfterARestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		cfg := store.Config{Dir: filepath.Join(t.TempDir(), "a", "store")}
		s := open(t, cfg)
		manifest := put(t, s, "app", body(1))
		s.PutRecord(key("a"), "ns", []byte("record"), []image.Ref{manifest})
		check := func(s *store.Store) {
			t.Helper()
			wantBlob(t, s, manifest, body(1))
			wantRecord(t, s, key("a"), "record")
			if hasBlob(t, s, ref(t, "other", body(1)), body(1)) {
				t.Error("a blob of one repository is there for another, whose readers may be others")
			}
			if hasRecord(t, s, key("b"), "") {
				t.Error("there is a record that nobody put")
			}
		}
		check(s)
		synctest.Wait()
		check(s)
		if got := s.Status(); got.Records != 1 || got.Bytes != 2*4096 || got.Err != nil || got.Dir != cfg.Dir {
			t.Errorf("got %+v", got)
		}
		s.Close()
		again := open(t, cfg)
		check(again)
		if got := again.Status(); got.Records != 1 || got.Bytes != 2*4096 {
			t.Errorf("got %+v", got)
		}
		if !bytes.Equal(again.Salt(), s.Salt()) || len(s.Salt()) != 32 {
			t.Error("the salt is another")
		}
		for _, name := range append(files(t, cfg.Dir, ""), cfg.Dir) {
			info, err := os.Stat(name)
			if err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %v %v", name, info.Mode(), err)
			}
		}
	})
}

func TestWithoutADirectoryAllIsInMemory(t *testing.T) {
	t.Parallel()
	s := open(t, store.Config{})
	manifest := put(t, s, "app", body(1))
	s.PutRecord(key("a"), "ns", []byte("record"), []image.Ref{manifest})
	wantBlob(t, s, manifest, body(1))
	wantRecord(t, s, key("a"), "record")
	got, _, _ := s.Get(manifest)
	clear(got) // it is the caller's
	wantBlob(t, s, manifest, body(1))
	if got := s.Status(); got.Records != 1 || got.Bytes == 0 || got.Err != nil {
		t.Errorf("got %+v", got)
	}
	if other := open(t, store.Config{}); len(s.Salt()) != 32 || bytes.Equal(s.Salt(), other.Salt()) {
		t.Error("the salt is not random")
	}
}

func TestANewRecordReplacesTheOldOne(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := open(t, store.Config{Dir: t.TempDir()})
		for _, text := range []string{"one", "two, longer"} {
			s.PutRecord(key("a"), "ns", []byte(text), nil)
			wantRecord(t, s, key("a"), text)
			synctest.Wait()
			wantRecord(t, s, key("a"), text)
		}
		if got := s.Status(); got.Records != 1 || got.Bytes != 4096 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestWhatIsBeyondABoundIsNotKept(t *testing.T) {
	t.Parallel()
	s := open(t, store.Config{MaxBytes: 1 << 30})
	large := make([]byte, store.MaxBlob+1)
	if hasBlob(t, s, put(t, s, "app", large), large) {
		t.Error("a blob is too large")
	}
	wantBlob(t, s, put(t, s, "app", large[1:]), large[1:])
	wrong := image.Ref{Repository: ref(t, "app", nil).Repository, Digest: image.Of([]byte("other"))}
	s.Put(wrong, mediaType, []byte("this"))
	if hasBlob(t, s, wrong, nil) {
		t.Error("a blob does not have its digest")
	}
	s.PutRecord(key("large"), "ns", make([]byte, store.MaxRecord+1), nil)
	s.PutRecord(key("refs"), "ns", nil, make([]image.Ref, store.MaxRefs+1))
	s.PutRecord(key("tenant"), string(make([]byte, store.MaxText+1)), nil, nil)
	if got := s.Status(); got.Records != 0 {
		t.Errorf("got %+v", got)
	}
	s.PutRecord(key("most"), "ns", make([]byte, store.MaxRecord), make([]image.Ref, store.MaxRefs))
	if _, ok := s.Record(key("most")); !ok {
		t.Error("a record within the bounds is not kept")
	}
}
