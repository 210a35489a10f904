package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/diagnosis"
	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/printable"
	"github.com/podseal/podseal/pkg/registry"
)

// RegistryClient asks registries: a *registry.Client.
type RegistryClient interface {
	Inspect(ctx context.Context, registry string, probe image.Repository) (*registry.Inspection, error)
}

// Registry is a registry with a block.
type Registry struct {
	// Key is its block's path, Host its canonical name.
	Key, Host string
	// Repositories are the prefixes that its credentials are for; none: all.
	Repositories []string
}

const (
	// registryTime is for how long one registry is asked, and registriesAtOnce how many
	// are.
	registryTime     = 15 * time.Second
	registriesAtOnce = 8
)

// registries asks each registry with a block once.
func (x *examination) registries(ctx context.Context) []Check {
	switch {
	case len(x.Settings.Problems) > 0:
		return []Check{skipped(Registries, because(Configuration))}
	case !x.Settings.Images:
		return []Check{ok(Registries, "no registry is asked, as nothing is asked of images")}
	case len(x.Settings.Registries) == 0:
		return []Check{ok(Registries, "no registry has a block: those of the images are asked, without credentials of the configuration")}
	case x.RegistriesErr != nil:
		return []Check{failed(Registries, x.RegistriesErr.Error(), "correct the file that is named, or the key that names it")}
	case x.Registries == nil:
		return []Check{skipped(Registries, "not looked at, because podseal's parts could not be put together")}
	}
	all := make([]registryFacts, len(x.Settings.Registries))
	var asking sync.WaitGroup
	slots := make(chan struct{}, registriesAtOnce)
	for i, r := range x.Settings.Registries {
		all[i] = registryFacts{Registry: r, probe: x.probe(r), now: time.Now()}
		f := &all[i]
		asking.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			f.err = guard.Do(func() (err error) {
				bounded, cancel := context.WithTimeout(ctx, registryTime)
				defer cancel()
				f.inspection, err = x.Registries.Inspect(bounded, f.Host, f.probe)
				return err
			})
		})
	}
	asking.Wait()
	var parts []part
	for _, f := range all {
		x.times = append(x.times, f.times()...)
		parts = append(parts, f.judge())
	}
	return []Check{sum(Registries, parts, fmt.Sprintf("all %d registries with a block answer", len(parts)))}
}

// probe is the repository of a running container of this node that is in the registry,
// zero for none: rather one that the credentials are for.
func (x *examination) probe(r Registry) (found image.Repository) {
	if x.index == nil {
		return found
	}
	all := running(x.index)
	for p := range x.index.All() {
		for _, c := range p.Containers {
			if _, runs := all[c.ID]; !runs {
				continue
			}
			n, err := image.ParseName(c.SpecImage)
			if err != nil || n.Repository.Registry() != r.Host {
				continue
			}
			if r.covers(n.Repository) {
				return n.Repository
			}
			if found.IsZero() {
				found = n.Repository
			}
		}
	}
	return found
}

func (r Registry) covers(repository image.Repository) bool {
	for _, prefix := range r.Repositories {
		if strings.HasPrefix(repository.Path(), prefix) {
			return true
		}
	}
	return len(r.Repositories) == 0
}

// registryFacts is what one registry answered.
type registryFacts struct {
	Registry
	probe image.Repository
	now   time.Time
	// inspection is as much as there is where err is not nil.
	inspection *registry.Inspection
	err        error
}

func (f registryFacts) judge() part {
	i := f.inspection
	if f.err != nil {
		d, diagnosed := diagnosis.Of(f.err)
		if !diagnosed {
			d = diagnosis.Diagnosis{Cause: f.err.Error(), Remedy: "look at the registry, and at its block"}
		}
		text := fmt.Sprintf("%s: %s", f.Key, d.Cause)
		if i != nil && len(i.Addresses) > 0 {
			text += "; connected to " + strings.Join(i.Addresses, ", ")
		}
		if errors.Is(f.err, context.DeadlineExceeded) && i != nil && len(i.Addresses) == 0 {
			text += "; nothing answers there"
		}
		return part{Failed, text, d.Remedy}
	}
	p := part{status: OK, text: f.Key + ": " + f.answered()}
	switch {
	case i.TLS == 0:
		return part{Warning, p.text + ": whoever is on the way sees the credentials, and can keep signatures from being found",
			"remove insecure from the block, and give the CA of the registry's certificate with ca_path"}
	case i.Credentials == registry.CredentialsHeld:
		return part{Warning, p.text + ": it sends for tokens to another host, which the credentials are not for",
			"name that host in token_hosts of the registry's block if the credentials may be sent there"}
	}
	return p
}

// answered is what a registry that answers is like.
func (f registryFacts) answered() string {
	i := f.inspection
	text := i.URL
	if len(i.Addresses) > 0 {
		text += " at " + strings.Join(i.Addresses, ", ")
	}
	if i.ByProxy {
		text += " (the proxy)"
	}
	if i.TLS == 0 {
		text += " speaks plain HTTP"
	} else {
		text += " speaks " + tls.VersionName(i.TLS)
		if !i.Expires.IsZero() {
			text += fmt.Sprintf(" with a certificate that expires in %s", printable.Span(i.Expires.Sub(f.now)))
		}
	}
	if i.Scheme != "" {
		text += fmt.Sprintf(", wants authentication (%s)", i.Scheme)
	}
	if f.probe.IsZero() {
		return text + "; credentials and referrers are not tried, as no image of it runs here"
	}
	text += fmt.Sprintf("; credentials for %s: %s", f.probe, i.Credentials)
	switch i.Referrers {
	case registry.ReferrersList:
		text += "; it lists what refers to an image"
	case registry.ReferrersTag:
		text += "; what refers to an image is under the fallback tag"
	}
	return text
}

// times are what the registry's clock says, where nobody could answer in its place.
func (f registryFacts) times() []toldTime {
	i := f.inspection
	if i == nil || i.TLS == 0 || i.Date.IsZero() {
		return nil
	}
	return []toldTime{{fmt.Sprintf("the registry %s says that it is %s", f.Host, stamp(i.Date)), between(i.Date, i.Asked, i.Answered)}}
}
