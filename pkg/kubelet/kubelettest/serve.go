package kubelettest

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// serve answers one request as a kubelet does: first who asks, then whether
// they may, then what was asked for.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/pods" || r.Method != http.MethodGet {
		s.mu.Lock()
		s.stats.Other++
		s.mu.Unlock()
		http.NotFound(w, r)
		return
	}
	fault := s.arrive(r)
	defer s.leave()

	if fault != nil {
		fault(s, w, r)
		return
	}
	user := s.authenticate(r)
	switch {
	case user == "":
		refuse(w, http.StatusUnauthorized, "Unauthorized")
	case !s.mayList(user):
		refuse(w, http.StatusForbidden, fmt.Sprintf("Forbidden (user=%s, verb=get, resource=nodes, subresource(s)=[pods proxy])\n", user))
	default:
		list := s.List()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(list)))
		_, _ = w.Write(list) // the client may have left
	}
}

func (s *Server) arrive(r *http.Request) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Requests++
	s.stats.Starts = append(s.stats.Starts, time.Now())
	s.stats.Header = r.Header.Clone()
	s.stats.Header.Del("Authorization")
	s.inFlight++
	s.stats.MaxInFlight = max(s.stats.MaxInFlight, s.inFlight)
	return s.nextFault()
}

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
	if s.options.Plain {
		return "system:anonymous"
	}
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

func (s *Server) mayList(user string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.Contains(s.forbidden, user)
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

	var b bytes.Buffer
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

// Token makes a bearer token that looks like a service account's and expires at
// that time. Nothing signs it: a server lets in the tokens that it was told.
func Token(expires time.Time) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // maps of strings and numbers
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return part(map[string]any{"alg": "RS256", "typ": "JWT"}) + "." +
		part(map[string]any{"sub": ServiceAccount, "exp": expires.Unix(), "jti": strconv.FormatUint(rand.Uint64(), 36)}) + // #nosec G404 -- only to differ
		".c2lnbmF0dXJl"
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
