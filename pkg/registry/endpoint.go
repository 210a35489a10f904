package registry

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/image"
)

const (
	// maxAtOnce is how many requests a registry is sent at once.
	maxAtOnce = 16
	// perSecond is how many requests a registry is sent in the long run, burst how
	// many after a pause. An image takes about eight, and 200 if somebody has put
	// there as much as there may be.
	perSecond = 50
	burst     = 200
	// Of all these one tenant has no more than half. maxWaiting is how many requests
	// of one may wait.
	maxWaiting = 1024
)

// dockerHubHost is where the registry is that images call docker.io.
const dockerHubHost = "registry-1.docker.io"

// wellKnownTokenHosts are the hosts that give tokens for registries that everybody
// knows, and may be sent their credentials.
var wellKnownTokenHosts = map[string][]string{
	"docker.io":           {"auth.docker.io"},
	"registry.gitlab.com": {"gitlab.com"},
}

// endpoint is one registry: where it is, what it may be sent, and how much of it is
// in use. What belongs to one never waits for another.
type endpoint struct {
	client *Client
	// registry is its name, host the canonical name of where requests go, and
	// prefix the path there that stands before a repository's.
	registry, host, prefix string
	// base has the scheme, and the host as it is dialled.
	base *url.URL
	// block is nil for a registry without one.
	block *block

	// queue is where requests wait for their turn.
	queue *fair.Queue
	// heavy holds something while a long answer is read and parsed.
	heavy chan struct{}

	// transports is held while transports are replaced because the CA file has
	// changed.
	transports sync.Mutex
	trusted    [sha256.Size]byte // authorities.sum
	own        http.RoundTripper
	// abroad is for hosts without a block that the registry leads to.
	abroad http.RoundTripper

	// mu guards the fields below for some assignments.
	mu sync.Mutex
	// paused is until when the registry wants to be left alone.
	paused time.Time
	// scheme is the authentication that the registry asked for last.
	scheme string
	tokens tokens
	// getting are the tokens that somebody is about to get: so that requests that
	// start together get one.
	getting map[tokenKey]chan struct{}
	// answered is when the last answer came.
	answered time.Time
	// broken are the hosts that could not be connected to the last time, by scheme,
	// host and port: the registry's own, and those that it leads to.
	broken map[string]*breaker
	// told is whether it was logged that a host for tokens gets no credentials.
	told bool

	// users, by their tenants, and used, which is when there was one, are guarded by
	// Client.mu.
	users map[string]int
	used  time.Time
}

// block is a Registry, parsed.
type block struct {
	username     string
	password     string
	passwordFile *watched[string]
	docker       *watched[auths]
	ca           *watched[*authorities]
	repositories []string
	tokenHosts   []string
	proxy        *url.URL
}

func (c *Client) newStranger(registry string) *endpoint {
	e := c.bareEndpoint(registry)
	e.place("", false)
	e.own, e.abroad = c.outside, c.outside
	return e
}

func (c *Client) bareEndpoint(registry string) *endpoint {
	return &endpoint{
		client:   c,
		registry: registry,
		queue: fair.New(fair.Limits{
			Slots: maxAtOnce, TenantSlots: maxAtOnce / 2,
			Rate: perSecond, Burst: burst, TenantRate: perSecond / 2, TenantBurst: burst / 2,
			Waiting: maxWaiting,
		}),
		heavy:   make(chan struct{}, 1),
		tokens:  tokens{},
		getting: map[tokenKey]chan struct{}{},
		broken:  map[string]*breaker{},
		users:   map[string]int{},
	}
}

// place says where requests go.
func (e *endpoint) place(mirror string, insecure bool) {
	e.host = e.registry
	if mirror != "" {
		e.host, e.prefix, _ = strings.Cut(mirror, "/")
		if e.prefix != "" {
			e.prefix += "/"
		}
	}
	e.base = &url.URL{Scheme: "https", Host: e.host}
	if insecure {
		e.base.Scheme = "http"
	}
	if e.host == "docker.io" {
		e.base.Host = dockerHubHost
	}
}

