package store_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/store"
)

// filled returns a directory with a blob and a record, and their files.
func filled(t testing.TB) (dir string, manifest image.Ref, blobFile, recordFile string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	s := store.Open(store.Config{Dir: dir})
	manifest = put(t, s, "app", body(1))
	s.PutRecord(key("a"), "ns", []byte("record"), []image.Ref{manifest})
	s.Close()
	blobFile, recordFile = filepath.Join(dir, store.BlobFile(manifest)), filepath.Join(dir, store.RecordFile(key("a")))
	for _, name := range []string{blobFile, recordFile} {
		if _, err := os.Stat(name); err != nil {
			t.Fatal(err)
		}
	}
	return dir, manifest, blobFile, recordFile
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func write(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func wantGone(t testing.TB, name string) {
	t.Helper()
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", filepath.Base(name), err)
	}
}

func TestEachFlippedBitIsAMissAndDeleted(t *testing.T) {
	t.Parallel()
	dir, manifest, blobFile, recordFile := filled(t)
	s := open(t, store.Config{Dir: dir})
	for _, name := range []string{blobFile, recordFile} {
		whole := read(t, name)
		for bit := range 8 * len(whole) {
			flipped := bytes.Clone(whole)
			flipped[bit/8] ^= 1 << (bit % 8)
			write(t, name, flipped)
			_, _, isBlob := s.Get(manifest)
			_, isRecord := s.Record(key("a"))
			if isBlob == (name == blobFile) || isRecord == (name == recordFile) {
				t.Fatalf("%s: bit %d of byte %d", filepath.Base(name), bit%8, bit/8)
			}
			wantGone(t, name)
		}
		write(t, name, whole)
		wantBlob(t, s, manifest, body(1))
		wantRecord(t, s, key("a"), "record")
	}
	if err := s.Status().Err; err != nil {
		t.Error(err)
	}
}

func TestATornFileIsAMissAndDeleted(t *testing.T) {
	t.Parallel()
	dir, manifest, blobFile, recordFile := filled(t)
	s := open(t, store.Config{Dir: dir})
	for _, name := range []string{blobFile, recordFile} {
		whole := read(t, name)
		for length := range len(whole) + 2 {
			if length == len(whole) {
				continue
			}
			write(t, name, append(bytes.Clone(whole), 0)[:length])
			_, _, isBlob := s.Get(manifest)
			_, isRecord := s.Record(key("a"))
			if isBlob == (name == blobFile) || isRecord == (name == recordFile) {
				t.Fatalf("%s: %d of %d bytes", filepath.Base(name), length, len(whole))
			}
			wantGone(t, name)
		}
		write(t, name, whole)
	}
}

// Whoever can write to the disk while the node is off could give one thing for
// another. Each is only what its name says.
func TestAFileUnderAnotherNameIsAMissAndDeleted(t *testing.T) {
	t.Parallel()
	dir, manifest, blobFile, recordFile := filled(t)
	s := open(t, store.Config{Dir: dir})
	other := ref(t, "other", body(1))
	for name, from := range map[string]string{
		filepath.Join(dir, store.RecordFile(key("b"))): recordFile,
		filepath.Join(dir, store.RecordFile(key("c"))): blobFile,
		filepath.Join(dir, store.BlobFile(other)):      blobFile,
	} {
		write(t, name, read(t, from))
		_, isB := s.Record(key("b"))
		_, isC := s.Record(key("c"))
		if isB || isC || hasBlob(t, s, other, body(1)) {
			t.Errorf("%s is taken for %s", from, name)
		}
		wantGone(t, name)
	}
	wantBlob(t, s, manifest, body(1))
}

// Whoever can write to the directory can compute checksums too. Not the digest.
func TestABlobWithAnotherBodyIsAMissAndDeleted(t *testing.T) {
	t.Parallel()
	dir, manifest, blobFile, _ := filled(t)
	s := open(t, store.Config{Dir: dir})
	write(t, blobFile, store.Forged(manifest, body(2)))
	if got, _, ok := s.Get(manifest); ok {
		t.Errorf("got %q", got)
	}
	wantGone(t, blobFile)
	put(t, s, "app", body(1))
	wantBlob(t, s, manifest, body(1))
}

func TestAnotherVersionIsAMissAndDeleted(t *testing.T) {
	t.Parallel()
	dir, _, blobFile, recordFile := filled(t)
	for _, v := range []byte{0, 2} {
		content := read(t, blobFile)
		content[store.VersionAt] = v
		write(t, recordFile, content)
		s := open(t, store.Config{Dir: dir})
		if _, ok := s.Record(key("a")); ok || s.Status().Records != 0 || s.Status().Err != nil {
			t.Errorf("version %d: %v, %+v", v, ok, s.Status())
		}
		wantGone(t, recordFile)
	}
}

func TestADirectoryThatIsRemovedIsMadeAnew(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, manifest, _, _ := filled(t)
		s := open(t, store.Config{Dir: dir})
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if hasBlob(t, s, manifest, body(1)) {
			t.Error("it is there")
		}
		put(t, s, "app", body(1))
		for range 2 {
			synctest.Wait()
			wantBlob(t, s, manifest, body(1))
			time.Sleep(2 * store.RetryPause)
		}
		wantFiles(t, dir, "blob-", 1)
		if got := s.Status(); got.Err != nil || got.Bytes != 4096 {
			t.Errorf("got %+v", got)
		}
		if got := read(t, filepath.Join(dir, store.SaltFile)); !bytes.Equal(got, s.Salt()) {
			t.Error("the directory got another salt")
		}
	})
}

