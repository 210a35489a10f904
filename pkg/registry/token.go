package registry

import (
	"context"
	"fmt"
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
}

// put keeps a token, in place of those that end first if there are too many.
func (t tokens) put(key tokenKey, fresh token) {
	delete(t, key)
	for len(t) >= maxTokens || len(t) > 0 && t.size()+len(fresh.header) > maxTokenBytes {
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
		n += len(v.header)
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

// authorize returns what to make a request with that the registry has answered with
// 401 when it was made with used.
func (e talk) authorize(ctx context.Context, r image.Repository, header []string, used authorization) (authorization, error) {
	cred, err := e.credentials(r)
	if err != nil {
		return authorization{}, err
	}
	challenges := parseChallenges(header)
	for _, scheme := range []string{"bearer", "basic"} {
		i := slices.IndexFunc(challenges, func(c challenge) bool { return c.scheme == scheme })
		if i < 0 {
			continue
		}
		e.mu.Lock()
		e.scheme = scheme
		e.mu.Unlock()
		if scheme == "bearer" {
			return e.bearer(ctx, r, challenges[i], cred, used)
		}
		auth := authorization{header: cred.basic()}
		if cred == (credential{}) || auth == used {
			return authorization{}, fail(Denied, "the registry wants a user name and a password: %s", e.advice(r, used))
		}
		return auth, nil
	}
	return authorization{}, fail(Denied, "the registry answered 401 and does not say what it wants: %s", e.advice(r, used))
}

// bearer gets a token, or takes the one that another request has got meanwhile.
func (e talk) bearer(ctx context.Context, r image.Repository, c challenge, cred credential, used authorization) (authorization, error) {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return authorization{}, ended(ctx)
	}
	if now := e.remembered(r); now.header != "" && now != used {
		return now, nil
	}
	realm, err := e.realm(c)
	if err != nil {
		return authorization{}, err
	}
	auth := authorization{anonymous: true}
	with := ""
	switch {
	case cred == (credential{}):
	case e.mayHaveCredentials(realm):
		with, auth.anonymous = cred.basic(), false
	default:
		auth.held = fmt.Sprintf("the credentials for it were not sent to %q, where the registry sends for tokens, because that is not its own host: "+
			"token_hosts in the registry's block says which hosts may have them", clip(realm.Host))
		e.logHeld(realm)
	}
	query := realm.Query()
	if service := c.parameters["service"]; service != "" {
		query.Set("service", service)
	}
	// Not what the registry says: it is nobody's business to ask for more.
	query.Set("scope", "repository:"+e.prefix+r.Path()+":pull")
	realm.RawQuery = query.Encode()

	asked := time.Now()
	value, life, err := e.askToken(ctx, realm, with, auth)
	if err != nil {
		return authorization{}, fmt.Errorf("token from %q: %w", clip(realm.Host), err)
	}
	auth.header = "Bearer " + value
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tokens.put(tokenKey{r.Path(), cred}, token{auth, asked.Add(life - tokenMargin)})
	return auth, nil
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
func (e talk) askToken(ctx context.Context, u *url.URL, with string, auth authorization) (value string, life time.Duration, err error) {
	var declared []string
	if e.block != nil {
		declared = e.block.tokenHosts
	}
	q := question{url: u, accept: "application/json", max: maxToken, size: -1}
	r, err := e.patiently(ctx, func() (*reply, error) {
		if err := e.enter(ctx); err != nil {
			return nil, err
		}
		defer e.leave()
		transport, err := e.way(u, declared)
		if err != nil {
			return nil, err
		}
		return e.roundTrip(ctx, transport, u, q, with)
	})
	switch {
	case err != nil:
		return "", 0, err
	case r.status == 401 || r.status == 403:
		why := "it gives none to somebody without credentials"
		if with != "" {
			why = "it does not accept the credentials"
		}
		if auth.held != "" {
			why = auth.held
		}
		return "", 0, fail(Denied, "it answered %d: %s", r.status, why)
	case r.status == 429 || r.status >= 500:
		return "", 0, fail(Unavailable, "it answered %d", r.status)
	case r.status != 200:
		return "", 0, fail(Malformed, "it answered %d", r.status)
	}
	return parseToken(r.body)
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
