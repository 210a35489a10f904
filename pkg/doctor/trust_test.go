package doctor_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podseal/podseal/pkg/doctor"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/store"
	"github.com/podseal/podseal/pkg/trustroot"
	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
)

// trustRoot is a trust root with what the plugin keeps of it.
type trustRoot struct {
	*trustroot.Source
	key  string
	kept *trustroot.Config // nil where nothing is kept
}

func (r trustRoot) Key() string { return r.key }

func (r trustRoot) Kept() (*sigstore.Root, trustroot.Status, bool) {
	if r.kept == nil {
		return nil, trustroot.Status{}, false
	}
	root, status, err := trustroot.Look(*r.kept)
	if err != nil {
		status.Err = err
	}
	return root, status, true
}

// trusting has images judged by a trust root.
func (n *node) trusting(t *testing.T, key string, cfg trustroot.Config, kept *trustroot.Config) {
	t.Helper()
	cfg.ReadOnly = true
	source, err := trustroot.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(source.Close)
	n.options.Settings.Images = true
	n.options.TrustRoots = append(n.options.TrustRoots, trustRoot{source, key, kept})
}

// mirror serves a repository.
func mirror(t *testing.T, r *trustroottest.Repository) string {
	t.Helper()
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	return server.URL
}

func ofMirror(t *testing.T, url string, r *trustroottest.Repository) trustroot.Config {
	t.Helper()
	return trustroot.Config{TUF: &trustroot.TUF{Mirror: url, RootPath: write(t, filepath.Join(t.TempDir(), "root.json"), string(r.RootJSON(1)), 0o600)}}
}

// keptOf has a cache directory filled from the mirror.
func keptOf(t *testing.T, cfg trustroot.Config) *trustroot.Config {
	t.Helper()
	tuf := *cfg.TUF
	tuf.CacheDir = filepath.Join(t.TempDir(), "tuf")
	cfg.TUF = &tuf
	source, err := trustroot.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if err := source.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &cfg
}

func broken(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }

func TestTrustRoots(t *testing.T) {
	t.Parallel()
	const key = "trust_root[public]"
	for name, c := range map[string]struct {
		make func(t *testing.T, n *node)
		want want
	}{
		"nothing is asked of images": {func(*testing.T, *node) {}, want{status: doctor.OK, finding: []string{"nothing is asked of images"}}},
		"keys alone":                 {func(_ *testing.T, n *node) { n.options.Settings.Images = true }, want{status: doctor.OK, finding: []string{"alone"}}},
		"a file": {func(t *testing.T, n *node) {
			path := write(t, filepath.Join(t.TempDir(), "trusted_root.json"), string(sigstoretest.New().TrustedRoot()), 0o600)
			n.trusting(t, "trust_root[airgap]", trustroot.Config{TrustedRootPath: path}, nil)
		}, want{status: doctor.OK, finding: []string{"trust_root[airgap]: the file /", "written 0s ago"}}},
		"a file that is none": {func(_ *testing.T, n *node) {
			n.options.Settings.Images = true
			n.options.TrustErr = fmt.Errorf("trust_root[airgap].trusted_root_path: %w", &trustroot.Error{What: "/etc/root.json", Kind: trustroot.File, Err: os.ErrNotExist})
		}, want{status: doctor.Failed, finding: []string{"the configuration is refused", "trust_root[airgap].trusted_root_path"}, remedy: []string{"put a file that can be read"}}},
		"a mirror": {func(t *testing.T, n *node) {
			r := trustroottest.New(sigstoretest.New().TrustedRoot())
			n.trusting(t, key, ofMirror(t, mirror(t, r), r), nil)
		}, want{status: doctor.OK, finding: []string{key + ": TUF, http://127.0.0.1:", "fetched 0s ago, expires 20"}}},
		"a mirror, and what is kept of it": {func(t *testing.T, n *node) {
			r := trustroottest.New(sigstoretest.New().TrustedRoot())
			cfg := ofMirror(t, mirror(t, r), r)
			n.trusting(t, key, cfg, keptOf(t, cfg))
		}, want{status: doctor.OK, finding: []string{key + ": TUF, ", "kept for a restart: the cache of TUF, "}}},
		"a mirror that is away now": {func(t *testing.T, n *node) {
			r := trustroottest.New(sigstoretest.New().TrustedRoot())
			cfg := ofMirror(t, mirror(t, r), r)
			kept := keptOf(t, cfg)
			r.Fault(broken)
			n.trusting(t, key, cfg, kept)
		}, want{status: doctor.Warning, finding: []string{"trust_root[public]: what is kept for a restart is all that there is: the cache of TUF, ", "status 502"}, remedy: []string{"see that this node reaches the mirror"}}},
		"a mirror that was never there": {func(t *testing.T, n *node) {
			r := trustroottest.New(sigstoretest.New().TrustedRoot())
			r.Fault(broken)
			n.trusting(t, key, ofMirror(t, mirror(t, r), r), nil)
		}, want{status: doctor.Failed, finding: []string{key + ": there is no trust root", "status 502"}, remedy: []string{"see that this node reaches the mirror"}}},
		"a directory that others may write to": {func(t *testing.T, n *node) {
			r := trustroottest.New(sigstoretest.New().TrustedRoot())
			cfg := ofMirror(t, mirror(t, r), r)
			kept := keptOf(t, cfg)
			if err := os.Chmod(kept.TUF.CacheDir, 0o777); err != nil { // #nosec G302 -- what is found
				t.Fatal(err)
			}
			n.trusting(t, key, cfg, kept)
		}, want{status: doctor.Warning, finding: []string{"it can't be kept for a restart", "has mode 0777"}, remedy: []string{"mode 0700"}}},
		"the environment": {func(t *testing.T, n *node) { n.environment(t) },
			want{status: doctor.Warning, finding: []string{"the environment (with SIGSTORE_ROOT_FILE, SIGSTORE_REKOR_PUBLIC_KEY, SIGSTORE_CT_LOG_PUBLIC_KEY_FILE)", "decides whose signatures count"}, remedy: []string{"trust_root block"}}},
		"two of them, one bad": {func(t *testing.T, n *node) {
			path := write(t, filepath.Join(t.TempDir(), "trusted_root.json"), string(sigstoretest.New().TrustedRoot()), 0o600)
			n.trusting(t, "trust_root[airgap]", trustroot.Config{TrustedRootPath: path}, nil)
			n.environment(t)
		}, want{status: doctor.Warning, finding: []string{"the public-good trust root: the environment"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, kubelettest.Options{})
			c.make(t, n)
			c.want.name = doctor.TrustRoots
			n.run(t).check(t, c.want)
		})
	}
}

