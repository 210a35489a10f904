package image_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/podseal/podseal/pkg/image"
)

// Row 23. The rules of DESIGN.md 6.2 for an index that lists what runs.
func TestAnIndexCountsOnlyIfItIsClearWhichOfItsManifestsRuns(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		// index is of the running manifest and another one.
		index func(running, other image.Digest) document
		// byRuntime is whether the runtime was asked for the configuration, byID
		// whether the image ID names the manifest itself. Otherwise it names the index.
		byRuntime, byID bool
		// counts is whether the index does; known is whether it can be told what
		// runs at all.
		counts, known bool
	}{
		"the only one that could run": {
			index:  func(r, o image.Digest) document { return listing(on(r, "linux/amd64"), on(o, "linux/arm64")) },
			counts: true, known: true,
		},
		"two could run": {
			index: func(r, o image.Digest) document { return listing(on(r, "linux/amd64"), on(o, "linux/amd64/v3")) },
		},
		"two could run, one of them because nothing is said of it": {
			index: func(r, o image.Digest) document { return listing(on(o, ""), on(r, "linux/amd64")) },
		},
		"two could run, and the image ID names one": {
			index: func(r, o image.Digest) document { return listing(on(o, "linux/amd64/v3"), on(r, "linux/amd64")) },
			byID:  true, counts: true, known: true,
		},
		"two could run, and the runtime tells the configuration": {
			index:     func(r, o image.Digest) document { return listing(on(o, "linux/386"), on(r, "linux/amd64")) },
			byRuntime: true, counts: true, known: true,
		},
		"under another platform": {
			index: func(r, o image.Digest) document { return listing(on(o, "linux/amd64"), on(r, "linux/arm64")) },
			byID:  true, byRuntime: true, known: true,
		},
		"not at all": {
			index:     func(_, o image.Digest) document { return listing(on(o, "linux/amd64")) },
			byRuntime: true, known: true,
		},
		"nothing": {
			index: func(image.Digest, image.Digest) document { return listing() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			running, config := w.pushImage(goodApp, "", "", "base", "app")
			other, _ := w.pushImage(goodApp, "", "", "base", "another app")
			index := w.push(goodApp, "1", test.index(running, other))
			r := reported(t, goodApp, index)
			if test.byID {
				r.ID.Digest = running
			}
			if test.byRuntime {
				r.Config = config
			}
			if !test.known {
				unknown(t, w, r)
				return
			}
			var got, leaf bool
			for _, c := range resolved(t, w, r, config).Candidates {
				got = got || c.Digest == index
				leaf = leaf || c.Digest == running
				if c.Digest == other {
					t.Errorf("%+v is another image", c)
				}
			}
			if got != test.counts || leaf != (test.counts || test.byID) {
				t.Errorf("the index is a candidate: %v, its manifest: %v", got, leaf)
			}
		})
	}
}

func TestAnAmbiguousIndexSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a, _ := w.pushImage(goodApp, "", "", "base", "app")
	b, _ := w.pushImage(goodApp, "", "", "base", "another app")
	x := w.push(goodApp, "1", listing(on(a, "linux/amd64"), on(b, "linux/amd64")))
	if e := unknown(t, w, reported(t, goodApp, x)); !errors.Is(e, image.ErrAmbiguous) {
		t.Errorf("%v", e)
	}
	// By the same digest it says the same elsewhere: nobody else is asked.
	if e := unknown(t, w, reported(t, aliasApp, x)); !errors.Is(e, image.ErrAmbiguous) || w.wasAsked(aliasApp) {
		t.Errorf("%v, asked %q", e, w.asked)
	}
}

// Row 23. An index in an index is looked into once, and no deeper.
func TestAnIndexWithinAnIndex(t *testing.T) {
	t.Parallel()
	w := newWorld()
	m, config := w.pushImage(goodApp, "", "", "base", "app")
	inner := w.push(goodApp, "", listing(on(m, "linux/amd64")))
	outer := w.push(goodApp, "1", listing(described(image.OCIIndex, inner, "")))
	c := resolved(t, w, reported(t, goodApp, outer), config)
	wantCandidates(t, c.Candidates, at(goodApp, outer), at(goodApp, m))

	third := w.push(goodApp, "1", listing(described(image.OCIIndex, outer, "")))
	if e := unknown(t, w, reported(t, goodApp, third)); !errors.Is(e, image.ErrLimit) {
		t.Errorf("%v", e)
	}
}

// An index that lists an index as a manifest would make one more level.
func TestWhatAnIndexListsAsAManifestMustBeOne(t *testing.T) {
	t.Parallel()
	w := newWorld()
	m, _ := w.pushImage(goodApp, "", "", "base", "app")
	inner := w.push(goodApp, "", listing(on(m, "linux/amd64")))
	outer := w.push(goodApp, "1", listing(on(inner, "linux/amd64")))
	unknown(t, w, reported(t, goodApp, outer))
}

