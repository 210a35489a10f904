package trustroot_test

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/trustroot"
	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
)

func publicPEM(t *testing.T, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// environment writes the files of a deployment, and says where they are.
func environment(t *testing.T, dir string, s *sigstoretest.Sigstore) trustroot.Environment {
	t.Helper()
	return trustroot.Environment{
		RootFile: write(t, filepath.Join(dir, "fulcio.pem"), s.Fulcio.ChainPEM()),
		RekorKey: write(t, filepath.Join(dir, "rekor.pub"), publicPEM(t, s.Rekor1.Public())),
		CTLogKey: write(t, filepath.Join(dir, "ctfe.pub"), publicPEM(t, s.Root().CTLogs[0].Key)),
	}
}

// accepts is whether what a deployment signed is accepted by the root in use.
func accepts(t *testing.T, source *trustroot.Source, s *sigstoretest.Sigstore) bool {
	t.Helper()
	app := image.Of([]byte("app"))
	repository, err := image.ParseRepository("registry.example.org/app")
	if err != nil {
		t.Fatal(err)
	}
	authority, err := sigstore.NewKeyless(sigstore.KeylessConfig{AnyIdentity: true})
	if err != nil {
		t.Fatal(err)
	}
	item := sigstoretest.Sign(sigstoretest.Signature{
		Signer: s.Keyless(sigstoretest.GitHub("org/app", "release.yml", "refs/tags/v1")), Digest: app,
		Format: evidence.Bundle, Witnesses: []sigstoretest.Witness{s.Rekor1},
	}).Item(image.Ref{Repository: repository, Digest: app})
	root, _ := source.Current()
	_, err = authority.Signature(root, item, []image.Digest{app}, sigstoretest.Time.Add(day))
	if err != nil {
		t.Log(err)
	}
	return err == nil
}

func TestTheEnvironmentTakesThePlaceOfAllOfIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours := sigstoretest.New()
		n := &away{}
		s := open(t, trustroot.Config{PublicGood: &trustroot.PublicGood{Environment: environment(t, t.TempDir(), ours)}}, n)
		settle(t, s)
		_, status := s.Current()
		wantNoProblem(t, status)
		want := trustroot.Origin{Kind: trustroot.FromEnvironment, Environment: []string{trustroot.VarRootFile, trustroot.VarRekorKey, trustroot.VarCTLogKey}}
		if diff := cmp.Diff(want, status.Origin); diff != "" {
			t.Error(diff)
		}
		if !accepts(t, s, ours) {
			t.Error("what the deployment signed is refused")
		}
		if accepts(t, s, sigstoretest.New()) {
			t.Error("what another one signed is accepted")
		}
		time.Sleep(6 * time.Hour)
		if n.asked() != 0 {
			t.Error("the network was asked")
		}
	})
}

// Each variable takes the place of one part and of nothing else: two of the three are
// not enough for what a deployment of one's own signed.
func TestTheEnvironmentTakesThePlaceOfParts(t *testing.T) {
	t.Parallel()
	for _, left := range []string{trustroot.VarRootFile, trustroot.VarRekorKey, trustroot.VarCTLogKey} {
		t.Run(left, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ours := sigstoretest.New()
				e := environment(t, t.TempDir(), ours)
				var want []string
				for name, path := range map[string]*string{trustroot.VarRootFile: &e.RootFile, trustroot.VarRekorKey: &e.RekorKey, trustroot.VarCTLogKey: &e.CTLogKey} {
					if name == left {
						*path = ""
					}
				}
				for _, name := range []string{trustroot.VarRootFile, trustroot.VarRekorKey, trustroot.VarCTLogKey} {
					if name != left {
						want = append(want, name)
					}
				}
				s := open(t, trustroot.Config{PublicGood: &trustroot.PublicGood{Environment: e}}, &away{})
				settle(t, s)
				_, status := s.Current()
				if diff := cmp.Diff(trustroot.Origin{Kind: trustroot.FromBuild, Environment: want}, status.Origin); diff != "" {
					t.Error(diff)
				}
				if accepts(t, s, ours) {
					t.Error("it is accepted")
				}
			})
		})
	}
}

