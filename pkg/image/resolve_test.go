package image_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/image"
)

// resolved is what Resolve finds, which must be that configuration.
func resolved(t *testing.T, w *world, r image.Reported, config image.Digest) *image.Content {
	t.Helper()
	c, err := image.Resolve(t.Context(), w, r)
	if err != nil {
		t.Fatal(err)
	}
	if c.Config != config {
		t.Errorf("%v runs, want %v", c.Config, config)
	}
	return c
}

func wantCandidates(t *testing.T, got []image.Candidate, want ...image.Ref) {
	t.Helper()
	if diff := cmp.Diff(refs(want...), words(got)); diff != "" {
		t.Errorf("candidates: %s", diff)
	}
}

func wantProblem(t *testing.T, problems []error, part string) {
	t.Helper()
	if !slices.ContainsFunc(problems, func(p error) bool { return strings.Contains(p.Error(), part) }) {
		t.Errorf("problems %q, want %q", problems, part)
	}
}

func unknown(t *testing.T, w *world, r image.Reported) *image.UnknownError {
	t.Helper()
	c, err := image.Resolve(t.Context(), w, r)
	e, ok := errors.AsType[*image.UnknownError](err)
	if !ok {
		t.Fatalf("%+v, %v", c, err)
	}
	return e
}

func TestAManifestIsOneCandidateAndAnIndexTwo(t *testing.T) {
	t.Parallel()
	w := newWorld()
	m, config := w.pushImage(goodApp, "", "amd64", "base", "app")
	other, _ := w.pushImage(goodApp, "", "arm64", "base for arm", "app")
	x := w.push(goodApp, "1", listing(on(m, "linux/amd64"), on(other, "linux/arm64"), on(image.Of([]byte("sbom")), "unknown/unknown")))

	c := resolved(t, w, reported(t, goodApp, m), config)
	wantCandidates(t, c.Candidates, at(goodApp, m), at(goodApp, x))

	c = resolved(t, w, reported(t, goodApp, x), config)
	wantCandidates(t, c.Candidates, at(goodApp, x), at(goodApp, m))
	want := []image.Candidate{{at(goodApp, x), image.FromID, image.Digest{}}, {at(goodApp, m), image.FromID, x}}
	if !slices.Equal(c.Candidates, want) {
		t.Errorf("%+v, want %+v", c.Candidates, want)
	}
	if len(c.Problems) > 0 {
		t.Errorf("problems %q", c.Problems)
	}
	if got := strings.Join(w.asked, "\n"); strings.Contains(got, "blob") {
		t.Errorf("a configuration was fetched although the runtime named the manifest:\n%s", got)
	}
}

// The same content pushed twice, signed the second time.
func TestWhatTheTagNamesIsACandidateIfItIsTheSameContent(t *testing.T) {
	t.Parallel()
	w := newWorld()
	old, config := w.pushImage(goodApp, "", "of yesterday", "base", "app")
	again, _ := w.pushImage(goodApp, "1", "of today", "base", "app")
	c := resolved(t, w, reported(t, goodApp, old), config)
	wantCandidates(t, c.Candidates, at(goodApp, old), at(goodApp, again))
	if c.Candidates[1].Origin != image.FromTag {
		t.Errorf("%+v", c.Candidates[1])
	}
}

// Row 22. Evidence about what the tag names now is not about what runs.
func TestATagThatMovedIsNoCandidate(t *testing.T) {
	t.Parallel()
	for name, byRuntime := range map[string]bool{"the registry alone": false, "the runtime was asked": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			running, config := w.pushImage(goodApp, "", "", "base", "app with a hole")
			moved, _ := w.pushImage(goodApp, "1", "", "base", "app")
			r := reported(t, goodApp, running)
			if byRuntime {
				r.Config = config
			}
			c := resolved(t, w, r, config)
			wantCandidates(t, c.Candidates, at(goodApp, running))
			wantProblem(t, c.Problems, moved.String()+" is another image")

			// And if what runs is not there any more, nothing stands for it.
			delete(w.documents, key(goodApp, running))
			if byRuntime {
				wantCandidates(t, resolved(t, w, r, config).Candidates)
			} else {
				wantProblem(t, unknown(t, w, r).Problems, "404")
			}
		})
	}
}

