package image

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// The media types of the configurations that identify an image's content.
const (
	OCIConfig    = "application/vnd.oci.image.config.v1+json"
	DockerConfig = "application/vnd.docker.container.image.v1+json"
)

// emptyConfig is the document that stands where an artifact has no configuration.
var emptyConfig = Of([]byte("{}"))

// Config is what we read of an image's configuration.
type Config struct {
	// Digest is that of the whole document, which identifies the content of the
	// image: its layers, its command, its environment.
	Digest   Digest
	Platform Platform
	// DiffIDs are the digests of the layers, unpacked, from the lowest up.
	DiffIDs []Digest
}

// ParseConfig reads an image's configuration. What goes beyond a bound is an
// ErrLimit.
func ParseConfig(body []byte) (*Config, error) {
	c := &Config{Digest: Of(body)}
	var os, architecture, variant, kind string
	err := decode(body,
		member{"os", text(&os)},
		member{"architecture", text(&architecture)},
		member{"variant", text(&variant)},
		member{"rootfs", func(d *jsontext.Decoder) error {
			return object(d, []member{
				{"type", text(&kind)},
				{"diff_ids", array(MaxLayers, func(d *jsontext.Decoder) error {
					var one Digest
					err := digest(&one)(d)
					c.DiffIDs = append(c.DiffIDs, one)
					return err
				})},
			})
		}},
	)
	if err == nil && len(c.DiffIDs) > 0 && kind != "layers" {
		err = fmt.Errorf("rootfs: its type is %q and not %q", clip(kind), "layers")
	}
	if err != nil {
		return nil, fmt.Errorf("image configuration: %w", err)
	}
	c.Platform = normalise(os, architecture, variant)
	return c, nil
}

// Identifies returns nil if the manifest is one of the image that c configures, so
// that another manifest of which the same is true has the same content; otherwise
// it says why not.
//
// What makes a configuration stand for content is that it lists the layers: the
// runtime compares each that it unpacks. A configuration without any stands for
// nothing, above all the empty one that all artifacts share.
func (c *Config) Identifies(m *Manifest) error {
	switch {
	case m.IsIndex():
		return errors.New("an index has no configuration")
	case m.Config.Digest != c.Digest:
		return fmt.Errorf("the manifest's configuration is %v and not %v", m.Config.Digest, c.Digest)
	case c.Digest == emptyConfig:
		return errors.New("the empty configuration stands for no image")
	case m.Config.MediaType != OCIConfig && m.Config.MediaType != DockerConfig:
		return fmt.Errorf("its configuration is a %q and not that of an image", clip(m.Config.MediaType))
	case len(c.DiffIDs) == 0:
		return errors.New("a configuration that lists no layers stands for no image")
	case len(c.DiffIDs) != len(m.Layers):
		return fmt.Errorf("the configuration lists %d layers and the manifest %d", len(c.DiffIDs), len(m.Layers))
	}
	return nil
}
