package kubelettest

import (
	"os"
	"path/filepath"
	"time"
)

// Files are the paths of what a client of a server needs, in one directory.
type Files struct {
	// CA is the serving certificate's CA, Serving the certificate itself.
	CA, Serving string
	// Token is a bearer token, Certificate and Key a client certificate, all of
	// which the server accepts.
	Token, Certificate, Key string
}

// WriteFiles writes the files to a directory, with a new token that the server
// accepts from now on besides those that it did, for a day.
func (s *Server) WriteFiles(dir string) (Files, error) {
	f := Files{
		CA:          filepath.Join(dir, "ca.crt"),
		Serving:     filepath.Join(dir, "serving.crt"),
		Token:       filepath.Join(dir, "token"),
		Certificate: filepath.Join(dir, "client.crt"),
		Key:         filepath.Join(dir, "client.key"),
	}
	pair, err := s.Client(Leaf{CommonName: "spire-agent"})
	if err != nil {
		return Files{}, err
	}
	token := Token(time.Now().Add(24 * time.Hour))
	for path, content := range map[string][]byte{
		f.CA:          s.CA(),
		f.Serving:     s.Serving(),
		f.Token:       []byte(token + "\n"),
		f.Certificate: pair.Certificate,
		f.Key:         pair.Key,
	} {
		if err := Replace(path, content); err != nil {
			return Files{}, err
		}
	}
	s.mu.Lock()
	s.tokens = append(s.tokens, token)
	s.mu.Unlock()
	return f, nil
}

// Replace writes a file as a whole, as mounted volumes are updated: a reader
// sees the old content or the new.
func Replace(path string, content []byte) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, content, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
