package setup_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/setup"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/trustroot"
	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
)

// network is a network without sockets, for bubbles of synctest.
type network struct {
	handler http.Handler // nil: nobody answers, and nobody refuses
	refuse  bool
	asked   atomic.Int64
}

func (n *network) RoundTrip(req *http.Request) (*http.Response, error) {
	n.asked.Add(1)
	switch {
	case n.refuse:
		return nil, errors.New("connection refused")
	case n.handler == nil:
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	w := httptest.NewRecorder()
	n.handler.ServeHTTP(w, req)
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

// hosts serves a repository for each host.
type hosts map[string]*trustroottest.Repository

func (h hosts) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if r := h[req.URL.Host]; r != nil {
		r.ServeHTTP(w, req)
		return
	}
	http.NotFound(w, req)
}

// rooted is a node with a kubelet, whose configurations ask a network.
type rooted struct {
	*network
	process *setup.Process
	port    *kubelettest.Server
	files   kubelettest.Files
	dir     string
	env     map[string]string
}

// bubble runs a test in a bubble of synctest. The kubelet, which has a socket, stays
// outside of it, and is not asked.
func bubble(t *testing.T, f func(t *testing.T, r *rooted)) {
	t.Helper()
	r := &rooted{dir: t.TempDir(), env: map[string]string{}}
	r.port, r.files = node(t)
	synctest.Test(t, func(t *testing.T) { f(t, r) })
}

// start makes a process that asks that network.
func (r *rooted) start(n *network) {
	r.network, r.process = n, setup.NewProcess(slog.New(slog.DiscardHandler))
	r.process.Through(n)
}

func (r *rooted) write(t *testing.T, name string, content []byte) string {
	t.Helper()
	(&trusted{dir: r.dir}).write(t, name, content)
	return filepath.Join(r.dir, name)
}

// parse reads a configuration with this node's environment.
func (r *rooted) parse(t *testing.T, text string) *config.Config {
	t.Helper()
	text = fmt.Sprintf("kubelet_secure_port = %d\nkubelet_ca_path = %q\ntoken_path = %q\n%s", r.port.Port(), r.files.CA, r.files.Token, text)
	result := config.Parse(text, func(name string) string { return r.env[name] })
	if len(result.Problems) > 0 {
		t.Fatal(result.Problems)
	}
	return result.Config
}

// configure is what the plugin does: it returns what is doubtful and how long that
// took.
func (r *rooted) configure(t *testing.T, text string, previous *setup.Parts) (*setup.Parts, []string, time.Duration) {
	t.Helper()
	parts, err := r.process.Build(r.parse(t, text), previous)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), setup.SettleTime)
	defer cancel()
	begin := time.Now()
	doubts := parts.SettleRoots(ctx)
	took := time.Since(begin)
	if previous != nil {
		previous.CloseUnlessIn(parts)
	}
	return parts, doubts, took
}

// tuf is a trust_root block of that name, for the repository of that host.
func (r *rooted) tuf(t *testing.T, name string, repository *trustroottest.Repository, more string) string {
	path := r.write(t, name+".root.json", repository.RootJSON(1))
	return fmt.Sprintf("trust_root %q {\ntuf {\nmirror = \"https://%s.example.org\"\nroot_path = %q\n%s\n}\n}\n", name, name, path, more)
}

// person is a policy for a person whom the trust root of that name vouches for.
func person(root string) string {
	text := ""
	if root != "" {
		text = fmt.Sprintf("trust_root = %q\n", root)
	}
	return fmt.Sprintf("registries = \"any\"\nimage_policy \"release\" {\nauthority \"dev\" {\nissuer = \"https://accounts.example.org\"\nsubject = \"dev@example.org\"\n%s}\n}\n", text)
}

// rootOf is the trust root of that name.
func rootOf(t *testing.T, parts *setup.Parts, name string) *setup.TrustRoot {
	t.Helper()
	i := slices.IndexFunc(parts.Roots(), func(r *setup.TrustRoot) bool { return r.Name == name })
	if i < 0 {
		t.Fatalf("there is no trust root %q", name)
	}
	return parts.Roots()[i]
}

func wantRoot(t *testing.T, parts *setup.Parts, name string, content []byte, from trustroot.OriginKind) {
	t.Helper()
	root, status := rootOf(t, parts, name).Current()
	if root == nil || root.Digest() != image.Of(content) || status.Origin.Kind != from {
		t.Errorf("%q: another root than wanted, from %v: %v", name, status.Origin, status.Err)
	}
}

