package store_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/store"
	"github.com/podseal/podseal/test/testenv"
)

// helperVar makes this program a process that a test may kill: it writes to the
// directory that the variable names for ever. namespaceVar says that a test is alone
// in a mount namespace of its own, in which it may mount over that directory.
const (
	helperVar    = "PODSEAL_STORE_HELPER"
	namespaceVar = "PODSEAL_STORE_NAMESPACE"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperVar); dir != "" {
		writeForEver(dir)
	}
	os.Exit(m.Run())
}

// recordOf is the only body of a record with this number that is ever written: its
// first bytes say which version of it.
func recordOf(number, generation int) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(generation)) // #nosec G115 -- a small number
	for sum := sha256.Sum256(fmt.Append(nil, number, generation)); len(b) < 3000; {
		b = append(b, sum[:]...)
	}
	return b
}

const numbers = 8

func writeForEver(dir string) {
	s := store.Open(store.Config{Dir: dir, MaxBytes: 1 << 20})
	for generation := 1; ; generation++ {
		number := generation % numbers
		content := fmt.Appendf(make([]byte, 20<<10), "%d of %d", generation%100, os.Getpid()%3)
		repository, err := image.ParseRepository("registry.example.org/app")
		if err != nil {
			panic(err)
		}
		r := image.Ref{Repository: repository, Digest: image.Of(content)}
		s.Put(r, mediaType, content)
		s.PutRecord(key(fmt.Sprint(number)), fmt.Sprint(number%3), recordOf(number, generation), []image.Ref{r})
		time.Sleep(100 * time.Microsecond)
	}
}

// wholeRecord returns the generation of a record, 0 if there is none.
func wholeRecord(t *testing.T, s *store.Store, number int) int {
	t.Helper()
	got, ok := s.Record(key(fmt.Sprint(number)))
	if !ok {
		return 0
	}
	if len(got) < 8 {
		t.Fatalf("a record of %d bytes", len(got))
	}
	generation := int(binary.BigEndian.Uint64(got)) // #nosec G115 -- a small number
	if !bytes.Equal(got, recordOf(number, generation)) {
		t.Fatalf("record %d of generation %d is not what was written", number, generation)
	}
	return generation
}

func start(t *testing.T, dir string) (stop func()) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe") // #nosec G204 -- this program
	cmd.Env = append(os.Environ(), helperVar+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if out.Len() > 0 {
			t.Error(out.String())
		}
	})
}

func TestKilledInTheMiddleOfWriting(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	var salt []byte
	found := 0
	for i := range 100 {
		stop := start(t, dir)
		time.Sleep(time.Duration(20+i%40) * time.Millisecond)
		stop()
		s := store.Open(store.Config{Dir: dir, MaxBytes: 1 << 20})
		for number := range numbers {
			if wholeRecord(t, s, number) > 0 {
				found++
			}
		}
		switch status := s.Status(); {
		case status.Err != nil || status.Bytes > 2<<20:
			t.Fatalf("after kill %d: %+v", i, status)
		case salt != nil && !bytes.Equal(salt, s.Salt()):
			t.Fatalf("after kill %d there is another salt", i)
		}
		salt = s.Salt()
		s.Close()
	}
	if found == 0 {
		t.Error("nothing was ever kept")
	}
	t.Logf("%d unfinished files are left", len(files(t, dir, store.Unfinished)))
}

func TestTwoProcessesAndTwoStoresOnOneDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	defer start(t, dir)()
	var wg sync.WaitGroup
	stores := []*store.Store{open(t, store.Config{Dir: dir, MaxBytes: 1 << 20}), open(t, store.Config{Dir: dir, MaxBytes: 1 << 20})}
	for i, s := range stores {
		for j := range 4 {
			wg.Go(func() {
				for generation := 1; generation < 100; generation++ {
					number := (generation + j) % numbers
					wholeRecord(t, s, number)
					s.PutRecord(key(fmt.Sprint(number)), "ns", recordOf(number, generation), []image.Ref{put(t, s, "app", body(generation))})
					hasBlob(t, s, ref(t, "app", body(generation/2)), body(generation/2))
					own := fmt.Sprint(i, j, generation)
					s.PutRecord(key(own), own, []byte(own), nil)
					hasRecord(t, s, key(own), own)
					s.Status()
				}
			})
		}
	}
	wg.Wait()
	for _, s := range stores {
		if err := errors.Join(s.Status().Err, s.Check()); err != nil {
			t.Error(err)
		}
		s.Close()
	}
	s := open(t, store.Config{Dir: dir, MaxBytes: 1 << 20})
	there := 0
	for number := range numbers {
		if wholeRecord(t, s, number) > 0 {
			there++
		}
	}
	if there == 0 || !bytes.Equal(s.Salt(), stores[0].Salt()) || !bytes.Equal(s.Salt(), stores[1].Salt()) {
		t.Errorf("%d records are there", there)
	}
}

