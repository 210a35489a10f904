package conformance_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/test/pluginproc"
)

// keeping is a node whose plugins keep evidence in one directory.
type keeping struct {
	*pluginproc.Node
	*signing
	wire *wire
	dir  string
}

func newKeeping(t *testing.T) *keeping {
	t.Helper()
	k := &keeping{Node: pluginproc.NewNode(t, kubelettest.Options{}), signing: newSigning(t), dir: filepath.Join(t.TempDir(), "store")}
	k.wire = k.through(t)
	if err := os.WriteFile(filepath.Join(k.signing.dir, "password"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	return k
}

// settings are those of a plugin. What was fetched by one with another user is fetched
// again, and replaced, by who reaches the registry; see verify's versions.
func (k *keeping) settings(user, more string) string {
	k.block = fmt.Sprintf("username = %q\npassword_path = %q", user, filepath.Join(k.signing.dir, "password"))
	return k.Settings().HCL() + k.signing.settings(policyOf("release", "shop", more)+fmt.Sprintf("\ncache {\ndir = %q\n}\n", k.dir))
}

// start starts a plugin with these settings.
func (k *keeping) start(t *testing.T, user, more string) *pluginproc.Process {
	t.Helper()
	plugin := pluginproc.Start(t, pluginproc.Options{})
	if err := plugin.Configure(t.Context(), k.settings(user, more)); err != nil {
		t.Fatal(err)
	}
	return plugin
}

// run starts processes that run images of their own, which are signed or not.
func (k *keeping) run(t *testing.T, name string, n int, signed bool) (pids []int) {
	t.Helper()
	signer := k.dev
	if !signed {
		signer = nil
	}
	for i := range n {
		p := k.pod("shop", fmt.Sprint(name, "-", i), k.push(fmt.Sprint(name, "-", i), signer))
		pids = append(pids, resident(t, k.Node, join(t, k.Node, p), 0))
	}
	return pids
}

// storeWarnings are what the plugin's log says of the directory.
func storeWarnings(plugin *pluginproc.Process) (lines []pluginproc.Line) {
	for _, l := range plugin.Log() {
		if l.Level != "debug" && strings.Contains(l.Message, "evidence") && strings.Contains(l.Message, "store") {
			lines = append(lines, l)
		}
	}
	return lines
}

// Killed again and again while it replaces what it has kept, the plugin has all of it
// at the next start: without the registry, what was verified before is verified, what
// was not is refused, and nobody is told anything else.
func TestAPluginThatIsKilledWhileItWritesLosesNothing(t *testing.T) {
	t.Parallel()
	const kills, longest = 20, 300 * time.Millisecond // that it has to write; it takes about as much
	k := newKeeping(t)
	known, unsigned := k.run(t, "known", 8, true), k.run(t, "unsigned", 2, false)
	first := k.start(t, "first", `on_unavailable = "stale"`)
	for _, pid := range known {
		wantVerified(t, first, pid, "release")
	}
	for _, pid := range unsigned {
		wantFailure(t, first, pid, codes.PermissionDenied, `image policy "release" does not hold`)
	}
	first.Stop()

	fresh := k.run(t, "fresh", kills, true)
	for i := range kills {
		plugin := k.start(t, fmt.Sprint("user-", i), `on_unavailable = "stale"`)
		k.registry.Forget()
		var all sync.WaitGroup
		for _, pid := range append(append([]int{fresh[i]}, known...), unsigned...) {
			all.Go(func() {
				got, err := plugin.Selectors(t.Context(), pid)
				switch verified := err == nil && contains(got, "image-policy:release"); {
				case err != nil && status.Code(err) != codes.PermissionDenied && status.Code(err) != codes.Unavailable:
					t.Errorf("kill %d: %v", i, err)
				case verified && (pid == unsigned[0] || pid == unsigned[1]):
					t.Errorf("kill %d: an unsigned image was verified: %q", i, got)
				}
			})
		}
		pluginproc.Eventually(t, "the registry is asked", func() bool { return len(k.registry.Requests()) > 0 })
		time.Sleep(rand.N(longest))
		if err := syscall.Kill(plugin.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		_ = plugin.Plugin.Stop() // which can't tell it to end
	}
	unfinished, err := filepath.Glob(filepath.Join(k.dir, "new-*"))
	if err != nil {
		t.Fatal(err)
	}

	k.wire.Cut()
	after := k.start(t, "last", `on_unavailable = "stale"`)
	for _, pid := range known {
		wantVerified(t, after, pid, "release")
	}
	for _, pid := range unsigned {
		wantFailure(t, after, pid, codes.Unavailable, `image policy "release" does not hold`, "connection")
	}
	there := 0
	for _, pid := range fresh {
		got, err := after.Selectors(t.Context(), pid)
		switch {
		case err == nil && contains(got, "image-policy:release"):
			there++
		case status.Code(err) != codes.Unavailable:
			t.Errorf("got %q, %v", got, err)
		}
	}
	t.Logf("after %d kills, with %d files that were not finished, %d of %d images are there that were new", kills, len(unfinished), there, kills)
	if lines := storeWarnings(after); len(lines) > 0 {
		t.Errorf("it is said of the store: %+v", lines)
	}
	after.Stop()

	// And with the registry all is well.
	k.wire.Mend()
	last := k.start(t, "last", `on_unavailable = "stale"`)
	for _, pid := range append(fresh, known...) {
		wantVerified(t, last, pid, "release")
	}
	for _, pid := range unsigned {
		wantFailure(t, last, pid, codes.PermissionDenied, `image policy "release" does not hold`)
	}
}

// What was verified at most cache.ttl ago is verified after a restart by what is kept,
// and no registry is asked; what was not is unavailable, and no stale evidence is used
// where nobody has asked for that.
func TestARestartAsksNoRegistryAboutWhatIsKept(t *testing.T) {
	t.Parallel()
	k := newKeeping(t)
	known, unsigned, unknown := k.run(t, "known", 4, true), k.run(t, "unsigned", 1, false), k.run(t, "unknown", 2, true)
	before := k.start(t, "user", "")
	for _, pid := range known {
		wantVerified(t, before, pid, "release")
	}
	wantFailure(t, before, unsigned[0], codes.PermissionDenied, `image policy "release" does not hold`)
	before.Stop()

	k.registry.Forget()
	again := k.start(t, "user", "")
	for _, pid := range known {
		wantVerified(t, again, pid, "release")
	}
	if asked := k.registry.Requests(); len(asked) > 0 {
		t.Errorf("the registry was asked %d times: %s", len(asked), asked[0].Target)
	}
	again.Stop()
	k.wire.Cut()
	away := k.start(t, "user", "")
	for _, pid := range known {
		wantVerified(t, away, pid, "release")
	}
	for _, pid := range unknown {
		wantFailure(t, away, pid, codes.Unavailable, `image policy "release" does not hold`, "connection")
	}
	wantFailure(t, away, unsigned[0], codes.PermissionDenied, `image policy "release" does not hold`, "there is no signature at ")
	away.Stop()
	// Who has other credentials would be told something else, perhaps.
	other := k.start(t, "other", "")
	for _, pid := range known {
		wantFailure(t, other, pid, codes.Unavailable, `image policy "release" does not hold`, "connection")
	}
}

// Two plugins write to one directory, as while an agent is replaced by the next.
func TestTwoPluginsKeepEvidenceInOneDirectory(t *testing.T) {
	t.Parallel()
	k := newKeeping(t)
	pids := k.run(t, "both", 12, true)
	plugins := []*pluginproc.Process{k.start(t, "user", ""), k.start(t, "user", "")}
	var all sync.WaitGroup
	for i, plugin := range plugins {
		for j := range pids {
			all.Go(func() { wantVerified(t, plugin, pids[(j+i*len(pids)/2)%len(pids)], "release") })
		}
	}
	all.Wait()
	for _, plugin := range plugins {
		if lines := storeWarnings(plugin); len(lines) > 0 {
			t.Errorf("it is said of the store: %+v", lines)
		}
		plugin.Stop()
	}
	k.wire.Cut()
	after := k.start(t, "user", "")
	for _, pid := range pids {
		wantVerified(t, after, pid, "release")
	}
}

// mountFor mounts a tmpfs for the plugin alone, which has PrivateMounts.
func mountFor(t *testing.T, plugin *pluginproc.Process, dir string, flags uintptr, data string) {
	t.Helper()
	ended := make(chan error)
	go func() {
		// A mount namespace is a thread's, and this thread is lost for all else. It must
		// not end: whatever plugin it has started would end with it (Pdeathsig).
		runtime.LockOSThread()
		defer func() { select {} }()
		ended <- func() error {
			ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", plugin.PID()))
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := errors.Join(unix.Unshare(unix.CLONE_FS), unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS)); err != nil { // #nosec G115 -- a small number
				return err
			}
			return unix.Mount("tmpfs", dir, "tmpfs", flags, data)
		}()
	}()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// A disk that is full or may not be written to costs no attestation, and the log says
// once what is the matter.
func TestADirectoryThatCantBeWrittenToFailsNobody(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		flags uintptr
		data  string
		want  string
	}{
		"read-only": {unix.MS_RDONLY, "mode=0700", "read-only file system"},
		"full":      {0, "mode=0700,size=64k", "no space left on device"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKeeping(t)
			disk := t.TempDir()
			k.dir = filepath.Join(disk, "store")
			pids := k.run(t, "app", 10, true)
			plugin := pluginproc.Start(t, pluginproc.Options{PrivateMounts: true})
			mountFor(t, plugin, disk, test.flags, test.data)
			if err := plugin.Configure(t.Context(), k.settings("user", "")); err != nil {
				t.Fatal(err)
			}
			for _, pid := range pids {
				wantVerified(t, plugin, pid, "release")
			}
			line := plugin.WaitFor(t, func(l pluginproc.Line) bool {
				return strings.Contains(l.Message, "the directory of the evidence store can't be used")
			})
			if line.Level != "warn" || !strings.Contains(line.Text("error"), test.want) || line.Text("remedy") == "" || line.Text("dir") != k.dir {
				t.Errorf("it is said of the store: %+v", line)
			}
			// What could not be written is kept all the same, as long as the process lives.
			k.wire.Cut()
			if err := plugin.Configure(t.Context(), k.settings("user", "# nothing else")); err != nil {
				t.Fatal(err)
			}
			for _, pid := range pids {
				wantVerified(t, plugin, pid, "release")
			}
			if lines := storeWarnings(plugin); len(lines) != 1 {
				t.Errorf("it is said of the store: %+v", lines)
			}
		})
	}
}
