package registry

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/image"
)

// Inspection is what asking a registry has shown.
type Inspection struct {
	// Registry is its name, and URL where its repositories are asked for: those of its
	// mirror, if it has one. IsConfigured is whether it has a block.
	Registry, URL string
	IsConfigured  bool
	// Addresses were connected to, sorted: those of the proxy if ByProxy.
	Addresses []string
	ByProxy   bool
	// TLS is the version, 0 for plain HTTP, and Expires when the registry's certificate
	// does.
	TLS     uint16
	Expires time.Time
	// Date is the registry's clock, in whole seconds, at some time between Asked and
	// Answered; zero where it says none.
	Date, Asked, Answered time.Time
	// Scheme is the authentication that the registry wants: "bearer", "basic", or none.
	Scheme      string
	Credentials Credentials
	Referrers   Referrers
}

// Credentials is what became of the credentials for a repository.
type Credentials int

// What can become of them.
const (
	// CredentialsUntried is that no repository was asked for.
	CredentialsUntried Credentials = iota
	// CredentialsNone is that there are none.
	CredentialsNone
	// CredentialsNotWanted is that there are some, and the registry asked for none.
	CredentialsNotWanted
	// CredentialsHeld is that there are some, which were not sent because the registry
	// sends for tokens to a host that they are not for.
	CredentialsHeld
	// CredentialsAccepted is that they were sent, and what was asked for was given.
	CredentialsAccepted
	// CredentialsRefused is that they were sent and are not accepted.
	CredentialsRefused
)

var credentialsTexts = [...]string{"not tried", "there are none", "not asked for", "not sent", "accepted", "refused"}

func (c Credentials) String() string {
	if c < 0 || int(c) >= len(credentialsTexts) {
		return fmt.Sprintf("credentials %d", int(c))
	}
	return credentialsTexts[c]
}

// Referrers is how a registry tells what refers to an image.
type Referrers int

// The ways.
const (
	// ReferrersUntried is that no repository was asked for, or in vain.
	ReferrersUntried Referrers = iota
	// ReferrersList is the list of OCI distribution 1.1.
	ReferrersList
	// ReferrersTag is the tag that stands in for it.
	ReferrersTag
)

var referrersTexts = [...]string{"not tried", "list", "fallback tag"}

func (r Referrers) String() string {
	if r < 0 || int(r) >= len(referrersTexts) {
		return fmt.Sprintf("referrers %d", int(r))
	}
	return referrersTexts[r]
}

// Inspect asks a registry as a verification would, and says what it found: as much
// as there is when the error, of type *Error, says what went wrong. A probe is a
// repository of the registry that is asked for what refers to an image that is not
// there; with the zero Repository it is only seen how the registry answers at all.
func (c *Client) Inspect(ctx context.Context, registry string, probe image.Repository) (*Inspection, error) {
	const what = "inspection"
	name, err := image.ParseRegistry(registry)
	if err == nil && !probe.IsZero() && probe.Registry() != name {
		err = fmt.Errorf("%s is not a repository of %s", probe, name)
	}
	if err != nil {
		return &Inspection{Registry: registry}, &Error{registry: registry, What: what, Kind: Malformed, Err: err}
	}
	conversation := c.Conversation(fair.Who{})
	conversation.seen = &sight{Inspection: Inspection{Registry: name}}
	err = conversation.at(name, probe, what, func(t talk) error { return t.inspect(ctx, probe) })
	return conversation.seen.inspection(), err
}

func (t talk) inspect(ctx context.Context, probe image.Repository) error {
	seen := t.with.seen
	seen.URL, seen.IsConfigured = t.base.String()+"/v2/"+t.prefix, t.block != nil
	seen.ByProxy = t.block != nil && t.block.proxy != nil
	root := *t.base
	root.Path = "/v2/"
	r, err := t.patiently(ctx, func() (*reply, error) {
		return t.exchange(ctx, question{url: &root, accept: "*/*", max: t.client.limits.MaxManifest, size: -1}, "")
	})
	switch {
	case err != nil:
		return err
	case r.status == http.StatusUnauthorized:
		seen.Scheme = wanted(r.header.Values("WWW-Authenticate"))
	case r.status != http.StatusOK:
		return fmt.Errorf("%s: %w", &root, t.refusal(r, probe, authorization{}))
	}
	if probe.IsZero() {
		return nil
	}
	return t.inspectRepository(ctx, probe)
}

// inspectRepository asks for what refers to an image that is nowhere.
func (t talk) inspectRepository(ctx context.Context, probe image.Repository) error {
	seen := t.with.seen
	cred, err := t.credentials(probe)
	if err != nil {
		return err
	}
	_, err = t.ask(ctx, t.aboutReferrers(image.Ref{Repository: probe, Digest: image.Of(nil)}))
	auth := t.remembered(probe)
	switch {
	case cred == (credential{}):
		seen.Credentials = CredentialsNone
	case t.hasHeld():
		seen.Credentials = CredentialsHeld
	case err != nil && kindOf(err) == Denied:
		seen.Credentials = CredentialsRefused
	case auth.header != "":
		seen.Credentials = CredentialsAccepted
	case err == nil || hasNoList(err):
		seen.Credentials = CredentialsNotWanted
	}
	switch {
	case err == nil:
		seen.Referrers = ReferrersList
	case hasNoList(err):
		seen.Referrers = ReferrersTag
		err = nil
	}
	return err
}

// wanted is the authentication that is asked for and known here.
func wanted(header []string) string {
	challenges := parseChallenges(header)
	for _, scheme := range schemes {
		if slices.ContainsFunc(challenges, func(c challenge) bool { return c.scheme == scheme }) {
			return scheme
		}
	}
	return ""
}

// sight is what is seen of a registry's own host while it is asked.
type sight struct {
	Inspection

	mu sync.Mutex // guards the fields that several requests write
}

// connection takes note of one.
func (s *sight) connection(info httptrace.GotConnInfo) {
	if info.Conn == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Addresses = append(s.Addresses, info.Conn.RemoteAddr().String())
}

// answer takes note of the first answer.
func (s *sight) answer(asked time.Time, header http.Header, state *tls.ConnectionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.Asked.IsZero() {
		return
	}
	s.Asked, s.Answered = asked, time.Now()
	s.Date, _ = http.ParseTime(header.Get("Date")) // zero where it is none
	if state != nil {
		s.TLS = state.Version
		if len(state.PeerCertificates) > 0 {
			s.Expires = state.PeerCertificates[0].NotAfter
		}
	}
}

func (s *sight) inspection() *Inspection {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.Inspection
	found.Addresses = slices.Compact(slices.Sorted(slices.Values(s.Addresses)))
	return &found
}
