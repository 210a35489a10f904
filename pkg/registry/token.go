package registry

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/podseal/podseal/pkg/image"
)

const (
	// maxToken bounds the answer of who gives tokens. For a registry at most maxTokens
	// are kept, and maxTokenBytes of them: which registries and repositories are asked
	// is for pods' authors to choose, and how long a token is for the registry.
	maxToken      = 64 << 10
	maxTokens     = 256
	maxTokenBytes = 256 << 10
	// A token is used for as long as it is said to be good, but no longer than
	// maxTokenLife, and minTokenLife where nothing is said. It is renewed
	// tokenMargin before.
	minTokenLife = time.Minute
	maxTokenLife = time.Hour
	tokenMargin  = 10 * time.Second
)

// authorization is what a request is made with.
type authorization struct {
	// header is the value of Authorization, empty for none.
	header string
	// anonymous is whether it is a token that anybody gets.
	anonymous bool
	// held says why credentials were not sent, if there are some.
	held string
}

// tokens are what was got so far. A token is for one repository, and for what it
// was got with.
type tokens map[tokenKey]token

type tokenKey struct {
	path string
	with credential
}

type token struct {
	authorization
	expires time.Time
	// challenge is what it was got for.
	challenge challenge
}

// put keeps a token, in place of those that end first if there are too many.
func (t tokens) put(key tokenKey, fresh token) {
	delete(t, key)
	for len(t) >= maxTokens || len(t) > 0 && t.size()+fresh.size() > maxTokenBytes {
		var first tokenKey
		for k, v := range t {
			if e := t[first].expires; e.IsZero() || v.expires.Before(e) {
				first = k
			}
		}
		delete(t, first)
	}
	t[key] = fresh
}

// size is that of all tokens, in bytes.
func (t tokens) size() (n int) {
	for _, v := range t {
		n += v.size()
	}
	return n
}

func (t token) size() int {
	n := len(t.header)
	for name, value := range t.challenge.parameters {
		n += len(name) + len(value)
	}
	return n
}

// remembered is what a request for a repository is made with before the registry
// has asked for anything: what it has asked for the last time.
func (e *endpoint) remembered(r image.Repository) authorization {
	cred, err := e.credentials(r)
	if err != nil {
		return authorization{}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.scheme == "basic" && cred != (credential{}) {
		return authorization{header: cred.basic()}
	}
	if t, ok := e.tokens[tokenKey{r.Path(), cred}]; ok && time.Now().Before(t.expires) {
		return t.authorization
	}
	return authorization{}
}

// prepared is what a question about a repository begins with. Where it would be a token
// that is over, a new one is got first: questions that begin side by side would else
// all be refused before one of them gets it. What goes wrong with that is told when the
// question is.
func (t talk) prepared(ctx context.Context, r image.Repository) authorization {
	auth := t.remembered(r)
	cred, err := t.credentials(r)
	if auth.header != "" || err != nil {
		return auth
	}
	t.mu.Lock()
	over, ok := t.tokens[tokenKey{r.Path(), cred}]
	t.mu.Unlock()
	if !ok {
		return auth
	}
	if renewed, err := t.bearer(ctx, r, over.challenge, cred, over.authorization); err == nil {
		return renewed
	}
	return auth
}

// schemes are the ways of convincing a registry that are known here, the better
// first.
var schemes = []string{"bearer", "basic"}

// authorize returns what to make a request with that the registry has answered with
// 401 when it was made with used.
func (t talk) authorize(ctx context.Context, r image.Repository, header []string, used authorization) (authorization, error) {
	cred, err := t.credentials(r)
	if err != nil {
		return authorization{}, err
	}
	challenges := parseChallenges(header)
	for _, scheme := range schemes {
		i := slices.IndexFunc(challenges, func(c challenge) bool { return c.scheme == scheme })
		if i < 0 {
			continue
		}
		t.mu.Lock()
		t.scheme = scheme
		t.mu.Unlock()
		if scheme == "bearer" {
			return t.bearer(ctx, r, challenges[i], cred, used)
		}
		auth := authorization{header: cred.basic()}
		if cred == (credential{}) || auth == used {
			return authorization{}, fail(Denied, "the registry wants a user name and a password: %s", t.advice(r, used))
		}
		return auth, nil
	}
	return authorization{}, fail(Denied, "the registry answered 401 and does not say what it wants: %s", t.advice(r, used))
}

// bearer gets a token, or takes the one that another request has got meanwhile.
func (t talk) bearer(ctx context.Context, r image.Repository, c challenge, cred credential, used authorization) (authorization, error) {
	realm, err := t.realm(c)
	if err != nil {
		return authorization{}, err
	}
	auth := authorization{anonymous: true}
	with := ""
	switch {
	case cred == (credential{}):
	case t.mayHaveCredentials(realm):
		with, auth.anonymous = cred.basic(), false
	default:
		auth.held = fmt.Sprintf("the credentials for it were not sent to %q, where the registry sends for tokens, because that is not its own host: "+
			"token_hosts in the registry's block says which hosts may have them", clip(realm.Host))
		t.logHeld(realm)
	}
	query := realm.Query()
	if service := c.parameters["service"]; service != "" {
		query.Set("service", service)
	}
	// Not what the registry says: it is nobody's business to ask for more.
	query.Set("scope", "repository:"+t.prefix+r.Path()+":pull")
	realm.RawQuery = query.Encode()

	var got authorization
	answer, err := t.patiently(ctx, func() (*reply, error) {
		// First the turn among all requests, then the one for the token: who waits for
		// his namespace's turn keeps nobody else from a token.
		leave, err := t.enter(ctx, realm)
		if err != nil {
			return nil, err
		}
		defer leave()
		done, err := t.getsToken(ctx, tokenKey{r.Path(), cred})
		if err != nil {
			return nil, err
		}
		defer done()
		if got = t.remembered(r); got.header != "" && got != used {
			return nil, nil
		}
		asked := time.Now()
		reply, err := t.askToken(ctx, realm, with)
		if err != nil || reply.status != http.StatusOK {
			return reply, err
		}
		value, life, err := parseToken(reply.body)
		if err != nil {
			return nil, err
		}
		auth.header = "Bearer " + value
		t.mu.Lock()
		defer t.mu.Unlock()
		t.tokens.put(tokenKey{r.Path(), cred}, token{auth, asked.Add(life - tokenMargin), c})
		return nil, nil
	})
	if err == nil && answer != nil {
		err = noToken(answer, auth)
	}
	switch {
	case err != nil:
		return authorization{}, fmt.Errorf("token from %q: %w", clip(realm.Host), err)
	case auth.header != "":
		return auth, nil
	}
	return got, nil
}

// getsToken waits until nobody else gets the same token. After a nil error it must
// be said when it is done.
func (t talk) getsToken(ctx context.Context, key tokenKey) (done func(), err error) {
	for {
		t.mu.Lock()
		other := t.getting[key]
		if other == nil {
			mine := make(chan struct{})
			t.getting[key] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.getting, key)
				t.mu.Unlock()
				close(mine)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ended(ctx)
		}
	}
}

