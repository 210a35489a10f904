package trustroot_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/trustroot"
	"github.com/podseal/podseal/pkg/trustroot/trustroottest"
)

var fuzzed = sync.OnceValues(func() (*trustroottest.Repository, []byte) {
	content := sigstore.PublicGood().Digest().Bytes()
	r := trustroottest.Seeded("fuzz", content)
	r.Rotate(func() { r.NewKey(metadata.TIMESTAMP) })
	r.Publish()
	return r, content
})

// FuzzRepository has one document after the other written by somebody else. Nothing
// but the target that the owner signed ever comes out of it.
func FuzzRepository(f *testing.F) {
	r, _ := fuzzed()
	files := r.Files()
	for i, name := range fuzzedNames {
		f.Add(byte(i), files[fuzzedFiles[name]])
		f.Add(byte(i), []byte(`{"signed":null,"signatures":null}`))
		f.Add(byte(i), []byte(strings.ReplaceAll(string(files[fuzzedFiles[name]]), `"version":`, `"version":9`)))
		f.Add(byte(i), []byte(strings.ReplaceAll(string(files[fuzzedFiles[name]]), `"threshold":1`, `"threshold":0`)))
	}
	f.Fuzz(func(t *testing.T, which byte, document []byte) {
		r, content := fuzzed()
		served := r.Files()
		files := map[string][]byte{}
		for name, file := range fuzzedFiles {
			files[name] = served[file]
		}
		files[fuzzedNames[int(which)%len(fuzzedNames)]] = document
		got, err := trustroot.Follow(r.RootJSON(1), files, time.Now())
		if err == nil && !bytes.Equal(got, content) {
			t.Fatalf("%q is trusted", got)
		}
	})
}

var (
	fuzzedNames = []string{"root2", "timestamp", "snapshot", "targets", "target"}
	fuzzedFiles = map[string]string{
		"root2": "2.root.json", "timestamp": "timestamp.json", "snapshot": "snapshot.json", "targets": "targets.json", "target": "targets/trusted_root.json",
	}
)

// FuzzStore has the file that a state is kept in written by somebody else.
func FuzzStore(f *testing.F) {
	r, _ := fuzzed()
	files := r.Files()
	stored, err := json.Marshal(map[string]any{
		"roots": [][]byte{files["2.root.json"]}, "timestamp": files["timestamp.json"], "snapshot": files["snapshot.json"],
		"targets": []any{map[string]any{"role": "targets", "document": files["targets.json"]}}, "target": files["targets/trusted_root.json"],
		"checked": "2026-01-01T00:00:00Z",
	})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := trustroot.Replay(r.RootJSON(1), stored); err != nil {
		f.Fatal(err)
	}
	f.Add(stored)
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"roots":[null],"targets":[{}]}`))
	f.Fuzz(func(t *testing.T, stored []byte) {
		r, content := fuzzed()
		got, err := trustroot.Replay(r.RootJSON(1), stored)
		if err == nil && !bytes.Equal(got, content) {
			t.Fatalf("%q is trusted", got)
		}
	})
}

// FuzzInitial has the file that trust begins with, which is the operator's and may be
// anything.
func FuzzInitial(f *testing.F) {
	r, _ := fuzzed()
	f.Add(r.RootJSON(1))
	f.Add([]byte(`{"signed":{"_type":"root","roles":{"root":null},"keys":{"a":null}},"signatures":[null]}`))
	f.Fuzz(func(_ *testing.T, initial []byte) {
		r, _ := fuzzed()
		files := map[string][]byte{}
		for name, file := range fuzzedFiles {
			files[name] = r.Files()[file]
		}
		_, _ = trustroot.Follow(initial, files, time.Time{})
	})
}

// FuzzEnvironment has the files of the environment written by anybody: what is taken
// makes a trust root that can be read.
func FuzzEnvironment(f *testing.F) {
	s := sigstoretest.New()
	f.Add(s.Fulcio.ChainPEM())
	f.Add(s.Fulcio.Signer(sigstoretest.GitHub("o/r", "w", "r")).PublicPEM())
	f.Fuzz(func(t *testing.T, content []byte) {
		_, _ = trustroot.ParseLogKey(content)
		_, _ = trustroot.ParseAuthorities(content)
		if root, err := trustroot.Overlaid(content); err == nil {
			if parsed, err := sigstore.ParseRoot(root); err == nil && parsed.Digest() != image.Of(root) {
				t.Fatal("the digest is of something else")
			}
		}
	})
}
