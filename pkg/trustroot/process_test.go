package trustroot_test

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

	"github.com/podseal/podseal/pkg/trustroot"
	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
	"github.com/podseal/podseal/test/testenv"
)

// helperVar makes this program something else than tests: a process that a test may
// kill, or put into a namespace of its own.
const helperVar = "PODSEAL_TRUSTROOT_HELPER"

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(helperVar) {
	case "":
		os.Exit(m.Run())
	case "keep":
		err = keepForEver(os.Args[1])
	case "disk":
		err = fullDisk(os.Args[1])
	}
	fmt.Fprintln(os.Stderr, err)
	if err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

func helper(t *testing.T, what, dir string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", dir) // #nosec G204 -- this program
	cmd.Env = append(os.Environ(), helperVar+"="+what)
	var out bytes.Buffer
	cmd.Stderr = &out
	return cmd, &out
}

// states makes files of a store, each newer than the one before, with the targets in
// them: "0.json", ... in dir, "root.json" beside them.
func states(t *testing.T, dir string, count int) (targets [][]byte) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := trustroottest.New(someRoot())
		cfg := ofRepository(t, r)
		write(t, filepath.Join(dir, "root.json"), r.RootJSON(1))
		for i := range count {
			targets = append(targets, someRoot())
			r.SetTarget(r.Targets, targets[i])
			r.Publish()
			cfg.TUF.CacheDir = filepath.Join(t.TempDir(), "cache")
			s := open(t, cfg, through{r})
			settle(t, s)
			s.Close()
			stored, err := os.ReadFile(filepath.Join(cfg.TUF.CacheDir, trustroot.StoreName(mirror)))
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, fmt.Sprintf("%d.json", i)), stored)
		}
	})
	return targets
}

func read(dir, name string) []byte {
	content, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		panic(err)
	}
	return content
}

func keep(dir, state string) error {
	return trustroot.Keep(filepath.Join(dir, "cache"), mirror, read(dir, "root.json"), read(dir, state))
}

// kept is the target that the store has; it is an error if the store is broken.
func kept(dir string) ([]byte, error) {
	stored, err := os.ReadFile(filepath.Join(dir, "cache", trustroot.StoreName(mirror)))
	if err != nil {
		return nil, err
	}
	return trustroot.Replay(read(dir, "root.json"), stored)
}

// leftovers are what else is in the store than it should.
func leftovers(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != trustroot.StoreName(mirror) && e.Name() != trustroot.StoreName(mirror)+".lock" {
			names = append(names, e.Name())
		}
	}
	return names
}

func keepForEver(dir string) error {
	for {
		if err := keep(dir, "0.json"); err != nil {
			return err
		}
		time.Sleep(time.Millisecond) // or nobody else ever gets the lock
	}
}

func TestKilledInTheMiddleOfWriting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	targets := states(t, dir, 2)
	for i := range 40 {
		cmd, out := helper(t, "keep", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(20+3*i) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if out.Len() > 0 {
			t.Fatal(out)
		}
		got, err := kept(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue // killed before the first was whole
		}
		if err != nil || !bytes.Equal(got, targets[0]) {
			t.Fatalf("after kill %d: %v", i, err)
		}
	}
	if err := keep(dir, "1.json"); err != nil {
		t.Fatal(err)
	}
	if got, err := kept(dir); err != nil || !bytes.Equal(got, targets[1]) {
		t.Errorf("not the newest is kept: %v", err)
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("%q were left", left)
	}
}

func TestTwoProcessesWriteToOneDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	targets := states(t, dir, 2)
	if err := keep(dir, "0.json"); err != nil {
		t.Fatal(err)
	}
	cmd, _ := helper(t, "keep", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for range 50 {
		if got, err := kept(dir); err != nil || !bytes.Equal(got, targets[0]) {
			t.Fatal("it can't be read while another writes", err)
		}
		if err := keep(dir, "0.json"); err != nil {
			t.Fatal(err)
		}
	}
	if err := keep(dir, "1.json"); err != nil {
		t.Fatal(err)
	}
	// The other goes on with what is older now.
	for range 50 {
		if got, err := kept(dir); err != nil || !bytes.Equal(got, targets[1]) {
			t.Fatal("the newer state was replaced by the older", err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Somebody stopped a process that had the lock.
func TestALockThatIsNeverGivenUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	states(t, dir, 1)
	if err := keep(dir, "0.json"); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Open(filepath.Join(dir, "cache", trustroot.StoreName(mirror)+".lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := keep(dir, "0.json"); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("got %v", err)
	}
	if _, err := kept(dir); err != nil {
		t.Error(err)
	}
}

func TestAFullAndAReadOnlyDisk(t *testing.T) {
	t.Parallel()
	testenv.RequireRoot(t)
	dir := t.TempDir()
	states(t, dir, 2)
	cmd, out := helper(t, "disk", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if err := cmd.Run(); err != nil {
		testenv.Require(t, !errors.Is(err, syscall.EPERM), "needs mount namespaces")
		t.Fatalf("%v: %s", err, out)
	}
}

func fullDisk(dir string) error {
	cache := filepath.Join(dir, "cache")
	if err := os.Mkdir(cache, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", cache, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
		return err
	}
	if err := keep(dir, "0.json"); err != nil {
		return err
	}
	was, err := kept(dir)
	if err != nil {
		return err
	}
	filler := filepath.Join(cache, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("the disk is not full: %w", err)
	}
	check := func(want error) error {
		if err := keep(dir, "1.json"); !errors.Is(err, want) {
			return fmt.Errorf("it was kept: %w", err)
		}
		if got, err := kept(dir); err != nil || !bytes.Equal(got, was) {
			return fmt.Errorf("what was there is gone: %w", err)
		}
		entries, err := os.ReadDir(cache)
		if len(entries) != 3 {
			return fmt.Errorf("%v are there: %w", entries, err)
		}
		return nil
	}
	if err := check(syscall.ENOSPC); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", cache, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return err
	}
	return check(syscall.EROFS)
}
