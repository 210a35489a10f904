package trustroot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/podseal/podseal/pkg/sigstore"
)

// publicGoodRoot is the file that is built in: the environment may put its own parts
// into it.
var publicGoodRoot = sigstore.PublicGoodFile()

// dated is the public-good trust root for a start without a network.
func dated() *material {
	return &material{text: publicGoodRoot, origin: Origin{Kind: FromBuild}, fetched: sigstore.PublicGoodDate}
}

// initialized is what `cosign initialize` left in its directory: which repository is
// the operator's, and a state of it.
type initialized struct {
	dir    string
	mirror string
	// initial is the root metadata to begin with; nil is that of the public-good
	// instance.
	initial []byte
	known   *state
	fetched time.Time
	// problem is why there is no state.
	problem error
}

// bucket is how the mirror of the public-good instance was called before it was
// behind a CDN.
var bucket = []string{"sigstore-tuf-root", "https://sigstore-tuf-root.storage.googleapis.com", "https://storage.googleapis.com/sigstore-tuf-root"}

// readInitialized reads the directory of `cosign initialize`, nil if there is none.
// Nothing is written there. What can't be believed is an error: to go on with the
// public-good instance where the operator named another would trust strangers.
func readInitialized(path string) (*initialized, error) {
	found, err := guarded(func() (*initialized, error) { return readCosign(path) })
	if err != nil {
		return nil, &Error{What: path, Kind: File, Err: err}
	}
	return found, nil
}

func readCosign(path string) (*initialized, error) {
	base, err := os.OpenRoot(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil // whom it keeps out has not run cosign here
	}
	if err != nil {
		return nil, err
	}
	defer base.Close()
	if err := trusted(base); err != nil {
		return nil, err
	}
	found := &initialized{dir: path, mirror: tuf.DefaultMirror}
	remote, _, err := readTrusted(base, "remote.json", maxTimestamp)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		var r struct {
			Mirror string `json:"mirror"`
		}
		if err := json.Unmarshal(remote, &r); err != nil {
			return nil, err
		}
		if !slices.Contains(bucket, r.Mirror) {
			if found.mirror, err = parseMirror(r.Mirror); err != nil {
				return nil, err
			}
		}
	}
	if err := found.readState(base); err != nil {
		if found.mirror != tuf.DefaultMirror && found.initial == nil {
			return nil, err
		}
		if !errors.Is(err, fs.ErrNotExist) {
			found.problem = &Error{What: path, Kind: kindOf(err), Err: err}
		}
	}
	return found, nil
}

// readState reads the state of the mirror, as sigstore-go's client keeps it.
func (i *initialized) readState(base *os.Root) error {
	dir, err := base.OpenRoot(tuf.URLToPath(i.mirror))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := trusted(dir); err != nil {
		return err
	}
	root, _, err := readTrusted(dir, metadata.ROOT+".json", maxRootDocument)
	if err != nil {
		return err
	}
	version, err := rootVersion(root)
	if err != nil {
		return err
	}
	// For another repository than the public-good one the directory is what says
	// where trust begins, as for cosign.
	begin := root
	if i.mirror == tuf.DefaultMirror {
		newest, err := rootVersion(tuf.DefaultRoot())
		if err != nil {
			return err
		}
		if version <= newest {
			begin = tuf.DefaultRoot()
		}
	} else {
		i.initial = root
	}
	var d documents
	var targets []byte
	for _, f := range []struct {
		into *[]byte
		name string
		most int64
	}{
		{&d.Snapshot, metadata.SNAPSHOT + ".json", maxSnapshot},
		{&targets, metadata.TARGETS + ".json", maxTargets},
		{&d.Target, filepath.Join("targets", targetName), maxTarget},
		{&d.Timestamp, metadata.TIMESTAMP + ".json", maxTimestamp},
	} {
		if *f.into, i.fetched, err = readTrusted(dir, f.name, f.most); err != nil {
			return err
		}
	}
	d.Targets = []roleDocument{{metadata.TARGETS, targets}}
	i.known, err = replay(begin, d)
	return err
}

// readTrusted reads a file that nobody but root and this user could write.
func readTrusted(dir *os.Root, name string, most int64) ([]byte, time.Time, error) {
	file, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil {
		err = unwritable(info)
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	content, err := readBounded(file, most)
	return content, info.ModTime(), err
}

func trusted(dir *os.Root) error {
	info, err := dir.Stat(".")
	if err != nil {
		return err
	}
	return unwritable(info)
}

// unwritable checks that a file or directory is root's or this user's and that
// nobody else may write to it.
func unwritable(info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fail(File, "%q belongs to another user", clip(info.Name()))
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fail(File, "%q has mode %#o: others may write to it", clip(info.Name()), mode)
	}
	return nil
}