// Row 36. Another pod's author pulled a repository of his with the same content to
// the node, and the runtime gives his name as the victim's image ID.
func TestAnAliasChangesNothingAboutWhatRunsAndWhereItIsSought(t *testing.T) {
	t.Parallel()
	w := newWorld()
	good, config := w.pushImage(goodApp, "1", "", "base", "app")
	alias, _ := w.pushImage(aliasApp, "1", "the attacker's", "base", "app")

	r := reported(t, aliasApp, alias)
	r.Config = config
	c := resolved(t, w, r, config)
	wantCandidates(t, c.Candidates, at(goodApp, good))
	if w.wasAsked(aliasApp) {
		t.Errorf("the attacker was asked: %q", w.asked)
	}
	// His is a candidate too, but only for who asks after the spec's did not do.
	candidates, problems := c.Elsewhere(t.Context())
	wantCandidates(t, candidates, at(aliasApp, alias))
	if len(problems) > 0 {
		t.Errorf("%q", problems)
	}

	// The content that he planted under the name is not what runs.
	w = newWorld()
	w.pushImage(goodApp, "1", "", "base", "app")
	planted, _ := w.pushImage(aliasApp, "1", "", "base", "evil")
	r.ID.Digest = planted
	c = resolved(t, w, r, config)
	candidates, problems = c.Elsewhere(t.Context())
	wantCandidates(t, candidates)
	wantProblem(t, problems, "another image")
}

// Row 36, on a node where the runtime is not asked: the attacker's manifest has to
// be read, and says no more than which configuration runs.
func TestWithoutTheRuntimeAnAliasIsReadOnlyToKnowTheConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld()
	good, config := w.pushImage(goodApp, "1", "", "base", "app")
	alias, _ := w.pushImage(aliasApp, "1", "the attacker's", "base", "app")
	c := resolved(t, w, reported(t, aliasApp, alias), config)
	wantCandidates(t, c.Candidates, at(goodApp, good))
	wantProblem(t, c.Problems, "404")

	// A registry that may not be asked is not: then nothing can be told.
	w.down[aliasApp] = errors.New("not configured")
	e := unknown(t, w, reported(t, aliasApp, alias))
	wantProblem(t, e.Problems, "not configured")
	wantProblem(t, e.Problems, "404")
}

// A copy at a mirror is an alias, and the same manifest.
func TestACopyElsewhereIsFoundInTheSpecsRepository(t *testing.T) {
	t.Parallel()
	w := newWorld()
	good, config := w.pushImage(goodApp, "", "", "base", "app")
	c := resolved(t, w, reported(t, aliasApp, good), config)
	wantCandidates(t, c.Candidates, at(goodApp, good))
	if w.wasAsked(aliasApp) {
		t.Errorf("asked: %q", w.asked)
	}
}

// The tag has moved and the image ID is an alias, but the node remembers what it
// pulled.
func TestWhatTheNodePulledFromTheSpecsRepositoryIsACandidate(t *testing.T) {
	t.Parallel()
	w := newWorld()
	good, config := w.pushImage(goodApp, "", "", "base", "app")
	w.pushImage(goodApp, "1", "", "base", "app of today")
	alias, _ := w.pushImage(aliasApp, "1", "the attacker's", "base", "app")
	r := reported(t, aliasApp, alias)
	r.Config, r.Pulled = config, []image.Ref{at(aliasApp, alias), at(goodApp, good)}
	c := resolved(t, w, r, config)
	wantCandidates(t, c.Candidates, at(goodApp, good))
	if c.Candidates[0].Origin != image.FromRuntime {
		t.Errorf("%+v", c.Candidates)
	}
}

func TestOnlySoManyOfTheNodesNamesAreLookedUp(t *testing.T) {
	t.Parallel()
	w := newWorld()
	good, config := w.pushImage(goodApp, "1", "", "base", "app")
	r := reported(t, goodApp, good)
	r.Config = config
	for i := range 100 {
		r.Pulled = append(r.Pulled, at(goodApp, image.Of([]byte{byte(i)})))
	}
	c := resolved(t, w, r, config)
	wantCandidates(t, c.Candidates, at(goodApp, good))
	if !slices.ContainsFunc(c.Problems, func(p error) bool { return errors.Is(p, image.ErrLimit) }) || len(w.asked) > 20 {
		t.Errorf("%d questions, problems %q", len(w.asked), c.Problems)
	}
}

func TestAPodsPinAndTheImageIDAreBothCandidates(t *testing.T) {
	t.Parallel()
	w := newWorld()
	m, config := w.pushImage(goodApp, "", "", "base", "app")
	x := w.push(goodApp, "", listing(on(m, "linux/amd64")))
	r := reported(t, goodApp, m)
	r.Spec = spec(t, "good.example.org/app:1@"+x.String())
	c := resolved(t, w, r, config)
	wantCandidates(t, c.Candidates, at(goodApp, m), at(goodApp, x))

	// Row 33: a pin to something else than what runs gives nothing.
	other, _ := w.pushImage(goodApp, "", "", "base", "app of another pod")
	r.Spec = spec(t, "good.example.org/app@"+other.String())
	c = resolved(t, w, r, config)
	wantCandidates(t, c.Candidates, at(goodApp, m))
	wantProblem(t, c.Problems, "another image")
}

