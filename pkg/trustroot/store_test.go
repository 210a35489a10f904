package trustroot_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/trustroot"
	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
	"github.com/podseal/podseal/test/testenv"
)

func TestADirectoryThatOthersHaveRightsOnIsNotUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good := someRoot()
		r := trustroottest.New(good)
		cfg := ofRepository(t, r)
		cfg.TUF.CacheDir = t.TempDir()
		if err := os.Chmod(cfg.TUF.CacheDir, 0o750); err != nil { // #nosec G302 -- the attack
			t.Fatal(err)
		}
		s := open(t, cfg, through{r})
		settle(t, s)
		wantKind(t, wantRoot(t, s, good), trustroot.Cache)
		entries, err := os.ReadDir(cfg.TUF.CacheDir)
		if err != nil || len(entries) > 0 {
			t.Errorf("%v were written, %v", entries, err)
		}
		if err := os.Chmod(cfg.TUF.CacheDir, 0o700); err != nil { // #nosec G302 -- a directory
			t.Fatal(err)
		}
		time.Sleep(day)
		wantNoProblem(t, wantRoot(t, s, good))
	})
}

func TestADirectoryOfAnotherUserIsNotUsed(t *testing.T) {
	t.Parallel()
	testenv.RequireRoot(t)
	synctest.Test(t, func(t *testing.T) {
		good := someRoot()
		r := trustroottest.New(good)
		cfg := ofRepository(t, r)
		cfg.TUF.CacheDir = filepath.Join(t.TempDir(), "cache")
		if err := errors.Join(os.Mkdir(cfg.TUF.CacheDir, 0o700), os.Chown(cfg.TUF.CacheDir, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
		s := open(t, cfg, through{r})
		settle(t, s)
		wantKind(t, wantRoot(t, s, good), trustroot.Cache)
	})
}

func TestNothingIsAFileThatIsMadeWithMoreRightsThanNeeded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	states(t, dir, 1)
	if err := keep(dir, "0.json"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", trustroot.StoreName(mirror), trustroot.StoreName(mirror) + ".lock"} {
		info, err := os.Stat(filepath.Join(dir, "cache", name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%q has mode %v", name, info.Mode())
		}
	}
}

// What was kept is judged again: it can make nobody trusted.
func TestAStoreThatWasTamperedWithIsNotBelieved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	states(t, dir, 1)
	stored := read(dir, "0.json")
	other := t.TempDir()
	states(t, other, 1)
	for name, content := range map[string][]byte{
		"garbage":                            []byte("\x00\x01"),
		"empty":                              {},
		"half of it":                         stored[:len(stored)/2],
		"of another repository":              read(other, "0.json"),
		"with another target":                bytes.Replace(stored, []byte(`"target":"`), []byte(`"target":"ICAg`), 1),
		"with a member that nobody knows":    bytes.Replace(stored, []byte(`{"roots"`), []byte(`{"x":1,"roots"`), 1),
		"with a member twice":                bytes.Replace(stored, []byte(`{"roots"`), []byte(`{"roots":[],"roots"`), 1),
		"with null for everything":           []byte(`{"roots":null,"timestamp":null,"snapshot":null,"targets":null,"target":null}`),
		"with a role in place of another":    bytes.Replace(stored, []byte(`"role":"targets"`), []byte(`"role":"snapshot"`), 1),
		"with the timestamp of another time": bytes.Replace(stored, []byte(`"timestamp":"ey`), []byte(`"timestamp":"eyA`), 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := trustroot.Config{TUF: &trustroot.TUF{Mirror: mirror, RootPath: filepath.Join(dir, "root.json"), CacheDir: filepath.Join(t.TempDir(), "cache")}}
			write(t, filepath.Join(cfg.TUF.CacheDir, trustroot.StoreName(mirror)), content)
			synctest.Test(t, func(t *testing.T) {
				s := open(t, cfg, &away{})
				synctest.Wait()
				_, status := s.Current()
				wantRoot(t, s, nil)
				if !strings.Contains(status.Err.Error(), cfg.TUF.CacheDir) {
					t.Errorf("the problem is %v", status.Err)
				}
			})
		})
	}
}