// newEndpoint makes an endpoint of a block and reads its files.
func (c *Client) newEndpoint(r Registry) (*endpoint, error) {
	var problems []error
	wrong := func(key string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s.%s: %w", r.key(), key, err))
		}
	}
	registry, err := image.ParseRegistry(r.Host)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.key(), err)
	}
	e := c.bareEndpoint(registry)
	e.block = &block{username: r.Username, password: r.Password}
	mirror, err := parseMirror(r.Mirror)
	wrong("mirror", err)
	e.place(mirror, r.Insecure)

	switch given := (r.Password != "" || r.PasswordPath != ""); {
	case r.Password != "" && r.PasswordPath != "":
		wrong("password_path", errors.New("there is a password as well"))
	case given != (r.Username != ""):
		wrong("username", errors.New("a user name and a password are given together or not at all"))
	case given && r.DockerConfigPath != "":
		wrong("docker_config_path", errors.New("there is a user name as well"))
	}
	if strings.ContainsRune(r.Username, ':') {
		wrong("username", errors.New("a user name has no colon"))
	}
	if r.PasswordPath != "" {
		e.block.passwordFile = &watched[string]{path: r.PasswordPath, parse: parsePassword, log: c.log}
		_, err := e.block.passwordFile.get()
		wrong("password_path", err)
	}
	if r.DockerConfigPath != "" {
		e.block.docker = &watched[auths]{path: r.DockerConfigPath, parse: parseDockerConfig, log: c.log}
		_, err := e.block.docker.get()
		wrong("docker_config_path", err)
	}
	if r.CAPath != "" {
		e.block.ca = &watched[*authorities]{path: r.CAPath, parse: parseCA, log: c.log}
		_, err := e.block.ca.get()
		wrong("ca_path", err)
		if r.Insecure {
			wrong("ca_path", errors.New("plain HTTP has no certificates (insecure)"))
		}
	}
	e.block.repositories, err = parsePrefixes(r.Repositories)
	wrong("repositories", err)
	for _, h := range r.TokenHosts {
		host, err := image.ParseRegistry(h)
		wrong("token_hosts", err)
		e.block.tokenHosts = append(e.block.tokenHosts, host)
	}
	if r.ProxyURL != "" {
		e.block.proxy, err = parseProxy(r.ProxyURL)
		wrong("proxy_url", err)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	e.abroad = c.outside
	if e.block.proxy != nil {
		e.abroad = c.orFixed(newTransport(transportOptions{proxy: e.block.proxy, connect: c.connect}))
	}
	return e, nil
}

func parseMirror(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	host, path, hasPath := strings.Cut(s, "/")
	host, err := image.ParseRegistry(host)
	if err != nil {
		return "", fmt.Errorf("%w: a mirror is host[:port][/prefix]", err)
	}
	if !hasPath {
		return host, nil
	}
	// A host that is none of Docker Hub's adds nothing to the path.
	r, err := image.ParseRepository("example.org/" + path)
	if err != nil {
		return "", fmt.Errorf("%w: a mirror is host[:port][/prefix]", err)
	}
	return host + "/" + r.Path(), nil
}

func parsePrefixes(given []string) ([]string, error) {
	if given != nil && len(given) == 0 {
		return nil, errors.New("the list is empty: leave it out to mean all")
	}
	for _, p := range given {
		if _, err := image.ParseRepository("example.org/" + strings.TrimSuffix(p, "/")); err != nil {
			return nil, fmt.Errorf("%q is not the beginning of a repository's path", clip(p))
		}
	}
	return slices.Clone(given), nil
}

// parseProxy never says what the URL is: it may hold a password.
func parseProxy(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5" {
		return nil, errors.New("it is not the URL of a proxy: http://host:port, https:// or socks5://")
	}
	return u, nil
}

// below is whether a repository's path is one of those that a prefix means.
func below(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || strings.HasSuffix(prefix, "/") || rest[0] == '/')
}

