package store_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/store"
	"github.com/podseal/podseal/test/testenv"
)

func TestWhatIsPlantedInThePlaceOfAFile(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "outside")
	for what, plant := range map[string]func(t *testing.T, name string) error{
		"a link out of the directory":  func(_ *testing.T, name string) error { return os.Symlink(outside, name) },
		"a relative link out of it":    func(_ *testing.T, name string) error { return os.Symlink("../../outside", name) },
		"a link to the salt":           func(_ *testing.T, name string) error { return os.Symlink(store.SaltFile, name) },
		"a link to itself":             func(_ *testing.T, name string) error { return os.Symlink(filepath.Base(name), name) },
		"a link to where nothing is":   func(_ *testing.T, name string) error { return os.Symlink("nothing", name) },
		"a pipe that nobody writes to": func(_ *testing.T, name string) error { return syscall.Mkfifo(name, 0o600) },
		"an empty directory":           func(_ *testing.T, name string) error { return os.Mkdir(name, 0o700) },
		"a huge file":                  func(t *testing.T, name string) error { write(t, name, nil); return os.Truncate(name, 1<<40) },
	} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				dir, manifest, blobFile, recordFile := filled(t)
				write(t, outside, read(t, recordFile))
				for _, name := range []string{blobFile, recordFile} {
					err := os.Remove(name)
					if err == nil {
						err = plant(t, name)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				s := open(t, store.Config{Dir: dir})
				if _, ok := s.Record(key("a")); ok || hasBlob(t, s, manifest, body(1)) {
					t.Error("it is read")
				}
				put(t, s, "app", body(1))
				s.PutRecord(key("a"), "ns", []byte("new"), nil)
				synctest.Wait()
				if err := s.Status().Err; err != nil {
					t.Error(err)
				}
				s.Close()
				again := open(t, store.Config{Dir: dir})
				wantBlob(t, again, manifest, body(1))
				wantRecord(t, again, key("a"), "new")
				if _, err := os.Stat(outside); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A directory that is not empty is not ours to remove. It costs what belongs in its
// place, and nothing else.
func TestADirectoryWithSomethingInIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, manifest, blobFile, _ := filled(t)
		if err := errors.Join(os.Remove(blobFile), os.MkdirAll(filepath.Join(blobFile, "x"), 0o700)); err != nil {
			t.Fatal(err)
		}
		s := open(t, store.Config{Dir: dir})
		if hasBlob(t, s, manifest, body(1)) {
			t.Error("it is read")
		}
		put(t, s, "app", body(1))
		second := put(t, s, "app", body(2))
		synctest.Wait()
		if got := s.Status(); got.Err != nil {
			t.Errorf("got %+v", got)
		}
		wantBlob(t, s, manifest, body(1))
		s.Close()
		wantBlob(t, open(t, store.Config{Dir: dir}), second, body(2))
	})
}

func TestADirectoryThatCanNotBeUsed(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		prepare func(dir string) error
		want    store.Kind
		root    bool
	}{
		"a file":                      {func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, store.Unsafe, false},
		"a file in its way":           {func(dir string) error { return os.WriteFile(filepath.Dir(dir), nil, 0o600) }, store.Unsafe, false},
		"a pipe":                      {func(dir string) error { return syscall.Mkfifo(dir, 0o600) }, store.Unsafe, false},
		"a link to itself":            {func(dir string) error { return os.Symlink(dir, dir) }, store.Unsafe, false},
		"others may write to it":      {func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o702)) }, store.Unsafe, false},
		"its group may write to it":   {func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o770)) }, store.Unsafe, false},
		"another user's":              {func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 65534, 65534)) }, store.Unsafe, true},
		"a name that is far too long": {nil, store.Broken, false},
	} {
		t.Run(what, func(t *testing.T) {
			if c.root {
				testenv.RequireRoot(t)
			}
			inBubble(t, func(t *testing.T) {
				parent := filepath.Join(t.TempDir(), "parent")
				dir := filepath.Join(parent, "store")
				if c.prepare == nil {
					dir = filepath.Join(parent, strings.Repeat("x", 300))
				} else {
					_ = os.Mkdir(parent, 0o700)
					if what == "a file in its way" {
						_ = os.Remove(parent)
					}
					if err := c.prepare(dir); err != nil {
						t.Fatal(err)
					}
				}
				var log syncBuffer
				s := open(t, store.Config{Dir: dir, Log: log.logger()})
				check := func() {
					t.Helper()
					err := s.Status().Err
					e, ok := errors.AsType[*store.Error](err)
					if !ok || e.Kind != c.want || !strings.Contains(e.Error(), filepath.Base(dir)[:5]) {
						t.Fatalf("got %v", err)
					}
					if d, ok := diagnosis.Of(err); !ok || d.Remedy == "" || d.Reason != diagnosis.Reason(c.want.String()) {
						t.Errorf("got %+v", d)
					}
					if got := log.count("level=WARN"); got != 1 {
						t.Errorf("%d warnings:\n%s", got, log.String())
					}
				}
				check()
				manifest := put(t, s, "app", body(1))
				s.PutRecord(key("a"), "ns", []byte("record"), []image.Ref{manifest})
				for range 3 {
					wantBlob(t, s, manifest, body(1))
					wantRecord(t, s, key("a"), "record")
					time.Sleep(2 * store.RetryPause)
					synctest.Wait()
				}
				check()
				if len(s.Salt()) != 32 || s.Status().Records != 1 {
					t.Errorf("got %+v", s.Status())
				}
				if c.prepare == nil {
					return
				}
				// Somebody puts it right.
				if err := os.RemoveAll(parent); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * store.RetryPause)
				synctest.Wait()
				if got := s.Status(); got.Err != nil || log.count("level=INFO") != 1 {
					t.Errorf("got %+v\n%s", got, log.String())
				}
				wantFiles(t, dir, "blob-", 1)
				wantFiles(t, dir, "record-", 1)
				wantBlob(t, s, manifest, body(1))
				if got := read(t, filepath.Join(dir, store.SaltFile)); !bytes.Equal(got, s.Salt()) {
					t.Error("the directory got another salt")
				}
			})
		})
	}
}

func TestADirectoryThatOthersMayWriteToLater(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, manifest, _, _ := filled(t)
		s := open(t, store.Config{Dir: dir})
		if err := os.Chmod(dir, 0o777); err != nil { // #nosec G302 -- the mistake
			t.Fatal(err)
		}
		s.PutRecord(key("new"), "ns", []byte("new"), nil)
		synctest.Wait()
		wantProblem(t, s, store.Unsafe)
		wantRecord(t, s, key("new"), "new")
		if hasBlob(t, s, manifest, body(1)) {
			t.Error("it is read still")
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(store.RetryPause)
		synctest.Wait()
		wantBlob(t, s, manifest, body(1))
		wantFiles(t, dir, "record-", 2)
		if got := s.Status(); got.Err != nil || got.Records != 2 {
			t.Errorf("got %+v", got)
		}
	})
}
