package selector_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/selector"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

const workflow = "https://github.com/org/app/.github/workflows/release.yml@refs/tags/v1"

// signed is a verified signature by that identity, in a log.
func signed(t testing.TB, id sigstoretest.Identity) *sigstore.Signature {
	t.Helper()
	s := sigstoretest.New()
	app := image.Of([]byte("app"))
	artefact := sigstoretest.Sign(sigstoretest.Signature{Signer: s.Keyless(id), Digest: app, Witnesses: []sigstoretest.Witness{s.Rekor1}})
	return judged(t, s, artefact, app)
}

func judged(t testing.TB, s *sigstoretest.Sigstore, artefact *sigstoretest.Artefact, app image.Digest) *sigstore.Signature {
	t.Helper()
	root, err := sigstore.ParseRoot(s.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	anybody, err := sigstore.NewKeyless(sigstore.KeylessConfig{AnyIdentity: true})
	if err != nil {
		t.Fatal(err)
	}
	repository, err := image.ParseRepository("registry.example.org/app")
	if err != nil {
		t.Fatal(err)
	}
	signature, err := anybody.Signature(root, artefact.Item(image.Ref{Repository: repository, Digest: app}), []image.Digest{app}, sigstoretest.Time.AddDate(0, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

func by(authority string, signatures ...*sigstore.Signature) []selector.Signer {
	return []selector.Signer{{Authority: authority, Signatures: signatures}}
}

func github(t testing.TB) *sigstore.Signature {
	return signed(t, sigstoretest.GitHub("org/app", "release.yml", "refs/tags/v1"))
}

// facts replaces what is another one each time by its name.
func facts(s *sigstore.Signature, values []string) []string {
	index, _ := s.LogIndex()
	replace := strings.NewReplacer(s.Value(), "VALUE", s.SignedEntryTimestamp(), "PROMISE", s.LogID(), "LOG", s.Key().String(), "KEY", "log-index:"+fmt.Sprint(index), "log-index:INDEX")
	var out []string
	for _, v := range values {
		out = append(out, replace.Replace(v))
	}
	return out
}

func TestSelectorsOfTheSigstoreBlock(t *testing.T) {
	t.Parallel()
	s := github(t)
	got, err := selector.Images(selector.Trust{Accepted: []selector.Accepted{{Dialect: selector.Sigstore, Signers: by("", s), Attested: true}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"image-attestations:verified",
		"image-signature-build-signer:" + workflow,
		"image-signature-build-trigger:push",
		"image-signature-identity:" + sigstoretest.GitHubIssuer + "#" + workflow,
		"image-signature-integrated-time:" + fmt.Sprint(sigstoretest.Time.Unix()),
		"image-signature-issuer:" + sigstoretest.GitHubIssuer,
		"image-signature-log-id:LOG",
		"image-signature-log-index:INDEX",
		"image-signature-runner-environment:github-hosted",
		"image-signature-signed-entry-timestamp:PROMISE",
		"image-signature-source-digest:" + strings.Repeat("c0ffee00", 5),
		"image-signature-source-ref:refs/tags/v1",
		"image-signature-source-repository:https://github.com/org/app",
		"image-signature-subject:" + workflow,
		"image-signature-value:VALUE",
		"image-signature:verified",
	}
	if diff := cmp.Diff(want, facts(s, got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSelectorsOfTheOlderBlock(t *testing.T) {
	t.Parallel()
	s := github(t)
	got, err := selector.Images(selector.Trust{Accepted: []selector.Accepted{{Dialect: selector.OlderSigstore, ContainerID: "c", Signers: by("", s), Attested: true}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"c:image-signature-content:VALUE",
		"c:image-signature-integrated-time:" + fmt.Sprint(sigstoretest.Time.Unix()),
		"c:image-signature-logid:LOG",
		"c:image-signature-subject:" + workflow,
		"sigstore-validation:passed",
	}
	if diff := cmp.Diff(want, facts(s, got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got, err = selector.Images(selector.Trust{OlderSkipped: true})
	if diff := cmp.Diff([]string{"sigstore-validation:passed"}, got); err != nil || diff != "" {
		t.Errorf("of a skipped image: %v (-want +got):\n%s", err, diff)
	}
}

func TestSelectorsOfPoliciesHaveTheirName(t *testing.T) {
	t.Parallel()
	s := github(t)
	got, err := selector.Images(selector.Trust{Accepted: []selector.Accepted{
		{Policy: "open"}, // by a static authority: nobody signed
		{Policy: "release", Signers: by("ci", s)},
	}, Pod: []string{"whole"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"image-policy:open",
		"image-policy:release",
		"image-signer-claim:release/ci:build-signer=" + workflow,
		"image-signer-claim:release/ci:build-trigger=push",
		"image-signer-claim:release/ci:runner-environment=github-hosted",
		"image-signer-claim:release/ci:source-digest=" + strings.Repeat("c0ffee00", 5),
		"image-signer-claim:release/ci:source-ref=refs/tags/v1",
		"image-signer-claim:release/ci:source-repository=https://github.com/org/app",
		"image-signer-identity:release/ci:" + sigstoretest.GitHubIssuer + "#" + workflow,
		"image-signer-key:release/ci:KEY",
		"image-signer:release/ci",
		"pod-image-policy:whole",
	}
	if diff := cmp.Diff(want, facts(s, got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// No trust, no selectors: an image that nobody looked at, and one that was skipped.
func TestWithoutTrustThereAreNoSelectors(t *testing.T) {
	t.Parallel()
	got, err := selector.Images(selector.Trust{})
	if err != nil || len(got) != 0 {
		t.Errorf("got %q, %v", got, err)
	}
	values := []string{"ns:a", "sa:b"}
	if with := selector.With(values, nil); &with[0] != &values[0] {
		t.Error("With copies where there is nothing to add")
	}
	if diff := cmp.Diff([]string{"image-policy:p", "ns:a", "sa:b"}, selector.With(values, []string{"image-policy:p", "ns:a"})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// ADVERSARIAL.md 30 and 39: an issuer with a "#" could be taken for a shorter issuer
// with a longer subject.
func TestAnIssuerCantRunIntoItsSubject(t *testing.T) {
	t.Parallel()
	s := signed(t, sigstoretest.Identity{Issuer: "https://good.example#x", Subject: sigstoretest.Email("y@example.org")})
	if err := selector.Check(s); err == nil || !strings.Contains(err.Error(), "#") {
		t.Errorf("Check = %v", err)
	}
	if got, err := selector.Images(selector.Trust{Accepted: []selector.Accepted{{Policy: "p", Signers: by("a", s)}}}); err == nil {
		t.Errorf("selectors %q", got)
	}
	s = signed(t, sigstoretest.Identity{Issuer: "https://good.example", Subject: sigstoretest.Email("x#y@example.org")})
	if err := selector.Check(s); err != nil {
		t.Errorf("a subject with a \"#\": %v", err)
	}
}

// ADVERSARIAL.md 30: a bound that is hit is an error that says which signature it
// was, never a list that was cut.
func TestTooManyAndTooLongSelectorsAreErrors(t *testing.T) {
	t.Parallel()
	s := signed(t, sigstoretest.Identity{Issuer: "https://issuer.example", Subject: sigstoretest.Email("dev@example.org")})
	of := func(authorities int) selector.Trust {
		a := selector.Accepted{Policy: "p"}
		for i := range authorities {
			a.Signers = append(a.Signers, by(fmt.Sprint(i), s)...)
		}
		return selector.Trust{Accepted: []selector.Accepted{a}}
	}
	// One of the policy and three of each authority.
	if got, err := selector.Images(of(170)); err != nil || len(got) != 511 {
		t.Errorf("%d selectors, %v", len(got), err)
	}
	_, err := selector.Images(of(171))
	if !errors.Is(err, selector.ErrLimit) || !strings.Contains(err.Error(), "more than 512 selectors") || !strings.Contains(err.Error(), s.Item().Blob.String()) {
		t.Errorf("%v", err)
	}
	_, err = selector.Images(selector.Trust{Accepted: []selector.Accepted{{Policy: strings.Repeat("p", 2<<10), Signers: by("a", s)}}})
	if !errors.Is(err, selector.ErrLimit) || !strings.Contains(err.Error(), "2048 bytes") {
		t.Errorf("a long name: %v", err)
	}
}

func TestWhatCanBeRenderedIsChecked(t *testing.T) {
	t.Parallel()
	if err := selector.Check(github(t)); err != nil {
		t.Errorf("Check = %v", err)
	}
}