// transport returns what requests to the registry's own host are made with.
func (e *endpoint) transport() (http.RoundTripper, error) {
	if e.block == nil {
		return e.own, nil
	}
	trusted := &authorities{} // the system's
	if e.block.ca != nil {
		var err error
		if trusted, err = e.block.ca.get(); err != nil {
			return nil, fail(Unavailable, "ca_path: %w", err)
		}
	}
	e.transports.Lock()
	defer e.transports.Unlock()
	if e.own == nil || e.trusted != trusted.sum {
		if e.own != nil {
			closeIdle(e.own) // requests that are under way keep their connections
			e.forgetBroken()
		}
		e.own = e.client.orFixed(newTransport(transportOptions{roots: trusted.pool, proxy: e.block.proxy, connect: e.client.connect}))
		e.trusted = trusted.sum
	}
	return e.own, nil
}

func (e *endpoint) close() {
	e.transports.Lock()
	defer e.transports.Unlock()
	if e.own != nil {
		closeIdle(e.own)
	}
	if e.abroad != nil {
		closeIdle(e.abroad)
	}
}

// way returns what a request to a URL is made with that the registry has led us to,
// or why none is made. declared are hosts that the registry's block names.
func (e *endpoint) way(u *url.URL, declared []string) (http.RoundTripper, error) {
	if u.User != nil || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fail(NotAllowed, "the registry leads to %q, which is no place to ask", clip(u.Redacted()))
	}
	if e.isOwn(u) {
		return e.transport()
	}
	host, err := hostOf(u)
	if err != nil {
		return nil, fail(NotAllowed, "the registry leads to %q: %w", clip(u.Host), err)
	}
	// A registry without a block is whoever a pod's author chose, and may not send us
	// to a place that only the operator's naming of it has opened.
	if other := e.client.at(u); other != nil && e.block != nil {
		return other.transport()
	}
	if u.Scheme != "https" {
		return nil, fail(NotAllowed, "the registry leads to %q, which is not protected: plain HTTP is for registries with insecure = true", clip(u.Host))
	}
	if slices.Contains(declared, host) && e.block != nil {
		return e.transport()
	}
	if e.block != nil && e.block.proxy != nil {
		// The proxy resolves names. What is an address already can be looked at.
		if !e.client.mayName(u.Hostname()) {
			return nil, fail(NotAllowed, "%w", &addressError{u.Host})
		}
	}
	return e.abroad, nil
}

// mayName is whether a host may be connected to, as far as its name tells. One that
// ends in a number is an address for some who resolve names, in a form that others
// don't know: 127.1, 2130706433, 0x7f.1.
func (c *Client) mayName(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return c.may(a)
	}
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	return last != "localhost" && strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
}

// at returns the endpoint of a block whose requests go to where that URL is.
func (c *Client) at(u *url.URL) *endpoint {
	for _, name := range slices.Sorted(maps.Keys(c.configured)) {
		if e := c.configured[name]; e.isOwn(u) {
			return e
		}
	}
	return nil
}

// isOwn is whether a URL is at the very host, port and scheme of the registry: only
// there credentials and tokens go.
func (e *endpoint) isOwn(u *url.URL) bool {
	return u.Scheme == e.base.Scheme && u.User == nil && hostPort(u) == hostPort(e.base)
}

// hostPort returns a URL's host and port, the default one too.
func hostPort(u *url.URL) string {
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	return strings.ToLower(u.Hostname()) + " " + port
}

// hostOf returns a URL's host as registries are named.
func hostOf(u *url.URL) (string, error) {
	name := u.Host
	if u.Scheme == "http" && u.Port() == "" {
		name += ":80"
	}
	return image.ParseRegistry(name)
}

// url returns the place of something of a repository.
func (e *endpoint) url(r image.Repository, kind, what string) *url.URL {
	u := *e.base
	u.Path = "/v2/" + e.prefix + r.Path() + "/" + kind + "/" + what
	return &u
}
