package kubelet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"syscall"
)

// progress is how far a request has got, for the error of one that gets no
// further.
type progress struct{ stage atomic.Int32 }

const (
	resolving int32 = iota
	connecting
	handshaking
	waiting
)

var stages = [...]string{
	resolving:   "its name was still being looked up",
	connecting:  "it was still being connected to: does something on the way drop packets to the port?",
	handshaking: "the TLS handshake was not over: does the port speak TLS?",
	waiting:     "it was connected, but slow or stuck",
}

func (p *progress) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectStart:      func(string, string) { p.stage.Store(connecting) },
		TLSHandshakeStart: func() { p.stage.Store(handshaking) },
		GotConn:           func(httptrace.GotConnInfo) { p.stage.Store(waiting) },
	})
}

// explain says what an operator has to look at when a request failed.
func (c *Client) explain(ctx context.Context, err error, p *progress) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return &RequestError{doing: "unable to perform request", Err: err, Advice: c.advice(err, p)}
}

// explainRead is for the answer that broke off.
func (c *Client) explainRead(read *readError) error {
	return &RequestError{doing: "unable to read pods response", Err: read.Err,
		Advice: fmt.Sprintf("the kubelet at %s had sent %d bytes by then", c.address(), read.After)}
}

// advice goes from what says most to what says least.
func (c *Client) advice(err error, p *progress) string {
	if e, ok := errors.AsType[*CertificateError](err); ok {
		return c.adviceOnCertificate(e)
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Sprintf("the node's name %q can't be resolved to an address: it comes from node_name or the variable that node_name_env names (MY_NODE_NAME by default)", e.Name)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fmt.Sprintf("%s does not speak TLS: is it the read-only port? That is kubelet_read_only_port", c.address())
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" {
		return c.adviceOnAlert()
	}
	switch {
	case errors.Is(err, errTimeout):
		return fmt.Sprintf("%s: %s", c.address(), stages[p.stage.Load()])
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens on %s: is the kubelet running, and is this its %s?%s", c.address(), c.cfg.portKey(), c.adviceOnHost())
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Sprintf("there is no way to %s: look at node_name and the network", c.address())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Sprintf("%s closed the connection without an answer: is the kubelet restarting, or is something else listening there?%s", c.address(), c.adviceOnHangUp())
	case !c.cfg.Secure:
		return fmt.Sprintf("is %s the kubelet's read-only port? A port that speaks TLS is kubelet_secure_port", c.address())
	}
	return fmt.Sprintf("the kubelet was asked at %s", c.address())
}

func (c *Client) adviceOnHost() string {
	if c.cfg.NodeName == "" || !c.cfg.Secure {
		return " An agent in a pod reaches it on 127.0.0.1 only with hostNetwork; otherwise set node_name (not for the read-only port)"
	}
	return ""
}

// adviceOnHangUp is for the alert that gets lost when the connection is reset
// right behind it.
func (c *Client) adviceOnHangUp() string {
	switch {
	case c.cfg.usesCertificate():
		return fmt.Sprintf(" It may also have refused the client certificate in %q (certificate_path)", c.cfg.CertificatePath)
	case c.cfg.Secure:
		return " It may also want a client certificate (certificate_path, private_key_path)"
	}
	return ""
}

func (c *Client) adviceOnAlert() string {
	if c.cfg.usesCertificate() {
		return fmt.Sprintf("%s refused the TLS connection; most likely it does not accept the client certificate in %q (certificate_path): "+
			"its issuer must be in the file that authentication.x509.clientCAFile names in the kubelet's configuration", c.address(), c.cfg.CertificatePath)
	}
	return fmt.Sprintf("%s refused the TLS connection; it may want a client certificate (certificate_path, private_key_path)", c.address())
}

func (c *Client) adviceOnCertificate(e *CertificateError) string {
	if e.Leaf == nil {
		return fmt.Sprintf("is it really the kubelet that listens on %s?", c.address())
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](e.Err); ok && invalid.Reason == x509.Expired {
		return fmt.Sprintf("the kubelet's serving certificate at %s is valid from %s to %s: renew it (or look at this node's clock)",
			c.address(), stamp(e.Leaf.NotBefore), stamp(e.Leaf.NotAfter))
	}
	if host, ok := errors.AsType[x509.HostnameError](e.Err); ok {
		return fmt.Sprintf("the kubelet's serving certificate at %s has the names %s and not %q: set kubelet_server_name to one of them, or node_name (node_name_env) to the node's right name",
			c.address(), namesIn(e.Leaf), host.Host)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](e.Err); ok {
		return fmt.Sprintf("the kubelet's serving certificate at %s was issued by %q, which is not in %q (kubelet_ca_path): "+
			"put its issuer there, or the certificate itself", c.address(), clip(e.Leaf.Issuer.String()), c.cfg.CAPath)
	}
	return fmt.Sprintf("the kubelet's serving certificate at %s is not good for a server: look at how the kubelet gets it (serverTLSBootstrap, tlsCertFile)", c.address())
}

// namesIn lists the names that a certificate is for, the first few if it has
// very many.
func namesIn(leaf *x509.Certificate) string {
	const most = 10
	var names []string
	for _, n := range leaf.DNSNames {
		names = append(names, fmt.Sprintf("%q", clip(n)))
	}
	for _, ip := range leaf.IPAddresses {
		names = append(names, fmt.Sprintf("%q", ip))
	}
	switch {
	case len(names) == 0:
		return "(none)"
	case len(names) > most:
		names = append(names[:most], "...")
	}
	return strings.Join(names, ", ")
}
