package registry

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// transportOptions are what transports differ in.
type transportOptions struct {
	// may is which addresses may be connected to, nil for all.
	may func(netip.Addr) bool
	// roots are nil for the system's.
	roots *x509.CertPool
	// proxy is nil for none.
	proxy *url.URL
	// connect is the time for a connection.
	connect time.Duration
}

// Of connections that nobody uses so many are kept to one host, for so long: each is
// some 70 KiB, and a node may know a hundred registries.
const (
	maxIdle  = 4
	idleTime = 30 * time.Second
)

func newTransport(o transportOptions) *http.Transport {
	// A connection is still made when the request that wanted it has gone: for others
	// to use, and so with a time of its own. It is the longer one, so that a request
	// ends by its own time and says so.
	atMost := 2 * o.connect
	dialer := &net.Dialer{Timeout: atMost}
	if o.may != nil && o.proxy == nil {
		dialer.Control = gate(o.may)
	}
	t := &http.Transport{
		DialContext:     dialer.DialContext,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.roots},
		// Nothing compressed is asked for: an answer's size on the wire is its size
		// in memory.
		DisableCompression:     true,
		TLSHandshakeTimeout:    atMost,
		MaxIdleConnsPerHost:    maxIdle,
		MaxIdleConns:           4 * maxIdle,
		IdleConnTimeout:        idleTime,
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         16 << 10,
	}
	if o.proxy != nil { // and never one from the environment
		t.Proxy = http.ProxyURL(o.proxy)
	}
	return t
}

func closeIdle(t http.RoundTripper) {
	if t, ok := t.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// authorities are whom a connection believes, and the digest of the file that says
// so.
type authorities struct {
	pool *x509.CertPool
	sum  [sha256.Size]byte
}

// parseCA reads PEM certificates; text around them is skipped, anything else in
// PEM form is a mistake.
func parseCA(text []byte) (*authorities, error) {
	ca := &authorities{pool: x509.NewCertPool(), sum: sha256.Sum256(text)}
	n := 0
	for rest := text; ; n++ {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("expected certificates, found a %q", clip(block.Type))
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		ca.pool.AddCert(cert)
	}
	if n == 0 {
		return nil, errors.New("no PEM certificate in it")
	}
	return ca, nil
}