// someRoot is a trusted_root.json that is unlike every other.
func someRoot() []byte { return sigstoretest.New().TrustedRoot() }

// ADVERSARIAL.md 26, 29: what a mirror's owner rotated counts without a restart and
// without a new configuration.
func TestARotatedTrustRootIsTakenUpWithoutARestart(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, r *rooted) {
		first, second := someRoot(), someRoot()
		repository := trustroottest.New(first)
		r.start(&network{handler: hosts{"public.example.org": repository}})
		parts, doubts, took := r.configure(t, r.tuf(t, "public", repository, "")+person("public"), nil)
		defer parts.CloseUnlessIn(nil)
		if len(doubts) > 0 || took > 0 {
			t.Errorf("after %v: %q", took, doubts)
		}
		wantRoot(t, parts, "public", first, trustroot.FromMirror)

		repository.SetTarget(repository.Targets, second)
		repository.Rotate(func() { repository.NewKey("timestamp") })
		repository.Publish()
		time.Sleep(25 * time.Hour)
		wantRoot(t, parts, "public", second, trustroot.FromMirror)
	})
}

// An image is judged by the root that there is when it is judged.
func TestARotatedFileIsJudgedByWithoutARestart(t *testing.T) {
	t.Parallel()
	port, files := node(t)
	w := newTrusted(t)
	other := sigstoretest.New()
	signer := other.Keyless(sigstoretest.Identity{Issuer: "https://accounts.example.org", Subject: sigstoretest.Email("dev@example.org")})
	text := w.text() + "cache {\nnegative_ttl = \"1s\"\n}\n"
	parts := build(t, setup.NewProcess(slog.New(slog.DiscardHandler)), parse(t, port, files, text), nil)
	push := func(content string) sigstoretest.Pushed {
		app := w.registry.PushImage("app", sigstoretest.Image{Content: content})
		w.registry.Attach(app.Ref, sigstoretest.Usual, sigstoretest.Sign(sigstoretest.Signature{Signer: signer, Digest: app.Ref.Digest, Witnesses: []sigstoretest.Witness{other.Rekor1}}))
		return app
	}
	if got, err := verified(t, parts, push("before")); err == nil {
		t.Errorf("another Sigstore's signature counts: %q", got)
	}
	w.write(t, "root.json", other.TrustedRoot())
	deadline := time.Now().Add(time.Minute)
	for i := 0; ; i++ {
		got, err := verified(t, parts, push(fmt.Sprint("after ", i)))
		if err == nil && slices.Contains(got, "image-signer:release/person") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the new root is not judged by: %q, %v", got, err)
		}
		time.Sleep(100 * time.Millisecond) // files are looked at once a second
	}
}

// ADVERSARIAL.md 26, invariant 11: no network at the start, in both kinds. The
// public-good root has one that is built in, mirrors have none.
func TestConfigureDoesNotWaitLongForMirrorsThatAreAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		network *network
		public  time.Duration // with the public-good root alone
		why     string
	}{
		"refused":     {&network{refuse: true}, 0, "connection refused"},
		"blackholed":  {&network{}, setup.SettleTime, "the mirror has not answered yet"},
		"all is gone": {&network{handler: hosts{}}, 0, "is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, r *rooted) {
				r.start(c.network)
				parts, doubts, took := r.configure(t, person(""), nil)
				if took != c.public || len(doubts) != 1 || !strings.HasPrefix(doubts[0], "the public-good trust root: the one of 2025-02-19 that is built in is used") || !strings.Contains(doubts[0], c.why) {
					t.Errorf("after %v: %q", took, doubts)
				}
				// More mirrors take no more time, and what was waited for is not waited for
				// again.
				text := person("")
				for _, name := range []string{"a", "b", "c"} {
					text += r.tuf(t, name, trustroottest.New(someRoot()), "")
				}
				more, doubts, took := r.configure(t, text, parts)
				if took != setup.SettleTime || len(doubts) != 4 || !strings.HasPrefix(doubts[0], "trust_root[a]: there is no trust root yet") {
					t.Errorf("after %v: %q", took, doubts)
				}
				again, doubts, took := r.configure(t, text+"disable_container_selectors = true\n", more)
				if took != 0 || len(doubts) != 4 {
					t.Errorf("a configuration that changes no root took %v: %q", took, doubts)
				}
				again.CloseUnlessIn(nil)
			})
		})
	}
}

