// Package kubelettest is a stand-in for a node's kubelet: a real HTTPS (or plain
// HTTP) server on the loopback interface that lists pods as a kubelet does, in
// a new random order each time, to who may see them, and fails in the ways that
// kubelets and what stands in their place fail. It is for tests and for the
// demonstration, so it needs no testing.T.
package kubelettest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Options say what kind of kubelet it is. The zero value is one with TLS, a
// certificate for 127.0.0.1 and localhost from a CA of its own, and nobody who
// may ask it.
type Options struct {
	// Port to listen on, a free one when it is 0.
	Port int
	// Plain serves the read-only port: plain HTTP, for anybody.
	Plain bool
	// Serving is the serving certificate; without Names it has 127.0.0.1 and
	// localhost.
	Serving Leaf
	// Anonymous lets requests without credentials in.
	Anonymous bool
	// Tokens are the bearer tokens that let requests in. A JWT that has expired
	// lets nobody in.
	Tokens []string
	// RequireClientCertificate refuses in the handshake who shows no certificate
	// of the client CA; a kubelet lets them through and answers 401.
	RequireClientCertificate bool
	// Forbidden are the names of users that may connect but not list pods.
	Forbidden []string
	// Permissions are those of users who may do something else than list pods.
	Permissions map[string]Permission
}

// Server is a running stand-in. All methods are safe for concurrent use.
type Server struct {
	options  Options
	clientCA *CA

	mu sync.Mutex
	// All below is guarded by mu.
	ca        *CA
	serving   Pair
	key       *tls.Certificate
	port      int
	http      *http.Server // nil while stopped
	served    chan struct{}
	tokens    []string
	anonymous bool
	forbidden []string
	// permissions is by the user's name.
	permissions map[string]Permission
	// clockOffset is how far the clock is ahead of this machine's.
	clockOffset time.Duration
	pods        map[string]*item // by UID
	faults      []scripted
	stats       Stats
	inFlight    int
	open        int
}

// Stats is what a server has seen.
type Stats struct {
	// Requests counts the requests for /pods, refused and faulty ones too.
	Requests int
	// Other counts requests for anything else.
	Other int
	// MaxInFlight is the most there were at a time, of all requests.
	MaxInFlight int
	// Starts are the times of all requests.
	Starts []time.Time
	// Connections counts the connections that were opened.
	Connections int
	// Header is that of the last request, without its credentials.
	Header http.Header
}

// Start starts a kubelet without pods.
func Start(o Options) (*Server, error) {
	s := &Server{
		options:     o,
		port:        o.Port,
		tokens:      slices.Clone(o.Tokens),
		anonymous:   o.Anonymous,
		forbidden:   slices.Clone(o.Forbidden),
		permissions: maps.Clone(o.Permissions),
		pods:        make(map[string]*item),
	}
	if s.permissions == nil {
		s.permissions = make(map[string]Permission)
	}
	var err error
	if s.clientCA, err = NewCA("kubelettest client CA"); err != nil {
		return nil, err
	}
	if err := s.NewServingCA(); err != nil {
		return nil, err
	}
	if err := s.Resume(); err != nil {
		return nil, err
	}
	return s, nil
}

// Resume starts the server again on its port after Stop.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return errors.New("the server is running")
	}
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)))
	if err != nil {
		return err
	}
	s.port = listener.Addr().(*net.TCPAddr).Port
	listener = countingListener{listener, s}
	if !s.options.Plain {
		listener = tls.NewListener(listener, s.tlsConfig())
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	served := make(chan struct{})
	s.http, s.served = server, served
	go func() {
		defer close(served)
		// It ends with http.ErrServerClosed, by Stop and nothing else.
		_ = server.Serve(listener)
	}()
	return nil
}

// Stop cuts all connections and gives the port up. Resume starts the server
// again with all it knows.
func (s *Server) Stop() {
	s.mu.Lock()
	server, served := s.http, s.served
	s.http = nil
	s.mu.Unlock()
	if server != nil {
		_ = server.Close() // of sockets; nothing to lose
		<-served
	}
}

// Close ends the server. It may be called again.
func (s *Server) Close() { s.Stop() }

// Port is the one that it listens on.
func (s *Server) Port() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.port
}

