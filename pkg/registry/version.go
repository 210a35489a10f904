package registry

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/podseal/podseal/pkg/image"
)

// Version stands for all that the answers about a repository depend on besides who
// answers: where it is asked for, whom the connection believes, and which
// credentials would be sent. It tells nobody what they are.
type Version [sha256.Size]byte

// IsConfigured is whether the registry, in any spelling, has a block.
func (c *Client) IsConfigured(registry string) bool {
	name, err := image.ParseRegistry(registry)
	return err == nil && c.configured[name] != nil
}

// Version returns the one of a repository now. Two are equal when their repositories
// are asked for in the same way, and are of the same salt.
func (c *Client) Version(r image.Repository) Version {
	e := c.configured[r.Registry()]
	if e == nil { // one that nothing is kept of
		e = &endpoint{client: c, registry: r.Registry()}
		e.place("", false)
	}
	var all []byte
	add := func(s string) {
		// With its length, so that no two lists of texts are one.
		all = binary.BigEndian.AppendUint64(all, uint64(len(s)))
		all = append(all, s...)
	}
	add(e.base.String())
	add(e.prefix)
	add(fmt.Sprint(c.limits)) // with others something else could be found
	if e.block == nil && !c.cfg.Any {
		add("not allowed")
	}
	if b := e.block; b != nil {
		add("block")
		if b.ca != nil {
			if ca, err := b.ca.get(); err == nil {
				add(string(ca.sum[:]))
			}
		}
		add("proxy")
		if b.proxy != nil {
			add(b.proxy.String())
		}
		for _, host := range b.tokenHosts {
			add(host)
		}
	}
	add("credentials")
	if cred, err := e.credentials(r); err == nil {
		add(cred.username)
		add(cred.password)
	}
	mac := hmac.New(sha256.New, c.salt)
	_, _ = mac.Write(all)
	return Version(mac.Sum(nil))
}
