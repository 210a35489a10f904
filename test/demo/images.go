package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// images are those that the workloads of the policy's namespace run, in a registry
// of this program's own. Everything is checked as at home: podseal fetches the
// images and their signatures over HTTPS and verifies them with the trusted root
// of the Sigstore that made them.
type images struct {
	registry *sigstoretest.Registry
	refs     map[string]image.Ref // by the workload's name
	// data is what plugin_data says about them.
	data string
	clients
}

// The policy: images in its namespace are signed by the release workflow.
const (
	policyName      = "release"
	policyNamespace = "shop"
	signerName      = "ci"
	repository      = "example/shop"
	imageTag        = "1"
)

// startImages starts the registry with an image for each workload that has one,
// and writes to dir the files that the policy names.
func startImages(dir string) (*images, error) {
	i := &images{refs: make(map[string]image.Ref)}
	i.registry = sigstoretest.NewRegistry(&i.clients, sigstoretest.RegistryOptions{})
	sigstore := sigstoretest.New()
	release := sigstoretest.GitHub(repository, "release.yml", "refs/tags/v1")
	for _, w := range workloads {
		if w.image == "" {
			continue
		}
		pushed := i.registry.PushImage(w.image, sigstoretest.Image{Content: w.name, Tag: imageTag})
		i.refs[w.name] = pushed.Ref
		if w.signed {
			i.registry.Attach(pushed.Ref, sigstoretest.Usual, sigstoretest.Sign(sigstoretest.Signature{
				Signer: sigstore.Keyless(release), Digest: pushed.Ref.Digest, Format: evidence.Bundle,
				Witnesses: []sigstoretest.Witness{sigstore.Rekor2, sigstore.TSA},
			}))
		}
	}
	root, ca := filepath.Join(dir, "trusted_root.json"), filepath.Join(dir, "registry-ca.pem")
	if err := errors.Join(os.WriteFile(root, sigstore.TrustedRoot(), 0o600), os.WriteFile(ca, i.registry.CAPEM(), 0o600)); err != nil {
		i.registry.Close()
		return nil, err
	}
	i.data = fmt.Sprintf(`image_status_source = "kubelet"
trust_root "demo" {
  trusted_root_path = %q
}
registry %q {
  ca_path = %q
}
image_policy %q {
  match {
    namespaces = [%q]
  }
  authority %q {
    issuer         = %q
    subject_regexp = "https://github\\.com/%s/\\.github/workflows/release\\.yml@refs/tags/.+"
    trust_root     = "demo"
  }
}
`, root, i.registry.Host(), ca, policyName, policyNamespace, signerName, sigstoretest.GitHubIssuer, repository)
	return i, nil
}

// describe is about the images, for a person.
func (i *images) describe() string {
	signed := 0
	for _, w := range workloads {
		if w.signed {
			signed++
		}
	}
	return fmt.Sprintf("%s with %d images, %d of them signed by the release workflow of github.com/%s", i.registry.URL(), len(i.refs), signed, repository)
}

// clients keeps what the registry says against its clients: it finds fault with a
// podseal that breaks the protocol.
type clients struct {
	mu     sync.Mutex
	faults []error // guarded by mu
}

// Helper, Errorf and Cleanup are what a test gives to the registry.
func (c *clients) Helper() {}

// Errorf keeps a fault.
func (c *clients) Errorf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, fmt.Errorf(format, args...))
}

// Cleanup does nothing: the registry is closed by who started it.
func (c *clients) Cleanup(func()) {}

func (c *clients) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.faults...)
}
