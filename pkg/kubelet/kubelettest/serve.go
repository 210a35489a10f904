package kubelettest

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// serve answers one request as a kubelet does: first who asks, then whether
// they may, then what was asked for.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	needs := subresources(r.URL.Path)
	pods := r.URL.Path == "/pods" && r.Method == http.MethodGet
	fault := s.arrive(r, pods)
	leave := sync.OnceFunc(s.leave)
	defer leave()
	w = &answer{ResponseWriter: w, leave: leave}

	s.setDate(w)
	switch {
	case needs == nil || r.Method != http.MethodGet:
		http.NotFound(w, r) // without asking who it is, as a kubelet does
	case fault != nil:
		fault(s, w, r)
	case !s.admit(w, r, needs):
	case !pods:
		s.debug(w, r)
	default:
		list := s.List()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(list)))
		_, _ = w.Write(list) // the client may have left
	}
}

// setDate leaves the header to net/http unless the clock is wrong.
func (s *Server) setDate(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clockOffset != 0 {
		w.Header().Set("Date", time.Now().Add(s.clockOffset).UTC().Format(http.TimeFormat))
	}
}

func (s *Server) arrive(r *http.Request, pods bool) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Starts = append(s.stats.Starts, time.Now())
	s.stats.Header = r.Header.Clone()
	s.stats.Header.Del("Authorization")
	s.inFlight++
	s.stats.MaxInFlight = max(s.stats.MaxInFlight, s.inFlight)
	if !pods {
		s.stats.Other++
		return nil
	}
	s.stats.Requests++
	return s.nextFault()
}

// answer is a request's until its last byte is on the way: the client may have that,
// and ask again, before the handler has returned.
type answer struct {
	http.ResponseWriter
	leave func()
	sent  int
}

func (a *answer) Write(b []byte) (int, error) {
	a.sent += len(b)
	if length, err := strconv.Atoi(a.Header().Get("Content-Length")); err == nil && a.sent >= length {
		a.leave()
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
}

func refuse(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // #nosec G705 -- text/plain, as a kubelet does it; the client may have left
}

// authenticate returns the user's name, empty for nobody that is known.
func (s *Server) authenticate(r *http.Request) string {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		leaf := r.TLS.PeerCertificates[0]
		roots := x509.NewCertPool()
		roots.AddCert(s.clientCA.certificate)
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		if err != nil {
			return ""
		}
		return leaf.Subject.CommonName
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	token, sent := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case sent && slices.Contains(s.tokens, token) && !expired(token):
		return ServiceAccount
	case sent || !s.anonymous:
		return ""
	}
	return "system:anonymous"
}

// List is the body of an answer: the pods, in a new random order.
func (s *Server) List() []byte {
	s.mu.Lock()
	uids := slices.Sorted(maps.Keys(s.pods))
	items := make([]*item, len(uids))
	for i, j := range rand.Perm(len(uids)) { // #nosec G404 -- the order of a list
		items[j] = s.pods[uids[i]]
	}
	s.mu.Unlock()

	size := 256
	for _, item := range items {
		size += len(item.json) + 1
	}
	var b bytes.Buffer
	b.Grow(size)
	b.WriteString(`{"kind":"PodList","apiVersion":"v1","metadata":{},"items":`)
	if len(items) == 0 {
		b.WriteString("null") // as a nil slice is written
	} else {
		for i, item := range items {
			b.WriteByte("[,"[min(i, 1)])
			b.Write(item.json)
		}
		b.WriteByte(']')
	}
	b.WriteString("}\n")
	return b.Bytes()
}

// ServiceAccount is the user that a bearer token stands for.
const ServiceAccount = "system:serviceaccount:spire:spire-agent"

// Claims are what a bearer token says of itself.
type Claims struct {
	// Subject defaults to ServiceAccount.
	Subject  string
	Audience []string
	// The zero time leaves a claim out.
	IssuedAt, NotBefore, Expires time.Time
}

// Token makes a bearer token that looks like a service account's and expires at
// that time. Nothing signs it: a server lets in the tokens that it was told.
func Token(expires time.Time) string { return Claims{Expires: expires}.Token() }

// Token makes a bearer token with these claims, different each time.
func (c Claims) Token() string {
	claims := map[string]any{
		"sub": or(c.Subject, ServiceAccount),
		"jti": strconv.FormatUint(rand.Uint64(), 36), // #nosec G404 -- only to differ
	}
	if c.Audience != nil {
		claims["aud"] = c.Audience
	}
	for name, t := range map[string]time.Time{"iat": c.IssuedAt, "nbf": c.NotBefore, "exp": c.Expires} {
		if !t.IsZero() {
			claims[name] = t.Unix()
		}
	}
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // maps of strings and numbers
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return part(map[string]any{"alg": "RS256", "typ": "JWT"}) + "." + part(claims) + ".c2lnbmF0dXJl"
}

func expired(token string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var claims struct{ Exp int64 }
	if err := json.Unmarshal(payload, &claims); err != nil || claims.Exp == 0 {
		return false
	}
	return time.Now().Unix() >= claims.Exp
}