// With the parts in the environment that a repository does not have, both count.
func TestTheEnvironmentOverTUF(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ours := sigstoretest.New()
		r := trustroottest.New(sigstoretest.Trust(ours.CT, ours.Rekor1).JSON())
		e := environment(t, t.TempDir(), ours)
		e.RekorKey, e.CTLogKey = "", ""
		e.TUFRoot = initializedFor(t, r)
		s := open(t, trustroot.Config{PublicGood: &trustroot.PublicGood{Environment: e}}, through{r})
		settle(t, s)
		time.Sleep(time.Second)
		root, status := s.Current()
		wantNoProblem(t, status)
		want := trustroot.Origin{Kind: trustroot.FromMirror, Location: mirror, Environment: []string{trustroot.VarRootFile}}
		if diff := cmp.Diff(want, status.Origin); diff != "" {
			t.Error(diff)
		}
		if !accepts(t, s, ours) {
			t.Error("it is refused")
		}
		// The same is the same: verdicts depend on it.
		time.Sleep(day)
		if again, _ := s.Current(); again.Digest() != root.Digest() {
			t.Error("the digest of the same root changed")
		}
		// A key that is replaced is taken up.
		other := sigstoretest.New()
		write(t, e.RootFile, other.Fulcio.ChainPEM())
		time.Sleep(trustroot.FilePeriod)
		synctest.Wait()
		if accepts(t, s, ours) {
			t.Error("who was taken out is accepted")
		}
		write(t, e.RootFile, []byte("garbage"))
		time.Sleep(trustroot.FilePeriod)
		synctest.Wait()
		_, status = s.Current()
		wantKind(t, status, trustroot.File)
	})
}

// The configuration is above the environment.
func TestTheConfigurationWins(t *testing.T) {
	t.Setenv(trustroot.VarRootFile, "/nonexistent")
	t.Setenv(trustroot.VarTUFRoot, "/nonexistent")
	good := someRoot()
	s := open(t, trustroot.Config{TrustedRootPath: write(t, filepath.Join(t.TempDir(), "r.json"), good)}, &away{})
	wantRoot(t, s, good)
}

// initializedFor writes what `cosign initialize --mirror --root` leaves: sigstore-go's
// cache.
func initializedFor(t *testing.T, r *trustroottest.Repository) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	initialize(t, dir, mirror, r)
	return dir
}

func initialize(t *testing.T, dir, mirror string, r *trustroottest.Repository) {
	t.Helper()
	remote, err := json.Marshal(map[string]string{"mirror": mirror})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "remote.json"), remote)
	files := r.Files()
	name := strings.NewReplacer("https://", "", "/", "-").Replace(mirror)
	for file, content := range map[string][]byte{
		"root.json":                 r.RootJSON(int(r.Root.Signed.Version)),
		"timestamp.json":            files["timestamp.json"],
		"snapshot.json":             files["snapshot.json"],
		"targets.json":              files["targets.json"],
		"targets/trusted_root.json": files["targets/trusted_root.json"],
	} {
		write(t, filepath.Join(dir, name, file), content)
	}
}

func TestTheDirectoryOfCosignInitialize(t *testing.T) {
	t.Parallel()
	for _, from := range []string{trustroot.VarTUFRoot, "HOME"} {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				good, better := someRoot(), someRoot()
				r := trustroottest.New(good)
				var e trustroot.Environment
				if from == "HOME" {
					e.Home = t.TempDir()
					initialize(t, filepath.Join(e.Home, ".sigstore", "root"), mirror, r)
				} else {
					e.Home, e.TUFRoot = t.TempDir(), initializedFor(t, r)
				}
				n := &away{}
				s := open(t, trustroot.Config{PublicGood: &trustroot.PublicGood{Environment: e}}, n)
				settle(t, s)
				status := wantRoot(t, s, good)
				if status.Origin.Kind != trustroot.FromCosign || status.Fetched.IsZero() || status.Expires.IsZero() {
					t.Errorf("got %v", status)
				}
				synctest.Wait()
				s.Close()
				if n.asked() == 0 {
					t.Error("nobody asks for something newer")
				}

				r.SetTarget(r.Targets, better)
				r.Publish()
				s = open(t, trustroot.Config{PublicGood: &trustroot.PublicGood{Environment: e}}, through{r})
				time.Sleep(time.Second)
				status = wantRoot(t, s, better)
				if status.Origin.Kind != trustroot.FromMirror || status.Origin.Location != mirror {
					t.Errorf("got %v", status)
				}
			})
		})
	}
}

// For the public-good instance the directory may know more than is built in, and what
// it knows is not rolled back by a mirror.
func TestTheDirectoryOfCosignInitializeForThePublicGood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good := someRoot()
		r := trustroottest.New(good)
		r.Root.Signed.Version = 99
		r.SignRoot()
		dir := filepath.Join(t.TempDir(), "root")
		initialize(t, dir, "https://tuf-repo-cdn.sigstore.dev", r)
		missing := roundTrip(through{trustroottest.New(someRoot())}.notFound)
		s := open(t, trustroot.Config{PublicGood: &trustroot.PublicGood{Environment: trustroot.Environment{TUFRoot: dir}}}, missing)
		time.Sleep(time.Second)
		status := wantRoot(t, s, good)
		wantKind(t, status, trustroot.RolledBack)
		s.Close()

		// One that is older than what is built in says nothing.
		old := trustroottest.New(someRoot())
		dir = filepath.Join(t.TempDir(), "root")
		initialize(t, dir, "https://tuf-repo-cdn.sigstore.dev", old)
		s = open(t, trustroot.Config{PublicGood: &trustroot.PublicGood{Environment: trustroot.Environment{TUFRoot: dir}}}, &away{})
		if root, status := s.Current(); root.Digest() != sigstore.PublicGood().Digest() || status.Err == nil {
			t.Errorf("got %v", status)
		}
	})
}

