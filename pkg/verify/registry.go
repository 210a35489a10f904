package verify

import (
	"context"

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
}

// Registries asks with the client.
func Registries(c *registry.Client) Registry { return registries{c} }

type registries struct{ *registry.Client }

func (r registries) Conversation(who fair.Who) Conversation { return r.Client.Conversation(who) }
