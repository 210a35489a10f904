package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/podseal/podseal/pkg/image"
)

const (
	// maxRedirects is how often one question may be sent elsewhere.
	maxRedirects = 5
	// maxErrorBody is how much of an answer other than 200 is read and shown.
	maxErrorBody = 1 << 10
	// manifestTypes is what is accepted where a manifest is asked for.
	manifestTypes = image.OCIIndex + ", " + image.OCIManifest + ", " + image.DockerIndex + ", " + image.DockerManifest
)

// question is something to ask of a registry, always with GET: what HEAD answers
// is not bound to what GET does.
type question struct {
	repository image.Repository
	url        *url.URL
	accept     string
	// digest is what the answer must have, if it is asked for by its digest.
	byDigest bool
	digest   image.Digest
	// max is how long the answer may be, in bytes; size is how long it is, where
	// that is known, and else negative.
	max, size int64
	// load is entered before much of an answer is read.
	load *load
}

// answer is a complete answer 200.
type answer struct {
	// url is where the answer came from, after redirects.
	url       *url.URL
	mediaType string
	links     []string
	body      []byte
}

// reply is an answer with any status: a body of that length only with 200.
type reply struct {
	answer
	status int
	header http.Header
	// away is whether the registry sent us to another host for it.
	away bool
}

// manifest fetches by digest, and compares.
func (t talk) manifest(ctx context.Context, r image.Repository, d image.Digest) (*answer, error) {
	return t.get(ctx, t.aboutManifest(image.Ref{Repository: r, Digest: d}))
}

func (e *endpoint) aboutManifest(ref image.Ref) question {
	q := e.aboutTag(ref.Repository, ref.Digest.String())
	q.byDigest, q.digest = true, ref.Digest
	return q
}

func (e *endpoint) aboutTag(r image.Repository, tag string) question {
	return question{repository: r, url: e.url(r, "manifests", tag), accept: manifestTypes, max: e.client.limits.MaxManifest, size: -1}
}

// tag fetches what a tag means.
func (t talk) tag(ctx context.Context, r image.Repository, tag string) (*answer, error) {
	if !image.ValidTag(tag) {
		return nil, fail(Malformed, "%q is not a tag", clip(tag))
	}
	return t.get(ctx, t.aboutTag(r, tag))
}

// blob fetches by digest, and compares.
func (t talk) blob(ctx context.Context, r image.Repository, d image.Digest, most int64) ([]byte, error) {
	return t.blobOf(ctx, r, d, most, -1)
}

func (t talk) blobOf(ctx context.Context, r image.Repository, d image.Digest, most, size int64) ([]byte, error) {
	a, err := t.get(ctx, question{repository: r, url: t.url(r, "blobs", d.String()), accept: "*/*", max: most, size: size, byDigest: true, digest: d})
	if err != nil {
		return nil, err
	}
	return a.body, nil
}

// compare is what makes an answer one to the question: nothing else that a registry
// says of it is looked at, Docker-Content-Digest neither.
func compare(body []byte, want image.Digest) error {
	if got := image.Of(body); got != want {
		return fail(Malformed, "the registry answered with something else: it has the digest %v", got)
	}
	return nil
}

// get takes what has a digest from the store, or asks for it and puts it there. What
// has none is asked for each time: a list of signatures that is old would hide that
// one was taken away (ADVERSARIAL.md row 42).
func (t talk) get(ctx context.Context, q question) (*answer, error) {
	if !q.byDigest {
		return t.ask(ctx, q)
	}
	if q.digest.IsZero() {
		return nil, fail(Malformed, "no digest is asked for")
	}
	if a := t.stored(q); a != nil {
		return a, nil
	}
	a, err := t.ask(ctx, q)
	if err != nil {
		return nil, err
	}
	if err := compare(a.body, q.digest); err != nil {
		return nil, err
	}
	t.store(q, a)
	return a, nil
}

// ask asks until there is an answer: with credentials when the registry wants some,
// and again when it wants us to wait.
func (t talk) ask(ctx context.Context, q question) (*answer, error) {
	auth := t.prepared(ctx, q.repository)
	for challenged := false; ; challenged = true {
		r, err := t.patiently(ctx, func() (*reply, error) { return t.exchange(ctx, q, auth.header) })
		if err != nil {
			return nil, err
		}
		switch {
		case r.status == http.StatusOK:
			return &r.answer, nil
		case r.status == http.StatusUnauthorized && !r.away && !challenged:
			if auth, err = t.authorize(ctx, q.repository, r.header.Values("WWW-Authenticate"), auth); err != nil {
				return nil, err
			}
		default:
			return nil, t.refusal(r, q.repository, auth)
		}
	}
}

