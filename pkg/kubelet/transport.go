package kubelet

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// newTransport makes a transport from the contents of the files.
func newTransport(cfg Config, f files) (*http.Transport, error) {
	t := &http.Transport{
		Proxy:       nil, // the environment's proxies are not for this host
		DialContext: (&net.Dialer{}).DialContext,
		// Nothing compressed is asked for: an answer's size on the wire is its
		// size in memory.
		DisableCompression:     true,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		WriteBufferSize:        4 << 10,
		ReadBufferSize:         32 << 10,
	}
	if !cfg.Secure {
		return t, nil
	}
	var err error
	t.TLSClientConfig, err = newTLSConfig(cfg, f)
	return t, err
}

func newTLSConfig(cfg Config, f files) (*tls.Config, error) {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: cfg.ServerName,
		// Verification is VerifyConnection's: without a node name there is no
		// name to verify, which crypto/tls can't be told, and it must run for
		// every connection, resumed ones included.
		InsecureSkipVerify: true, // #nosec G402 -- VerifyConnection verifies
	}
	if !cfg.SkipVerification {
		roots, err := parseCA(f.ca)
		if err != nil {
			return nil, &FileError{Path: cfg.CAPath, Key: "kubelet_ca_path", Err: err, doing: "unable to parse kubelet CA"}
		}
		c.VerifyConnection = verifier(cfg, roots)
	}
	if cfg.usesCertificate() {
		pair, err := tls.X509KeyPair([]byte(f.certificate), []byte(f.key))
		if err != nil {
			return nil, &FileError{Path: cfg.CertificatePath, Key: "certificate_path, private_key_path", Err: err, doing: "unable to load keypair"}
		}
		// Sent whatever issuers the kubelet asks for: a refused certificate is
		// easier to understand than one that was silently left out.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return c, nil
}

// parseCA reads PEM certificates; text around them is skipped, anything else in
// PEM form is a mistake.
func parseCA(text string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	n := 0
	for rest := []byte(text); ; n++ {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("expected certificates, found a %q", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		pool.AddCert(cert)
	}
	if n == 0 {
		return nil, errors.New("no PEM certificate in it")
	}
	return pool, nil
}

// verifier returns the check that the peer is the kubelet: a certificate that
// chains to the roots, or is one of them, for the name where there is one.
func verifier(cfg Config, roots *x509.CertPool) func(tls.ConnectionState) error {
	name := cfg.verifiedName()
	return func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return &CertificateError{Err: errors.New("the kubelet showed no certificate")}
		}
		leaf := cs.PeerCertificates[0]
		intermediates := x509.NewCertPool()
		for _, c := range cs.PeerCertificates[1:] {
			intermediates.AddCert(c)
		}
		_, err := leaf.Verify(x509.VerifyOptions{
			Roots:         roots,
			Intermediates: intermediates,
			DNSName:       name,
			CurrentTime:   time.Now(),
		})
		if err != nil {
			return &CertificateError{Leaf: leaf, Err: err}
		}
		return nil
	}
}