// A remedy is in what is said of a root that is missing.
func TestAMissingTrustRootIsDiagnosed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, r *rooted) {
		r.start(&network{refuse: true})
		parts, doubts, _ := r.configure(t, r.tuf(t, "public", trustroottest.New(someRoot()), "")+person("public"), nil)
		defer parts.CloseUnlessIn(nil)
		if len(doubts) != 1 || !strings.Contains(doubts[0], `"https://public.example.org": `) || !strings.Contains(doubts[0], "see that this node reaches the mirror") {
			t.Errorf("got %q", doubts)
		}
	})
}

// A restart without a network begins with what was fetched before, below cache.dir.
func TestAStartWithoutANetworkUsesWhatIsKept(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, r *rooted) {
		good := someRoot()
		repository := trustroottest.New(good)
		r.start(&network{handler: hosts{"public.example.org": repository}})
		text := fmt.Sprintf("cache {\ndir = %q\n}\n", filepath.Join(r.dir, "cache")) + r.tuf(t, "public", repository, "") + person("public")
		parts, _, _ := r.configure(t, text, nil)
		wantRoot(t, parts, "public", good, trustroot.FromMirror)
		parts.CloseUnlessIn(nil)

		time.Sleep(30 * time.Hour)
		r.start(&network{refuse: true})
		parts, doubts, took := r.configure(t, text, nil)
		defer parts.CloseUnlessIn(nil)
		wantRoot(t, parts, "public", good, trustroot.FromCache)
		if took != 0 || len(doubts) > 1 {
			t.Errorf("after %v: %q", took, doubts)
		}
		if _, status := rootOf(t, parts, "public").Current(); status.Age < 30*time.Hour {
			t.Errorf("it is %v old", status.Age)
		}
	})
}

// ADVERSARIAL.md 26, invariant 11: an outage that outlasts the metadata takes no root
// away, also over a restart, and is told.
func TestATrustRootOutlastsItsMirror(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, r *rooted) {
		good := someRoot()
		repository := trustroottest.New(good)
		r.start(&network{handler: hosts{"public.example.org": repository}})
		text := fmt.Sprintf("cache {\ndir = %q\n}\n", filepath.Join(r.dir, "cache")) + r.tuf(t, "public", repository, "") + person("public")
		parts, _, _ := r.configure(t, text, nil)
		repository.Fault(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
		time.Sleep(trustroottest.TimestampLife + time.Hour)
		const told = "trust_root[public]: it should have been replaced by 2000-01-08T00:00:00Z and is used all the same: "
		parts, doubts, took := r.configure(t, text, parts)
		wantRoot(t, parts, "public", good, trustroot.FromMirror)
		if took != 0 || len(doubts) != 1 || !strings.HasPrefix(doubts[0], told) {
			t.Errorf("after %v: %q", took, doubts)
		}
		parts.CloseUnlessIn(nil)

		r.start(r.network)
		parts, doubts, took = r.configure(t, text, nil)
		defer parts.CloseUnlessIn(nil)
		wantRoot(t, parts, "public", good, trustroot.FromCache)
		if took != 0 || len(doubts) != 1 || !strings.HasPrefix(doubts[0], told) {
			t.Errorf("after a restart and %v: %q", took, doubts)
		}
	})
}

// A person's question reads what the plugin keeps, and a person who doubts the mirror
// asks that: neither writes.
func TestQuestionsOfPeopleWriteNothing(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, r *rooted) {
		good := someRoot()
		repository := trustroottest.New(good)
		r.start(&network{handler: hosts{"public.example.org": repository}})
		cache := filepath.Join(r.dir, "tuf")
		text := r.tuf(t, "public", repository, fmt.Sprintf("cache_dir = %q", cache)) + person("public")
		ask := func() []*setup.TrustRoot {
			roots, err := r.process.TrustRoots(r.parse(t, text))
			if err != nil || len(roots) != 1 {
				t.Fatalf("%d roots, %v", len(roots), err)
			}
			if err := roots[0].Settle(t.Context()); err != nil {
				t.Error(err)
			}
			roots[0].Close()
			v, err := r.process.Verification(r.parse(t, text))
			if err != nil {
				t.Fatal(err)
			}
			if doubts := v.SettleRoots(t.Context()); len(doubts) > 0 {
				t.Errorf("doubts: %q", doubts)
			}
			v.Close()
			return roots
		}
		roots := ask()
		if _, _, there := roots[0].Kept(); !there {
			t.Error("nothing is said of what is kept")
		}
		if entries, _ := filepath.Glob(cache + "/*"); len(entries) > 0 {
			t.Errorf("%q were written", entries)
		}
		parts, _, _ := r.configure(t, text, nil)
		parts.CloseUnlessIn(nil)
		time.Sleep(time.Hour)
		r.asked.Store(0)
		roots = ask()
		if _, status := roots[0].Current(); status.Origin.Kind != trustroot.FromMirror || r.asked.Load() == 0 {
			t.Errorf("the mirror was not asked: %v", status.Origin)
		}
		if root, status, there := roots[0].Kept(); !there || root == nil || status.Age != time.Hour || status.Err != nil {
			t.Errorf("what is kept: %v, %+v", there, status)
		}
	})
}