func TestWhatAnotherRemovesIsAMiss(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, manifest, blobFile, recordFile := filled(t)
		s := open(t, store.Config{Dir: dir})
		if err := errors.Join(os.Remove(blobFile), os.Remove(recordFile)); err != nil {
			t.Fatal(err)
		}
		if _, ok := s.Record(key("a")); ok || hasBlob(t, s, manifest, body(1)) {
			t.Error("it is there")
		}
		if got := s.Status(); got.Records != 0 || got.Bytes != 0 || got.Err != nil {
			t.Errorf("got %+v", got)
		}
		put(t, s, "app", body(1))
		synctest.Wait()
		wantFiles(t, dir, "blob-", 1)
	})
}

func TestWhatAnotherWritesIsFoundAndCounted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, manifest, _, _ := filled(t)
		s := open(t, store.Config{Dir: dir})
		other := open(t, store.Config{Dir: dir})
		second := put(t, other, "app", body(2))
		other.PutRecord(key("b"), "ns", []byte("of another"), []image.Ref{manifest, second})
		synctest.Wait()
		wantBlob(t, s, second, body(2))
		if got := s.Status(); got.Bytes != 3*4096 {
			t.Errorf("got %+v", got)
		}
		wantRecord(t, s, key("b"), "of another")
		if got := s.Status(); got.Records != 2 || got.Bytes != 4*4096 {
			t.Errorf("got %+v", got)
		}
		put(t, other, "app", body(3))
		synctest.Wait()
		time.Sleep(store.ScanPeriod)
		put(t, s, "app", body(4))
		synctest.Wait()
		if got := s.Status(); got.Bytes != 6*4096 {
			t.Errorf("nobody asked for what the other wrote, and it is not counted: %+v", got)
		}
		if err := s.Check(); err != nil {
			t.Error(err)
		}
	})
}

