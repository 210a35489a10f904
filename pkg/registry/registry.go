// Package registry fetches from OCI registries what says who signed and built an
// image: manifests, blobs, tags, and the signatures and attestations of a digest.
//
// Which registry is asked for what is mostly chosen by the author of a pod, and
// what it answers by whoever runs it or may push to it. So the package bounds what
// it reads and how long it waits, sends credentials to exactly the host that they
// are for, connects strangers to no address inside the network of the node, and
// compares the digest of everything that has one. A namespace uses up no other one's
// share of a registry, and a registry that is away costs nobody much time. It judges
// nothing that it fetches.
package registry

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Config says which registries may be asked, and how. It is not changed after New.
type Config struct {
	// Any lets registries be asked that are not among Registries: whichever the
	// author of a pod names, as long as their addresses are public.
	Any bool
	// Registries have blocks in the configuration, at most one of each name.
	Registries []Registry
	// DockerConfigPath is a docker configuration whose `auths` are for the
	// registries without credentials of their own. It may be missing.
	DockerConfigPath string
	Limits           Limits
	// Salt is the key that Versions are made with: those of one salt can be compared.
	// Nil is a random one.
	Salt []byte
	// Store is where manifests and blobs are looked for before a registry is asked,
	// and put when it was. Nil is nowhere.
	Store Store
}

// Registry is a block of the configuration: how one registry is reached. Naming it
// is what allows it a private or loopback address.
type Registry struct {
	// Key is what the configuration calls it, for errors about it; registry[Host]
	// when empty.
	Key string
	// Host is host or host:port, in any spelling.
	Host string
	// CAPath is a PEM file of certificates that replace the system's.
	CAPath string
	// Mirror is host[:port][/prefix]: where everything of this registry is asked
	// for instead. All the rest of the block is then about the mirror.
	Mirror string
	// Insecure is plain HTTP.
	Insecure bool
	// Username has its password in PasswordPath or in Password.
	Username, Password, PasswordPath string
	// DockerConfigPath is a docker configuration with the credentials in its
	// `auths`, under exactly this host.
	DockerConfigPath string
	// Repositories are what the credentials are for: "pay/" and "pay" for all
	// repositories below it, "pay" also for the repository of that name. Nil means
	// all.
	Repositories []string
	// TokenHosts are hosts, or host:port, that may be sent the credentials too when
	// the registry names one of them as the place that gives tokens. The registry's
	// own host need not be named.
	TokenHosts []string
	// ProxyURL is the proxy for this registry and for where it redirects to; none is
	// taken from the environment. The proxy resolves names, so it is the proxy that
	// must keep redirects out of places where they have no business.
	ProxyURL string
}

func (r Registry) key() string { return cmp.Or(r.Key, "registry["+clip(r.Host)+"]") }

// Limits bound what is read about one image. A zero is the default.
type Limits struct {
	// MaxSignatures is how many layers of each of cosign's tags are taken (32).
	MaxSignatures int
	// MaxReferrers is how many manifests that refer to an image are looked at (64).
	MaxReferrers int
	// MaxManifest is the length of a manifest, a list of referrers or a
	// configuration in bytes (4 MiB).
	MaxManifest int64
	// MaxBundle is the length of a bundle or an attestation in bytes (8 MiB), and of
	// all together that are longer than 64 KiB and in the same place.
	MaxBundle int64
}

func (l Limits) orDefaults() Limits {
	return Limits{
		MaxSignatures: cmp.Or(l.MaxSignatures, 32),
		MaxReferrers:  cmp.Or(l.MaxReferrers, 64),
		MaxManifest:   cmp.Or(l.MaxManifest, 4<<20),
		MaxBundle:     cmp.Or(l.MaxBundle, 8<<20),
	}
}

const (
	// requestTimeout bounds one request from the dial to the last byte.
	requestTimeout = 5 * time.Second
	// maxStrangers is of how many registries without a block anything is kept. One
	// tenant may be asking half of them.
	maxStrangers = 256
)

// Client asks registries. It is safe for concurrent use.
type Client struct {
	cfg     Config
	limits  Limits
	log     *slog.Logger
	salt    []byte
	docker  *watched[auths]
	timeout time.Duration
	connect time.Duration
	// may is which addresses hosts without a block may have.
	may func(netip.Addr) bool
	// fixed replaces all transports in tests.
	fixed http.RoundTripper
	// outside is for hosts without a block.
	outside http.RoundTripper
	// configured are the registries with blocks, by name; not changed after New.
	configured map[string]*endpoint

	// mu guards the fields below for some assignments.
	mu sync.Mutex
	// strangers are the registries without blocks that were asked, by name.
	strangers map[string]*endpoint
	// asking is how many of them each tenant is asking.
	asking map[string]int
	closed bool
}

