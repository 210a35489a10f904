package trustroot

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/podseal/podseal/pkg/sigstore"
)

// Config says where a trust root is from. Exactly one of TrustedRootPath, TUF and
// PublicGood is set.
type Config struct {
	// Name is how the log calls the root.
	Name string
	// TrustedRootPath is a trusted_root.json, read again when it changes.
	TrustedRootPath string
	TUF             *TUF
	PublicGood      *PublicGood
	// ReadOnly is for a person who wants to know: the CacheDir is left as it is, for it
	// is another process's, and Settle waits for the mirror whenever that is due, for
	// one answer.
	ReadOnly bool
}

// TUF is a TUF repository with the target trusted_root.json.
type TUF struct {
	// Mirror is its URL, with https:// or http://.
	Mirror string
	// RootPath is the root.json that trust in the repository begins with, read again
	// when it changes. It may be absent for the public-good repository.
	RootPath string
	// CacheDir is where the last good state is kept over restarts: a directory that
	// is made with mode 0700, or is this user's alone. Absent: in memory.
	CacheDir string
	// Refresh is how often the mirror is asked, DefaultRefresh if zero, and at least
	// MinRefresh.
	Refresh time.Duration
}

// PublicGood is the public-good instance of Sigstore, or what the environment puts
// in its place: the files of VarRootFile, VarRekorKey and VarCTLogKey for parts of
// it, and the repository that `cosign initialize` was run for. With all three files
// nothing else is used and no network.
type PublicGood struct {
	// CacheDir and Refresh are those of TUF.
	CacheDir    string
	Refresh     time.Duration
	Environment Environment
}

// How often mirrors are asked.
const (
	DefaultRefresh = 24 * time.Hour
	MinRefresh     = time.Minute
)

// build makes the parts of a Source from its configuration. It reads local files and
// asks no network.
func (s *Source) build(cfg Config, transport http.RoundTripper) error {
	given := 0
	for _, set := range []bool{cfg.TrustedRootPath != "", cfg.TUF != nil, cfg.PublicGood != nil} {
		if set {
			given++
		}
	}
	switch {
	case given != 1:
		return errors.New("exactly one of trusted_root_path, tuf and the public-good root is needed")
	case cfg.TUF != nil:
		return s.buildTUF(*cfg.TUF, transport)
	case cfg.PublicGood != nil:
		return s.buildPublicGood(*cfg.PublicGood, transport)
	}
	s.file = &watched[*sigstore.Root]{path: cfg.TrustedRootPath}
	s.file.parse = func(text []byte) (*sigstore.Root, error) {
		return sigstore.ParseRoot(text)
	}
	if err := s.file.look(); err != nil {
		return fmt.Errorf("trusted_root_path: %w", err)
	}
	s.base = s.ofFile()
	return nil
}

func (s *Source) buildTUF(cfg TUF, transport http.RoundTripper) error {
	url, err := parseMirror(cfg.Mirror)
	if err != nil {
		return fmt.Errorf("tuf.mirror: %w", err)
	}
	if s.period, err = period(cfg.Refresh); err != nil {
		return fmt.Errorf("tuf.refresh: %w", err)
	}
	var initial []byte
	switch {
	case cfg.RootPath != "":
		s.initial = &watched[[]byte]{path: cfg.RootPath, parse: parseInitial}
		if err := s.initial.look(); err != nil {
			return fmt.Errorf("tuf.root_path: %w", err)
		}
		initial = s.initial.value
	case url == tuf.DefaultMirror:
		initial = tuf.DefaultRoot()
	default:
		return errors.New("tuf.root_path: it is needed, for trust in a mirror begins with it")
	}
	s.updates = &updates{mirror: newMirror(url, transport), initial: initial, store: s.newStore(cfg.CacheDir, url)}
	s.begin(nil)
	return nil
}

// parseInitial checks root metadata that trust may begin with: it is signed by
// itself.
func parseInitial(text []byte) ([]byte, error) {
	if err := shape(text, maxRootDocument); err != nil {
		return nil, err
	}
	_, err := trustedmetadata.New(text)
	return text, err
}

func (s *Source) buildPublicGood(cfg PublicGood, transport http.RoundTripper) (err error) {
	if s.period, err = period(cfg.Refresh); err != nil {
		return err
	}
	s.overlay = newOverlay(cfg.Environment)
	if err := s.overlay.look(); err != nil {
		return fmt.Errorf("the environment: %w", err)
	}
	if s.overlay.complete() {
		return nil
	}
	path, from := cfg.Environment.TUFRoot, VarTUFRoot
	if path == "" && cfg.Environment.Home != "" {
		path, from = filepath.Join(cfg.Environment.Home, cosignInHome), varHome
	}
	var found *initialized
	if path != "" {
		if found, err = readInitialized(path); err != nil {
			return fmt.Errorf("the environment: %s: %w", from, err)
		}
	}
	url, initial := tuf.DefaultMirror, tuf.DefaultRoot()
	if found != nil && found.initial != nil {
		url, initial = found.mirror, found.initial
	}
	s.updates = &updates{mirror: newMirror(url, transport), initial: initial, store: s.newStore(cfg.CacheDir, url)}
	s.begin(found)
	if s.base == nil && url == tuf.DefaultMirror {
		s.base = dated()
	}
	return nil
}

// begin takes the newest of what was fetched before this start.
func (s *Source) begin(found *initialized) {
	if found != nil {
		s.problems.refresh = found.problem
		if known := found.known; known != nil {
			root, err := sigstore.ParseRoot(known.Target)
			if err != nil {
				s.problems.refresh = &Error{What: found.dir, Kind: Untrusted, Err: err}
			} else {
				s.updates.known = known
				s.base = &material{text: known.Target, root: root, origin: Origin{Kind: FromCosign, Location: found.dir}, fetched: found.fetched, expires: known.expires}
			}
		}
	}
	kept, err := s.updates.kept()
	s.problems.store = err
	if kept != nil {
		s.base = kept
	}
}

func (s *Source) newStore(dir, url string) store {
	kept := newStore(dir, url)
	kept.readOnly = s.cfg.ReadOnly
	return kept
}

func period(d time.Duration) (time.Duration, error) {
	switch {
	case d == 0:
		return DefaultRefresh, nil
	case d < MinRefresh:
		return 0, fmt.Errorf("%v is less than %v", d, MinRefresh)
	}
	return d, nil
}