func publicPEM(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// The files of the environment are used for the public-good root, below the
// configuration and above TUF.
func TestTheEnvironmentChangesThePublicGoodRoot(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, r *rooted) {
		ours := sigstoretest.New()
		r.start(&network{refuse: true})
		r.env = map[string]string{
			trustroot.VarRootFile: r.write(t, "fulcio.pem", ours.Fulcio.ChainPEM()),
			trustroot.VarRekorKey: r.write(t, "rekor.pem", publicPEM(t, ours.Rekor1.Public())),
			trustroot.VarCTLogKey: r.write(t, "ct.pem", publicPEM(t, ours.Root().CTLogs[0].Key)),
		}
		named := r.write(t, "root.json", someRoot())
		text := fmt.Sprintf("trust_root \"own\" {\ntrusted_root_path = %q\n}\n", named) + person("")
		parts, doubts, took := r.configure(t, text, nil)
		if took != 0 || len(doubts) > 0 || r.asked.Load() > 0 {
			t.Errorf("after %v and %d requests: %q", took, r.asked.Load(), doubts)
		}
		want := trustroot.Origin{Kind: trustroot.FromEnvironment, Environment: []string{trustroot.VarRootFile, trustroot.VarRekorKey, trustroot.VarCTLogKey}}
		if _, status := rootOf(t, parts, "").Current(); !cmp.Equal(status.Origin, want) {
			t.Errorf("it is from %v", status.Origin)
		}
		if _, status := rootOf(t, parts, "own").Current(); status.Origin.Kind != trustroot.FromFile || len(status.Origin.Environment) > 0 {
			t.Errorf("the one of the configuration is from %v", status.Origin)
		}

		// A mistake is found by the configuration, which is refused as a whole.
		r.write(t, "rekor.pem", []byte("garbage"))
		_, err := r.process.Build(r.parse(t, text), parts)
		if err == nil || !strings.HasPrefix(err.Error(), "image_policy[release].authority[dev].trust_root: the public-good trust root: the environment: ") {
			t.Errorf("got %v", err)
		}
		if root, status := rootOf(t, parts, "").Current(); root == nil {
			t.Errorf("what was good is gone: %v", status.Err)
		}
		parts.CloseUnlessIn(nil)
	})
}

// A reconfiguration asks no mirror again that it has nothing new to say of.
func TestTrustRootsSurviveAReconfiguration(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, r *rooted) {
		good := someRoot()
		repository := trustroottest.New(good)
		r.start(&network{handler: hosts{"public.example.org": repository, "other.example.org": repository}})
		text := r.tuf(t, "public", repository, "") + person("public")
		first, _, _ := r.configure(t, text, nil)
		asked := r.asked.Load()
		source := rootOf(t, first, "public").Source

		second, _, _ := r.configure(t, text+"disable_container_selectors = true\n", first)
		synctest.Wait()
		if rootOf(t, second, "public").Source != source || r.asked.Load() != asked {
			t.Errorf("it is another one, or the mirror was asked %d times more", r.asked.Load()-asked)
		}
		// It is kept up to date by whoever has it now,
		time.Sleep(25 * time.Hour)
		if r.asked.Load() == asked {
			t.Error("it was closed with the configuration that made it")
		}
		// also after a configuration that is refused,
		if _, err := r.process.Build(r.parse(t, text+"trust_root \"gone\" {\ntrusted_root_path = \"/gone\"\n}\n"), second); err == nil || !strings.HasPrefix(err.Error(), "trust_root[gone].trusted_root_path: ") {
			t.Errorf("got %v", err)
		}
		asked = r.asked.Load()
		time.Sleep(25 * time.Hour)
		if r.asked.Load() == asked {
			t.Error("a configuration that was refused closed it")
		}
		// and not when it is from elsewhere, or used no more.
		third, _, _ := r.configure(t, strings.Replace(text, "public.example.org", "other.example.org", 1), second)
		if rootOf(t, third, "public").Source == source {
			t.Error("another mirror's is the same")
		}
		fourth, _, took := r.configure(t, "", third)
		asked = r.asked.Load()
		time.Sleep(48 * time.Hour)
		if len(fourth.Roots()) != 0 || r.asked.Load() != asked || took != 0 {
			t.Errorf("%d roots; the mirror was asked %d times more", len(fourth.Roots()), r.asked.Load()-asked)
		}
		fourth.CloseUnlessIn(nil)
	})
}