func TestAnIndexOfThousandsCostsLittle(t *testing.T) {
	t.Parallel()
	w := newWorld()
	var all []string
	var config image.Digest
	for i := range image.MaxIndexEntries {
		var m image.Digest
		m, config = w.pushImage(goodApp, "", "", "base", fmt.Sprint("app ", i))
		all = append(all, on(m, "linux/amd64"))
	}
	x := w.push(goodApp, "1", listing(all...))
	r := reported(t, goodApp, x)
	r.Config = config
	c := resolved(t, w, r, config)
	wantCandidates(t, c.Candidates)
	if len(w.asked) > 4 {
		t.Errorf("%d questions", len(w.asked))
	}
	wantProblem(t, c.Problems, image.ErrAmbiguous.Error())
}

// A configuration stands for content because it lists layers. What everybody has in
// common identifies nobody: the empty configuration of all artifacts above all.
func TestAConfigurationThatListsNoLayersMakesNoCandidate(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		configuration string
		layers        []string
	}{
		"empty":         {"{}", []string{"a signed chart"}},
		"no layers":     {configFor(), nil},
		"fewer layers":  {configFor("base"), []string{"base", "evil"}},
		"more layers":   {configFor("base", "app"), []string{"base"}},
		"no image's":    {`{"rootfs":{"type":"layers","diff_ids":[]}}`, []string{"base"}},
		"not a listing": {`{"rootfs":{"type":"layers","diff_ids":7}}`, []string{"base"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			config := w.push(goodApp, "", document{test.configuration, ""})
			w.push(goodApp, "1", document{manifestOf(test.configuration, "signed", test.layers...), image.OCIManifest})
			r := reported(t, aliasApp, image.Of([]byte("a manifest of the attacker's")))
			r.Config = config
			c := resolved(t, w, r, config)
			wantCandidates(t, c.Candidates)
			if len(c.Problems) < 2 {
				t.Errorf("problems %q", c.Problems)
			}
		})
	}
}

// Forms of image IDs that name no repository. They are never looked up at a default
// registry, but in the spec's repository, where something must agree.
func TestAnImageIDWithoutARepository(t *testing.T) {
	t.Parallel()
	hub := mustRepository("docker.io/library/sha256")
	t.Run("is a configuration's", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		m, config := w.pushImage(goodApp, "1", "", "base", "app")
		wantCandidates(t, resolved(t, w, reported(t, image.Repository{}, config), config).Candidates, at(goodApp, m))
	})
	t.Run("agrees with nothing", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.pushImage(goodApp, "1", "", "base", "app")
		w.pushImage(hub, "latest", "", "base", "evil")
		e := unknown(t, w, reported(t, image.Repository{}, image.Of([]byte("what runs"))))
		if !errors.Is(e, image.ErrNoRepository) {
			t.Errorf("%v", e)
		}
		if !w.wasAsked(goodApp) || w.wasAsked(hub) {
			t.Errorf("asked %q", w.asked)
		}
	})
	t.Run("is away", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.down[goodApp] = errAway
		if e := unknown(t, w, reported(t, image.Repository{}, image.Of([]byte("what runs")))); !errors.Is(e, errAway) {
			t.Errorf("%v", e)
		}
	})
}

// FuzzResolve: whatever a registry serves, a candidate's bytes lead to the running
// configuration, and no more is asked than the bounds allow.
func FuzzResolve(f *testing.F) {
	configuration := configFor("base", "app")
	manifest := manifestOf(configuration, "", "base", "app")
	index := listing(on(image.Of([]byte(manifest)), "linux/amd64"))
	f.Add(manifest, image.OCIManifest, configuration, false)
	f.Add(index.body, image.OCIIndex, configuration, true)
	f.Add(listing(on(image.Of([]byte(manifest)), "linux/amd64"), on(image.Of([]byte(index.body)), "")).body, "", "{}", true)
	f.Add(`{"schemaVersion":2,"manifests":[],"layers":[]}`, image.OCIIndex, "{}", false)
	f.Fuzz(func(t *testing.T, body, mediaType, config string, byRuntime bool) {
		w := newWorld()
		w.push(goodApp, "", document{manifest, image.OCIManifest})
		w.push(goodApp, "", document{config, ""})
		served := w.push(goodApp, "1", document{body, mediaType})
		r := reported(t, goodApp, served)
		if byRuntime {
			r.Config = image.Of([]byte(config))
		}
		c, err := image.Resolve(t.Context(), w, r)
		if len(w.asked) > 32 {
			t.Fatalf("%d questions", len(w.asked))
		}
		if err != nil {
			return
		}
		if byRuntime && c.Config != r.Config {
			t.Fatalf("%v runs, and the runtime said %v", c.Config, r.Config)
		}
		for _, candidate := range c.Candidates {
			d := w.documents[key(candidate.Repository, candidate.Digest)]
			m, err := image.ParseManifest([]byte(d.body), d.mediaType)
			switch {
			case err != nil, image.Of([]byte(d.body)) != candidate.Digest:
				t.Fatalf("%v was not served: %v", candidate, err)
			case !m.IsIndex() && m.Config.Digest != c.Config:
				t.Fatalf("%v is of %v, and %v runs", candidate, m.Config.Digest, c.Config)
			case m.IsIndex() && !slices.ContainsFunc(c.Candidates, func(leaf image.Candidate) bool { return lists(m, leaf.Digest) }):
				t.Fatalf("the index %v contains nothing that runs", candidate)
			}
		}
	})
}
