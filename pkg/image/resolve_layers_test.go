package image_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/podseal/podseal/pkg/image"
)

// Other layers under the configuration of a good image, which a runtime unpacks
// that does not compare the two.
func TestOtherLayersUnderASignedImagesConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld()
	good, config := w.pushImage(goodApp, "1", "", "base", "app")
	evil := w.push(goodApp, "", document{manifestOf(configFor("base", "app"), "", "a hole", "app"), image.OCIManifest})
	for name, c := range map[string]struct {
		compares, byRuntime bool
		pulled              []image.Ref
		want                []image.Ref
	}{
		"a runtime that compares layers, and so runs what is good": {true, false, nil, []image.Ref{at(goodApp, evil), at(goodApp, good)}},
		"one that does not":                                           {false, false, nil, []image.Ref{at(goodApp, evil)}},
		"one that does not and says what it runs":                     {false, true, nil, []image.Ref{at(goodApp, evil)}},
		"one that does not and names both: it has them of one layers": {false, true, []image.Ref{at(goodApp, good)}, []image.Ref{at(goodApp, evil), at(goodApp, good)}},
	} {
		r := reported(t, goodApp, evil)
		r.ComparesLayers, r.Pulled = c.compares, c.pulled
		if c.byRuntime {
			r.Config = config
		}
		found := resolved(t, w, r, config)
		t.Run(name, func(t *testing.T) { wantCandidates(t, found.Candidates, c.want...) })
		refused := slices.ContainsFunc(found.Problems, func(p error) bool { return errors.Is(p, image.ErrLayers) })
		if want := len(c.want) == 1; refused != want {
			t.Errorf("%s: problems %v", name, found.Problems)
		}
	}
}

// The same layers under another manifest are the same content, whatever the runtime.
func TestTheSameLayersAreTheSameContent(t *testing.T) {
	t.Parallel()
	w := newWorld()
	running, config := w.pushImage(goodApp, "", "of yesterday", "base", "app")
	again, _ := w.pushImage(goodApp, "1", "of today", "base", "app")
	r := reported(t, goodApp, running)
	r.ComparesLayers = false
	wantCandidates(t, resolved(t, w, r, config).Candidates, at(goodApp, running), at(goodApp, again))
}

// Without a manifest that the runtime named nothing says which layers run.
func TestABareImageIDOfARuntimeThatDoesNotCompareLayers(t *testing.T) {
	t.Parallel()
	w := newWorld()
	_, config := w.pushImage(goodApp, "1", "", "base", "app")
	r := reported(t, image.Repository{}, config)
	r.ComparesLayers = false
	if e := unknown(t, w, r); !errors.Is(e, image.ErrNoRepository) || !errors.Is(e, image.ErrLayers) {
		t.Errorf("%v", e)
	}
}