// New returns a Client. All files are read; what is wrong with the configuration
// or with them is an error that names every key.
func New(cfg Config, log *slog.Logger) (*Client, error) { return newClient(cfg, log, nil) }

func newClient(cfg Config, log *slog.Logger, change func(*Client)) (*Client, error) {
	c := &Client{
		cfg:        cfg,
		limits:     cfg.Limits.orDefaults(),
		log:        log,
		salt:       cfg.Salt,
		timeout:    requestTimeout,
		connect:    connectTimeout,
		may:        public,
		configured: map[string]*endpoint{},
		strangers:  map[string]*endpoint{},
		asking:     map[string]int{},
	}
	if c.salt == nil {
		c.salt = []byte(rand.Text())
	}
	if change != nil {
		change(c)
	}
	c.outside = c.orFixed(newTransport(transportOptions{may: c.may, connect: c.connect}))
	var problems []error
	if cfg.DockerConfigPath != "" {
		c.docker = &watched[auths]{path: cfg.DockerConfigPath, parse: parseDockerConfig, log: log, optional: true}
		if _, err := c.docker.get(); err != nil {
			log.Warn("the docker configuration can't be read: no credentials are taken from it", "path", cfg.DockerConfigPath, "error", err)
		}
	}
	for _, r := range cfg.Registries {
		e, err := c.newEndpoint(r)
		switch {
		case err != nil:
			problems = append(problems, err)
		case c.configured[e.registry] != nil:
			problems = append(problems, fmt.Errorf("%s: there is another block for %s", r.key(), e.registry))
		default:
			c.configured[e.registry] = e
		}
	}
	if len(problems) > 0 {
		c.Close()
		return nil, errors.Join(problems...)
	}
	return c, nil
}

func (c *Client) orFixed(t *http.Transport) http.RoundTripper {
	if c.fixed != nil {
		return c.fixed
	}
	return t
}

// Close lets go of connections that are kept for later. Calls in progress still get
// their answers.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	closeIdle(c.outside)
	for _, e := range c.configured {
		e.close()
	}
}

// of returns the endpoint of a registry that may be asked; the caller must release
// it.
func (c *Client) of(registry, tenant string) (*endpoint, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.configured[registry]
	if e == nil {
		var err error
		if e, err = c.stranger(registry, tenant); err != nil {
			return nil, err
		}
	}
	e.users[tenant]++
	e.used = time.Now()
	return e, nil
}

// stranger returns the endpoint of a registry without a block. It is called with
// c.mu held.
func (c *Client) stranger(registry, tenant string) (*endpoint, error) {
	if !c.cfg.Any {
		return nil, fail(NotAllowed, `the registry is not configured: add registry %q {} to the configuration, or set registries = "any"`, registry)
	}
	e := c.strangers[registry]
	if e != nil && e.users[tenant] > 0 {
		return e, nil
	}
	if c.asking[tenant] >= maxStrangers/2 {
		return nil, fail(Limit, "more than %d registries without a block in the configuration are being asked for the namespace %q", maxStrangers/2, clip(tenant))
	}
	if e == nil {
		if len(c.strangers) >= maxStrangers && !c.forget() {
			return nil, fail(Limit, "more than %d registries without a block in the configuration are being asked", maxStrangers)
		}
		e = c.newStranger(registry)
		c.strangers[registry] = e
	}
	c.asking[tenant]++
	return e, nil
}

// forget drops the registry without a block that nobody has asked for the longest
// time. It is called with c.mu held.
func (c *Client) forget() bool {
	var oldest *endpoint
	for _, e := range c.strangers {
		if len(e.users) == 0 && (oldest == nil || e.used.Before(oldest.used)) {
			oldest = e
		}
	}
	if oldest == nil {
		return false
	}
	delete(c.strangers, oldest.registry)
	return true
}

func (c *Client) release(e *endpoint, tenant string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.users[tenant]--; e.users[tenant] == 0 {
		delete(e.users, tenant)
		if e.block == nil {
			if c.asking[tenant]--; c.asking[tenant] == 0 {
				delete(c.asking, tenant)
			}
		}
	}
	if c.closed {
		e.close()
	}
}
