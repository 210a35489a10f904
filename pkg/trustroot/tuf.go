package trustroot

import (
	"errors"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// targetName is the one target that is ever asked for: no name that a repository
// chooses becomes part of a path of this node (ADVERSARIAL.md, row 26).
const targetName = "trusted_root.json"

// Bounds of a TUF repository, in bytes where nothing else is said. Those of
// Sigstore's are two orders smaller.
const (
	maxRootDocument = 512 << 10
	maxTimestamp    = 16 << 10
	maxSnapshot     = 512 << 10
	maxTargets      = 1 << 20
	maxAllTargets   = 4 << 20
	maxTarget       = 1 << 20
	maxAllRoots     = 4 << 20
	maxRoots        = 256      // versions after the initial one, that are kept
	maxRoles        = 32       // that are asked for the target
	maxMembers      = 64 << 10 // of a document: a decoder makes fifty bytes of each
)

// errNone is what a repository says of a document that it does not have.
var errNone = errors.New("not there")

// repository is where documents are from. What it returns is believed only once it
// is verified.
type repository interface {
	// metadata returns the document of a role. version is 0 where the repository
	// keeps one document of a role only. It is errNone if there is none.
	metadata(role string, version int64, most int64) ([]byte, error)
	// target returns targetName. hash is empty where the repository keeps one
	// version of it only.
	target(hash string, most int64) ([]byte, error)
}

// documents is a state of a TUF repository, the bytes as they were served.
type documents struct {
	// Roots are the versions after the initial one, the oldest first.
	Roots     [][]byte `json:"roots"`
	Timestamp []byte   `json:"timestamp"`
	Snapshot  []byte   `json:"snapshot"`
	// Targets are the roles that were asked for the target, in this order.
	Targets []roleDocument `json:"targets"`
	Target  []byte         `json:"target"`
	// Checked is when the mirror last said that this is the newest.
	Checked time.Time `json:"checked,omitzero"`
}

type roleDocument struct {
	Role     string `json:"role"`
	Document []byte `json:"document"`
}

func (d *documents) role(name string) []byte {
	for _, r := range d.Targets {
		if r.Role == name {
			return r.Document
		}
	}
	return nil
}

// state is documents that were verified.
type state struct {
	documents
	root, timestamp, snapshot int64 // versions
	// expires is when the first of the documents does.
	expires time.Time
}

// newer is whether s comes after o in the life of one repository.
func (s *state) newer(o *state) bool {
	if o == nil {
		return true
	}
	return slices.Compare([]int64{s.root, s.timestamp, s.snapshot}, []int64{o.root, o.timestamp, o.snapshot}) > 0
}

// replay verifies documents that were kept, as if they were served now by a
// repository in which nothing expires: that they were not expired when they were
// fetched was seen then, and the last good trust root stays in use after its end
// (invariant 11).
func replay(initial []byte, d documents) (*state, error) {
	s, err := follow(initial, nil, &d, time.Time{})
	if err != nil {
		return nil, err
	}
	s.Checked = d.Checked
	return s, nil
}

// metadata makes documents a repository of themselves.
func (d *documents) metadata(role string, version int64, _ int64) ([]byte, error) {
	switch role {
	case metadata.ROOT:
		if len(d.Roots) == 0 {
			return nil, errNone
		}
		// They follow each other; where they do not, go-tuf says so.
		first, err := rootVersion(d.Roots[0])
		if err != nil {
			return nil, err
		}
		if i := version - first; i >= 0 && i < int64(len(d.Roots)) {
			return d.Roots[i], nil
		}
		return nil, errNone
	case metadata.TIMESTAMP:
		return d.Timestamp, nil
	case metadata.SNAPSHOT:
		return d.Snapshot, nil
	}
	if document := d.role(role); document != nil {
		return document, nil
	}
	return nil, errNone
}

func (d *documents) target(string, int64) ([]byte, error) { return d.Target, nil }

// follow is the client workflow of the TUF specification (5.3 to 5.7), from the
// initial root to the target. known, if not nil, is what was seen before: nothing
// may be older than it. now decides what is expired; the zero time, nothing.
func follow(initial []byte, known *state, from repository, now time.Time) (*state, error) {
	return guarded(func() (*state, error) {
		w := &walk{from: from, known: known}
		if err := w.begin(initial, now); err != nil {
			return nil, err
		}
		for _, step := range []func() error{w.roots, w.timestamp, w.snapshot, w.target} {
			if err := step(); err != nil {
				return nil, err
			}
		}
		return w.result(), nil
	})
}

// walk is one pass of the workflow. go-tuf judges each document; here they are
// fetched and put in order.
type walk struct {
	from  repository
	known *state
	set   *trustedmetadata.TrustedMetadata
	out   documents
	size  int // of the targets' documents
}

func (w *walk) begin(initial []byte, now time.Time) (err error) {
	if err := shape(initial, maxRootDocument); err != nil {
		return err
	}
	if w.set, err = trustedmetadata.New(initial); err != nil {
		return err
	}
	w.set.RefTime = now
	return nil
}

// roots takes each version of the root up to the newest, each signed by the one
// before it.
func (w *walk) roots() error {
	if w.known != nil {
		for _, r := range w.known.Roots {
			if v, err := rootVersion(r); err != nil || v <= w.version() {
				continue // the operator gave a newer initial one
			}
			if err := w.root(r); err != nil {
				return err
			}
		}
	}
	for {
		r, err := w.from.metadata(metadata.ROOT, w.version()+1, maxRootDocument)
		if errors.Is(err, errNone) {
			break
		}
		if err != nil {
			return err
		}
		if err := w.root(r); err != nil {
			return err
		}
	}
	if w.known != nil && w.version() < w.known.root {
		return fail(RolledBack, "version %d of the root metadata was seen and %d is the newest that there is", w.known.root, w.version())
	}
	return nil
}

func (w *walk) version() int64 { return w.set.Root.Signed.Version }

func (w *walk) root(document []byte) error {
	if err := shape(document, maxRootDocument); err != nil {
		return err
	}
	if _, err := w.set.UpdateRoot(document); err != nil {
		return err
	}
	w.out.Roots = append(w.out.Roots, document)
	size := 0
	for _, r := range w.out.Roots {
		size += len(r)
	}
	if len(w.out.Roots) > maxRoots || size > maxAllRoots {
		return fail(Limit, "more than %d versions of the root metadata or %d bytes of them since the initial one: give a newer one", maxRoots, maxAllRoots)
	}
	return nil
}

func (w *walk) timestamp() error {
	if w.known != nil {
		// One that is expired counts as what may not be rolled back. One whose keys
		// were replaced does not: that is how a repository recovers from versions that
		// a thief made too high (5.3.11).
		_, _ = w.set.UpdateTimestamp(w.known.Timestamp)
	}
	document, err := w.document(metadata.TIMESTAMP, 0, maxTimestamp)
	if err != nil {
		return err
	}
	_, err = w.set.UpdateTimestamp(document)
	if _, same := errors.AsType[*metadata.ErrEqualVersionNumber](err); same {
		document, err = w.known.Timestamp, nil
	}
	w.out.Timestamp = document
	return err
}

func (w *walk) snapshot() error {
	if w.known != nil {
		if _, err := w.set.UpdateSnapshot(w.known.Snapshot, true); err == nil {
			w.out.Snapshot = w.known.Snapshot
			return nil
		}
	}
	document, err := w.named(w.set.Timestamp.Signed.Meta, metadata.SNAPSHOT, maxSnapshot)
	if err != nil {
		return err
	}
	_, err = w.set.UpdateSnapshot(document, false)
	w.out.Snapshot = document
	return err
}

// named fetches the document of a role that others have to name.
func (w *walk) named(meta map[string]*metadata.MetaFiles, role string, most int64) ([]byte, error) {
	m, ok := meta[role+".json"]
	if !ok || m == nil {
		return nil, fail(Untrusted, "no metadata names %q", clip(role))
	}
	if m.Length > most || m.Length < 0 {
		return nil, fail(Limit, "the metadata of %q has %d bytes, more than %d", clip(role), m.Length, most)
	}
	if m.Length > 0 {
		most = m.Length
	}
	version := int64(0)
	if w.set.Root.Signed.ConsistentSnapshot {
		version = m.Version
	}
	return w.document(role, version, most)
}

func (w *walk) document(role string, version, most int64) ([]byte, error) {
	document, err := w.from.metadata(role, version, most)
	if errors.Is(err, errNone) {
		return nil, fail(Unavailable, "the metadata of %q is not there", clip(role))
	}
	if err != nil {
		return nil, err
	}
	return document, shape(document, most)
}

func (w *walk) result() *state {
	s := &state{documents: w.out, root: w.version(), timestamp: w.set.Timestamp.Signed.Version, snapshot: w.set.Snapshot.Signed.Version}
	ends := []time.Time{w.set.Root.Signed.Expires, w.set.Timestamp.Signed.Expires, w.set.Snapshot.Signed.Expires}
	for _, role := range w.set.Targets {
		ends = append(ends, role.Signed.Expires)
	}
	s.expires = slices.MinFunc(ends, time.Time.Compare)
	return s
}

// rootVersion is the version that root metadata says it has.
func rootVersion(document []byte) (int64, error) {
	return guarded(func() (int64, error) {
		if err := shape(document, maxRootDocument); err != nil {
			return 0, err
		}
		m, err := metadata.Root().FromBytes(document)
		if err != nil {
			return 0, err
		}
		return m.Signed.Version, nil
	})
}

// shape bounds what a document makes a decoder remember, before it is decoded.
func shape(document []byte, most int64) error {
	if int64(len(document)) > most {
		return fail(Limit, "metadata of more than %d bytes", most)
	}
	members := 0
	for _, c := range document {
		if c == ',' || c == '{' || c == '[' {
			members++
		}
	}
	if members > maxMembers {
		return fail(Limit, "metadata of more than %d members", maxMembers)
	}
	return nil
}
