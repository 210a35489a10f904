package conformance_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/tuf"
	"google.golang.org/grpc/codes"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
	"github.com/podseal/podseal/test/pluginproc"
)

// mirror is a TUF mirror at the end of a wire, whose repository can become another one.
type mirror struct {
	*wire
	serves atomic.Pointer[trustroottest.Repository]
	// root is where the plugin has its root.json.
	root string
}

func newMirror(t *testing.T, trusted []byte) *mirror {
	t.Helper()
	m := &mirror{root: filepath.Join(t.TempDir(), "root.json")}
	m.serves.Store(trustroottest.New(trusted))
	replace(t, m.root, m.serves.Load().RootJSON(1))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { m.serves.Load().ServeHTTP(w, q) }))
	t.Cleanup(server.Close)
	m.wire = newWire(t, server.Listener.Addr().String())
	return m
}

// block is a trust_root block of that name.
func (m *mirror) block(name, cache string) string {
	if cache != "" {
		cache = fmt.Sprintf("cache_dir = %q", cache)
	}
	return fmt.Sprintf(`
	trust_root %q {
		tuf {
			mirror    = "http://%s"
			root_path = %q
			%s
		}
	}`, name, m.host, m.root, cache)
}

// keyPolicy is an image policy for a namespace that a key must have signed for.
func (s *signing) keyPolicy(t *testing.T, namespace string, key *sigstoretest.Signer) string {
	t.Helper()
	path := filepath.Join(s.dir, namespace+".pub")
	if err := os.WriteFile(path, key.PublicPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`
	image_policy %q {
		match {
			namespaces = [%[1]q]
		}
		authority "key" {
			key_path = %q
		}
	}`, namespace, path)
}

// pushKeyed pushes an image that is signed by a key and in no log.
func (s *signing) pushKeyed(name string, key *sigstoretest.Signer) sigstoretest.Pushed {
	pushed := s.push(name, nil)
	s.registry.Attach(pushed.Ref, sigstoretest.Usual, sigstoretest.Sign(sigstoretest.Signature{Signer: key, Digest: pushed.Ref.Digest}))
	return pushed
}

// The agent starts while nothing answers: not the TUF mirror, not the registry, not the
// log. Configure waits no longer than it must, calls are told what is missing, and when
// the others are there they are used, without a restart.
func TestConfigureWaitsForNobodyWhoDoesNotAnswer(t *testing.T) {
	t.Parallel()
	const limit = 10 * 5 * time.Second
	for name, away := range map[string]func(*wire){"refused": (*wire).Cut, "silent": (*wire).Silence, "black hole": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := pluginproc.NewNode(t, kubelettest.Options{})
			s := newSigning(t)
			m, way := newMirror(t, s.TrustedRoot()), s.through(t)
			log := newWire(t, sigstoretest.NewRekor(t, s.Rekor1).Host())
			wires := []*wire{m.wire, way, log}
			for _, w := range wires {
				if away != nil {
					away(w)
				} else {
					w.host = blackHole(t)
				}
			}
			s.host = way.host
			key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
			text := s.settings(m.block("mirrored", "") + s.keyPolicy(t, "keys", key) + hasty +
				strings.Replace(policyOf("shop", "shop", fmt.Sprintf("online_rekor = true\nrekor_url = \"http://%s\"", log.host)), `"own"`, `"mirrored"`, 1))
			plugin := pluginproc.Start(t, pluginproc.Options{})
			began := time.Now()
			within(t, limit, func(ctx context.Context) {
				if err := plugin.Configure(ctx, node.Settings().HCL()+text); err != nil {
					t.Error(err)
				}
			})
			t.Logf("Configure took %v", time.Since(began).Round(time.Millisecond))
			line := plugin.WaitFor(t, func(l pluginproc.Line) bool {
				return strings.HasPrefix(l.Message, "trust_root[mirrored]: there is no trust root yet")
			})
			if line.Level != "warn" {
				t.Errorf("the line of the log is %+v", line)
			}
			keyed := node.Pod(s.pod("keys", "keyed", s.pushKeyed("keyed", key)))
			// Its entry is in the log alone.
			unlogged := s.push("keyless", nil)
			s.registry.Attach(unlogged.Ref, sigstoretest.Usual, sigstoretest.Sign(sigstoretest.Signature{
				Signer: s.dev, Digest: unlogged.Ref.Digest, Format: evidence.SimpleSigning, Witnesses: []sigstoretest.Witness{s.Rekor1}, Break: sigstoretest.LogOnly,
			}))
			keyless := node.Pod(s.pod("shop", "keyless", unlogged))
			var all sync.WaitGroup
			all.Go(func() {
				wantFailure(t, plugin, keyed, codes.Unavailable, `image policy "keys" does not hold`, "connection")
			})
			all.Go(func() {
				wantFailure(t, plugin, keyless, codes.Unavailable, `image policy "shop" does not hold`, "connection")
			})
			all.Wait()
			if name != "refused" {
				return // what follows is the same, and takes its time
			}
			way.Mend()
			eventuallyVerified(t, plugin, keyed, "keys")
			pluginproc.Eventually(t, "the trust root is all that is missing", func() bool {
				_, err := plugin.Selectors(t.Context(), keyless)
				return err != nil && strings.Contains(err.Error(), "there is no trust root yet")
			})
			wantFailure(t, plugin, keyless, codes.Unavailable, `image policy "shop" does not hold`, "there is no trust root yet")
			m.Mend()
			pluginproc.Eventually(t, "the log is all that is missing", func() bool {
				_, err := plugin.Selectors(t.Context(), keyless)
				return err != nil && !strings.Contains(err.Error(), "there is no trust root yet")
			})
			wantFailure(t, plugin, keyless, codes.Unavailable, `image policy "shop" does not hold`, "log "+log.host)
			log.Mend()
			eventuallyVerified(t, plugin, keyless, "shop")
		})
	}
}

