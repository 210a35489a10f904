package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/store"
	"github.com/podseal/podseal/test/testenv"
)

// aloneVar says that a test is the only one of a process that was made for it.
const aloneVar = "PODSEAL_STORE_ALONE"

// alone runs a test again as the only one of a process with other attributes. dir is
// a directory for it.
func alone(t *testing.T, dir string, attributes *syscall.SysProcAttr) {
	t.Helper()
	t.Parallel()
	testenv.RequireRoot(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v") // #nosec G204 -- this program
	cmd.Env = append(os.Environ(), aloneVar+"="+dir)
	attributes.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr = attributes
	out, err := cmd.CombinedOutput()
	testenv.Require(t, !errors.Is(err, syscall.EPERM), "needs mount namespaces")
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name()+" ")) {
		t.Fatalf("%v: %s", err, out)
	}
}

// inNamespace runs a test in a mount namespace of its own, where dir is a disk of
// 1 MiB. All of it is gone with the process.
func inNamespace(t *testing.T, f func(t *testing.T, dir string)) {
	t.Helper()
	dir := os.Getenv(aloneVar)
	if dir == "" {
		alone(t, t.TempDir(), &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS})
		return
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { f(t, dir) })
}

// asNobody runs a test as a user whom permissions bind, who owns dir.
func asNobody(t *testing.T, f func(t *testing.T, dir string)) {
	t.Helper()
	if dir := os.Getenv(aloneVar); dir != "" {
		synctest.Test(t, func(t *testing.T) { f(t, dir) })
		return
	}
	const nobody = 65534
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o711), os.Chown(dir, nobody, nobody)); err != nil { // #nosec G302 -- he has to get there
		t.Fatal(err)
	}
	alone(t, dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}})
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
			synctest.Wait()
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

func TestADirectoryWithoutRights(t *testing.T) {
	asNobody(t, func(t *testing.T, parent string) {
		dir := filepath.Join(parent, "store")
		var log syncBuffer
		s := open(t, store.Config{Dir: dir, Log: log.logger()})
		s.PutRecord(key("old"), "ns", []byte("old"), nil)
		synctest.Wait()
		chmod(t, dir, 0o500)
		s.PutRecord(key("new"), "ns", []byte("new"), nil)
		synctest.Wait()
		wantProblem(t, s, store.Denied)
		wantRecord(t, s, key("old"), "old")
		wantRecord(t, s, key("new"), "new")
		chmod(t, dir, 0o700)
		time.Sleep(store.RetryPause)
		synctest.Wait()
		wantFiles(t, dir, "record-", 2)
		if s.Status().Err != nil || log.count("level=WARN") != 1 || log.count("level=INFO") != 1 {
			t.Errorf("%v\n%s", s.Status().Err, log.String())
		}
		chmod(t, parent, 0)
		defer chmod(t, parent, 0o700) // #nosec G302 -- of a directory
		wantProblem(t, open(t, store.Config{Dir: dir}), store.Denied)
	})
}

// One such file does not fill the log, however often it is asked for.
func TestAFileThatCanNotBeRead(t *testing.T) {
	asNobody(t, func(t *testing.T, dir string) {
		var log syncBuffer
		s := open(t, store.Config{Dir: dir, Log: log.logger()})
		s.PutRecord(key("a"), "ns", []byte("a"), nil)
		synctest.Wait()
		chmod(t, filepath.Join(dir, store.RecordFile(key("a"))), 0)
		for i := range 100 {
			if hasRecord(t, s, key("a"), "a") {
				t.Fatal("it is read")
			}
			wantProblem(t, s, store.Denied)
			s.PutRecord(key("b"), "ns", body(i), nil)
			synctest.Wait()
			if err := s.Status().Err; err != nil {
				t.Fatal(err)
			}
		}
		if got := log.count("level=WARN"); got != 1 {
			t.Errorf("%d warnings:\n%s", got, log.String())
		}
		s.PutRecord(key("a"), "ns", []byte("a"), nil)
		synctest.Wait()
		s.Close()
		wantRecord(t, open(t, store.Config{Dir: dir}), key("a"), "a")
	})
}

func chmod(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}
