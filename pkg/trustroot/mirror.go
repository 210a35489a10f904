package trustroot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// The times that a mirror has.
const (
	connectTimeout = 5 * time.Second
	fileTimeout    = 30 * time.Second
	refreshTimeout = 2 * time.Minute
)

// mirror is a TUF repository over HTTP. What it serves is signed, so plain HTTP may
// be configured; nothing is sent that is worth to be seen.
type mirror struct {
	url    string // without a slash at its end
	client *http.Client
	// ahead is by how many nanoseconds its clock was ahead of ours at least when it
	// last answered and nobody could have answered in its place. Being behind means
	// nothing: a cache may have kept the answer.
	ahead atomic.Int64
}

// parseMirror checks the URL of a mirror.
func parseMirror(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", errors.New("it is no URL") // its text may hold a password
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "", u.Opaque != "":
		return "", fmt.Errorf("%q is no URL with https:// or http:// and a host", clip(u.Redacted()))
	case u.User != nil:
		return "", fmt.Errorf("%q: no user or password may be in it", clip(u.Redacted()))
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", fmt.Errorf("%q: no query or fragment may be in it", clip(u.Redacted()))
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// newTransport is our own: no proxy of the environment, and every phase bounded.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout:    connectTimeout,
		ResponseHeaderTimeout:  2 * connectTimeout,
		IdleConnTimeout:        connectTimeout, // the next refresh is a day away
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConns:           1,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
}

func newMirror(url string, transport http.RoundTripper) *mirror {
	return &mirror{url: url, client: &http.Client{Transport: transport, CheckRedirect: sameHost}}
}

// sameHost keeps a mirror from sending us elsewhere, as to the cloud's metadata.
func sameHost(to *http.Request, via []*http.Request) error {
	from := via[0].URL
	if len(via) > 3 || to.URL.Host != from.Host || to.URL.Scheme != from.Scheme {
		return fail(Unavailable, "it redirects to %q, which is not followed", clip(to.URL.Redacted()))
	}
	return nil
}

// session is a mirror during one refresh.
type session struct {
	mirror *mirror
	// ctx ends the refresh. It lives as long as the session.
	ctx context.Context
}

func (s session) metadata(role string, version int64, most int64) ([]byte, error) {
	name := url.PathEscape(role) + ".json"
	if version > 0 {
		name = strconv.FormatInt(version, 10) + "." + name
	}
	return s.mirror.get(s.ctx, name, most)
}

func (s session) target(hash string, most int64) ([]byte, error) {
	name := targetName
	if hash != "" {
		name = hash + "." + name
	}
	return s.mirror.get(s.ctx, "targets/"+name, most)
}

// get fetches one file of at most most bytes.
func (m *mirror) get(ctx context.Context, name string, most int64) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, fileTimeout, fail(Unavailable, "no whole answer within %v", fileTimeout))
	defer cancel()
	content, err := m.fetch(ctx, name, most)
	switch {
	case err == nil, errors.Is(err, errNone):
		return content, err
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%q: %w", clip(name), context.Cause(ctx))
	}
	if _, ok := errors.AsType[*failure](err); !ok {
		err = &failure{kind: Unavailable, err: err}
	}
	return nil, fmt.Errorf("%q: %w", clip(name), err)
}

func (m *mirror) fetch(ctx context.Context, name string, most int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url+"/"+name, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "podseal")
	resp, err := m.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil && req.URL.Scheme == "https" {
		m.ahead.Store(int64(max(0, time.Until(date))))
	}
	switch {
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusForbidden:
		return nil, errNone // buckets whose list is not public answer 403
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > most {
		return nil, fail(Limit, "longer than %d bytes", most)
	}
	return content, nil
}
