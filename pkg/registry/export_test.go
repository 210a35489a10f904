package registry

import (
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Changes are what tests need to be otherwise than in the world.
type Changes struct {
	// Transport replaces the network.
	Transport http.RoundTripper
	// Timeout replaces the one for a request.
	Timeout time.Duration
	// Connect replaces the one for a connection.
	Connect time.Duration
	// May replaces the rule for the addresses of strangers.
	May func(netip.Addr) bool
}

func NewWith(cfg Config, log *slog.Logger, changes Changes) (*Client, error) {
	return newClient(cfg, log, func(c *Client) {
		c.fixed = changes.Transport
		if changes.Timeout > 0 {
			c.timeout = changes.Timeout
		}
		if changes.Connect > 0 {
			c.connect = changes.Connect
		}
		if changes.May != nil {
			c.may = changes.May
		}
	})
}

const (
	MaxAtOnce    = maxAtOnce
	MaxStrangers = maxStrangers
	MaxTokens    = maxTokens
	MaxBroken    = maxBroken
	MaxWaiting   = maxWaiting
	Burst        = burst
	PerSecond    = perSecond
)

// Public is whether strangers may send us to an address.
func Public(a netip.Addr) bool { return public(a) }

// Tokens is how many tokens are kept for a registry, Strangers for how many
// registries without a block anything is.
func (c *Client) Tokens(registry string) int {
	e, err := c.of(registry, "")
	if err != nil {
		return -1
	}
	defer c.release(e, "")
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.tokens)
}

// Broken is of how many hosts of a registry it is kept that they are away.
func (c *Client) Broken(registry string) int {
	e, err := c.of(registry, "")
	if err != nil {
		return -1
	}
	defer c.release(e, "")
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.broken)
}

func (c *Client) Strangers() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.strangers)
}

// LeadsAbroad is whether what a registry leads to is asked for with the same care
// as what strangers lead to.
func (c *Client) LeadsAbroad(registry string, to *url.URL) (bool, error) {
	e, err := c.of(registry, "")
	if err != nil {
		return false, err
	}
	defer c.release(e, "")
	transport, err := e.way(to, nil)
	return transport == c.outside, err
}

// Challenge is a challenge for tests.
type Challenge struct {
	Scheme     string
	Parameters map[string]string
}

func ParseChallenges(values []string) []Challenge {
	var out []Challenge
	for _, c := range parseChallenges(values) {
		out = append(out, Challenge{c.scheme, c.parameters})
	}
	return out
}

func NextLink(values []string) (string, bool) { return nextLink(values) }

func ParseToken(body []byte) (string, time.Duration, error) { return parseToken(body) }

// ParseDockerConfig returns user names by key, and Password the password for a
// repository.
func ParseDockerConfig(content []byte) (DockerConfig, error) {
	found, err := parseDockerConfig(content)
	return DockerConfig{found}, err
}

type DockerConfig struct{ auths auths }

func (d DockerConfig) Len() int { return len(d.auths) }

func (d DockerConfig) Of(host, path string) (username, password string) {
	c := d.auths.of(host, path)
	return c.username, c.password
}

// ParseListing returns the candidates of a list of at most that many.
func ParseListing(body []byte, most int) (candidates []string, dropped, unfit int, err error) {
	l := newListing(most)
	err = l.parse(body)
	found, dropped := merge(l, newListing(most), most)
	for _, d := range found {
		candidates = append(candidates, d.String())
	}
	return candidates, dropped, l.unfit, err
}

func RetryAfter(s string, now time.Time) (time.Duration, bool) { return retryAfter(s, now) }