// Row 41. What never started is nothing, whatever its name; nobody is asked.
func TestAContainerWithoutAnImageIDIsUnknownWithoutALookUp(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.pushImage(goodApp, "1", "", "base", "app")
	r := reported(t, image.Repository{}, image.Digest{})
	r.Config = image.Of([]byte("a configuration that somebody claims"))
	if e := unknown(t, w, r); !errors.Is(e, image.ErrNotReported) || len(w.asked) > 0 {
		t.Errorf("%v, asked %q", e, w.asked)
	}
	r = reported(t, goodApp, image.Of(nil))
	r.Spec = image.Name{}
	if unknown(t, w, r); len(w.asked) > 0 {
		t.Errorf("asked %q", w.asked)
	}
}

// Row 19. What a registry says that bytes are is not looked at.
func TestARegistryThatAnswersWithOtherBytesIsNotBelieved(t *testing.T) {
	t.Parallel()
	for name, lieAbout := range map[string]func(manifest, config image.Digest) image.Digest{
		"manifest":      func(m, _ image.Digest) image.Digest { return m },
		"configuration": func(_, c image.Digest) image.Digest { return c },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			good, config := w.pushImage(goodApp, "1", "", "base", "app")
			w.pushImage(goodApp, "", "", "base", "evil")
			w.lies[key(goodApp, lieAbout(good, config))] = document{manifestOf(configFor("base", "app"), "evil", "base", "app"), image.OCIManifest}
			r := reported(t, goodApp, good)
			r.Config, r.Spec = config, spec(t, "good.example.org/app@"+good.String())
			c := resolved(t, w, r, config)
			wantCandidates(t, c.Candidates)
			wantProblem(t, c.Problems, "other bytes")
		})
	}
}

// Row 19. Between two questions a tag may name two things: it is asked once, and
// what it names is known by its bytes.
func TestATagIsAskedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld()
	good, config := w.pushImage(goodApp, "1", "", "base", "app")
	resolved(t, w, reported(t, image.Repository{}, config), config)
	resolvedBy := len(w.asked)
	tags := 0
	for _, a := range w.asked {
		if strings.HasPrefix(a, "tag ") {
			tags++
		}
	}
	if tags != 1 {
		t.Errorf("asked for the tag %d times in %d questions about %v: %q", tags, resolvedBy, good, w.asked)
	}
}

// The failure of one repository hides nothing that is in another.
func TestARepositoryThatIsAwayHidesNothingElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.pushImage(goodApp, "1", "", "base", "app")
	alias, config := w.pushImage(aliasApp, "1", "", "base", "app")
	w.down[goodApp] = errAway
	for _, byRuntime := range []image.Digest{{}, config} {
		r := reported(t, aliasApp, alias)
		r.Config = byRuntime
		c := resolved(t, w, r, config)
		wantCandidates(t, c.Candidates, at(aliasApp, alias))
		wantProblem(t, c.Problems, errAway.Error())
		if more, problems := c.Elsewhere(t.Context()); len(more)+len(problems) > 0 {
			t.Errorf("asked again: %v, %q", more, problems)
		}
	}
	w.down[aliasApp] = errAway
	if e := unknown(t, w, reported(t, aliasApp, alias)); !errors.Is(e, errAway) || len(e.Problems) != 2 {
		t.Errorf("%q", e.Problems)
	}
}

func TestTheContextsEndIsNoVerdict(t *testing.T) {
	t.Parallel()
	w := newWorld()
	good, config := w.pushImage(goodApp, "1", "", "base", "app")
	w.down[goodApp] = context.DeadlineExceeded
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the caller is gone")
	cancel(gone)
	r := reported(t, goodApp, good)
	r.Config = config
	if c, err := image.Resolve(ctx, w, r); !errors.Is(err, gone) {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestAllNamesOfTheImageAreKnown(t *testing.T) {
	t.Parallel()
	w := newWorld()
	good, config := w.pushImage(goodApp, "1", "", "base", "app")
	r := reported(t, aliasApp, good)
	r.Status = spec(t, "evil.example.net/alias:9")
	var got []string
	for _, n := range resolved(t, w, r, config).Names {
		got = append(got, n.String())
	}
	want := []string{"good.example.org/app:1", "evil.example.net/alias:9", "evil.example.net/alias@" + good.String()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
