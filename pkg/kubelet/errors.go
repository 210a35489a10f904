package kubelet

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// ErrLimit is what an answer is that goes beyond one of our bounds.
var ErrLimit = errors.New("limit exceeded")

var errTooLong = fmt.Errorf("%w: it is longer than 1 GiB", ErrLimit)

// RequestError is a request that got no answer: nobody there, somebody else
// there, or too late.
type RequestError struct {
	// Err is what went wrong, *CertificateError where the kubelet could not
	// prove who it is.
	Err error
	// Advice is what to look at, empty where there is nothing to say.
	Advice string

	doing string
}

func (e *RequestError) Error() string {
	return joined(e.doing, printable([]byte(e.Err.Error()), 2<<10), e.Advice)
}

func (e *RequestError) Unwrap() error { return e.Err }

// StatusError is an answer other than 200.
type StatusError struct {
	Code int
	// Body is up to 1 KiB of the answer, fit for printing.
	Body string
	// Advice is what to look at.
	Advice string

	final bool
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("unexpected status code on pods response: %d", e.Code)
	if e.Body != "" {
		text += " " + e.Body
	}
	return joined(text, "", e.Advice)
}

// Final is whether the same question will get the same answer until somebody
// changes the configuration, the credentials or the kubelet's permissions, so
// that there is nothing to wait for.
func (e *StatusError) Final() bool { return e.final }

// ResponseError is a 200 answer that is no list of pods, or not one within our
// bounds: then it is an ErrLimit.
type ResponseError struct {
	Err error

	what string
}

func (e *ResponseError) Error() string {
	return joined(e.what, printable([]byte(e.Err.Error()), 2<<10), "")
}

func (e *ResponseError) Unwrap() error { return e.Err }

// CertificateError is a serving certificate that was not accepted.
type CertificateError struct {
	// Leaf is the certificate, nil when none was shown. It is a stranger's:
	// nothing in it is verified.
	Leaf *x509.Certificate
	Err  error
}

func (e *CertificateError) Error() string { return printable([]byte(e.Err.Error()), 2<<10) }

func (e *CertificateError) Unwrap() error { return e.Err }

func joined(what, why, advice string) string {
	if why != "" {
		what += ": " + why
	}
	if advice != "" {
		what += ": " + advice
	}
	return what
}

// newStatusError says what an answer other than 200 means. judge401 adds what
// there is to say of a 401.
func newStatusError(cfg Config, resp *http.Response, body []byte) *StatusError {
	e := &StatusError{Code: resp.StatusCode, Body: printable(bytes.TrimSpace(body), maxErrorBody)}
	switch {
	case e.Code == http.StatusForbidden:
		e.final = true
		e.Advice = "grant the verb `get` on the resource `nodes/pods` (Kubernetes 1.33 and later; `nodes/proxy` before) to the identity that the kubelet names here, " +
			"with a ClusterRole and a ClusterRoleBinding"
	case e.Code >= 300 && e.Code < 400:
		e.Advice = fmt.Sprintf("redirects are not followed (this one leads to %q): is it really the kubelet that listens on %s?", clip(resp.Header.Get("Location")), cfg.portKey())
	case e.Code == http.StatusBadRequest && !cfg.Secure:
		e.Advice = "kubelet_read_only_port must be a port that speaks plain HTTP: is this the secure port? That is kubelet_secure_port"
	case e.Code == http.StatusNotFound || e.Code == http.StatusMethodNotAllowed:
		e.Advice = fmt.Sprintf("is it really the kubelet that listens on %s?", cfg.portKey())
	}
	return e
}

// judge401 decides whether a refusal of these credentials is the last word.
// sent is what the kubelet refused, now what the files hold by now.
func (e *StatusError) judge401(cfg Config, sent, now files) {
	switch {
	case !cfg.Secure || cfg.Anonymous:
		e.final = true
		e.Advice = "the kubelet accepts no anonymous requests (authentication.anonymous.enabled in its configuration): configure token_path, or certificate_path and private_key_path"
	case cfg.usesCertificate():
		e.judgeCertificate(cfg, sent, now)
	case now.token == "":
		e.final = true
		e.Advice = fmt.Sprintf("there is no token in %q (token_path)", cfg.TokenPath)
	case now.token != sent.token:
		e.Advice = fmt.Sprintf("token refused; there is a new one in %q (token_path) by now, which the next request will use", cfg.TokenPath)
	default:
		if expiry, err := tokenExpiry(now.token); err == nil && !time.Now().Before(expiry) {
			e.final = true
			e.Advice = fmt.Sprintf("the token in %q (token_path) has expired at %s and was not replaced", cfg.TokenPath, stamp(expiry))
			return
		}
		e.Advice = fmt.Sprintf("token refused, or the kubelet can't reach the API server: look at %q (token_path), "+
			"and at authentication.webhook in the kubelet's configuration", cfg.TokenPath)
	}
}

func (e *StatusError) judgeCertificate(cfg Config, sent, now files) {
	if now.certificate != sent.certificate || now.key != sent.key {
		e.Advice = fmt.Sprintf("client certificate refused; there is a new one in %q (certificate_path) by now, which the next request will use", cfg.CertificatePath)
		return
	}
	if leaf := firstCertificate(now.certificate); leaf != nil && time.Now().After(leaf.NotAfter) {
		e.final = true
		e.Advice = fmt.Sprintf("the client certificate in %q (certificate_path) has expired at %s and was not replaced", cfg.CertificatePath, stamp(leaf.NotAfter))
		return
	}
	e.Advice = fmt.Sprintf("client certificate refused: its issuer must be in the file that authentication.x509.clientCAFile names in the kubelet's configuration; look at %q (certificate_path)", cfg.CertificatePath)
}

func firstCertificate(text string) *x509.Certificate {
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			leaf, _ := x509.ParseCertificate(block.Bytes) // it served in a handshake
			return leaf
		}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
