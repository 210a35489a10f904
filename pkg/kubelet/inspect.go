package kubelet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/printable"
)

// Inspection is what there is to know about the way to the kubelet and about what
// podseal shows it, as far as one request got. Its strings are fit for printing.
type Inspection struct {
	// Address is the host and port that was dialled.
	Address string
	// Resolved are the addresses that the host resolved to, sorted; none where it
	// is an address itself. Peer is the one that was connected to.
	Resolved []netip.Addr
	Peer     string

	// Certificate is the kubelet's, nil where none was shown. It was verified
	// unless the configuration says otherwise or Inspect returned an error.
	Certificate *Certificate
	// VerifiedName is the name that the certificate must have; empty where any
	// name will do, or any certificate.
	VerifiedName string

	// Asked and Answered are when the request was sent and its answer began, by
	// this machine's clock; Date is the answer's, in whole seconds. Answered and
	// Date are zero where there was none.
	Asked, Answered, Date time.Time

	// Token is what the token that was sent says of itself, nil where none was.
	Token *Claims
	// ClientCertificate is the one that was shown, nil where none was.
	ClientCertificate *Certificate

	// Excess is whether the credentials may do more than list pods. Status is
	// the answer that tells; 0 where there was none.
	Excess Excess
	Status int
}

// Certificate is a certificate for people.
type Certificate struct {
	Subject, Issuer string
	// Names are the DNS names and IP addresses that it is for, the first ones if
	// it has very many.
	Names               []string
	NotBefore, NotAfter time.Time
}

// Excess is whether credentials may do more at the kubelet than podseal needs.
type Excess string

// What there is to know about it.
const (
	ExcessUnknown       Excess = ""               // the answer does not tell
	ExcessNone          Excess = "none"           // they may not use nodes/proxy
	ExcessProxy         Excess = "nodes/proxy"    // they may, or the kubelet lets everybody
	ExcessNotApplicable Excess = "not-applicable" // the read-only port asks for no credentials
)

// probe is a path that only nodes/proxy lets anybody ask for, about a pod that
// does not exist: nothing is read of any.
const probe = "/containerLogs/podseal-doctor/none/none"

// maxNames is how many names of a certificate are kept.
const maxNames = 50

// Inspect makes one request over a new connection, by the same transport and
// credentials as Next, and says what it met. It passes the same gate and ends
// after 10 s. The Inspection is there on errors too. These are those of Next,
// but a refused permission is none.
func (c *Client) Inspect(ctx context.Context) (*Inspection, error) {
	i := &Inspection{Address: c.cfg.address(), Excess: ExcessUnknown}
	if c.cfg.Secure && !c.cfg.SkipVerification {
		i.VerifiedName = c.cfg.verifiedName()
	}
	if err := c.gate.enter(ctx, c.cfg.Interval); err != nil {
		return i, context.Cause(ctx)
	}
	defer c.gate.leave()
	i.Asked = c.gate.start()
	err := c.inspect(ctx, i)
	if ctx.Err() != nil {
		return i, context.Cause(ctx)
	}
	return i, err
}

func (c *Client) inspect(ctx context.Context, i *Inspection) error {
	ctx, cancel := context.WithTimeoutCause(ctx, requestTimeout, errTimeout)
	defer cancel()

	used, fileProblem := c.access.forRequest()
	defer c.access.done(used)
	if used.files.token != "" {
		i.Token = new(readClaims(used.files.token))
	}
	if leaf := firstCertificate(used.files.certificate); leaf != nil {
		i.ClientCertificate = newCertificate(leaf)
	}
	// A connection that is kept from an earlier request would tell nothing of
	// the way. There is no other request: this one has the gate.
	closeIdle(used.transport)

	path := probe
	if !c.cfg.Secure {
		path, i.Excess = "/healthz", ExcessNotApplicable
	}
	progress, way := &progress{}, &way{}
	req := c.request(way.trace(progress.trace(ctx)), path, used.files.token)
	// Of a container's log the kubelet makes text and nothing else.
	req.Header.Set("Accept", "*/*")
	resp, err := used.transport.RoundTrip(req)
	way.tell(i)
	if err != nil {
		if e, ok := errors.AsType[*CertificateError](err); ok && e.Leaf != nil {
			i.Certificate = newCertificate(e.Leaf)
		}
		return besides(c.explain(ctx, err, progress), fileProblem)
	}
	defer resp.Body.Close()
	i.Answered = time.Now()
	return c.judgeProbe(i, resp, used, fileProblem)
}

func (c *Client) judgeProbe(i *Inspection, resp *http.Response, used *credentials, fileProblem error) error {
	i.Status = resp.StatusCode
	i.Date, _ = http.ParseTime(resp.Header.Get("Date"))            // zero where it has none
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what there is of it
	switch {
	case i.Status == http.StatusUnauthorized:
		return c.refused(newStatusError(c.cfg, used.files, resp, body), used)
	case i.Status == http.StatusBadRequest, i.Status >= 300 && i.Status < 400:
		return besides(newStatusError(c.cfg, used.files, resp, body), fileProblem)
	case i.Excess == ExcessNotApplicable:
	case i.Status == http.StatusForbidden:
		i.Excess = ExcessNone
	case i.Status == http.StatusOK, i.Status == http.StatusNotFound, i.Status == http.StatusMethodNotAllowed:
		// The kubelet asks first whether one may: that it says "no such pod", or
		// that it has switched these requests off, means that one may.
		i.Excess = ExcessProxy
	}
	return nil
}

// way is what is learnt while a connection is made. The transport may go on
// dialling after the request's end.
type way struct {
	mu       sync.Mutex
	resolved []netip.Addr
	peer     string
	// leaf is the kubelet's certificate if the handshake was over, as far as we
	// are concerned: it may mind ours only after that.
	leaf *x509.Certificate
}

func (w *way) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSDone: func(info httptrace.DNSDoneInfo) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, a := range info.Addrs {
				if ip, ok := netip.AddrFromSlice(a.IP); ok {
					w.resolved = append(w.resolved, ip.Unmap().WithZone(a.Zone))
				}
			}
		},
		ConnectDone: func(_, address string, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if err == nil {
				w.peer = address
			}
		},
		TLSHandshakeDone: func(state tls.ConnectionState, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if err == nil && len(state.PeerCertificates) > 0 {
				w.leaf = state.PeerCertificates[0]
			}
		},
	})
}

func (w *way) tell(i *Inspection) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i.Resolved = slices.Clone(w.resolved)
	slices.SortFunc(i.Resolved, netip.Addr.Compare)
	i.Resolved = slices.Compact(i.Resolved)
	i.Peer = w.peer
	if w.leaf != nil {
		i.Certificate = newCertificate(w.leaf)
	}
}

func newCertificate(leaf *x509.Certificate) *Certificate {
	c := &Certificate{
		Subject:   printable.Line(leaf.Subject.String(), 200),
		Issuer:    printable.Line(leaf.Issuer.String(), 200),
		NotBefore: leaf.NotBefore,
		NotAfter:  leaf.NotAfter,
	}
	for _, name := range leaf.DNSNames {
		c.Names = append(c.Names, printable.Line(name, 200))
	}
	for _, ip := range leaf.IPAddresses {
		c.Names = append(c.Names, ip.String())
	}
	c.Names = c.Names[:min(len(c.Names), maxNames)]
	return c
}
