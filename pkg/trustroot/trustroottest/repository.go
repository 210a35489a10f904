// Package trustroottest has a TUF repository as Sigstore's are: it signs what a test
// tells it to, and serves it as an http.Handler. It is for tests only.
package trustroottest

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Target is the name of the target that Sigstore's clients ask for.
const Target = "trusted_root.json"

// The life of each document from the time of its signing.
const (
	RootLife      = 365 * 24 * time.Hour
	TimestampLife = 7 * 24 * time.Hour
	SnapshotLife  = 21 * 24 * time.Hour
	TargetsLife   = 180 * 24 * time.Hour
)

// Repository is a TUF repository. Its fields are for a test to change before it
// calls Publish or Rotate.
type Repository struct {
	Root      *metadata.Metadata[metadata.RootType]
	Timestamp *metadata.Metadata[metadata.TimestampType]
	Snapshot  *metadata.Metadata[metadata.SnapshotType]
	Targets   *metadata.Metadata[metadata.TargetsType]
	// Delegates are further roles that name targets, by name.
	Delegates map[string]*metadata.Metadata[metadata.TargetsType]
	// Keys are the keys of each role, by name.
	Keys map[string][]ed25519.PrivateKey

	seed string
	made int // keys

	mu       sync.Mutex
	files    map[string][]byte
	requests []string
	fault    http.HandlerFunc
}

// New returns a repository that has content as its target, signed now.
func New(content []byte) *Repository { return Seeded(rand.Text(), content) }

// Seeded is New with the same keys for the same seed, as the processes that fuzz need
// them.
func Seeded(seed string, content []byte) *Repository {
	r := &Repository{
		seed: seed,
		Root: metadata.Root(), Timestamp: metadata.Timestamp(), Snapshot: metadata.Snapshot(), Targets: metadata.Targets(),
		Delegates: map[string]*metadata.Metadata[metadata.TargetsType]{}, Keys: map[string][]ed25519.PrivateKey{}, files: map[string][]byte{},
	}
	for _, role := range []string{metadata.ROOT, metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS} {
		r.NewKey(role)
	}
	r.SetTarget(r.Targets, content)
	r.SignRoot()
	r.Publish()
	return r
}

// NewKey gives a top-level role another key, and only that one.
func (r *Repository) NewKey(role string) {
	if old := r.Root.Signed.Roles[role]; old != nil {
		old.KeyIDs = nil
	}
	r.made++
	sum := sha256.Sum256(fmt.Append(nil, r.seed, r.made))
	private := ed25519.NewKeyFromSeed(sum[:])
	must0(r.Root.Signed.AddKey(PublicKey(private), role))
	r.Keys[role] = []ed25519.PrivateKey{private}
}

// NewKey makes a key.
func NewKey() ed25519.PrivateKey {
	_, private, err := ed25519.GenerateKey(nil)
	must0(err)
	return private
}

// PublicKey is a key as TUF writes it.
func PublicKey(private ed25519.PrivateKey) *metadata.Key {
	return must(metadata.KeyFromPublicKey(private.Public()))
}

// SetTarget makes content the target that a role names.
func (r *Repository) SetTarget(role *metadata.Metadata[metadata.TargetsType], content []byte) {
	role.Signed.Targets[Target] = must(metadata.TargetFile().FromBytes(Target, content))
	sum := sha256.Sum256(content)
	r.Serve("targets/"+hex.EncodeToString(sum[:])+"."+Target, content)
	r.Serve("targets/"+Target, content)
}

// Rotate signs the next version of the root metadata, by the keys of the one before
// and its own.
func (r *Repository) Rotate(change func()) {
	before := r.Keys[metadata.ROOT]
	change()
	r.Root.Signed.Version++
	r.SignRoot(before...)
}

// SignRoot signs the root metadata with its keys and further ones.
func (r *Repository) SignRoot(further ...ed25519.PrivateKey) {
	r.Root.Signed.Expires = expiry(RootLife)
	r.ServeRoot(further...)
}

