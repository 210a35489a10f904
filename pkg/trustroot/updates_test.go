package trustroot_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/podseal/podseal/pkg/trustroot"
	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
)

const day = 24 * time.Hour

func TestANewTargetIsTakenUpWithoutARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := someRoot(), someRoot()
		repository := trustroottest.New(first)
		s := open(t, ofRepository(t, repository), through{repository})
		settle(t, s)
		wantNoProblem(t, wantRoot(t, s, first))

		repository.SetTarget(repository.Targets, second)
		repository.Publish()
		wantRoot(t, s, first)
		time.Sleep(day)
		status := wantRoot(t, s, second)
		wantNoProblem(t, status)
		if status.Origin.Kind != trustroot.FromMirror || status.Origin.Location != mirror {
			t.Errorf("it is from %v", status.Origin)
		}
	})
}

func TestKeysAreRotated(t *testing.T) {
	t.Parallel()
	for _, role := range []string{metadata.ROOT, metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				first, second := someRoot(), someRoot()
				repository := trustroottest.New(first)
				s := open(t, ofRepository(t, repository), through{repository})
				settle(t, s)
				for range 3 {
					repository.Rotate(func() { repository.NewKey(role) })
				}
				repository.SetTarget(repository.Targets, second)
				repository.Publish()
				time.Sleep(day)
				wantNoProblem(t, wantRoot(t, s, second))
			})
		})
	}
}

// A thief of the timestamp's key can make its version so high that the owner can't
// go on; with new keys the count begins anew (TUF 5.3.11).
func TestNewKeysEndAFastForward(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second := someRoot(), someRoot()
		repository := trustroottest.New(first)
		repository.Timestamp.Signed.Version = 1 << 40
		repository.Snapshot.Signed.Version = 1 << 40
		repository.Publish()
		s := open(t, ofRepository(t, repository), through{repository})
		settle(t, s)
		repository.Rotate(func() {
			repository.NewKey(metadata.TIMESTAMP)
			repository.NewKey(metadata.SNAPSHOT)
		})
		repository.Timestamp.Signed.Version = 1
		repository.Snapshot.Signed.Version = 1
		repository.SetTarget(repository.Targets, second)
		repository.Publish()
		time.Sleep(day)
		wantNoProblem(t, wantRoot(t, s, second))
	})
}