// exchange makes a request and follows where the registry sends it.
func (t talk) exchange(ctx context.Context, q question, authorization string) (*reply, error) {
	leave, err := t.enter(ctx, q.url)
	if err != nil {
		return nil, err
	}
	defer leave()
	u, away := q.url, false
	for redirects := 0; ; redirects++ {
		r, next, err := t.request(ctx, u, q, authorization)
		switch {
		case err != nil && away:
			return nil, fmt.Errorf("sent to %q: %w", clip(u.Host), err)
		case err != nil:
			return nil, err
		case next == nil:
			r.away = away
			return r, nil
		case redirects == maxRedirects:
			return nil, fail(Limit, "the registry redirects more than %d times", maxRedirects)
		}
		if !t.isOwn(next) {
			// For good: who was elsewhere has nothing to bring back.
			authorization, away = "", true
		}
		u = next
	}
}

// request makes one request. next is where it is to be made instead.
func (t talk) request(ctx context.Context, u *url.URL, q question, authorization string) (_ *reply, next *url.URL, _ error) {
	transport, err := t.way(u, nil)
	if err != nil {
		return nil, nil, err
	}
	r, err := t.roundTrip(ctx, transport, u, q, authorization)
	if err != nil || r.status < 300 || r.status >= 400 {
		return r, nil, err
	}
	to := r.header.Get("Location")
	if next, err = u.Parse(to); err != nil || to == "" {
		return nil, nil, fail(Malformed, "the registry redirects to %q, which is no place", clip(to))
	}
	next.Fragment = ""
	return nil, next, nil
}

// roundTrip sends one request and reads the answer, all of it within the time for
// one request.
func (t talk) roundTrip(ctx context.Context, transport http.RoundTripper, u *url.URL, q question, authorization string) (*reply, error) {
	attempt, err := t.attempt(ctx, u)
	if err != nil {
		return nil, err
	}
	defer attempt.close()
	ctx = attempt.ctx
	req := (&http.Request{
		Method: http.MethodGet,
		URL:    u,
		Host:   u.Host,
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Accept": {q.accept},
			// Also keeps net/http from asking for gzip and unpacking it.
			"Accept-Encoding": {"identity"},
			"User-Agent":      {"podseal"},
		},
	}).WithContext(ctx)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	// Not http.Client: what it does by itself, with redirects, cookies and
	// credentials, is not wanted here.
	asked := time.Now()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		err = explain(ctx, err)
	}
	attempt.end(err)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if attempt.seen != nil {
		attempt.seen.answer(asked, resp.Header, resp.TLS)
	}
	r := &reply{status: resp.StatusCode, header: resp.Header}
	r.url, r.links = u, resp.Header.Values("Link")
	r.mediaType, _, _ = mime.ParseMediaType(resp.Header.Get("Content-Type")) // none, where it is none
	body := &boundedReader{ctx: ctx, r: resp.Body, load: q.load}
	if r.status != http.StatusOK {
		body.left = maxErrorBody
		r.body, _ = io.ReadAll(body) // what there is of it
		r.body = r.body[:min(len(r.body), maxErrorBody)]
		return r, nil
	}
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, fail(Malformed, "the answer has the content encoding %q, which was not asked for", clip(encoding))
	}
	if r.body, err = readBody(body, resp.ContentLength, q); err != nil {
		return nil, tooLong(ctx, err)
	}
	return r, nil
}

// tooLong is why an answer that had begun was not read to its end. That there was no time
// for it is a bound that was hit: how long it is, and how many others are read before it,
// is for who may push to choose, who must not be able to make it look as if the registry
// were away (ADVERSARIAL.md row 38).
func tooLong(ctx context.Context, err error) error {
	if slow, ok := errors.AsType[tooSlow](context.Cause(ctx)); ok && kindOf(err) == Unavailable {
		return fail(Limit, "it had begun: %w", slow)
	}
	return err
}

// explain says why there is no answer.
func explain(ctx context.Context, err error) error {
	if refused, ok := errors.AsType[*addressError](err); ok {
		return fail(NotAllowed, "%w", refused)
	}
	if ctx.Err() != nil {
		return ended(ctx)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fail(Unavailable, "%w (ca_path in the registry's block says whom to believe)", err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fail(Unavailable, "%w (insecure = true in the registry's block allows plain HTTP)", err)
	}
	return fail(Unavailable, "%w", err)
}

// refusal says what an answer without the thing that was asked for means.
func (e *endpoint) refusal(r *reply, of image.Repository, auth authorization) error {
	answered := fmt.Sprintf("the registry answered %d", r.status)
	if r.away {
		answered = fmt.Sprintf("the registry sent us to %q, which answered %d", clip(r.url.Host), r.status)
	}
	if text := strings.TrimSpace(string(r.body)); text != "" {
		answered += fmt.Sprintf(" %q", clip(text))
	}
	kind := Malformed
	switch {
	case r.status == http.StatusNotFound:
		kind = NotFound
	case r.status == http.StatusUnauthorized || r.status == http.StatusForbidden:
		kind = Denied
		answered += ": " + e.advice(of, auth)
	case r.status == http.StatusTooManyRequests || r.status >= 500:
		kind = Unavailable
	}
	return &failure{kind: kind, err: errors.New(answered), status: r.status}
}