// inNamespace runs a test again as the only one of a process that has a mount
// namespace of its own, where dir is a disk of 1 MiB. All of it is gone with the process.
func inNamespace(t *testing.T, f func(t *testing.T, dir string)) {
	t.Helper()
	if dir := os.Getenv(namespaceVar); dir != "" {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) { f(t, dir) })
		return
	}
	t.Parallel()
	testenv.RequireRoot(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.count=1") // #nosec G204 -- this program
	cmd.Env = append(os.Environ(), namespaceVar+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	testenv.Require(t, !errors.Is(err, syscall.EPERM), "needs mount namespaces")
	if err != nil || !bytes.Contains(out, []byte("PASS")) {
		t.Fatalf("%v: %s", err, out)
	}
}

func remount(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "", syscall.MS_REMOUNT|flags, ""); err != nil {
		t.Fatal(err)
	}
}

func wantProblem(t *testing.T, s *store.Store, want store.Kind) {
	t.Helper()
	if e, ok := errors.AsType[*store.Error](s.Status().Err); !ok || e.Kind != want {
		t.Errorf("got %v", s.Status().Err)
	}
}

func TestAFullDisk(t *testing.T) {
	inNamespace(t, func(t *testing.T, disk string) {
		dir := filepath.Join(disk, "store")
		var log syncBuffer
		s := open(t, store.Config{Dir: dir, Log: log.logger()})
		s.PutRecord(key("old"), "ns", []byte("old"), []image.Ref{put(t, s, "app", body(0))})
		s.PutRecord(key("both"), "ns", []byte("older"), nil)
		synctest.Wait()

		filler := filepath.Join(disk, "filler")
		if err := os.WriteFile(filler, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("the disk is not full: %v", err)
		}
		check := func() {
			t.Helper()
			wantRecord(t, s, key("old"), "old")
			wantBlob(t, s, ref(t, "app", body(0)), body(0))
			for i := 1; i < 20; i++ {
				wantBlob(t, s, ref(t, "app", body(i)), body(i))
			}
			wantRecord(t, s, key("both"), "newer")
			if got := s.Status().Records; got != 2 {
				t.Errorf("%d records", got)
			}
		}
		for i := 1; i < 20; i++ {
			put(t, s, "app", body(i))
		}
		s.PutRecord(key("both"), "ns", []byte("newer"), nil)
		for range 5 {
			check()
			synctest.Wait()
			wantProblem(t, s, store.Full)
			time.Sleep(store.RetryPause)
		}
		if got := log.count("level=WARN"); got != 1 {
			t.Errorf("%d warnings:\n%s", got, log.String())
		}
		if left := files(t, dir, store.Unfinished); len(left) > 0 {
			t.Errorf("%q are left", left)
		}
		before := open(t, store.Config{Dir: dir})
		wantRecord(t, before, key("both"), "older")
		before.Close()

		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		time.Sleep(store.RetryPause)
		synctest.Wait()
		check()
		if err := s.Status().Err; err != nil || log.count("level=INFO") != 1 {
			t.Errorf("%v\n%s", err, log.String())
		}
		wantFiles(t, dir, "blob-", 20)

		// It comes back.
		_ = os.WriteFile(filler, make([]byte, 2<<20), 0o600)
		s.PutRecord(key("last"), "ns", []byte("last"), nil)
		synctest.Wait()
		wantProblem(t, s, store.Full)
		if got := log.count("level=WARN"); got != 2 {
			t.Errorf("%d warnings:\n%s", got, log.String())
		}
		s.Close()
		again := open(t, store.Config{Dir: dir})
		wantRecord(t, again, key("both"), "newer")
		if !bytes.Equal(again.Salt(), s.Salt()) {
			t.Error("there is another salt")
		}
	})
}

