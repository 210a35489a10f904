package kubelet

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/printable"
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

	doing   string
	finding finding
}

func (e *RequestError) Error() string {
	return joined(e.doing, printable.Line(e.Err.Error(), 2<<10), e.finding.said)
}

func (e *RequestError) Unwrap() error { return e.Err }

// StatusError is an answer other than 200.
type StatusError struct {
	Code int
	// Body is up to 1 KiB of the answer, fit for printing.
	Body string

	final   bool
	finding finding
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("unexpected status code on pods response: %d", e.Code)
	if e.Body != "" {
		text += " " + e.Body
	}
	return joined(text, "", e.finding.said)
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
	// address is who gave it, portKey the key that its port came from.
	address, portKey string
}

func (e *ResponseError) Error() string {
	return joined(e.what, printable.Line(e.Err.Error(), 2<<10), "")
}

func (e *ResponseError) Unwrap() error { return e.Err }

// CertificateError is a serving certificate that was not accepted.
type CertificateError struct {
	// Leaf is the certificate, nil when none was shown. It is a stranger's:
	// nothing in it is verified.
	Leaf *x509.Certificate
	Err  error
}

func (e *CertificateError) Error() string { return printable.Line(e.Err.Error(), 2<<10) }

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

// newStatusError says what an answer other than 200 to a request with those files
// means. judge401 says it of a 401.
func newStatusError(cfg Config, sent files, resp *http.Response, body []byte) *StatusError {
	e := &StatusError{Code: resp.StatusCode, Body: printable.Line(string(bytes.TrimSpace(body)), maxErrorBody)}
	answered := strings.TrimSpace(fmt.Sprintf("%s answered %d %s", cfg.address(), e.Code, e.Body))
	is := fmt.Sprintf("is it really the kubelet that listens on %s?", cfg.portKey())
	look := fmt.Sprintf("look whether it is the kubelet that listens there, and set %s to the kubelet's port", cfg.portKey())
	e.finding.diagnosis = diagnosis.New(ReasonStatus, answered, "look at the kubelet's log; podseal asks again by itself")
	switch {
	case e.Code == http.StatusForbidden:
		e.final = true
		grant := "grant the verb `get` on the resource `nodes/pods` (Kubernetes 1.33 and later; `nodes/proxy` before) to the identity that the kubelet names here, " +
			"with a ClusterRole and a ClusterRoleBinding"
		e.finding = finding{diagnosis.New(ReasonForbidden, "the kubelet knows who asks but does not let him list its pods: "+answered, grant), grant}
		if cfg.Secure && sent.token == "" && sent.certificate == "" {
			// Nobody should follow the advice above for system:anonymous.
			e.finding.diagnosis = diagnosis.New(ReasonAnonymous, "no credentials were sent, and the kubelet lets nobody list its pods without: "+answered,
				"configure token_path, or certificate_path and private_key_path, and remove use_anonymous_authentication; grant nothing to system:anonymous")
		}
	case e.Code >= 300 && e.Code < 400:
		to := fmt.Sprintf("redirects are not followed (this one leads to %q)", clip(resp.Header.Get("Location")))
		e.finding = finding{diagnosis.New(ReasonNotKubelet, answered+": "+to, look), to + ": " + is}
	case e.Code == http.StatusBadRequest && !cfg.Secure:
		e.finding = finding{diagnosis.New(ReasonProtocol, answered+": kubelet_read_only_port must be a port that speaks plain HTTP",
			fmt.Sprintf("if %d is the kubelet's secure port, set kubelet_secure_port to it in place of kubelet_read_only_port", cfg.Port)),
			"kubelet_read_only_port must be a port that speaks plain HTTP: is this the secure port? That is kubelet_secure_port"}
	case e.Code == http.StatusNotFound || e.Code == http.StatusMethodNotAllowed:
		e.finding = finding{diagnosis.New(ReasonNotKubelet, answered+", which is not what a kubelet answers", look), is}
	}
	return e
}

// judge401 decides whether a refusal of these credentials is the last word.
// sent is what the kubelet refused, now what the files hold by now.
func (e *StatusError) judge401(cfg Config, sent, now files) {
	switch {
	case !cfg.Secure || cfg.Anonymous:
		e.final = true
		e.finding = found(ReasonAnonymous, "the kubelet accepts no anonymous requests (authentication.anonymous.enabled in its configuration)",
			"configure token_path, or certificate_path and private_key_path")
	case cfg.usesCertificate():
		e.judgeCertificate(cfg, sent, now)
	default:
		e.judgeToken(cfg, sent, now)
	}
}

func (e *StatusError) judgeToken(cfg Config, sent, now files) {
	renew := fmt.Sprintf("put a valid service account's token into %q, or set token_path to a file in which Kubernetes renews it (a projected volume with serviceAccountToken)", cfg.TokenPath)
	switch expiry := readClaims(now.token).Expires; {
	case now.token == "":
		e.final = true
		cause := fmt.Sprintf("there is no token in %q (token_path)", cfg.TokenPath)
		e.finding = finding{diagnosis.New(ReasonNoToken, cause, renew), cause}
	case now.token != sent.token:
		cause := fmt.Sprintf("token refused; there is a new one in %q (token_path) by now, which the next request will use", cfg.TokenPath)
		e.finding = finding{diagnosis.New(ReasonTokenReplaced, cause, "ask again"), cause}
	case !expiry.IsZero() && !time.Now().Before(expiry):
		e.final = true
		cause := fmt.Sprintf("the token in %q (token_path) has expired at %s and was not replaced", cfg.TokenPath, stamp(expiry))
		e.finding = finding{diagnosis.New(ReasonTokenExpired, cause, renew), cause}
	default:
		e.finding = found(ReasonTokenRefused, "token refused, or the kubelet can't reach the API server",
			fmt.Sprintf("look at %q (token_path), and at authentication.webhook in the kubelet's configuration", cfg.TokenPath))
	}
}

func (e *StatusError) judgeCertificate(cfg Config, sent, now files) {
	leaf := firstCertificate(now.certificate)
	switch {
	case now.certificate != sent.certificate || now.key != sent.key:
		cause := fmt.Sprintf("client certificate refused; there is a new one in %q (certificate_path) by now, which the next request will use", cfg.CertificatePath)
		e.finding = finding{diagnosis.New(ReasonCertificateReplaced, cause, "ask again"), cause}
	case leaf != nil && time.Now().After(leaf.NotAfter):
		e.final = true
		cause := fmt.Sprintf("the client certificate in %q (certificate_path) has expired at %s and was not replaced", cfg.CertificatePath, stamp(leaf.NotAfter))
		e.finding = finding{diagnosis.New(ReasonCertificateExpired, cause,
			fmt.Sprintf("put a new client certificate and its key into %q (certificate_path) and %q (private_key_path)", cfg.CertificatePath, cfg.PrivateKeyPath)), cause}
	default:
		e.finding = found(ReasonCertificateRefused, "client certificate refused",
			fmt.Sprintf("its issuer must be in the file that authentication.x509.clientCAFile names in the kubelet's configuration; look at %q (certificate_path)", cfg.CertificatePath))
	}
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
