package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/podseal/podseal/pkg/pod"
)

const (
	// requestTimeout bounds a request from the dial to the last byte.
	requestTimeout = 10 * time.Second
	// maxResponse is how much of an answer is read.
	maxResponse = 1 << 30
	// maxErrorBody is how much of an answer other than 200 is read and shown.
	maxErrorBody = 1 << 10
)

// errTimeout is the cause of a request's end after requestTimeout.
var errTimeout = fmt.Errorf("no complete answer within %v", requestTimeout)

// fetch makes one request, which started at that time.
func (c *Client) fetch(started time.Time) (*pod.Index, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), requestTimeout, errTimeout)
	defer cancel()

	used, fileProblem := c.access.forRequest()
	defer c.access.done(used)

	index, err := c.get(ctx, used, started)
	if err == nil {
		return index, nil
	}
	if status, ok := errors.AsType[*StatusError](err); ok && status.Code == http.StatusUnauthorized {
		return nil, c.refused(status, used)
	}
	return nil, besides(err, fileProblem)
}

// refused takes note of a 401 for these credentials.
func (c *Client) refused(status *StatusError, used *credentials) error {
	now, fileProblem := c.access.refuse()
	status.judge401(c.cfg, used.files, now.files)
	return besides(status, fileProblem)
}

// besides adds that the files can't be read again to why a request failed.
func besides(err, fileProblem error) error {
	if fileProblem == nil {
		return err
	}
	return fmt.Errorf("%w; besides, a file can't be read again: %w", err, fileProblem)
}

// get sends the request and decodes the answer.
func (c *Client) get(ctx context.Context, with *credentials, started time.Time) (*pod.Index, error) {
	progress := &progress{}
	req := c.request(progress.trace(ctx), "/pods", with.files.token)
	// Not http.Client: it follows redirects, and nothing else of what it does is
	// needed.
	resp, err := with.transport.RoundTrip(req)
	if err == nil {
		defer resp.Body.Close()
		// A server that hears of the end first may answer with nothing.
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		return nil, c.explain(ctx, err, progress)
	}

	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what there is of it
		return nil, newStatusError(c.cfg, with.files, resp, body)
	}
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, c.from(&ResponseError{what: "invalid kubelet response", Err: fmt.Errorf(
			"it has the content encoding %q, which was not asked for: is it really the kubelet that answers at %s?", clip(encoding), c.cfg.address())})
	}
	if resp.ContentLength > maxResponse {
		return nil, c.from(&ResponseError{what: "invalid kubelet response", Err: errTooLong})
	}
	index, err := c.decoder.decode(&boundedReader{ctx: ctx, r: resp.Body, left: maxResponse}, started)
	if read, ok := errors.AsType[*readError](err); ok {
		return nil, c.explainRead(read)
	}
	if response, ok := errors.AsType[*ResponseError](err); ok {
		return nil, c.from(response)
	}
	return index, err
}

// from adds who gave the answer.
func (c *Client) from(e *ResponseError) *ResponseError {
	e.address, e.portKey = c.cfg.address(), c.cfg.portKey()
	return e
}

func (c *Client) request(ctx context.Context, path, token string) *http.Request {
	scheme := "http"
	if c.cfg.Secure {
		scheme = "https"
	}
	req := &http.Request{
		Method:     http.MethodGet,
		URL:        &url.URL{Scheme: scheme, Host: c.cfg.address(), Path: path},
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     http.Header{"Accept": {"application/json"}, "User-Agent": {"podseal"}},
		Host:       c.cfg.address(),
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req.WithContext(ctx)
}

// boundedReader ends with errTooLong after so many bytes, and with the
// context's cause after its end: a body that always has another byte ready
// would otherwise never be asked to stop.
type boundedReader struct {
	ctx  context.Context // of the one request that the reader lives for
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, context.Cause(b.ctx)
	}
	// One byte beyond the bound tells an answer that is too long from one that
	// is just as long as it may be.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLong
	}
	if err != nil && b.ctx.Err() != nil {
		// The connection was closed because the time was up, and the error may
		// be about the connection. Or there is none: a server that is told so
		// first ends its answer as if that were all.
		err = context.Cause(b.ctx)
	}
	return n, err
}

// clip is for strings that are quoted with %q anyway.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
