package image

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// The media types of the manifests that are read.
const (
	OCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	OCIIndex       = "application/vnd.oci.image.index.v1+json"
	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
)

const (
	// MaxIndexEntries is how many manifests an index may list.
	MaxIndexEntries = 256
	// MaxLayers is how many layers an image may have.
	MaxLayers = 1024
)

// Manifest is an image manifest or an index: Config and Layers are of the one,
// Manifests of the other.
type Manifest struct {
	MediaType    string
	ArtifactType string
	Config       Descriptor
	Layers       []Descriptor
	Manifests    []Descriptor
	// Subject is what the manifest says that it is about; its Digest is zero where
	// it says nothing. Everybody can say so of everything.
	Subject Descriptor
}

// Descriptor says of something that is elsewhere what it is. Only the digest is
// more than a claim: what has it can't be anything else.
type Descriptor struct {
	MediaType    string
	ArtifactType string
	Digest       Digest
	Size         int64 // bytes
	// Platform is nil where none is given.
	Platform    *Platform
	Annotations map[string]string
}

// IsIndex is whether the manifest is an index.
func (m *Manifest) IsIndex() bool { return isIndex(m.MediaType) }

// IsIndex is whether what is described claims to be an index.
func (d *Descriptor) IsIndex() bool { return isIndex(d.MediaType) }

func isIndex(mediaType string) bool { return mediaType == OCIIndex || mediaType == DockerIndex }

// ParseManifest reads an image manifest or an index in OCI's form or in that of
// Docker's schema 2. mediaType is what the registry, or another manifest, says
// that it is; it may be empty. The body must agree: a document that is a manifest
// for one reader and an index for another is neither (CVE-2021-41190). What goes
// beyond a bound is an ErrLimit.
func ParseManifest(body []byte, mediaType string) (*Manifest, error) {
	m := &Manifest{}
	var version int64
	var has struct{ config, layers, manifests, older bool }
	older := func(d *jsontext.Decoder) error {
		has.older = true
		return d.SkipValue()
	}
	err := decode(body,
		member{"schemaVersion", whole(&version)},
		member{"mediaType", text(&m.MediaType)},
		member{"artifactType", text(&m.ArtifactType)},
		member{"config", noting(&has.config, descriptor(&m.Config))},
		member{"layers", noting(&has.layers, array(MaxLayers, descriptors(&m.Layers)))},
		member{"manifests", noting(&has.manifests, array(MaxIndexEntries, descriptors(&m.Manifests)))},
		member{"subject", descriptor(&m.Subject)},
		member{"fsLayers", older},
		member{"blobs", older},
	)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if m.MediaType != "" && mediaType != "" && m.MediaType != mediaType {
		return nil, fmt.Errorf("manifest: it was said to be a %q and says that it is a %q", clip(mediaType), clip(m.MediaType))
	}
	said := m.MediaType
	m.MediaType = cmp.Or(m.MediaType, mediaType)
	switch {
	case version != 2 || has.older:
		err = errors.New("it is of another version than the second")
	case m.MediaType == "":
		err = errors.New("nothing says whether it is a manifest or an index")
	case said == "" && m.MediaType != OCIManifest && m.MediaType != OCIIndex:
		err = fmt.Errorf("it was said to be a %q and does not say so itself", clip(m.MediaType))
	case m.IsIndex():
		if !has.manifests || has.config || has.layers {
			err = errors.New("an index has manifests, and neither configuration nor layers")
		}
	case m.MediaType == OCIManifest || m.MediaType == DockerManifest:
		if !has.config || !has.layers || has.manifests {
			err = errors.New("the manifest of an image has a configuration and layers, and no manifests")
		}
	default:
		err = fmt.Errorf("%q is neither a manifest nor an index", clip(m.MediaType))
	}
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}

func noting(seen *bool, read func(*jsontext.Decoder) error) func(*jsontext.Decoder) error {
	return func(d *jsontext.Decoder) error {
		*seen = true
		return read(d)
	}
}

func descriptors(to *[]Descriptor) func(*jsontext.Decoder) error {
	return func(d *jsontext.Decoder) error {
		var one Descriptor
		err := descriptor(&one)(d)
		*to = append(*to, one)
		return err
	}
}

func descriptor(to *Descriptor) func(*jsontext.Decoder) error {
	return func(d *jsontext.Decoder) error {
		to.Size = -1
		err := object(d, []member{
			{"mediaType", text(&to.MediaType)},
			{"artifactType", text(&to.ArtifactType)},
			{"digest", digest(&to.Digest)},
			{"size", whole(&to.Size)},
			{"platform", platform(&to.Platform)},
			{"annotations", annotations(&to.Annotations)},
		})
		if err == nil && (to.MediaType == "" || to.Digest.IsZero() || to.Size < 0) {
			err = errors.New("it does not have all of mediaType, digest and size")
		}
		return err
	}
}

func platform(to **Platform) func(*jsontext.Decoder) error {
	return func(d *jsontext.Decoder) error {
		var os, architecture, variant string
		err := object(d, []member{
			{"os", text(&os)},
			{"architecture", text(&architecture)},
			{"variant", text(&variant)},
		})
		p := normalise(os, architecture, variant)
		*to = &p
		return err
	}
}
