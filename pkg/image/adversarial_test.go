package image_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/image"
)

// asConfiguration makes a manifest or an index a configuration as well: its other
// members mean nothing to a runtime, and these nothing to who looks for a manifest.
func asConfiguration(document string) string {
	return strings.TrimSuffix(document, "}") + fmt.Sprintf(`,"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[%q]}}`, image.Of([]byte("evil")))
}

// ADVERSARIAL.md rows 21 and 36: an image ID without a repository is the digest of a
// configuration. Somebody who may push to the repository of the pod's spec, which
// may be his own, runs an image whose configuration is, byte for byte, a document
// that as a manifest leads to the signed image.
func TestAConfigurationThatIsAManifestOfTheSignedImage(t *testing.T) {
	t.Parallel()
	good := configFor("base", "app")
	signed := manifestOf(good, "", "base", "app")
	for name, configuration := range map[string]string{
		"the signed manifest itself":                     signed,
		"a manifest of the signed image":                 asConfiguration(manifestOf(good, "evil", "base", "app")),
		"an index that lists nothing but the signed one": asConfiguration(listing(on(image.Of([]byte(signed)), "linux/amd64")).body),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.pushImage(goodApp, "1", "", "base", "app")
			mediaType := image.OCIManifest
			if strings.Contains(configuration, `"manifests"`) {
				mediaType = image.OCIIndex
			}
			running := w.push(goodApp, "", document{configuration, mediaType})
			w.push(goodApp, "evil", document{manifestOf(configuration, "", "evil"), image.OCIManifest})
			for _, tag := range []string{"1", "evil"} { // the tag of the spec has been moved, or not
				r := reported(t, image.Repository{}, running)
				r.Spec.Tag = tag
				c, err := image.Resolve(t.Context(), w, r)
				if err != nil {
					if !errors.Is(err, image.ErrNoRepository) {
						t.Error(err)
					}
					continue
				}
				isSigned := func(c image.Candidate) bool { return c.Digest == image.Of([]byte(signed)) }
				if c.Config != running || slices.ContainsFunc(c.Candidates, isSigned) {
					t.Errorf("%v runs, and passes for %v, which has %v", running, c.Config, c.Candidates)
				}
			}
		})
	}
}
