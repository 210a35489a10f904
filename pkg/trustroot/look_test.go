package trustroot_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/trustroot"
	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
)

// Somebody else's cache is looked at: nothing may change in it.
func TestALookAtWhatIsKeptChangesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good := someRoot()
		r := trustroottest.New(good)
		cfg := ofRepository(t, r)
		cfg.TUF.CacheDir = filepath.Join(t.TempDir(), "cache")
		if root, status, err := trustroot.Look(cfg); root != nil || status.Err != nil || err != nil {
			t.Errorf("with nothing kept: %v, %v, %v", root, status, err)
		}
		if _, err := os.Lstat(cfg.TUF.CacheDir); !os.IsNotExist(err) {
			t.Errorf("the directory was made, or can't be looked at: %v", err)
		}

		s := open(t, cfg, through{r})
		settle(t, s)
		s.Close()
		path := filepath.Join(cfg.TUF.CacheDir, trustroot.StoreName(mirror))
		before := read(cfg.TUF.CacheDir, trustroot.StoreName(mirror))
		r.Requests()
		time.Sleep(2 * time.Hour)
		root, status, err := trustroot.Look(cfg)
		if err != nil || root == nil || root.Digest() != image.Of(good) || status.Origin.Kind != trustroot.FromCache || status.Age != 2*time.Hour || status.Err != nil {
			t.Errorf("got %v, %+v, %v", root, status, err)
		}
		time.Sleep(2 * day)
		readOnly := cfg
		readOnly.ReadOnly = true
		s = open(t, readOnly, through{r})
		settle(t, s)
		if _, status := s.Current(); status.Origin.Kind != trustroot.FromMirror || status.Err != nil {
			t.Errorf("it was not refreshed: %+v", status)
		}
		s.Close()
		r.Requests()
		if after, err := os.ReadFile(path); err != nil || string(after) != string(before) || len(r.Requests()) > 0 {
			t.Errorf("it was written again, or the mirror was asked: %v", err)
		}

		if err := os.Chmod(cfg.TUF.CacheDir, 0o777); err != nil { // #nosec G302 -- what is refused
			t.Fatal(err)
		}
		root, status, err = trustroot.Look(cfg)
		if root != nil || err != nil {
			t.Errorf("a directory that others may write to: %v, %v", root, err)
		}
		wantKind(t, status, trustroot.Cache)
	})
}

// A person is told at once that a mirror is away; who can't go on without it waits for
// the next try.
func TestAPersonWaitsForOneAnswerOfTheMirror(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := ofRepository(t, trustroottest.New(someRoot()))
		cfg.ReadOnly = true
		s := open(t, cfg, &away{})
		begin := time.Now()
		if err := s.Settle(t.Context()); !errors.Is(err, trustroot.ErrNone) {
			t.Errorf("got %v", err)
		}
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("it waited %v", waited)
		}
	})
}

func TestALookAtAMistakeSaysItsKey(t *testing.T) {
	t.Parallel()
	path := write(t, filepath.Join(t.TempDir(), "root.json"), []byte("{}"))
	if _, _, err := trustroot.Look(trustroot.Config{TrustedRootPath: path + ".gone"}); err == nil || !strings.HasPrefix(err.Error(), "trusted_root_path: ") {
		t.Errorf("got %v", err)
	}
	if _, _, err := trustroot.Look(trustroot.Config{TUF: &trustroot.TUF{Mirror: mirror, RootPath: path}}); err == nil || !strings.HasPrefix(err.Error(), "tuf.root_path: ") {
		t.Errorf("got %v", err)
	}
}

func TestReloadTakesUpWhatIsGoodAndRefusesWhatIsNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := someRoot(), someRoot()
		path := write(t, filepath.Join(t.TempDir(), "trusted_root.json"), first)
		s := open(t, trustroot.Config{TrustedRootPath: path}, &away{})
		write(t, path, second)
		if err := s.Reload(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		wantRoot(t, s, second)

		write(t, path, []byte("garbage"))
		if err := s.Reload(); err == nil || !strings.HasPrefix(err.Error(), "trusted_root_path: ") {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		wantRoot(t, s, second)
	})
}

// A mirror's clock tells of a node's that is behind only where nobody could answer in
// its place, and a cache between may have kept an older answer.
func TestHowFarTheMirrorsClockIsAhead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mirror string
		date   time.Duration
		want   time.Duration
	}{
		"ahead":             {mirror, time.Hour, time.Hour},
		"the same":          {mirror, 0, 0},
		"behind":            {mirror, -time.Hour, 0},
		"ahead over HTTP":   {strings.Replace(mirror, "https:", "http:", 1), time.Hour, 0},
		"not told":          {mirror, -1, 0},
		"not a date at all": {mirror, -2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := trustroottest.New(someRoot())
				cfg := ofRepository(t, r)
				cfg.TUF.Mirror = c.mirror
				s := open(t, cfg, through{http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					switch c.date {
					case -1:
					case -2:
						w.Header().Set("Date", "soon")
					default:
						w.Header().Set("Date", time.Now().Add(c.date).UTC().Format(http.TimeFormat))
					}
					r.ServeHTTP(w, req)
				})})
				settle(t, s)
				if _, status := s.Current(); status.Ahead != c.want {
					t.Errorf("%v ahead, want %v", status.Ahead, c.want)
				}
			})
		})
	}
}