// Where the operator chose another repository, nothing of the public-good one is used
// in its place, not even for the first moment.
func TestTheBuiltInRootIsNotForOtherRepositories(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good := someRoot()
		r := trustroottest.New(good)
		dir := initializedFor(t, r)
		remove(t, filepath.Join(dir, "tuf.example.org-repository", "timestamp.json"))
		cfg := trustroot.Config{PublicGood: &trustroot.PublicGood{Environment: trustroot.Environment{TUFRoot: dir}}}
		s := open(t, cfg, &away{})
		synctest.Wait()
		wantKind(t, wantRoot(t, s, nil), trustroot.Unavailable)
		s.Close()
		s = open(t, cfg, through{r})
		settle(t, s)
		wantRoot(t, s, good)
	})
}

// What cannot be believed does not make the public-good instance trusted in place of
// the one that the operator chose.
func TestADirectoryOfCosignInitializeThatIsNotBelieved(t *testing.T) {
	t.Parallel()
	sub := "tuf.example.org-repository"
	for name, harm := range map[string]func(t *testing.T, dir string){
		"the directory is everybody's":     func(t *testing.T, dir string) { chmod(t, dir, 0o777) },
		"the mirror's name is everybody's": func(t *testing.T, dir string) { chmod(t, filepath.Join(dir, "remote.json"), 0o666) },
		"the root is everybody's":          func(t *testing.T, dir string) { chmod(t, filepath.Join(dir, sub, "root.json"), 0o622) },
		"the mirror's name is garbage":     func(t *testing.T, dir string) { write(t, filepath.Join(dir, "remote.json"), []byte("{")) },
		"the mirror's name is none":        func(t *testing.T, dir string) { write(t, filepath.Join(dir, "remote.json"), []byte(`{"mirror":"/x"}`)) },
		"the root is gone":                 func(t *testing.T, dir string) { remove(t, filepath.Join(dir, sub, "root.json")) },
		"everything is gone":               func(t *testing.T, dir string) { remove(t, filepath.Join(dir, sub)) },
		"a link out of it": func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, sub, "root.json"))
			if err := os.Symlink("/etc/hostname", filepath.Join(dir, sub, "root.json")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := initializedFor(t, trustroottest.New(someRoot()))
			harm(t, dir)
			s, err := trustroot.NewThrough(trustroot.Config{PublicGood: &trustroot.PublicGood{Environment: trustroot.Environment{TUFRoot: dir}}}, logger(t), &away{})
			if err == nil {
				s.Close()
				t.Fatal("it is believed")
			}
			if !strings.HasPrefix(err.Error(), "the environment: TUF_ROOT: ") {
				t.Error(err)
			}
		})
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func TestFilesOfTheEnvironmentThatAreNone(t *testing.T) {
	t.Parallel()
	ours := sigstoretest.New()
	key := publicPEM(t, ours.Rekor1.Public())
	leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ours.Keyless(sigstoretest.GitHub("o/r", "w", "r")).Certificate(sigstoretest.Time)})
	for name, c := range map[string]struct {
		content []byte
		parse   func([]byte) error
	}{
		"no key":                         {[]byte("x"), logKey},
		"two keys":                       {append(append([]byte{}, key...), key...), logKey},
		"a certificate as a key":         {ours.Fulcio.RootPEM(), logKey},
		"no certificate":                 {nil, authorities},
		"a key as a certificate":         {key, authorities},
		"nobody who signed himself":      {leaf, authorities},
		"something behind":               {append(ours.Fulcio.RootPEM(), "x"...), authorities},
		"too many":                       {[]byte(strings.Repeat(string(ours.Fulcio.RootPEM()), 65)), authorities},
		"a block that is no certificate": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}), authorities},
	} {
		if err := c.parse(c.content); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	if err := logKey(key); err != nil {
		t.Error(err)
	}
	if err := authorities(ours.Fulcio.ChainPEM()); err != nil {
		t.Error(err)
	}
	// A missing file is a mistake, as for SPIRE.
	_, err := trustroot.NewThrough(trustroot.Config{PublicGood: &trustroot.PublicGood{Environment: trustroot.Environment{RekorKey: "/nonexistent/key"}}}, logger(t), &away{})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/key") {
		t.Errorf("got %v", err)
	}
}

func logKey(content []byte) error {
	_, err := trustroot.ParseLogKey(content)
	return err
}

func authorities(content []byte) error {
	_, err := trustroot.ParseAuthorities(content)
	return err
}