// An agent that starts without a network goes on with what it had.
func TestAStartWithoutANetwork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good := someRoot()
		r := trustroottest.New(someRoot())
		for range 3 {
			r.Rotate(func() { r.NewKey("root") })
		}
		r.SetTarget(r.Targets, good)
		r.Publish()
		cfg := ofRepository(t, r)
		cfg.TUF.CacheDir = filepath.Join(t.TempDir(), "cache")
		s := open(t, cfg, through{r})
		settle(t, s)
		s.Close()
		time.Sleep(60 * day) // all but the targets and the root are expired
		s = open(t, cfg, &away{})
		begin := time.Now()
		settle(t, s)
		if waited := time.Since(begin); waited > 0 {
			t.Errorf("it took %v", waited)
		}
		status := wantRoot(t, s, good)
		wantKind(t, status, trustroot.Unavailable)
		if status.Age != 60*day {
			t.Errorf("it is %v old", status.Age)
		}
		s.Close()

		// The operator gives a newer root.json to begin with: what was kept is still good.
		write(t, cfg.TUF.RootPath, r.RootJSON(3))
		s = open(t, cfg, &away{})
		settle(t, s)
		wantRoot(t, s, good)
		s.Close()

		// A mirror that has nothing newer than that takes nothing away.
		s = open(t, cfg, through{r})
		time.Sleep(day)
		wantKind(t, wantRoot(t, s, good), trustroot.Expired)
	})
}

// Rollback over a restart (CVE-2022-29173).
func TestARestartDoesNotForgetWhatWasSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good := someRoot()
		r := trustroottest.New(someRoot())
		earlier := r.Files()
		r.SetTarget(r.Targets, good)
		r.Publish()
		cfg := ofRepository(t, r)
		cfg.TUF.CacheDir = filepath.Join(t.TempDir(), "cache")
		s := open(t, cfg, through{r})
		settle(t, s)
		s.Close()
		r.Restore(earlier)
		s = open(t, cfg, through{r})
		time.Sleep(day)
		wantKind(t, wantRoot(t, s, good), trustroot.RolledBack)
	})
}

// What one process saw, another of the same node does not let be rolled back.
func TestTwoProcessesShareWhatTheySaw(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good := someRoot()
		r := trustroottest.New(someRoot())
		cfg := ofRepository(t, r)
		cfg.TUF.CacheDir = filepath.Join(t.TempDir(), "cache")
		first := open(t, cfg, through{r})
		settle(t, first)
		earlier := r.Files()

		r.SetTarget(r.Targets, good)
		r.Publish()
		cfg.TUF.Refresh = time.Minute
		second := open(t, cfg, through{r})
		time.Sleep(2 * time.Minute)
		wantRoot(t, second, good)
		second.Close()

		r.Restore(earlier)
		time.Sleep(day)
		wantKind(t, wantRoot(t, first, good), trustroot.RolledBack)
	})
}

// Somebody puts an older file into the directory while podseal runs.
func TestAStoreThatIsRolledBackIsNotBelieved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		old, good := someRoot(), someRoot()
		r := trustroottest.New(old)
		earlier := r.Files()
		cfg := ofRepository(t, r)
		cfg.TUF.CacheDir = filepath.Join(t.TempDir(), "cache")
		s := open(t, cfg, through{r})
		settle(t, s)
		s.Close()
		path := filepath.Join(cfg.TUF.CacheDir, trustroot.StoreName(mirror))
		stored, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var d map[string]any
		if err := json.Unmarshal(stored, &d); err != nil {
			t.Fatal(err)
		}
		d["checked"] = time.Now().Add(9 * day)
		if stored, err = json.Marshal(d); err != nil {
			t.Fatal(err)
		}

		time.Sleep(day)
		r.SetTarget(r.Targets, good)
		r.Publish()
		s = open(t, cfg, through{r})
		time.Sleep(time.Second)
		wantRoot(t, s, good)
		write(t, path, stored)
		r.Restore(earlier)
		time.Sleep(day)
		wantKind(t, wantRoot(t, s, good), trustroot.RolledBack)
	})
}