// An agent that is started again where there is no network at all: what was verified
// before is verified by what was kept where on_unavailable = "stale" says so, with the
// root that was kept; the rest is unavailable.
func TestAStartWithoutAnyNetwork(t *testing.T) {
	t.Parallel()
	node := newBothWays(t)
	s := newSigning(t)
	m, dir := newMirror(t, s.TrustedRoot()), t.TempDir()
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	text := node.Settings().With(settings{
		"pod_source": "pods_api", "pods_api_socket": node.socket, "kubelet_secure_port": nil, "kubelet_ca_path": nil, "token_path": nil,
	}).HCL() + m.block("mirrored", filepath.Join(dir, "tuf")) + fmt.Sprintf("\ncache {\ndir = %q\n}\n", filepath.Join(dir, "store")) + s.keyPolicy(t, "keys", key)
	for _, namespace := range []string{"stale", "strict"} {
		more := ""
		if namespace == "stale" {
			more = `on_unavailable = "stale"`
		}
		text += strings.Replace(policyOf(namespace, namespace, more), `"own"`, `"mirrored"`, 1)
	}
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	withUser := func(name string) string {
		s.block = fmt.Sprintf("username = %q\npassword_path = %q", name, filepath.Join(dir, "password"))
		return text + s.settings("")
	}
	run := func(p kubelettest.Pod) int {
		node.api.AddPod(p.Build())
		return node.Process(pluginproc.ContainerPath(p.UID, p.Containers[0].ID))
	}
	pids := map[string]int{
		"stale": run(s.pod("stale", "old", s.push("old", s.dev))), "strict": run(s.pod("strict", "other", s.push("other", s.dev))),
		"keys": run(s.pod("keys", "keyed", s.pushKeyed("keyed", key))),
	}
	before := pluginproc.Start(t, pluginproc.Options{})
	if err := before.Configure(t.Context(), withUser("user")); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for policy, pid := range pids {
		all.Go(func() { wantVerified(t, before, pid, policy) })
	}
	all.Wait()
	before.Stop()

	start := func(user string) *pluginproc.Process {
		plugin := pluginproc.Start(t, pluginproc.Options{PrivateNetwork: true})
		began := time.Now()
		if err := plugin.Configure(t.Context(), withUser(user)); err != nil {
			t.Fatal(err)
		}
		t.Logf("Configure took %v", time.Since(began).Round(time.Millisecond))
		return plugin
	}
	never := run(s.pod("stale", "new", s.push("new", s.dev)))
	unreachable := "connect: network is unreachable"
	// Within cache.ttl the registry need not be asked.
	same := start("user")
	for policy, pid := range pids {
		all.Go(func() { wantVerified(t, same, pid, policy) })
	}
	all.Go(func() {
		wantFailure(t, same, never, codes.Unavailable, `image policy "stale" does not hold`, unreachable)
	})
	all.Wait()
	// What another user was told is as good as what is too old.
	other := start("another")
	all.Go(func() { wantVerified(t, other, pids["stale"], "stale") })
	all.Go(func() {
		wantFailure(t, other, pids["strict"], codes.Unavailable, `image policy "strict" does not hold`, unreachable)
	})
	all.Go(func() {
		wantFailure(t, other, pids["keys"], codes.Unavailable, `image policy "keys" does not hold`, unreachable)
	})
	all.Go(func() {
		wantFailure(t, other, never, codes.Unavailable, `image policy "stale" does not hold`, unreachable)
	})
	all.Wait()
	line := other.WaitFor(t, func(l pluginproc.Line) bool { return strings.Contains(l.Message, `on_unavailable = "stale"`) })
	if line.Level != "warn" || line.Text("image_policy") != "stale" || line.Text("fetched") == "" {
		t.Errorf("the line of the log is %+v", line)
	}
}

// Who is trusted by a key asks for no trust root, not even for the one that everybody
// else has by default.
func TestPoliciesOfKeysAskNoMirror(t *testing.T) {
	t.Parallel()
	node := pluginproc.NewNode(t, kubelettest.Options{})
	s := newSigning(t)
	m := newMirror(t, s.TrustedRoot())
	// The directory of cosign says where the default root is from.
	home := t.TempDir()
	state := filepath.Join(home, tuf.URLToPath("http://"+m.host))
	for path, content := range map[string][]byte{
		filepath.Join(home, "remote.json"): fmt.Appendf(nil, `{"mirror":"http://%s"}`, m.host),
		filepath.Join(state, "root.json"):  m.serves.Load().RootJSON(1),
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	plugin := pluginproc.Start(t, pluginproc.Options{Env: []string{"TUF_ROOT=" + home, "HOME=" + home}})
	policies := node.Settings().HCL() + s.settings(s.keyPolicy(t, "keys", key))
	if err := plugin.Configure(t.Context(), policies); err != nil {
		t.Fatal(err)
	}
	wantVerified(t, plugin, node.Pod(s.pod("keys", "keyed", s.pushKeyed("keyed", key))), "keys")
	if n := m.Accepted(); n > 0 {
		t.Errorf("the mirror was asked %d times", n)
	}
	// Or it would prove nothing.
	if err := plugin.Configure(t.Context(), policies+strings.Replace(policyOf("shop", "shop", ""), `trust_root = "own"`, "", 1)); err != nil {
		t.Fatal(err)
	}
	wantVerified(t, plugin, node.Pod(s.pod("shop", "keyless", s.push("keyless", s.dev))), "shop")
	if m.Accepted() == 0 {
		t.Error("the mirror was not asked for a root that is needed")
	}
}