// realm reads where the registry sends us for a token.
func (e *endpoint) realm(c challenge) (*url.URL, error) {
	text := c.parameters["realm"]
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		return nil, fail(Malformed, "the registry sends for a token to %q, which is no place", clip(text))
	case u.Scheme != "https" && !e.isOwn(u):
		return nil, fail(NotAllowed, "the registry sends for a token to %q, which is not protected", clip(u.Host))
	}
	u.Fragment = ""
	return u, nil
}

// mayHaveCredentials is whether the place for tokens may be sent the registry's
// credentials: the registry itself, and hosts that are known to give its tokens. The
// registry can't name others (CVE-2025-27403, GHSA-vh4v-2xq2-g5cg).
func (e *endpoint) mayHaveCredentials(realm *url.URL) bool {
	if e.isOwn(realm) {
		return true
	}
	host, err := hostOf(realm)
	return err == nil && realm.Scheme == "https" && slices.Contains(e.tokenHosts(), host)
}

func (e *endpoint) tokenHosts() []string {
	if e.block == nil {
		return wellKnownTokenHosts[e.host]
	}
	return slices.Concat(e.block.tokenHosts, wellKnownTokenHosts[e.host])
}

// hasHeld is whether credentials were not sent because of where the registry sends
// for tokens.
func (e *endpoint) hasHeld() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.told
}

func (e *endpoint) logHeld(realm *url.URL) {
	e.mu.Lock()
	told := e.told
	e.told = true
	e.mu.Unlock()
	if !told {
		e.client.log.Warn("a registry sends for tokens to a host that its credentials are not for: they are not sent there, and a token is asked for without them; "+
			"token_hosts in the registry's block says which hosts may have them", "registry", e.registry, "host", clip(realm.Host))
	}
}

// askToken makes the request for a token. Redirects are not followed.
func (t talk) askToken(ctx context.Context, u *url.URL, with string) (*reply, error) {
	var declared []string
	if t.block != nil {
		declared = t.block.tokenHosts
	}
	transport, err := t.way(u, declared)
	if err != nil {
		return nil, err
	}
	return t.roundTrip(ctx, transport, u, question{url: u, accept: "application/json", max: maxToken, size: -1}, with)
}

// noToken says what an answer without a token means.
func noToken(r *reply, auth authorization) error {
	switch {
	case r.status == http.StatusUnauthorized || r.status == http.StatusForbidden:
		why := "it gives none to somebody without credentials"
		if !auth.anonymous {
			why = "it does not accept the credentials"
		}
		if auth.held != "" {
			why = auth.held
		}
		return fail(Denied, "it answered %d: %s", r.status, why)
	case r.status == http.StatusTooManyRequests || r.status >= 500:
		return fail(Unavailable, "it answered %d", r.status)
	}
	return fail(Malformed, "it answered %d", r.status)
}

// parseToken reads the answer of who gives tokens. What it says is never shown.
func parseToken(body []byte) (value string, life time.Duration, err error) {
	var answer struct {
		Token       string  `json:"token"`
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"` // seconds
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", 0, fail(Malformed, "the answer is not a token in JSON")
	}
	value = answer.Token
	if value == "" {
		value = answer.AccessToken
	}
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", 0, fail(Malformed, "the answer has no token, or one with characters that no token has")
	}
	life = minTokenLife
	if answer.ExpiresIn > minTokenLife.Seconds() {
		life = time.Duration(min(answer.ExpiresIn, maxTokenLife.Seconds()) * float64(time.Second))
	}
	return value, life, nil
}
