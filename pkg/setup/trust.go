package setup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/verify"
)

// The bounds of the files that keys are in. They are the operator's, who may have
// given the path of something else.
const (
	maxKeyFile  = 256 << 10
	maxKeyFiles = 64
)

// trust makes those who judge signatures, and what they judge by.
type trust struct {
	*Process
	images *config.Images
	// caches is what may be done with the caches of trust roots.
	caches caches
	// previous are the roots of the configuration before, roots those of this one.
	previous, roots trustRoots
	// logsBefore and logs are the same of logs.
	logsBefore, logs logs
}

// judge makes the authority, which is not static, with its trust root.
func (t *trust) judge(a config.Authority) (j verify.Judge, err error) {
	switch {
	case a.Keyless != nil:
		j.Authority, err = keyless(a)
	case a.Keys != nil:
		j.Authority, err = keys(a)
	case a.PKI != nil:
		j.Authority, err = pki(a)
	default:
		err = errors.New("it is of no kind")
	}
	if err != nil {
		return verify.Judge{}, fmt.Errorf("%s%w", a.Path, err)
	}
	// A time stamp or a log entry tells when a key signed, where there is a root
	// that knows them.
	if j.Authority.NeedsRoot() || a.TrustRoot != "" {
		root, err := t.root(a.TrustRoot)
		if err != nil {
			return verify.Judge{}, fmt.Errorf("%s.trust_root: %w", a.Path, err)
		}
		if a.Keyless != nil {
			root.keyless = append(root.keyless, a.Path)
		}
		j.Root = root
	}
	return j, nil
}

// The errors of these three begin with the key below the authority's, or with a
// colon.

func keyless(a config.Authority) (*sigstore.Authority, error) {
	id, err := identityOf(a.Keyless.Identity, a.Keyless.SubjectType, a.Keyless.Claims)
	if err != nil {
		return nil, fmt.Errorf(".%w", err)
	}
	made, err := sigstore.NewKeyless(sigstore.KeylessConfig{Identities: []sigstore.Identity{id}, Annotations: a.Annotations})
	if err != nil {
		return nil, fmt.Errorf(": %w", err)
	}
	return made, nil
}

func keys(a config.Authority) (*sigstore.Authority, error) {
	k := a.Keys
	var key string
	var files [][]byte
	var err error
	switch {
	case k.Path != "":
		key = ".key_path"
		files, err = readKeys(k.Path)
	case k.Dir != "":
		key = ".key_dir"
		var names []string
		if names, err = keyFiles(k.Dir); err == nil {
			files, err = readKeys(names...)
		}
	default:
		key, files = ".key_pem", [][]byte{[]byte(k.PEM)}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	made, err := sigstore.NewKeys(sigstore.KeysConfig{
		PEM: files, RequireLog: k.RequireTlog, ValidFrom: k.ValidFrom, ValidUntil: k.ValidUntil, Annotations: a.Annotations,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return made, nil
}

func pki(a config.Authority) (*sigstore.Authority, error) {
	id, err := identityOf(a.PKI.Identity, a.PKI.SubjectType, nil)
	if err != nil {
		return nil, fmt.Errorf(".%w", err)
	}
	text, err := readFile(a.PKI.CAPath, maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf(".ca_path: %w", err)
	}
	made, err := sigstore.NewPKI(sigstore.PKIConfig{PEM: text, Identities: []sigstore.Identity{id}, RequireLog: a.PKI.RequireTlog, Annotations: a.Annotations})
	if err != nil {
		return nil, fmt.Errorf(".ca_path: %q: %w", a.PKI.CAPath, err)
	}
	return made, nil
}

// readKeys reads files of keys, each of which must be one.
func readKeys(names ...string) ([][]byte, error) {
	var files [][]byte
	for _, name := range names {
		text, err := readFile(name, maxKeyFile)
		if err != nil {
			return nil, err
		}
		if _, err := sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{text}}); err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		files = append(files, text)
	}
	return files, nil
}

// keyFiles returns the files of a directory, sorted. What begins with a dot is the
// machinery of a mounted secret.
func keyFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.IsDir() {
			continue
		}
		if names = append(names, filepath.Join(dir, e.Name())); len(names) > maxKeyFiles {
			return nil, fmt.Errorf("%q: more than %d files", dir, maxKeyFiles)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%q: no file is in it", dir)
	}
	return names, nil
}

// readFile reads a file of at most max bytes.
func readFile(name string, max int64) ([]byte, error) {
	f, err := os.Open(name) // #nosec G304 -- the operator's path
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, max+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(text)) > max:
		return nil, fmt.Errorf("%q: longer than %d bytes", name, max)
	}
	return text, nil
}
