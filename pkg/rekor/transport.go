package rekor

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	openapi "github.com/go-openapi/runtime"
	openapiclient "github.com/go-openapi/runtime/client"
	"github.com/sigstore/rekor/pkg/generated/client"
	"github.com/sigstore/rekor/pkg/generated/client/entries"
	"github.com/sigstore/rekor/pkg/generated/models"
)

func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 2 * timeout}
	return &http.Transport{ // and no proxy of the environment
		DialContext:     dialer.DialContext,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		// Nothing compressed is asked for: an answer's size on the wire is its size
		// in memory.
		DisableCompression:     true,
		TLSHandshakeTimeout:    2 * timeout,
		MaxIdleConns:           2,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// newService is the client library's, with a transport that bounds what is read and a
// parser that is strict. Its own client has the proxies of the environment, repeats
// requests and reads as much as there is.
func newService(u *url.URL, t http.RoundTripper) entries.ClientService {
	rt := openapiclient.NewWithClient(u.Host, u.Path, []string{u.Scheme}, &http.Client{Transport: wire{t}})
	rt.Debug = false // which the environment may have set: DEBUG=1 of somebody else's
	rt.Consumers = map[string]openapi.Consumer{"*/*": consumer{}}
	return client.New(rt, nil).Entries
}

// ask asks for entries by their hashes, in whatever tree.
func (c *Client) ask(ctx context.Context, wanted []wantedEntry) ([]models.LogEntry, error) {
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	query := &models.SearchLogQuery{}
	for _, w := range wanted {
		query.EntryUUIDs = append(query.EntryUUIDs, w.uuid)
	}
	answer, err := c.entries.SearchLogQueryContext(within, entries.NewSearchLogQueryParams().WithEntry(query))
	f, known := errors.AsType[*failure](err)
	switch {
	case err == nil:
		return answer.Payload, nil
	case ctx.Err() != nil:
		return nil, ended(ctx)
	case within.Err() != nil:
		f = fail(Unavailable, "no complete answer within %v", timeout)
		f.pause = pause
		return nil, f
	case known:
		return nil, f
	}
	return nil, fail(Malformed, "%w", err)
}

// wire sends a request and reads the whole answer, as far as it is one.
type wire struct{ transport http.RoundTripper }

// RoundTrip implements http.RoundTripper. Its errors are failures.
func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header = http.Header{
		"Accept":       {"application/json"},
		"Content-Type": {"application/json"},
		// Also keeps net/http from asking for gzip and unpacking it.
		"Accept-Encoding": {"identity"},
		"User-Agent":      {"podseal"},
		// It asks and changes nothing, so it may be sent again when a connection was
		// closed that nobody had used for a while. It is not sent.
		"Idempotency-Key": {},
	}
	resp, err := w.transport.RoundTrip(req)
	if err != nil {
		return nil, unreached(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, refused(resp)
	}
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, fail(Malformed, "its answer has the content encoding %q, which was not asked for", clip(encoding))
	}
	body, err := read(req.Context(), resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body, resp.Header = io.NopCloser(bytes.NewReader(body)), http.Header{}
	return resp, nil
}

// read reads a body. One that always has another byte ready is not read beyond the
// context's end.
func read(ctx context.Context, r io.Reader) ([]byte, error) {
	var body bytes.Buffer
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		_, err := io.CopyN(&body, r, 32<<10)
		switch {
		case body.Len() > maxAnswer:
			return nil, fail(Limit, "its answer is longer than %d bytes", maxAnswer)
		case errors.Is(err, io.EOF):
			return body.Bytes(), ctx.Err()
		case err != nil:
			return nil, unreached(err)
		}
	}
}

// unreached is why there is no answer. Others need not wait for the same.
func unreached(err error) error {
	f := fail(Unavailable, "%w", err)
	f.pause = pause
	return f
}

// refused is what another status than 200 means. It has nothing of the body, which says
// nothing that matters here.
func refused(resp *http.Response) error {
	f := fail(Malformed, "it answered %d", resp.StatusCode)
	switch status := resp.StatusCode; {
	case status >= 300 && status < 400:
		f.err = fmt.Errorf("it answered %d: a log sends nobody elsewhere", status)
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		f.kind, f.pause = Unavailable, retryAfter(resp.Header.Get("Retry-After"))
	case status >= 500:
		f.kind = Unavailable
	}
	return f
}

// retryAfter reads seconds (RFC 9110, section 10.2.3).
func retryAfter(s string) time.Duration {
	seconds, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return pause
	}
	return min(max(time.Duration(seconds)*time.Second, time.Second), maxPause)
}

// consumer reads answers in the place of the client library's own reader, for which
// the last of two members with one name counts, in whatever case.
type consumer struct{}

// Consume implements openapi.Consumer.
func (consumer) Consume(r io.Reader, into any) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	list, ok := into.(*[]models.LogEntry)
	if !ok {
		return fail(Malformed, "it answered with something else than entries")
	}
	*list, err = parseAnswer(data)
	return err
}
