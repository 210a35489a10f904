package trustroot_test

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/trustroot"
	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
)

func TestAFileIsTakenUpWhenItChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := someRoot(), someRoot()
		path := write(t, filepath.Join(t.TempDir(), "trusted_root.json"), first)
		s := open(t, trustroot.Config{TrustedRootPath: path}, &away{})
		settle(t, s)
		status := wantRoot(t, s, first)
		wantNoProblem(t, status)
		if status.Origin.Kind != trustroot.FromFile || status.Origin.Location != path || status.Fetched.IsZero() {
			t.Errorf("got %v", status)
		}

		// Seen by who uses it,
		write(t, path, second)
		time.Sleep(trustroot.LookSpacing)
		s.Current()
		synctest.Wait()
		wantRoot(t, s, second)

		// and by who does not.
		write(t, path, first)
		time.Sleep(trustroot.FilePeriod)
		synctest.Wait()
		wantRoot(t, s, first)
	})
}

// A ConfigMap is replaced by a symbolic link.
func TestAFileBehindALinkIsTakenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		first, second := someRoot(), someRoot()
		write(t, filepath.Join(dir, "1", "trusted_root.json"), first)
		write(t, filepath.Join(dir, "2", "trusted_root.json"), second)
		if err := os.Symlink("1", filepath.Join(dir, "data")); err != nil {
			t.Fatal(err)
		}
		s := open(t, trustroot.Config{TrustedRootPath: filepath.Join(dir, "data", "trusted_root.json")}, &away{})
		wantRoot(t, s, first)
		if err := errors.Join(os.Symlink("2", filepath.Join(dir, "new")), os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "data"))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(trustroot.FilePeriod)
		synctest.Wait()
		wantRoot(t, s, second)
	})
}

func TestAFileThatIsBrokenLaterTakesNothingAway(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(path string) error{
		"gone":      os.Remove,
		"empty":     func(path string) error { return os.Truncate(path, 0) },
		"garbage":   func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
		"huge":      func(path string) error { return os.Truncate(path, 1<<40) },
		"directory": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"pipe":      func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				good, better := someRoot(), someRoot()
				path := write(t, filepath.Join(t.TempDir(), "trusted_root.json"), good)
				s := open(t, trustroot.Config{TrustedRootPath: path}, &away{})
				if err := harm(path); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * trustroot.FilePeriod)
				wantKind(t, wantRoot(t, s, good), trustroot.File)
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
				write(t, path, better)
				time.Sleep(trustroot.FilePeriod)
				synctest.Wait()
				wantNoProblem(t, wantRoot(t, s, better))
			})
		})
	}
}

func TestTheRootThatTrustBeginsWithIsTakenUpWhenItChanges(t *testing.T) {
	t.Parallel()
	use := func(s *trustroot.Source) {
		time.Sleep(trustroot.LookSpacing)
		s.Current()
		synctest.Wait()
	}
	begin := func(t *testing.T) (good []byte, r *trustroottest.Repository, cfg trustroot.Config) {
		good = someRoot()
		r = trustroottest.New(good)
		r.Rotate(func() { r.NewKey("root") })
		r.Publish()
		cfg = ofRepository(t, r)
		cfg.TUF.CacheDir = filepath.Join(t.TempDir(), "cache")
		return good, r, cfg
	}
	t.Run("a newer version", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			good, r, cfg := begin(t)
			s := open(t, cfg, through{r})
			settle(t, s)
			r.Fault(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
			write(t, cfg.TUF.RootPath, r.RootJSON(2))
			use(s)
			wantKind(t, wantRoot(t, s, good), trustroot.Unavailable)
		})
	})
	t.Run("a broken file", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			good, r, cfg := begin(t)
			s := open(t, cfg, through{r})
			settle(t, s)
			write(t, cfg.TUF.RootPath, []byte("{}"))
			use(s)
			wantKind(t, wantRoot(t, s, good), trustroot.File)
			r.Publish()
			time.Sleep(day)
			_, status := s.Current()
			if status.Age > time.Hour*3 {
				t.Errorf("it is not refreshed: %v", status)
			}
		})
	})
	// The operator no longer vouches for what the old one led to.
	t.Run("another repository", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			good, r, cfg := begin(t)
			s := open(t, cfg, through{r})
			settle(t, s)
			wantRoot(t, s, good)
			better := someRoot()
			other := trustroottest.New(better)
			write(t, cfg.TUF.RootPath, other.RootJSON(1))
			use(s)
			wantKind(t, wantRoot(t, s, nil), trustroot.Untrusted)
			r.Restore(other.Files())
			time.Sleep(trustroot.LastRetry)
			wantNoProblem(t, wantRoot(t, s, better))
		})
	})
}

func TestMistakesInAConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	garbage := write(t, filepath.Join(dir, "garbage"), []byte("{}"))
	unsigned := write(t, filepath.Join(dir, "unsigned"), func() []byte {
		r := trustroottest.New(someRoot())
		return trustroottest.Sign(r.Root)
	}())
	good := write(t, filepath.Join(dir, "good"), trustroottest.New(someRoot()).RootJSON(1))
	for _, c := range []struct {
		name, want string
		cfg        trustroot.Config
	}{
		{"nothing", "exactly one", trustroot.Config{}},
		{"two", "exactly one", trustroot.Config{TrustedRootPath: good, PublicGood: &trustroot.PublicGood{}}},
		{"no file", "trusted_root_path: ", trustroot.Config{TrustedRootPath: missing}},
		{"no trusted root", "trusted_root_path: ", trustroot.Config{TrustedRootPath: garbage}},
		{"no mirror", "tuf.mirror: ", trustroot.Config{TUF: &trustroot.TUF{RootPath: good}}},
		{"no root", "tuf.root_path: ", trustroot.Config{TUF: &trustroot.TUF{Mirror: mirror}}},
		{"no root in its file", "tuf.root_path: ", trustroot.Config{TUF: &trustroot.TUF{Mirror: mirror, RootPath: garbage}}},
		{"a root that nobody signed", "tuf.root_path: ", trustroot.Config{TUF: &trustroot.TUF{Mirror: mirror, RootPath: unsigned}}},
		{"too often", "tuf.refresh: ", trustroot.Config{TUF: &trustroot.TUF{Mirror: mirror, RootPath: good, Refresh: time.Second}}},
		{"never", "tuf.refresh: ", trustroot.Config{TUF: &trustroot.TUF{Mirror: mirror, RootPath: good, Refresh: -time.Hour}}},
	} {
		s, err := trustroot.NewThrough(c.cfg, logger(t), &away{})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestAFailureSaysWhatToDo(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for k := trustroot.Unavailable; k <= trustroot.Cache; k++ {
		err := error(&trustroot.Error{What: "https://x\x1b[2J", Kind: k, Err: fs.ErrNotExist})
		d, ok := diagnosis.Of(err)
		if !ok || d.Cause == "" || d.Remedy == "" || strings.ContainsAny(d.String(), "\x1b\n") {
			t.Errorf("%v: got %q", k, d)
		}
		if seen[d.Remedy] || string(d.Reason) != k.String() {
			t.Errorf("%v: got %q", k, d)
		}
		seen[d.Remedy] = true
	}
}
