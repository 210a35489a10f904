// Package kubelet asks this node's kubelet which pods it runs: GET /pods over
// HTTPS or the read-only port. It makes requests only while somebody waits for
// an answer, at most one at a time in the whole process, and reads the answer
// as a stream, pod by pod, so that neither a huge answer nor one hostile pod in
// it costs more than itself.
//
// What the kubelet says there is the API server's copy of a pod: whoever may
// write pods or pods/status has a say in it. The package makes no judgement
// about that; it must never let one pod's bytes change another pod's record.
package kubelet

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/pod"
)

// Config says where the kubelet is and how to talk to it. Two equal values (==)
// make clients that behave the same.
type Config struct {
	// Secure is HTTPS; otherwise plain HTTP to 127.0.0.1, without
	// authentication, and of the other fields only Port, Interval and TTL count.
	Secure bool
	// Port is the kubelet's port.
	Port int
	// NodeName is the host to dial and the name that the kubelet's certificate
	// must have. When it is empty 127.0.0.1 is dialled and the certificate needs
	// only the right issuer.
	NodeName string
	// ServerName, where set, is the name that the certificate must have,
	// whatever is dialled.
	ServerName string

	// CAPath is a PEM file of CA certificates, or the kubelet's own serving
	// certificate.
	CAPath string
	// SkipVerification accepts any certificate, and so any process that answers
	// on the port in the kubelet's place.
	SkipVerification bool

	// Anonymous sends no credentials. It wins over the certificate, which wins
	// over the token.
	Anonymous bool
	// TokenPath is a file with a bearer token.
	TokenPath string
	// CertificatePath and PrivateKeyPath are PEM files of a client certificate.
	CertificatePath, PrivateKeyPath string

	// ReloadInterval is how old the files' contents may be when a request
	// starts; they are read again after that.
	ReloadInterval time.Duration
	// Interval is the least time between the starts of two requests.
	Interval time.Duration
	// TTL is how old an answer may be that is shared with a caller who wants
	// any.
	TTL time.Duration
}

// Client asks one kubelet. It is safe for concurrent use.
type Client struct {
	cfg  Config
	gate *Gate
	log  *slog.Logger

	access *access
	// roster is told of every answer; nil where nobody wants to know.
	roster *pod.Roster

	// decoder and trouble belong to the flight that passed the gate; there is
	// never more than one.
	decoder *decoder
	trouble trouble

	// mu guards the fields below for some assignments, never across a wait.
	mu sync.Mutex
	// latest is the last good answer, nil before the first.
	latest *pod.Index
	// flight is the request that new callers join, nil when there is none.
	flight *flight
}

// New returns a client that makes its requests through gate. It reads the files
// that cfg names and connects to nothing. Its errors are *FileError, or say
// which setting is impossible.
func New(cfg Config, gate *Gate, log *slog.Logger) (*Client, error) {
	return newClient(cfg, gate, log, nil)
}

// newClient is New with a place for tests to replace the network: a nil
// transport means the real one.
func newClient(cfg Config, gate *Gate, log *slog.Logger, transport http.RoundTripper) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	c := &Client{
		cfg:     cfg,
		gate:    gate,
		log:     log,
		access:  newAccess(cfg, log, transport),
		decoder: newDecoder(log),
		trouble: trouble{log: log},
	}
	if err := c.access.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// Tell has the roster learn from every answer, after those who wait for it. It must be
// called before anything is asked.
func (c *Client) Tell(r *pod.Roster) { c.roster = r }

// Reload reads the files again now. What it reads replaces the contents in use;
// on an error those stay.
func (c *Client) Reload() error { return c.access.load() }

// Close keeps no connection from now on: idle ones are closed, that of a
// request in flight after its answer. Calls that still use the client get
// their answers, each over a connection of its own. It may be called again.
func (c *Client) Close() { c.access.close() }

// check is about what would make the request go somewhere else than where the
// operator meant.
func (c Config) check() error {
	switch {
	case c.Port < 1 || c.Port > 65535:
		return fmt.Errorf("the kubelet's port must be between 1 and 65535, not %d", c.Port)
	case !c.Secure:
		return nil
	case c.NodeName != "" && !isHost(c.NodeName):
		return fmt.Errorf("node_name %q is neither a host name nor an IP address", c.NodeName)
	case c.ServerName != "" && !isHost(c.ServerName):
		return fmt.Errorf("kubelet_server_name %q is neither a host name nor an IP address", c.ServerName)
	case c.Anonymous:
		return nil
	case c.CertificatePath != "" && c.PrivateKeyPath == "":
		return errors.New("the private key path is required with the certificate path")
	case c.CertificatePath == "" && c.PrivateKeyPath != "":
		return errors.New("the certificate path is required with the private key path")
	}
	return nil
}

// isHost is whether s can stand in a URL as nothing but a host.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_')
	})
}

// host is what to dial.
func (c Config) host() string {
	if c.Secure && c.NodeName != "" {
		return c.NodeName
	}
	return "127.0.0.1"
}

// verifiedName is the name that the kubelet's certificate must have, empty where
// any will do.
func (c Config) verifiedName() string { return cmp.Or(c.ServerName, c.NodeName) }

// address is the host and port that requests go to.
func (c Config) address() string {
	return net.JoinHostPort(c.host(), strconv.Itoa(c.Port))
}

// portKey is the configuration key that the port came from.
func (c Config) portKey() string {
	if c.Secure {
		return "kubelet_secure_port"
	}
	return "kubelet_read_only_port"
}

// usesToken and usesCertificate say which credentials are sent.
func (c Config) usesCertificate() bool {
	return c.Secure && !c.Anonymous && c.CertificatePath != ""
}

func (c Config) usesToken() bool {
	return c.Secure && !c.Anonymous && c.CertificatePath == ""
}
