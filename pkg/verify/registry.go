package verify

import (
	"context"
	"sync/atomic"

	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
)

// Registry is where images and evidence are asked for; Registries makes it.
type Registry interface {
	// Conversation begins to ask about one image.
	Conversation(who fair.Who) Conversation
	// IsConfigured is whether the operator has named the registry.
	IsConfigured(registry string) bool
	// Version stands for how a repository is asked.
	Version(r image.Repository) registry.Version
}

// Conversation is what is asked about one image.
type Conversation interface {
	image.Fetcher
	Evidence(ctx context.Context, ref image.Ref) (*registry.Found, error)
	// Hurry says that somebody waits for the answers now.
	Hurry()
}

// Registries asks with the client.
func Registries(c *registry.Client) Registry { return registries{c} }

type registries struct{ *registry.Client }

func (r registries) Conversation(who fair.Who) Conversation {
	t := &talk{client: r.Client, tenant: who.Tenant}
	t.Store(r.Client.Conversation(who))
	return t
}

// talk is a conversation that can become a more urgent one.
type talk struct {
	atomic.Pointer[registry.Conversation]
	client *registry.Client
	tenant string
}

func (t *talk) Hurry() { t.Store(t.client.Conversation(fair.Who{Tenant: t.tenant})) }

func (t *talk) Manifest(ctx context.Context, r image.Repository, d image.Digest) ([]byte, string, error) {
	return t.Load().Manifest(ctx, r, d)
}

func (t *talk) Tag(ctx context.Context, r image.Repository, tag string) ([]byte, string, error) {
	return t.Load().Tag(ctx, r, tag)
}

func (t *talk) Blob(ctx context.Context, r image.Repository, d image.Digest, most int64) ([]byte, error) {
	return t.Load().Blob(ctx, r, d, most)
}

func (t *talk) Evidence(ctx context.Context, ref image.Ref) (*registry.Found, error) {
	return t.Load().Evidence(ctx, ref)
}