// environment is a public-good trust root of which the environment replaces all.
func (n *node) environment(t *testing.T) {
	t.Helper()
	s := sigstoretest.New()
	dir := t.TempDir()
	e := trustroot.Environment{
		RootFile: write(t, filepath.Join(dir, "fulcio.pem"), string(s.Fulcio.ChainPEM()), 0o600),
		RekorKey: write(t, filepath.Join(dir, "rekor.pem"), string(sigstoretest.NewKey(sigstoretest.ECDSAP256).PublicPEM()), 0o600),
		CTLogKey: write(t, filepath.Join(dir, "ct.pem"), string(sigstoretest.NewKey(sigstoretest.ECDSAP256).PublicPEM()), 0o600),
	}
	n.trusting(t, "the public-good trust root", trustroot.Config{PublicGood: &trustroot.PublicGood{Environment: e}}, nil)
}

// With several things wrong, all are in the details with their remedies.
func TestSeveralTrustRootsAreTold(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	n.environment(t)
	r := trustroottest.New(sigstoretest.New().TrustedRoot())
	r.Fault(broken)
	n.trusting(t, "trust_root[a]", ofMirror(t, mirror(t, r), r), nil)
	n.trusting(t, "trust_root[b]", ofMirror(t, mirror(t, r), r), nil)
	for _, c := range n.run(t) {
		if c.Name != doctor.TrustRoots {
			continue
		}
		if c.Status != doctor.Failed || !strings.Contains(c.Finding, "trust_root[a]") || !strings.HasSuffix(c.Finding, "; and 1 more, see below") {
			t.Errorf("%s: %s", c.Status, c.Finding)
		}
		if len(c.Details) != 3 || !strings.Contains(c.Details[0], "; remedy: ") || !strings.Contains(c.Details[2], "trust_root[b]") {
			t.Errorf("details %q", c.Details)
		}
	}
}