// What a mirror can do that is in the hands of somebody else, or of nobody
// (ADVERSARIAL.md, row 26). Each begins with a good root in use, which must stay.
func TestAMirrorThatIsNotBelieved(t *testing.T) {
	t.Parallel()
	type repository = *trustroottest.Repository
	evil := func(r repository) { r.SetTarget(r.Targets, someRoot()) }
	for _, attack := range []struct {
		name string
		do   func(r repository, earlier map[string][]byte)
		want trustroot.Kind
	}{
		{"everything rolled back", func(r repository, earlier map[string][]byte) { r.Restore(earlier) }, trustroot.RolledBack},
		{"snapshot rolled back by a thief of the timestamp's key", func(r repository, _ map[string][]byte) {
			r.Publish()
			r.Snapshot.Signed.Version = 2
			r.Timestamp.Signed.Meta["snapshot.json"].Version = 2
			r.ServeAll()
		}, trustroot.RolledBack},
		{"targets rolled back by a thief of the snapshot's key", func(r repository, _ map[string][]byte) {
			r.Publish()
			r.Targets.Signed.Version = 2
			r.Snapshot.Signed.Meta["targets.json"].Version = 2
			r.ServeAll()
		}, trustroot.RolledBack},
		{"targets taken out of the snapshot", func(r repository, _ map[string][]byte) {
			r.Publish()
			r.Snapshot.Signed.Meta = map[string]*metadata.MetaFiles{"other.json": metadata.MetaFile(1)}
			r.ServeAll()
		}, trustroot.Untrusted},
		{"timestamp signed by a stranger", func(r repository, _ map[string][]byte) {
			evil(r)
			r.Keys[metadata.TIMESTAMP] = []ed25519.PrivateKey{trustroottest.NewKey()}
			r.Publish()
		}, trustroot.Untrusted},
		{"targets signed by a stranger", func(r repository, _ map[string][]byte) {
			evil(r)
			r.Keys[metadata.TARGETS] = []ed25519.PrivateKey{trustroottest.NewKey()}
			r.Publish()
		}, trustroot.Untrusted},
		{"targets signed by the timestamp's key", func(r repository, _ map[string][]byte) {
			evil(r)
			r.Keys[metadata.TARGETS] = r.Keys[metadata.TIMESTAMP]
			r.Publish()
		}, trustroot.Untrusted},
		{"next root signed by itself only", func(r repository, _ map[string][]byte) {
			evil(r)
			r.Keys[metadata.ROOT] = nil
			r.Rotate(func() { r.NewKey(metadata.ROOT) })
			r.Publish()
		}, trustroot.Untrusted},
		{"next root not signed by itself", func(r repository, _ map[string][]byte) {
			r.Rotate(func() {
				old := r.Keys[metadata.ROOT]
				r.NewKey(metadata.ROOT)
				r.Keys[metadata.ROOT] = old
			})
			r.Publish()
		}, trustroot.Untrusted},
		{"a version of the root left out", func(r repository, _ map[string][]byte) {
			next := int(r.Root.Signed.Version) + 1
			r.Rotate(func() {})
			r.Rotate(func() {})
			r.Serve(fmt.Sprintf("%d.root.json", next), r.RootJSON(next+1))
		}, trustroot.RolledBack},
		// CVE-2026-23992
		{"a threshold of zero", func(r repository, _ map[string][]byte) {
			r.Rotate(func() { r.Root.Signed.Roles[metadata.TIMESTAMP].Threshold = 0 })
			r.Keys[metadata.TIMESTAMP] = nil
			evil(r)
			r.Publish()
		}, trustroot.Untrusted},
		// GHSA of go-tuf: one key under two IDs
		{"one key that counts twice", func(r repository, _ map[string][]byte) {
			key := trustroottest.PublicKey(r.Keys[metadata.TARGETS][0])
			key.UnrecognizedFields = map[string]any{"x": "y"}
			r.Rotate(func() {
				if err := r.Root.Signed.AddKey(key, metadata.TARGETS); err != nil {
					panic(err)
				}
				r.Root.Signed.Roles[metadata.TARGETS].Threshold = 2
			})
			r.Publish()
		}, trustroot.Untrusted},
		{"an expired timestamp", func(r repository, _ map[string][]byte) {
			evil(r)
			r.Publish()
			r.Timestamp.Signed.Expires = time.Now()
			r.ServeAll()
		}, trustroot.Expired},
		{"an expired snapshot", func(r repository, _ map[string][]byte) {
			evil(r)
			r.Publish()
			r.Snapshot.Signed.Expires = time.Now()
			r.ServeAll()
		}, trustroot.Expired},
		{"expired targets", func(r repository, _ map[string][]byte) {
			evil(r)
			r.Publish()
			r.Targets.Signed.Expires = time.Now()
			r.ServeAll()
		}, trustroot.Expired},
		{"an expired root", func(r repository, _ map[string][]byte) {
			before := r.Keys[metadata.ROOT]
			r.Root.Signed.Version++
			r.Root.Signed.Expires = time.Now()
			r.ServeRoot(before...)
			evil(r)
			r.Publish()
		}, trustroot.Expired},
		{"another content than the target's hash", func(r repository, _ map[string][]byte) {
			evil(r)
			r.Publish()
			for name, content := range r.Files() {
				if bytes.Contains(content, []byte("mediaType")) {
					r.Serve(name, bytes.Replace(content, []byte("SHA2_256"), []byte("SHA2_255"), 1))
				}
			}
		}, trustroot.Untrusted},
		{"a target that is no trust root", func(r repository, _ map[string][]byte) {
			r.SetTarget(r.Targets, []byte(`{"mediaType":"x"}`))
			r.Publish()
		}, trustroot.Untrusted},
		{"no target", func(r repository, _ map[string][]byte) {
			delete(r.Targets.Signed.Targets, trustroottest.Target)
			r.Publish()
		}, trustroot.Missing},
		// CVE-2026-24137: the name of a target becomes a path
		{"a target whose name is a path", func(r repository, _ map[string][]byte) {
			r.Targets.Signed.Targets["../../../../etc/"+trustroottest.Target] = r.Targets.Signed.Targets[trustroottest.Target]
			delete(r.Targets.Signed.Targets, trustroottest.Target)
			r.Publish()
		}, trustroot.Missing},
		{"a huge target", func(r repository, _ map[string][]byte) {
			r.Targets.Signed.Targets[trustroottest.Target].Length = 1 << 40
			r.Publish()
		}, trustroot.Limit},
		{"garbage", func(r repository, _ map[string][]byte) {
			r.Serve("timestamp.json", []byte("<html>please log in</html>"))
		}, trustroot.Untrusted},
		// CVE-2026-23991
		{"JSON that panics", func(r repository, _ map[string][]byte) {
			r.Serve("timestamp.json", []byte(`{"signed":{"_type":"timestamp","spec_version":"1.0.31","version":9,"expires":"2040-01-01T00:00:00Z","meta":{"snapshot.json":null}},"signatures":[]}`))
		}, trustroot.Untrusted},
		{"a root with null in it", func(r repository, _ map[string][]byte) {
			r.Serve(fmt.Sprintf("%d.root.json", r.Root.Signed.Version+1),
				[]byte(`{"signed":{"_type":"root","spec_version":"1.0","version":2,"expires":"2040-01-01T00:00:00Z","keys":{"a":null},"roles":{"root":null,"timestamp":null,"snapshot":null,"targets":null}},"signatures":[null]}`))
		}, trustroot.Untrusted},
		{"nothing but brackets", func(r repository, _ map[string][]byte) {
			r.Serve(fmt.Sprintf("%d.root.json", r.Root.Signed.Version+1), bytes.Repeat([]byte("{},"), 100<<10))
		}, trustroot.Limit},
		{"a timestamp that does not end", func(r repository, _ map[string][]byte) {
			r.Serve("timestamp.json", bytes.Repeat([]byte(" "), trustroot.MaxTimestamp+1))
		}, trustroot.Limit},
		{"no timestamp", func(r repository, _ map[string][]byte) { r.Serve("timestamp.json", nil) }, trustroot.Unavailable},
		{"an error of the server", func(r repository, _ map[string][]byte) {
			r.Fault(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
		}, trustroot.Unavailable},
		{"no answer", func(r repository, _ map[string][]byte) {
			r.Fault(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
		}, trustroot.Unavailable},
		{"a redirect to the cloud's metadata", func(r repository, _ map[string][]byte) {
			r.Fault(func(w http.ResponseWriter, req *http.Request) {
				http.Redirect(w, req, "http://169.254.169.254/latest", http.StatusFound)
			})
		}, trustroot.Unavailable},
	} {
		t.Run(attack.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				good := someRoot()
				r := trustroottest.New(someRoot())
				earlier := r.Files()
				r.SetTarget(r.Targets, good)
				r.Publish()
				s := open(t, ofRepository(t, r), through{r})
				settle(t, s)
				wantNoProblem(t, wantRoot(t, s, good))
				intact := r.Files()

				attack.do(r, earlier)
				time.Sleep(day + trustroot.RefreshTimeout)
				wantKind(t, wantRoot(t, s, good), attack.want)

				// What the attack left behind does not keep the owner's next state out.
				r.Fault(nil)
				r.Restore(intact)
				time.Sleep(2 * trustroot.LastRetry)
				wantNoProblem(t, wantRoot(t, s, good))
			})
		})
	}
}

