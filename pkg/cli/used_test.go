package cli

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/doctor"
	"github.com/podseal/podseal/pkg/trustroot"
	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
)

// mirrored has the trust root come from a TUF repository that is kept in a directory,
// and a policy by it.
func (w *signedWorld) mirrored(t *testing.T) (conf string, repository *trustroottest.Repository, cfg trustroot.Config) {
	t.Helper()
	repository = trustroottest.New(w.sigstore.TrustedRoot())
	server := httptest.NewServer(repository)
	t.Cleanup(server.Close)
	cfg = trustroot.Config{TUF: &trustroot.TUF{Mirror: server.URL, RootPath: w.write("tuf.json", repository.RootJSON(1)), CacheDir: filepath.Join(w.dir, "tuf")}}
	conf = w.write("mirrored.conf", fmt.Appendf(nil, "registry %q {\nca_path = %q\n}\ntrust_root \"test\" {\ntuf {\nmirror = %q\nroot_path = %q\ncache_dir = %q\n}\n}\n%s",
		w.registry.Host(), filepath.Join(w.dir, "ca.pem"), cfg.TUF.Mirror, cfg.TUF.RootPath, cfg.TUF.CacheDir, policyFor("release", "")))
	return conf, repository, cfg
}

func TestVerifyShowsTheAgeOfWhatItUsed(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	conf, _, cfg := w.mirrored(t)
	code, stdout, stderr := w.run("", "verify", "--config", conf, w.signed.String())
	if code != exitOK || stderr != "" {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	for _, want := range []string{`(?m)^evidence: fetched now$`, `(?m)^trust root: TUF, ` + regexp.QuoteMeta(cfg.TUF.Mirror) + `, of 20\S+Z \(.+ ago\), expires 20\S+Z$`} {
		if !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("it does not say %s:\n%s", want, stdout)
		}
	}
	if _, err := os.Lstat(cfg.TUF.CacheDir); !os.IsNotExist(err) {
		t.Errorf("what the plugin keeps was written to: %v", err)
	}
}

// What the plugin keeps is used while the mirror is away, and a person is told.
func TestVerifyWithWhatIsKeptOfATrustRoot(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	conf, repository, cfg := w.mirrored(t)
	plugin, err := trustroot.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer plugin.Close()
	if err := plugin.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(cfg.TUF.CacheDir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	old := regexp.MustCompile(`"checked":"20[0-9]{2}`).ReplaceAll(text, []byte(`"checked":"2020`))
	if err := os.WriteFile(files[0], old, 0o600); err != nil {
		t.Fatal(err)
	}
	repository.Fault(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })

	v := w.verify(exitOK, "--config", conf, w.signed.String())
	if roots := v.Images[0].TrustRoots; len(roots) != 1 || roots[0].Origin != "the cache of TUF, "+cfg.TUF.Mirror || roots[0].Age < 365*24*3600 || !strings.Contains(roots[0].Problem, "status 502") {
		t.Errorf("trust roots %+v", roots)
	}
	_, stdout, stderr := w.run("", "verify", "--config", conf, w.signed.String())
	if !strings.Contains(stderr, "trust_root[test]: it can't be refreshed or kept as it should") || !strings.Contains(stderr, "see that this node reaches the mirror") {
		t.Errorf("the note is %q", stderr)
	}
	if !strings.Contains(stdout, "; it can't be refreshed: ") {
		t.Errorf("the output is %q", stdout)
	}
	if now, err := os.ReadFile(files[0]); err != nil || string(now) != string(old) {
		t.Errorf("what the plugin keeps was written to: %v", err)
	}
}

// A policy that is tried is told as one that does not hold, though it costs nobody
// anything.
func TestVerifyByAPolicyThatIsTried(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	nobody := strings.Replace(policyFor("tried", `mode = "audit"`), devSubject, "nobody@example.org", 1)
	conf := w.config("podseal.conf", policyFor("release", "")+nobody)
	v := w.verify(exitFailed, "--config", conf, w.signed.String())
	if p := v.Images[0].Policies; len(p) != 2 || p[0].Mode != "" || p[1].Name != "image_policy tried" || p[1].Mode != "audit" || p[1].Result != "refused" || len(p[1].Reasons) == 0 {
		t.Errorf("%+v", p)
	}
	if v.Outcome != outcomeNotVerified || len(v.Images[0].Selectors) == 0 {
		t.Errorf("%s with %q", v.Outcome, v.Images[0].Selectors)
	}
	_, stdout, _ := w.run("", "verify", "--config", conf, w.signed.String())
	if !strings.Contains(stdout, "(mode audit: only its own selectors are missing)") {
		t.Errorf("the output is %q", stdout)
	}
}

// doctor asks the mirror and the registry that a configuration has, and looks at what
// the plugin keeps without making it.
func TestDoctorLooksAtWhatImagesNeed(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	conf, _, cfg := w.mirrored(t)
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(w.dir, "cache")
	conf = w.write("doctor.conf", fmt.Appendf(text, "kubelet_read_only_port = 1\ncache {\ndir = %q\n}\n", cache))
	examined := func() map[string]doctor.Check {
		_, stdout, stderr := w.run("", "doctor", "-o", "json", "--config", conf)
		var d checkup
		if err := json.Unmarshal([]byte(stdout), &d); err != nil {
			t.Fatalf("%v; stdout %q, stderr %q", err, stdout, stderr)
		}
		found := map[string]doctor.Check{}
		for _, c := range d.Checks {
			found[c.Name] = c
		}
		return found
	}
	found := examined()
	for name, want := range map[string]string{
		doctor.TrustRoots:    "trust_root[test]: TUF, " + cfg.TUF.Mirror,
		doctor.Registries:    "registry[" + w.registry.Host() + "]: " + w.registry.URL(),
		doctor.EvidenceStore: "is not there yet: the plugin makes it",
	} {
		if c := found[name]; c.Status != doctor.OK || !strings.Contains(c.Finding, want) {
			t.Errorf("%+v, want %s", c, want)
		}
	}
	for _, dir := range []string{cache, cfg.TUF.CacheDir} {
		if _, err := os.Lstat(dir); !os.IsNotExist(err) {
			t.Errorf("%s was made: %v", dir, err)
		}
	}
	if err := os.Mkdir(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	if c := examined()[doctor.EvidenceStore]; c.Status != doctor.OK || !strings.Contains(c.Finding, "holds 0 records") {
		t.Errorf("%+v", c)
	}
	if err := os.Remove(filepath.Join(w.dir, "tuf.json")); err != nil {
		t.Fatal(err)
	}
	if c := examined()[doctor.TrustRoots]; c.Status != doctor.Failed || !strings.Contains(c.Finding, "trust_root[test].tuf.root_path") {
		t.Errorf("%+v", c)
	}
}