// Files of another process that may be at it stay.
func TestUnfinishedFilesAreRemovedWhenTheyAreAbandoned(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, _, _, _ := filled(t)
		old, fresh := filepath.Join(dir, store.Unfinished+"old"), filepath.Join(dir, store.Unfinished+"fresh")
		write(t, old, make([]byte, 5000))
		write(t, fresh, make([]byte, 5000))
		age := func(name string, age time.Duration) {
			if err := os.Chtimes(name, time.Time{}, time.Now().Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
		age(old, store.Abandoned-time.Second)
		age(fresh, 0)
		s := open(t, store.Config{Dir: dir})
		if got := s.Status(); got.Bytes != 6*4096 {
			t.Errorf("got %+v", got)
		}
		time.Sleep(store.ScanPeriod)
		put(t, s, "app", body(2))
		synctest.Wait()
		wantGone(t, old)
		wantFiles(t, dir, store.Unfinished, 1)
		if got := s.Status(); got.Bytes != 5*4096 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestOtherFilesInTheDirectoryAreLeftAlone(t *testing.T) {
	t.Parallel()
	dir, _, _, recordFile := filled(t)
	names := []string{"tuf-0123.json", "blob-", "record-XYZ", strings.ToUpper(filepath.Base(recordFile)), filepath.Base(recordFile) + "0", "blob-" + strings.Repeat("A", 64)}
	for _, n := range names {
		write(t, filepath.Join(dir, n), []byte("x"))
	}
	s := open(t, store.Config{Dir: dir})
	if got := s.Status(); got.Records != 1 || got.Bytes != 2*4096 {
		t.Errorf("got %+v", got)
	}
	for _, n := range names {
		read(t, filepath.Join(dir, n))
	}
}

func TestASaltThatIsBrokenIsMadeAnew(t *testing.T) {
	t.Parallel()
	dir, _, _, _ := filled(t)
	name := filepath.Join(dir, store.SaltFile)
	was := read(t, name)
	for what, broken := range map[string]func() error{
		"short": func() error { return os.WriteFile(name, was[1:], 0o600) },
		"long":  func() error { return os.WriteFile(name, append(was, 0), 0o600) },
		"empty": func() error { return os.WriteFile(name, nil, 0o600) },
		"link":  func() error { return os.Symlink(filepath.Join(dir, "..", "x"), name) },
		"pipe":  func() error { return syscall.Mkfifo(name, 0o600) },
		"none":  func() error { return nil },
	} {
		if err := errors.Join(os.Remove(name), broken()); err != nil {
			t.Fatal(err)
		}
		s := open(t, store.Config{Dir: dir})
		if got := read(t, name); len(got) != 32 || !bytes.Equal(got, s.Salt()) || bytes.Equal(got, was) || s.Status().Err != nil {
			t.Errorf("%s: got %x, %v", what, got, s.Status().Err)
		}
		if !bytes.Equal(open(t, store.Config{Dir: dir}).Salt(), s.Salt()) {
			t.Errorf("%s: the next start has another", what)
		}
	}
	if left := files(t, dir, store.Unfinished); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

func TestManyWhoStartAtOnceAgreeOnASalt(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	salts := make(chan string, 16)
	var wg sync.WaitGroup
	for range cap(salts) {
		wg.Go(func() {
			s := store.Open(store.Config{Dir: dir})
			defer s.Close()
			salts <- string(s.Salt())
		})
	}
	wg.Wait()
	close(salts)
	var all []string
	for salt := range salts {
		all = append(all, salt)
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) != 1 {
		t.Errorf("there are %d salts", len(all))
	}
}

func TestOnlyTheNewestOfManyIsWritten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "store")
		write(t, dir, nil)
		s := open(t, store.Config{Dir: dir})
		for i := range 1000 {
			s.PutRecord(key("a"), "ns", body(i), nil)
		}
		s.PutRecord(key("b"), "ns", []byte("b"), nil)
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(store.RetryPause)
		synctest.Wait()
		s.Close()
		again := open(t, store.Config{Dir: dir})
		wantRecord(t, again, key("a"), string(body(999)))
		wantRecord(t, again, key("b"), "b")
		if got := again.Status(); got.Records != 2 || got.Bytes != 2*4096 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestCloseWritesWhatWaits(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s := store.Open(store.Config{Dir: dir})
	for i := range 50 {
		s.PutRecord(key(string(body(i))), "ns", body(i), nil)
	}
	s.Close()
	s.Close()
	s.PutRecord(key("late"), "ns", []byte("late"), nil)
	wantRecord(t, s, key("late"), "late")
	again := open(t, store.Config{Dir: dir})
	for i := range 50 {
		wantRecord(t, again, key(string(body(i))), string(body(i)))
	}
}