// What is in memory because the disk is full has bounds of its own.
func TestAFloodWhileTheDiskIsFull(t *testing.T) {
	inNamespace(t, func(t *testing.T, disk string) {
		dir := filepath.Join(disk, "store")
		s := open(t, store.Config{Dir: dir})
		for i := range 40 {
			put(t, s, "app", append(make([]byte, 1<<20), body(i)...))
			s.PutRecord(key(fmt.Sprint(i)), "ns", make([]byte, 100<<10), nil)
			synctest.Wait()
			if err := s.Check(); err != nil {
				t.Fatal(err)
			}
		}
		wantProblem(t, s, store.Full)
		if got := s.Status().Bytes; got > store.MaxWaiting+1<<20 || got < 8<<20 {
			t.Errorf("%d bytes are kept", got)
		}
	})
}

func TestAReadOnlyDisk(t *testing.T) {
	inNamespace(t, func(t *testing.T, dir string) {
		var log syncBuffer
		s := open(t, store.Config{Dir: dir, Log: log.logger()})
		s.PutRecord(key("old"), "ns", []byte("old"), []image.Ref{put(t, s, "app", body(0))})
		synctest.Wait()
		salt := s.Salt()
		remount(t, dir, syscall.MS_RDONLY)

		s.PutRecord(key("new"), "ns", []byte("new"), []image.Ref{put(t, s, "app", body(1))})
		fresh := open(t, store.Config{Dir: dir})
		if err := fresh.Status().Err; err != nil {
			t.Errorf("nothing has to be written yet: %v", err)
		}
		fresh.PutRecord(key("fresh"), "ns", []byte("fresh"), nil)
		for range 3 {
			synctest.Wait()
			for _, s := range []*store.Store{s, fresh} {
				wantProblem(t, s, store.ReadOnly)
				wantRecord(t, s, key("old"), "old")
				wantBlob(t, s, ref(t, "app", body(0)), body(0))
				if !bytes.Equal(s.Salt(), salt) {
					t.Error("there is another salt")
				}
			}
			wantRecord(t, s, key("new"), "new")
			wantRecord(t, fresh, key("fresh"), "fresh")
			time.Sleep(store.RetryPause)
		}
		if got := log.count("level=WARN"); got != 1 {
			t.Errorf("%d warnings:\n%s", got, log.String())
		}
		remount(t, dir, 0)
		time.Sleep(store.RetryPause)
		synctest.Wait()
		for _, s := range []*store.Store{s, fresh} {
			if err := s.Status().Err; err != nil {
				t.Error(err)
			}
		}
		wantFiles(t, dir, "record-", 3)
	})
}

// At the first start there may be no salt yet, and no way to keep one.
func TestAReadOnlyDiskThatIsEmpty(t *testing.T) {
	inNamespace(t, func(t *testing.T, disk string) {
		remount(t, disk, syscall.MS_RDONLY)
		for _, dir := range []string{disk, filepath.Join(disk, "store")} {
			s := open(t, store.Config{Dir: dir})
			wantProblem(t, s, store.ReadOnly)
			s.PutRecord(key("a"), "ns", []byte("a"), nil)
			wantRecord(t, s, key("a"), "a")
			remount(t, disk, 0)
			time.Sleep(store.RetryPause)
			synctest.Wait()
			if got := read(t, filepath.Join(dir, store.SaltFile)); !bytes.Equal(got, s.Salt()) || s.Status().Err != nil {
				t.Errorf("got %+v", s.Status())
			}
			wantFiles(t, dir, "record-", 1)
			remount(t, disk, syscall.MS_RDONLY)
		}
	})
}

// A disk that is mounted after the start is where things belong from then on.
func TestADiskThatIsMountedLater(t *testing.T) {
	inNamespace(t, func(t *testing.T, dir string) {
		s := open(t, store.Config{Dir: dir})
		s.PutRecord(key("a"), "ns", []byte("a"), nil)
		synctest.Wait()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
			t.Fatal(err)
		}
		s.PutRecord(key("b"), "ns", []byte("b"), nil)
		synctest.Wait()
		wantFiles(t, dir, "record-", 1)
		wantRecord(t, s, key("b"), "b")
		if got := read(t, filepath.Join(dir, store.SaltFile)); !bytes.Equal(got, s.Salt()) {
			t.Error("the disk got another salt")
		}
	})
}