// A mirror that serves the newest timestamp and holds back the newer root metadata
// can't bring back keys that were taken out of it.
func TestRootMetadataIsNotRolledBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good := someRoot()
		r := trustroottest.New(good)
		cfg := ofRepository(t, r)
		cfg.TUF.CacheDir = t.TempDir() + "/cache"
		stolen := r.Keys[metadata.TARGETS]
		r.Rotate(func() { r.NewKey(metadata.TARGETS) })
		r.Publish()
		s := open(t, cfg, through{r})
		settle(t, s)
		s.Close()

		r.Serve("2.root.json", nil)
		r.Keys[metadata.TARGETS] = stolen
		r.SetTarget(r.Targets, someRoot())
		r.Publish()
		for range 2 { // also after a restart
			s = open(t, cfg, through{r})
			time.Sleep(day)
			wantKind(t, wantRoot(t, s, good), trustroot.Untrusted)
			s.Close()
		}
	})
}

func TestARepositoryWithoutConsistentSnapshots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		good := someRoot()
		r := trustroottest.New(good)
		r.Root.Signed.ConsistentSnapshot = false
		r.SignRoot()
		s := open(t, ofRepository(t, r), through{r})
		settle(t, s)
		wantNoProblem(t, wantRoot(t, s, good))
	})
}
