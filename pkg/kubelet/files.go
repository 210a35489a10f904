package kubelet

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// maxFile is the size up to which files are read.
const maxFile = 1 << 20

// files is the contents of the files that a configuration names.
type files struct {
	ca, certificate, key string // PEM
	token                string // trimmed
}

// sameTransport is whether a transport made from f serves g as well.
func (f files) sameTransport(g files) bool {
	f.token, g.token = "", ""
	return f == g
}

// FileError is a file that can't be read or does not hold what it should.
type FileError struct {
	// Path is the file, Key the configuration key that names it.
	Path, Key string
	Err       error

	doing string
}

// Error begins with what the file was wanted for and ends with the key.
func (e *FileError) Error() string {
	return fmt.Sprintf("%s: %v (%s)", e.doing, e.Err, e.Key)
}

func (e *FileError) Unwrap() error { return e.Err }

// readFiles reads the files that requests need, and no others.
func readFiles(cfg Config) (f files, err error) {
	if cfg.Secure && !cfg.SkipVerification {
		if f.ca, err = readFile("unable to load kubelet CA", cfg.CAPath, "kubelet_ca_path"); err != nil {
			return files{}, err
		}
	}
	if cfg.usesCertificate() {
		if f.certificate, err = readFile("unable to load certificate", cfg.CertificatePath, "certificate_path"); err != nil {
			return files{}, err
		}
		if f.key, err = readFile("unable to load private key", cfg.PrivateKeyPath, "private_key_path"); err != nil {
			return files{}, err
		}
	}
	if cfg.usesToken() {
		if f.token, err = readToken(cfg.TokenPath); err != nil {
			return files{}, err
		}
	}
	return f, nil
}

func readFile(doing, path, key string) (string, error) {
	b, err := readBounded(path)
	if err != nil {
		return "", &FileError{Path: path, Key: key, Err: err, doing: doing}
	}
	return string(b), nil
}

// readBounded reads a regular file of at most maxFile bytes. A pipe in its
// place is refused and not waited for.
func readBounded(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // #nosec G304 -- the operator names it
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	b, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s is larger than 1 MiB", path)
	}
	return b, nil
}

// readToken reads a bearer token. An empty one is not an error yet: requests
// are then made without one, as the built-in attestor makes them.
func readToken(path string) (string, error) {
	const doing, key = "unable to load token", "token_path"
	text, err := readFile(doing, path, key)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(text)
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", &FileError{Path: path, Key: key, doing: doing,
			Err: fmt.Errorf("%s holds characters that no token has", path)}
	}
	return token, nil
}
