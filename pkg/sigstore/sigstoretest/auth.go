package sigstoretest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Auth is who may read what of a registry.
type Auth struct {
	// Users have passwords. They may read everything.
	Users map[string]string
	// Token asks for a token of a realm; otherwise it is the user's name and password
	// (Basic).
	Token bool
	// Anonymous gives a token to who shows no password.
	Anonymous bool
	// Issuer is the registry that gives the tokens at its /token, with its own Users;
	// by default the registry itself. Realm is where the challenge sends the client;
	// by default there.
	Issuer *Registry
	Realm  string
}

const tokenPath = "/token"

// token is one that was issued.
type token struct {
	scopes  []string
	revoked bool
}

// RevokeTokens makes all tokens so far invalid, as when they expire.
func (r *Registry) RevokeTokens() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for t, v := range r.tokens {
		v.revoked = true
		r.tokens[t] = v
	}
}

// authorized is whether the client may read that repository; the empty name is for
// the registry's root. If not, the request has been answered.
func (r *Registry) authorized(w http.ResponseWriter, q *http.Request, name string) bool {
	header := q.Header.Get("Authorization")
	auth := r.options.Auth
	switch {
	case auth == nil && header != "":
		r.violated(w, q, "credentials for a registry that asked for none")
		return false
	case auth == nil:
		return true
	case header == "":
		r.challenge(w, name, "")
		return false
	case auth.Token:
		return r.hasToken(w, q, name, header)
	}
	user, password, ok := q.BasicAuth()
	if !ok {
		r.violated(w, q, "a registry that asked for a password got something else")
		return false
	}
	if known, ok := auth.Users[user]; !ok || known != password {
		r.challenge(w, name, "")
		return false
	}
	return true
}

func (r *Registry) hasToken(w http.ResponseWriter, q *http.Request, name, header string) bool {
	value, ok := strings.CutPrefix(header, "Bearer ")
	if !ok {
		r.violated(w, q, "a password for a registry that takes tokens")
		return false
	}
	issuer := r.issuer()
	issuer.mu.Lock()
	t, ok := issuer.tokens[value]
	issuer.mu.Unlock()
	switch {
	case !ok:
		r.violated(w, q, "a token of another realm")
		return false
	case t.revoked:
		r.challenge(w, name, `,error="invalid_token"`)
		return false
	case name != "" && !slices.Contains(t.scopes, pullScope(name)):
		r.challenge(w, name, `,error="insufficient_scope"`)
		return false
	}
	return true
}

func (r *Registry) issuer() *Registry {
	if r.options.Auth.Issuer != nil {
		return r.options.Auth.Issuer
	}
	return r
}

func pullScope(name string) string { return "repository:" + name + ":pull" }

func (r *Registry) challenge(w http.ResponseWriter, name, more string) {
	auth := r.options.Auth
	value := `Basic realm="registry"`
	if auth.Token {
		realm := auth.Realm
		if realm == "" {
			realm = r.issuer().URL() + tokenPath
		}
		value = fmt.Sprintf(`Bearer realm="%s",service="%s"`, realm, r.Host())
		if name != "" {
			value += fmt.Sprintf(`,scope="%s"`, pullScope(name))
		}
		value += more
	}
	w.Header().Set("WWW-Authenticate", value)
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

// serveToken gives tokens: distribution's "Token Authentication Specification".
func (r *Registry) serveToken(w http.ResponseWriter, q *http.Request) {
	auth := r.options.Auth
	user, password, given := q.BasicAuth()
	switch {
	case auth == nil && q.Header.Get("Authorization") != "":
		r.violated(w, q, "credentials for a host that gives no tokens")
		return
	case auth == nil:
		http.NotFound(w, q)
		return
	case q.Header.Get("Authorization") != "" && !given:
		r.violated(w, q, "a realm that asks for a password got something else")
		return
	case q.URL.Query().Get("service") == "":
		r.violated(w, q, "without the service that the challenge named")
		return
	}
	known, ok := auth.Users[user]
	if given && (!ok || known != password) || !given && !auth.Anonymous {
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password")
		return
	}
	t := rand.Text()
	r.mu.Lock()
	r.tokens[t] = token{scopes: strings.Fields(strings.Join(q.URL.Query()["scope"], " "))}
	r.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(must(json.Marshal(object{"token": t, "expires_in": 300, "issued_at": "2025-06-01T12:00:00Z"})))
}