// The root.json of a mirror that is carried over is read again: a broken one is refused,
// and a new one taken up at once.
func TestAReconfigurationReadsTheFilesOfItsRootsAgain(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, r *rooted) {
		first, second := someRoot(), someRoot()
		old, renewed := trustroottest.New(first), trustroottest.New(second)
		served := hosts{"public.example.org": old}
		r.start(&network{handler: served})
		text := r.tuf(t, "public", old, "") + person("public")
		parts, _, _ := r.configure(t, text, nil)
		r.write(t, "public.root.json", []byte("{}"))
		if _, err := r.process.Build(r.parse(t, text), parts); err == nil || !strings.HasPrefix(err.Error(), "trust_root[public].tuf.root_path: ") {
			t.Errorf("got %v", err)
		}
		wantRoot(t, parts, "public", first, trustroot.FromMirror)

		served["public.example.org"] = renewed
		r.write(t, "public.root.json", renewed.RootJSON(1))
		parts, _, _ = r.configure(t, text, parts)
		synctest.Wait()
		wantRoot(t, parts, "public", second, trustroot.FromMirror)
		parts.CloseUnlessIn(nil)
	})
}

// Keys need no Sigstore, and nobody's network but the registry's.
func TestKeysAloneTouchNoTrustRoot(t *testing.T) {
	t.Parallel()
	port, files := node(t)
	w := newTrusted(t)
	nobody := &network{refuse: true}
	process := setup.NewProcess(slog.New(slog.DiscardHandler))
	process.Through(nobody)
	text := fmt.Sprintf(`
		registry %q {
			ca_path = "%[2]s/registry.pem"
		}
		image_policy "release" {
			authority "key" {
				key_path = "%[2]s/key.pub"
			}
			authority "pki" {
				ca_path = "%[2]s/pki.pem"
				subject = "dev@example.org"
			}
			authority "nobody" {
				static = "deny"
			}
		}`, w.registry.Host(), w.dir)
	parts := build(t, process, parse(t, port, files, text), nil)
	if doubts := parts.SettleRoots(t.Context()); len(doubts) > 0 || len(parts.Roots()) > 0 {
		t.Errorf("%d roots, %q", len(parts.Roots()), doubts)
	}
	app := w.registry.PushImage("app", sigstoretest.Image{Content: "app"})
	w.registry.Attach(app.Ref, sigstoretest.Usual, sigstoretest.Sign(sigstoretest.Signature{Signer: w.key, Digest: app.Ref.Digest}))
	if got, err := verified(t, parts, app); err != nil || !slices.Contains(got, "image-signer:release/key") {
		t.Errorf("got %q, %v", got, err)
	}
	if asked := nobody.asked.Load(); asked > 0 {
		t.Errorf("somebody was asked %d times", asked)
	}
	// With require_tlog they do.
	logged := build(t, process, parse(t, port, files, strings.Replace(text, "key.pub\"", "key.pub\"\nrequire_tlog = true", 1)), nil)
	if len(logged.Roots()) != 1 || logged.Roots()[0].Name != "" {
		t.Errorf("with a log: %d roots", len(logged.Roots()))
	}
}

// A root without a CA accepts nobody, which is said with the authority's key.
func TestATrustRootWithoutACAIsSaid(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, r *rooted) {
		r.start(&network{refuse: true})
		path := r.write(t, "root.json", sigstoretest.Trust(sigstoretest.NewCTLog()).JSON())
		parts, doubts, _ := r.configure(t, fmt.Sprintf("trust_root \"own\" {\ntrusted_root_path = %q\n}\n", path)+person("own"), nil)
		defer parts.CloseUnlessIn(nil)
		want := []string{"image_policy[release].authority[dev].trust_root: no certificate authority is in it, so nobody can be accepted"}
		if diff := cmp.Diff(want, doubts); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}