// asking has registries asked.
func (n *node) asking(t *testing.T, registries ...registry.Registry) {
	t.Helper()
	client, err := registry.New(registry.Config{Registries: registries}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	n.options.Settings.Images, n.options.Registries = true, client
	for _, r := range registries {
		n.options.Settings.Registries = append(n.options.Settings.Registries, doctor.Registry{Key: fmt.Sprintf("registry[%s]", r.Host), Host: r.Host, Repositories: r.Repositories})
	}
}

func block(t *testing.T, r *sigstoretest.Registry) registry.Registry {
	t.Helper()
	b := registry.Registry{Host: r.Host(), Insecure: strings.HasPrefix(r.URL(), "http:")}
	if !b.Insecure {
		b.CAPath = write(t, filepath.Join(t.TempDir(), "ca.pem"), string(r.CAPEM()), 0o600)
	}
	return b
}

// runs has pods run images of a registry.
func (n *node) runs(t *testing.T, images ...string) {
	t.Helper()
	var pods []*corev1.Pod
	for i, name := range images {
		pod := fmt.Sprint("pod", i)
		pods = append(pods, kubelettest.Pod{Namespace: "shop", Name: pod, UID: kubelettest.UID(pod), ServiceAccount: "web",
			Containers: []kubelettest.Container{{Name: "main", ID: kubelettest.ID(pod), Image: name}}}.Build())
		n.proc.Start(200+i, cgroup(pod))
	}
	if err := n.SetPods(pods...); err != nil {
		t.Fatal(err)
	}
}

func TestRegistries(t *testing.T) {
	t.Parallel()
	users := map[string]string{"u": "p4ssword"}
	for name, c := range map[string]struct {
		make func(t *testing.T, n *node)
		want want
	}{
		"nothing is asked of images": {func(*testing.T, *node) {}, want{status: doctor.OK, finding: []string{"nothing is asked of images"}}},
		"none has a block":           {func(t *testing.T, n *node) { n.asking(t) }, want{status: doctor.OK, finding: []string{"no registry has a block"}}},
		"one, and nothing of it runs": {func(t *testing.T, n *node) {
			n.asking(t, block(t, sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})))
		},
			want{status: doctor.OK, finding: []string{"registry[127.0.0.1:", "speaks TLS 1.3 with a certificate that expires in", "no image of it runs here"}}},
		"a token and a list": {func(t *testing.T, n *node) {
			r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Users: users, Token: true}})
			b := block(t, r)
			b.Username, b.Password, b.Repositories = "u", "p4ssword", []string{"pay/"}
			n.asking(t, b)
			n.runs(t, "registry.example.org/web:1", r.Host()+"/shop/web:1", r.Host()+"/pay/api:1")
		}, want{status: doctor.OK, finding: []string{"wants authentication (bearer)", "/pay/api: accepted", "it lists what refers to an image"}}},
		"the wrong password": {func(t *testing.T, n *node) {
			r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Auth: &sigstoretest.Auth{Users: users}})
			b := block(t, r)
			b.Username, b.Password = "u", "wr0ng"
			n.asking(t, b)
			n.runs(t, r.Host()+"/pay/api:1")
		}, want{status: doctor.Failed, finding: []string{"registry[127.0.0.1:", "/pay/api"}, remedy: []string{"credentials that may pull"}}},
		"plain HTTP, no list": {func(t *testing.T, n *node) {
			r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{Plain: true, NoReferrers: true})
			n.asking(t, block(t, r))
			n.runs(t, r.Host()+"/pay/api@"+image.Of(nil).String())
		}, want{status: doctor.Warning, finding: []string{"speaks plain HTTP", "fallback tag", "whoever is on the way"}, remedy: []string{"remove insecure"}}},
		"away": {func(t *testing.T, n *node) {
			r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
			n.asking(t, block(t, r), block(t, sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})))
			r.Close()
		}, want{status: doctor.Failed, finding: []string{"registry[127.0.0.1:", "refused"}, remedy: []string{"see that the registry is up"}}},
		"a certificate of somebody else": {func(t *testing.T, n *node) {
			b := block(t, sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{}))
			b.CAPath = block(t, sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})).CAPath
			n.asking(t, b)
		}, want{status: doctor.Failed, finding: []string{"certificate"}, remedy: []string{"ca_path"}}},
		"a file that is none": {func(t *testing.T, n *node) {
			n.asking(t, block(t, sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})))
			n.options.Registries, n.options.RegistriesErr = nil, errors.New("registry[x].ca_path: open /x: no such file")
		}, want{status: doctor.Failed, finding: []string{"registry[x].ca_path"}, remedy: []string{"correct the file"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, kubelettest.Options{})
			c.make(t, n)
			c.want.name = doctor.Registries
			n.run(t).check(t, c.want)
		})
	}
}

// A registry is asked for no more than it must be, and for an image that runs here only.
func TestEachRegistryIsAskedOnce(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	r := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	n.asking(t, block(t, r))
	n.runs(t, r.Host()+"/pay/api:1", r.Host()+"/pay/db:1")
	n.run(t)
	asked := r.Requests()
	if len(asked) == 0 || len(asked) > 3 {
		t.Errorf("%d requests", len(asked))
	}
	for _, q := range asked {
		if strings.Contains(q.Target, "/pay/db") {
			t.Errorf("it was asked for %s", q.Target)
		}
	}
}