// ServeRoot signs the root metadata as it is.
func (r *Repository) ServeRoot(further ...ed25519.PrivateKey) {
	r.Serve(fmt.Sprintf("%d.root.json", r.Root.Signed.Version), Sign(r.Root, append(further, r.Keys[metadata.ROOT]...)...))
}

// RootJSON is a version of the root metadata.
func (r *Repository) RootJSON(version int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.files[fmt.Sprintf("%d.root.json", version)]
}

// Publish signs everything but the root, with new versions and times.
func (r *Repository) Publish() {
	r.Targets.Signed.Expires = expiry(TargetsLife)
	r.Snapshot.Signed.Expires = expiry(SnapshotLife)
	r.Timestamp.Signed.Expires = expiry(TimestampLife)
	r.Targets.Signed.Version++
	r.Snapshot.Signed.Version++
	r.Timestamp.Signed.Version++
	r.Snapshot.Signed.Meta = map[string]*metadata.MetaFiles{"targets.json": metadata.MetaFile(r.Targets.Signed.Version)}
	for name, d := range r.Delegates {
		d.Signed.Version++
		d.Signed.Expires = expiry(TargetsLife)
		r.Snapshot.Signed.Meta[name+".json"] = metadata.MetaFile(d.Signed.Version)
	}
	r.Timestamp.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": metadata.MetaFile(r.Snapshot.Signed.Version)}
	r.ServeAll()
}

// ServeAll signs everything but the root as it is.
func (r *Repository) ServeAll() {
	r.serve(metadata.TARGETS, r.Targets.Signed.Version, Sign(r.Targets, r.Keys[metadata.TARGETS]...))
	for name, d := range r.Delegates {
		r.serve(name, d.Signed.Version, Sign(d, r.Keys[name]...))
	}
	r.serve(metadata.SNAPSHOT, r.Snapshot.Signed.Version, Sign(r.Snapshot, r.Keys[metadata.SNAPSHOT]...))
	r.Serve("timestamp.json", Sign(r.Timestamp, r.Keys[metadata.TIMESTAMP]...))
}

func (r *Repository) serve(role string, version int64, document []byte) {
	name := url.PathEscape(role) + ".json"
	r.Serve(fmt.Sprintf("%d.%s", version, name), document)
	r.Serve(name, document)
}

// Sign returns a document with one signature of each key.
func Sign[T metadata.Roles](document *metadata.Metadata[T], keys ...ed25519.PrivateKey) []byte {
	document.ClearSignatures()
	for i, key := range keys {
		if slices.ContainsFunc(keys[:i], func(k ed25519.PrivateKey) bool { return k.Equal(key) }) {
			continue
		}
		must(document.Sign(must(signature.LoadSigner(key, crypto.Hash(0)))))
	}
	return must(document.ToBytes(false))
}

// Serve makes the repository serve a file; nil takes it away.
func (r *Repository) Serve(name string, content []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if content == nil {
		delete(r.files, name)
		return
	}
	r.files[name] = content
}

// Files are the files that are served. Restore makes them those again.
func (r *Repository) Files() map[string][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := make(map[string][]byte, len(r.files))
	for name, content := range r.files {
		kept[name] = content
	}
	return kept
}

// Restore serves these files and no others.
func (r *Repository) Restore(files map[string][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files = files
}

// Fault answers in place of the repository until it is nil again.
func (r *Repository) Fault(answer http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = answer
}

// Requests are the paths that were asked for since the last call.
func (r *Repository) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.requests
	r.requests = nil
	return asked
}

// ServeHTTP is the mirror.
func (r *Repository) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	name := strings.TrimPrefix(req.URL.EscapedPath(), "/")
	r.mu.Lock()
	r.requests = append(r.requests, name)
	fault := r.fault
	content, ok := r.files[name]
	r.mu.Unlock()
	switch {
	case fault != nil:
		fault(w, req)
	case !ok:
		http.NotFound(w, req)
	default:
		_, _ = w.Write(content)
	}
}

func expiry(life time.Duration) time.Time { return time.Now().UTC().Add(life).Truncate(time.Second) }

func must[T any](v T, err error) T {
	must0(err)
	return v
}

func must0(err error) {
	if err != nil {
		panic(err) // a test's own mistake
	}
}
