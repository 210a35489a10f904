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
	"time"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/printable"
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

// stages say how far a request got, and what to do about one that got no further.
var stages = [...]struct{ said, cause, remedy string }{
	resolving: {"its name was still being looked up", "its name was still being looked up",
		"look at this machine's resolver (/etc/resolv.conf), or set node_name to the node's IP address"},
	connecting: {"it was still being connected to: does something on the way drop packets to the port?", "it was still being connected to",
		"look for a firewall or a network policy that drops packets to the port, and whether node_name is this node"},
	handshaking: {"the TLS handshake was not over: does the port speak TLS?", "the TLS handshake was not over",
		"look whether the port speaks TLS, and at the kubelet's log"},
	waiting: {"it was connected, but slow or stuck", "it was connected, but slow or stuck",
		"look at the kubelet's log and at the load of the node"},
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
	return &RequestError{doing: "unable to perform request", Err: err, finding: c.diagnose(err, p)}
}

// explainRead is for the answer that broke off.
func (c *Client) explainRead(read *readError) error {
	reason := ReasonHungUp
	if errors.Is(read.Err, errTimeout) {
		reason = ReasonTimeout
	}
	sent := fmt.Sprintf("the kubelet at %s had sent %d bytes by then", c.cfg.address(), read.After)
	return &RequestError{doing: "unable to read pods response", Err: read.Err, finding: finding{diagnosis.New(reason,
		fmt.Sprintf("the list of pods broke off: %s: %s", printable.Line(read.Err.Error(), 2<<10), sent),
		"ask again; if it stays so, look at the kubelet's log and at the load of the node"), sent}}
}

// diagnose goes from what says most to what says least.
func (c *Client) diagnose(err error, p *progress) finding {
	at := c.cfg.address()
	if e, ok := errors.AsType[*CertificateError](err); ok {
		return c.diagnoseCertificate(e)
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		cause := fmt.Sprintf("the node's name %q can't be resolved to an address", e.Name)
		return finding{diagnosis.New(ReasonUnresolved, cause,
			"set node_name, or the variable that node_name_env names (MY_NODE_NAME by default, from spec.nodeName), to the node's name as this machine resolves it, or to its IP address"),
			cause + ": it comes from node_name or the variable that node_name_env names (MY_NODE_NAME by default)"}
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return finding{diagnosis.New(ReasonProtocol, at+" does not speak TLS, but kubelet_secure_port must",
			fmt.Sprintf("set kubelet_secure_port to the kubelet's secure port (10250 by default); if %d is its read-only port, the key for it is kubelet_read_only_port", c.cfg.Port)),
			at + " does not speak TLS: is it the read-only port? That is kubelet_read_only_port"}
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" {
		return c.diagnoseAlert(e)
	}
	switch {
	case errors.Is(err, errTimeout):
		s := stages[p.stage.Load()]
		return finding{diagnosis.New(ReasonTimeout, fmt.Sprintf("%v from %s: %s", errTimeout, at, s.cause), s.remedy), at + ": " + s.said}
	case errors.Is(err, syscall.ECONNREFUSED):
		cause := "nothing listens on " + at
		return finding{diagnosis.New(ReasonRefused, cause, fmt.Sprintf("start the kubelet, or set %s to the port that it listens on.%s", c.cfg.portKey(), c.adviceOnHost())),
			fmt.Sprintf("%s: is the kubelet running, and is this its %s?%s", cause, c.cfg.portKey(), c.adviceOnHost())}
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return found(ReasonNoRoute, "there is no way to "+at, "look at node_name and the network")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		cause := at + " closed the connection without an answer"
		return finding{diagnosis.New(ReasonHungUp, cause, fmt.Sprintf("look whether the kubelet is restarting, and whether it is the kubelet that listens on %s.%s", c.cfg.portKey(), c.adviceOnHangUp())),
			cause + ": is the kubelet restarting, or is something else listening there?" + c.adviceOnHangUp()}
	}
	cause := fmt.Sprintf("the kubelet was asked at %s and gave no answer: %s", at, printable.Line(err.Error(), 2<<10))
	if !c.cfg.Secure {
		return finding{diagnosis.New(ReasonRequest, cause, "set kubelet_read_only_port to the kubelet's read-only port, or kubelet_secure_port where the port speaks TLS"),
			fmt.Sprintf("is %s the kubelet's read-only port? A port that speaks TLS is kubelet_secure_port", at)}
	}
	return finding{diagnosis.New(ReasonRequest, cause, "look whether it is the kubelet that listens on kubelet_secure_port, and at its log"),
		"the kubelet was asked at " + at}
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

func (c *Client) diagnoseAlert(alert *net.OpError) finding {
	at := c.cfg.address()
	heard := printable.Line(alert.Err.Error(), 200)
	if c.cfg.usesCertificate() {
		issuer := "its issuer must be in the file that authentication.x509.clientCAFile names in the kubelet's configuration"
		return finding{diagnosis.New(ReasonAlert,
			fmt.Sprintf("%s refused the TLS connection (%s); most likely it does not accept the client certificate in %q (certificate_path)", at, heard, c.cfg.CertificatePath),
			"use another client certificate: "+issuer),
			fmt.Sprintf("%s refused the TLS connection; most likely it does not accept the client certificate in %q (certificate_path): %s", at, c.cfg.CertificatePath, issuer)}
	}
	return finding{diagnosis.New(ReasonAlert, fmt.Sprintf("%s refused the TLS connection (%s)", at, heard),
		"configure a client certificate (certificate_path, private_key_path): it may want one"),
		at + " refused the TLS connection; it may want a client certificate (certificate_path, private_key_path)"}
}

func (c *Client) diagnoseCertificate(e *CertificateError) finding {
	at := c.cfg.address()
	if e.Leaf == nil {
		return finding{diagnosis.New(ReasonNoCertificate, "what listens on "+at+" showed no certificate",
			"look whether it is the kubelet that listens there, and set kubelet_secure_port to the kubelet's port"),
			fmt.Sprintf("is it really the kubelet that listens on %s?", at)}
	}
	certificate := "the kubelet's serving certificate at " + at
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](e.Err); ok && invalid.Reason == x509.Expired {
		reason := ReasonExpired
		if time.Now().Before(e.Leaf.NotBefore) {
			reason = ReasonNotYetValid
		}
		return found(reason, fmt.Sprintf("%s is valid from %s to %s", certificate, stamp(e.Leaf.NotBefore), stamp(e.Leaf.NotAfter)),
			"renew it (or look at this node's clock)")
	}
	if host, ok := errors.AsType[x509.HostnameError](e.Err); ok {
		return found(ReasonServerName, fmt.Sprintf("%s has the names %s and not %q", certificate, namesIn(e.Leaf), host.Host),
			"set kubelet_server_name to one of them, or node_name (node_name_env) to the node's right name")
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](e.Err); ok {
		return found(ReasonIssuer, fmt.Sprintf("%s was issued by %q, which is not in %q (kubelet_ca_path)", certificate, clip(e.Leaf.Issuer.String()), c.cfg.CAPath),
			"put its issuer's certificate, or the certificate itself, into the file that kubelet_ca_path names")
	}
	return found(ReasonCertificate, certificate+" is not good for a server", "look at how the kubelet gets it (serverTLSBootstrap, tlsCertFile)")
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