func (s *Server) tlsConfig() *tls.Config {
	clients := x509.NewCertPool()
	clients.AddCert(s.clientCA.certificate)
	c := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ClientCAs:  clients,
		ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.key, nil
		},
	}
	if s.options.RequireClientCertificate {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c
}

// NewServingCA replaces the CA and the serving certificate, for connections
// that are opened from now on.
func (s *Server) NewServingCA() error {
	ca, err := NewCA("kubelettest serving CA " + strconv.FormatInt(time.Now().UnixNano(), 36))
	if err != nil {
		return err
	}
	return s.install(ca, s.options.Serving)
}

// SetServing replaces the serving certificate by another of the same CA.
func (s *Server) SetServing(leaf Leaf) error {
	s.mu.Lock()
	ca := s.ca
	s.mu.Unlock()
	return s.install(ca, leaf)
}

func (s *Server) install(ca *CA, leaf Leaf) error {
	if leaf.CommonName == "" {
		leaf.CommonName = "system:node:kubelettest"
	}
	if leaf.Names == nil {
		leaf.Names = []string{"127.0.0.1", "localhost"}
	}
	pair, err := ca.Issue(leaf)
	if err != nil {
		return err
	}
	key, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ca, s.serving, s.key = ca, pair, &key
	return nil
}

// CA is the serving certificate's CA, PEM.
func (s *Server) CA() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ca.PEM()
}

// Serving is the serving certificate, PEM, for pinning.
func (s *Server) Serving() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serving.Certificate
}

// Client makes a client certificate that the server lets in.
func (s *Server) Client(leaf Leaf) (Pair, error) {
	leaf.Client = true
	return s.clientCA.Issue(leaf)
}

// SetTokens replaces the accepted bearer tokens.
func (s *Server) SetTokens(tokens ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = slices.Clone(tokens)
}

// SetAnonymous lets requests without credentials in, or no longer.
func (s *Server) SetAnonymous(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.anonymous = on
}

// SetForbidden replaces the names of the users that may not list pods.
func (s *Server) SetForbidden(users ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forbidden = slices.Clone(users)
}

// SetClock sets the clock that the Date header is taken from so far ahead of
// this machine's; behind it when ahead is negative.
func (s *Server) SetClock(ahead time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clockOffset = ahead
}

// Stats returns what the server has seen since it was started.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Starts = slices.Clone(stats.Starts)
	stats.Header = stats.Header.Clone()
	return stats
}

// Open is how many connections there are now.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// SetPods replaces all pods. A pod without a UID, or two with the same, are no
// list that a kubelet would have.
func (s *Server) SetPods(pods ...*corev1.Pod) error {
	all := make(map[string]*item, len(pods))
	for _, p := range pods {
		i, err := newItem(p)
		if err != nil {
			return err
		}
		if _, twice := all[i.uid]; twice {
			return fmt.Errorf("two pods with the UID %q", i.uid)
		}
		all[i.uid] = i
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods = all
	return nil
}

// AddPod adds a pod whose UID is new.
func (s *Server) AddPod(p *corev1.Pod) error { return s.change(p, false) }

// UpdatePod replaces the pod with the same UID.
func (s *Server) UpdatePod(p *corev1.Pod) error { return s.change(p, true) }

// AddRaw adds an element of the list as it is, or replaces the one with that
// UID: for descriptions that no API server would store.
func (s *Server) AddRaw(uid string, description []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods[uid] = &item{uid, slices.Clone(description)}
}

func (s *Server) change(p *corev1.Pod, known bool) error {
	i, err := newItem(p)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.pods[i.uid]; ok != known {
		return fmt.Errorf("pod UID %q: is it on this kubelet? %t", i.uid, ok)
	}
	s.pods[i.uid] = i
	return nil
}

// RemovePod removes the pod with that UID, if it is there.
func (s *Server) RemovePod(uid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pods, uid)
}

type countingListener struct {
	net.Listener
	server *Server
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	l.server.stats.Connections++
	l.server.open++
	return &countedConn{Conn: c, server: l.server}, nil
}

type countedConn struct {
	net.Conn
	server *Server
	once   sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() {
		c.server.mu.Lock()
		defer c.server.mu.Unlock()
		c.server.open--
	})
	return c.Conn.Close()
}

// wait ends early when the client leaves.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
