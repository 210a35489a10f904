package sigstoretest

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/image"
)

// TB is what of a *testing.T the registry uses: to fail the test of a client that
// breaks the protocol, and to end with the test.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Cleanup(f func())
}

// RegistryOptions say what kind of registry it is. The zero value speaks HTTPS,
// has the referrers API, and lets everybody read.
type RegistryOptions struct {
	// Plain is HTTP.
	Plain bool
	// Names are what the certificate is for; by default 127.0.0.1 and localhost.
	Names []string
	// NoReferrers has no referrers API: there are fallback tags only.
	NoReferrers bool
	// NoFilter ignores the artifactType of a request for referrers.
	NoFilter bool
	// PageSize is how many referrers are on a page; all of them when it is 0.
	PageSize int
	// Auth is who may read what; everybody when it is nil.
	Auth *Auth
}

// Registry is an OCI registry on the loopback interface, for reading: the test
// itself puts things there. It fails the test when the client breaks the protocol:
// credentials where nobody asked for them, a token of somebody else, a request
// that is no reading or for what can't be a name. All methods are safe for
// concurrent use.
type Registry struct {
	tb      TB
	options RegistryOptions
	server  *httptest.Server
	ca      *CA
	closing chan struct{} // closed by end
	end     sync.Once

	attaching sync.Mutex // held while something is read, added to and written

	mu sync.Mutex
	// All below is guarded by mu.
	repositories map[string]*repository
	tokens       map[string]token
	requests     []Request
	faults       []*fault
}

type repository struct {
	blobs     map[image.Digest][]byte
	manifests map[image.Digest]manifest
	tags      map[string]image.Digest
}

type manifest struct {
	mediaType string
	body      []byte
	subject   string // digest; empty when it is not to be listed
	about     object // its descriptor in a list of referrers
}

// Request is what a registry was asked.
type Request struct {
	Time                 time.Time
	Method, Host, Target string // Target is path and query
	// Authorization is the header's whole value.
	Authorization string
	Header        http.Header
}

// NewRegistry starts a registry, which ends with the test.
func NewRegistry(tb TB, o RegistryOptions) *Registry {
	r := &Registry{
		tb: tb, options: o, closing: make(chan struct{}),
		repositories: make(map[string]*repository), tokens: make(map[string]token),
	}
	r.server = httptest.NewUnstartedServer(r)
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that hang up are what some tests are about
	if o.Plain {
		r.server.Start()
	} else {
		r.server.TLS = r.certificate()
		r.server.StartTLS()
	}
	tb.Cleanup(r.Close)
	return r
}

// Close ends the registry and all that it still answers. It may be called again.
func (r *Registry) Close() {
	r.end.Do(func() {
		close(r.closing)
		r.server.CloseClientConnections()
		r.server.Close()
	})
}

// Host is the registry's name: 127.0.0.1 and a port.
func (r *Registry) Host() string { return r.server.Listener.Addr().String() }

// URL is where the registry is, without a slash at the end.
func (r *Registry) URL() string { return r.server.URL }

// CAPEM is the certificate of the CA that certifies the registry; nothing with
// Plain.
func (r *Registry) CAPEM() []byte {
	if r.ca == nil {
		return nil
	}
	return r.ca.RootPEM()
}

// Client is a client that believes the registry's certificate.
func (r *Registry) Client() *http.Client { return r.server.Client() }

// Repository is a repository of this registry.
func (r *Registry) Repository(path string) image.Repository {
	return must(image.ParseRepository(r.Host() + "/" + path))
}

// Requests are those that came since the start or Forget, in their order.
func (r *Registry) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// Forget forgets the requests.
func (r *Registry) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = nil
}

// certificate is the server's, of a CA of its own.
func (r *Registry) certificate() *tls.Config {
	r.ca = NewCA(CAOptions{Name: "sigstoretest registry CA", Intermediates: -1})
	key := newKey(ECDSAP256)
	names := r.options.Names
	if names == nil {
		names = []string{"127.0.0.1", "localhost"}
	}
	leaf := create(serverTemplate(names), r.ca.chain[0], key.Public())
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{leaf}, PrivateKey: key}}}
}

// ServeHTTP answers a request.
func (r *Registry) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, Request{
		Time: time.Now(), Method: q.Method, Host: q.Host, Target: q.URL.RequestURI(),
		Authorization: q.Header.Get("Authorization"), Header: maps.Clone(q.Header),
	})
	f := r.fault(q)
	r.mu.Unlock()
	if f != nil {
		f(w, q, r.serve)
		return
	}
	r.serve(w, q)
}

func (r *Registry) serve(w http.ResponseWriter, q *http.Request) {
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		r.violated(w, q, "a reader asks with GET or HEAD")
		return
	}
	rest, ok := strings.CutPrefix(q.URL.Path, "/v2/")
	switch {
	case q.URL.Path == tokenPath:
		r.serveToken(w, q)
		return
	case !ok:
		r.violated(w, q, "no path of a registry's")
		return
	}
	name, kind, reference := split3(rest)
	if rest != "" && (kind == "" || !validName(name)) {
		r.violated(w, q, "no path of a registry's")
		return
	}
	if !r.authorized(w, q, name) || rest == "" {
		return
	}
	switch kind {
	case "manifests":
		r.serveManifest(w, q, name, reference)
	case "blobs":
		r.serveBlob(w, q, name, reference)
	case "referrers":
		r.serveReferrers(w, q, name, reference)
	}
}

// split3 takes <name>/<kind>/<reference> apart.
func split3(path string) (name, kind, reference string) {
	for _, k := range []string{"manifests", "blobs", "referrers"} {
		if i := strings.LastIndex(path, "/"+k+"/"); i > 0 {
			return path[:i], k, path[i+len(k)+2:]
		}
	}
	return "", "", ""
}

func validName(name string) bool {
	_, err := image.ParseRepository("registry.example.org/" + name)
	return err == nil
}

// violated fails the test.
func (r *Registry) violated(w http.ResponseWriter, q *http.Request, why string) {
	r.tb.Errorf("the registry got %s %s for host %q: %s", q.Method, q.URL.RequestURI(), q.Host, why)
	refuse(w, http.StatusBadRequest, "UNSUPPORTED", why)
}

// refuse answers as a registry does: distribution-spec, "Error Codes".
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(must(json.Marshal(object{"errors": []object{{"code": code, "message": message}}})))
}