// By a clock that is behind what was signed just now is of the future.
func TestTheClocksOfOthers(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 1, 12, 0, 0, 500e6, time.UTC)
	const text = "the registry registry.example.org says that it is 2026-06-01T12:00:00Z"
	for ahead, w := range map[time.Duration]want{
		0:                 {status: doctor.OK},
		-4 * time.Second:  {status: doctor.OK},
		7 * time.Second:   {status: doctor.Warning, finding: []string{"it is 2026-06-01T12:00:00Z here", text}, remedy: []string{"set this node's clock"}},
		-7 * time.Second:  {status: doctor.Warning, finding: []string{text}},
		-24 * time.Hour:   {status: doctor.Warning, finding: []string{"one of the two clocks is wrong"}},
		301 * time.Second: {status: doctor.Failed, finding: []string{"this node's clock is behind", text}},
	} {
		w.name = doctor.Clock
		w.match(t, doctor.JudgeClockTold(now, text, ahead))
	}
	second := now.Truncate(time.Second)
	for _, c := range []struct {
		date time.Time
		want time.Duration
	}{
		{second, 0},
		{second.Add(-time.Second), -500 * time.Millisecond},
		{second.Add(time.Second), 400 * time.Millisecond},
	} {
		if got := doctor.Between(c.date, now, now.Add(100*time.Millisecond)); got != c.want {
			t.Errorf("%v is %v ahead, want %v", c.date, got, c.want)
		}
	}
}

// What is kept and is from the future tells of a clock that was set back.
func TestWhatIsKeptFromTheFuture(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	r := trustroottest.New(sigstoretest.New().TrustedRoot())
	cfg := ofMirror(t, mirror(t, r), r)
	kept := keptOf(t, cfg)
	files, err := filepath.Glob(filepath.Join(kept.TUF.CacheDir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	at := strings.LastIndex(string(text), `"checked":"20`)
	write(t, files[0], string(text[:at])+`"checked":"20`+"99"+string(text[at+15:]), 0o600)
	n.trusting(t, "trust_root[public]", cfg, kept)
	n.run(t).check(t, want{doctor.Clock, doctor.Failed, []string{"what is kept of trust_root[public] was fetched at 2099-"}, []string{"set this node's clock"}})
}

func TestTheEvidenceStore(t *testing.T) {
	t.Parallel()
	n := newNode(t, kubelettest.Options{})
	n.options.Settings.Images = true
	n.run(t).check(t, want{doctor.EvidenceStore, doctor.OK, []string{"in memory", "cache.dir"}, nil})
	dir := filepath.Join(t.TempDir(), "cache")
	n.options.Settings.CacheDir = dir
	n.run(t).check(t, want{doctor.EvidenceStore, doctor.OK, []string{dir, "is not there yet"}, nil})
	kept := store.Open(store.Config{Dir: dir})
	t.Cleanup(kept.Close)
	n.options.Evidence = kept
	n.run(t).check(t, want{doctor.EvidenceStore, doctor.OK, []string{dir, "holds 0 records of evidence in"}, nil})

	unsafe := filepath.Join(t.TempDir(), "cache")
	if err := errors.Join(os.Mkdir(unsafe, 0o700), os.Chmod(unsafe, 0o777)); err != nil { // #nosec G301 G302 -- what is found
		t.Fatal(err)
	}
	open := store.Open(store.Config{Dir: unsafe})
	t.Cleanup(open.Close)
	n.options.Evidence, n.options.Settings.CacheDir = open, unsafe
	n.run(t).check(t, want{doctor.EvidenceStore, doctor.Warning, []string{unsafe, "0777"}, []string{"mode 0700"}})

	for name, c := range map[string]struct {
		status   store.Status
		readOnly bool
		room     uint64
		want     want
	}{
		"well":      {room: 1 << 30, status: store.Status{Dir: "/c", Bytes: 4096, Records: 1}, want: want{status: doctor.OK, finding: []string{`"/c" (cache.dir) holds 1 record of evidence in 4096 bytes`}}},
		"full":      {room: 1 << 20, want: want{status: doctor.Warning, finding: []string{"room for 1048576 more only"}, remedy: []string{"make room"}}},
		"read-only": {room: 1 << 30, readOnly: true, want: want{status: doctor.Warning, finding: []string{"may not be written to"}, remedy: []string{"mount that file system for writing"}}},
		"broken":    {room: 1 << 30, status: store.Status{Err: errors.New("disk on fire")}, want: want{status: doctor.Warning, finding: []string{"disk on fire"}, remedy: []string{"cache.dir"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.want.name = doctor.EvidenceStore
			c.want.match(t, doctor.JudgeEvidence(c.status, c.readOnly, c.room))
		})
	}
}
