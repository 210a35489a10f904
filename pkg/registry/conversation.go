package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/image"
)

// Conversation asks registries about one image, for one asker. It is safe for
// concurrent use.
type Conversation struct {
	client *Client
	who    fair.Who

	// seen is for Inspect, else nil.
	seen *sight
	// mu guards silent for an assignment.
	mu sync.Mutex
	// silent are hosts that did not answer, and how that was told: an image has no time
	// for more than one request to each.
	silent map[string]error
}

// Conversation begins to ask about one image.
func (c *Client) Conversation(who fair.Who) *Conversation {
	return &Conversation{client: c, who: who, silent: map[string]error{}}
}

// giveUp takes note of a host that did not answer, as all requests say then that
// begin later.
func (c *Conversation) giveUp(host string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent[host] == nil {
		c.silent[host] = err
	}
}

// unanswered is why a host is not asked any more.
func (c *Conversation) unanswered(host string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.silent[host]
}

// talk is what a conversation has to do with one registry.
type talk struct {
	*endpoint
	with *Conversation
}

// Manifest fetches the manifest or index with that digest, whose bytes it compares,
// and what the registry says that it is.
func (c *Conversation) Manifest(ctx context.Context, r image.Repository, d image.Digest) (body []byte, mediaType string, err error) {
	err = c.ask(r, "manifest "+d.String(), func(t talk) error {
		a, err := t.manifest(ctx, r, d)
		if err == nil {
			body, mediaType = a.body, a.mediaType
		}
		return err
	})
	return body, mediaType, err
}

// Tag fetches what a tag means at this moment, with the media type that the
// registry gives for it. It is not known to be anything in particular: the caller
// has to hash it.
func (c *Conversation) Tag(ctx context.Context, r image.Repository, tag string) (body []byte, mediaType string, err error) {
	err = c.ask(r, fmt.Sprintf("tag %q", clip(tag)), func(t talk) error {
		a, err := t.tag(ctx, r, tag)
		if err == nil {
			body, mediaType = a.body, a.mediaType
		}
		return err
	})
	return body, mediaType, err
}

// Blob fetches a blob of at most that many bytes and compares its digest.
func (c *Conversation) Blob(ctx context.Context, r image.Repository, d image.Digest, max int64) (body []byte, err error) {
	err = c.ask(r, "blob "+d.String(), func(t talk) error {
		body, err = t.blob(ctx, r, d, max)
		return err
	})
	return body, err
}

// ask calls f with the registry's endpoint and makes an Error of what fails.
func (c *Conversation) ask(r image.Repository, what string, f func(talk) error) error {
	if r.IsZero() {
		return about(r, what, fail(Malformed, "no repository is asked for"))
	}
	return c.at(r.Registry(), r, what, f)
}

// at is ask where it may be that no repository is asked for.
func (c *Conversation) at(registry string, r image.Repository, what string, f func(talk) error) error {
	e, err := c.client.of(registry, c.who.Tenant)
	if err == nil {
		defer c.client.release(e, c.who.Tenant)
		err = f(talk{e, c})
	}
	if err == nil {
		return nil
	}
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	return &Error{Repository: r, registry: registry, What: what, Kind: kindOf(err), Err: err}
}
