package verify_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/verify"
)

// sign is a signature of the developer's in any form, in the old log.
func (w *world) sign(by *sigstoretest.Signer, digest image.Digest, format evidence.Format, change ...func(*sigstoretest.Signature)) *sigstoretest.Artefact {
	s := sigstoretest.Signature{Signer: by, Digest: digest, Format: format, Witnesses: []sigstoretest.Witness{w.Rekor1}}
	for _, c := range change {
		c(&s)
	}
	return sigstoretest.Sign(s)
}

var formats = []evidence.Format{evidence.SimpleSigning, evidence.Bundle}

// ADVERSARIAL.md 1: the signed bytes name the content, not the place where they are.
func TestTheSignatureOfAnotherImageInThisOnesPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	v := w.verifier(t, w.requires(t, keyless(t, devIssuer, devSubject)))
	for i, place := range []sigstoretest.Place{sigstoretest.SigTag, sigstoretest.AttTag, sigstoretest.Referrers, sigstoretest.FallbackTag} {
		for _, format := range formats {
			path := "evil/" + string(rune('a'+i)) + strings.ReplaceAll(string(format), " ", "")
			good := w.registry.PushImage(path, sigstoretest.Image{Content: "good"})
			evil := w.registry.PushImage(path, sigstoretest.Image{Content: "evil"})
			w.registry.Attach(evil.Ref, place, w.sign(w.dev(), good.Ref.Digest, format))
			wantRefusal(t, v, running(evil), verify.NotVerified, `image policy "p" does not hold`)
		}
	}
}

// ADVERSARIAL.md 5: what an authority did not sign does not count for it, and an
// attestation is no signature.
func TestAnAttestationDoesNotPassForASignature(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	v := w.verifier(t, w.requires(t, keyless(t, devIssuer, devSubject)))
	for _, format := range []evidence.Format{evidence.Envelope, evidence.Bundle} {
		app := w.registry.PushImage("att/"+strings.ToLower(string(format)), sigstoretest.Image{Content: "app"})
		w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(w.dev(), app.Ref.Digest, format, func(s *sigstoretest.Signature) {
			s.PredicateType = sigstoretest.ProvenancePredicate
		}))
		wantRefusal(t, v, running(app), verify.NotVerified, "other kind")
	}
	app := w.registry.PushImage("att/mallory", sigstoretest.Image{Content: "app"})
	mallory := w.Keyless(sigstoretest.Identity{Issuer: devIssuer, Subject: sigstoretest.Email("mallory@example.org")})
	w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(mallory, app.Ref.Digest, evidence.SimpleSigning))
	wantRefusal(t, v, running(app), verify.NotVerified, "other identity")
}

// ADVERSARIAL.md 7: what can't be read is no success, and hides no good signature.
func TestAPayloadThatCantBeReadIsNothingAndHidesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	cfg := w.requires(t, keyless(t, devIssuer, devSubject))
	app := w.registry.PushImage("broken", sigstoretest.Image{Content: "app"})
	for _, payload := range []string{"", "null", "{}", `{"critical":null}`, "\x00\xff"} {
		for _, format := range formats {
			w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(w.dev(), app.Ref.Digest, format, func(s *sigstoretest.Signature) { s.Payload = []byte(payload) }))
		}
	}
	wantRefusal(t, w.verifier(t, cfg), running(app), verify.NotVerified, "malformed")
	w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(w.dev(), app.Ref.Digest, evidence.SimpleSigning))
	v := w.verifier(t, cfg)
	wantSelectors(t, v, running(app), devSelectors(t, v, app)...)
}

// devSelectors are those of an image that the developer has signed, where the key is
// the certificate's own.
func devSelectors(t testing.TB, v *verify.Verifier, app sigstoretest.Pushed) []string {
	t.Helper()
	p := running(app)
	r, err := v.Container(t.Context(), p, &p.Containers[0])
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"image-policy:p", "image-signer:p/a", "image-signer-identity:p/a:" + devIssuer + "#" + devSubject}
	keys := map[string]bool{}
	for _, s := range r.Verdicts[0].Authorities[0].Signatures {
		if key := "image-signer-key:p/a:" + s.Key().String(); !keys[key] {
			keys[key] = true
			want = append(want, key)
		}
	}
	return want
}

// ADVERSARIAL.md 12: the same signature twice, and in two places, is one.
func TestASignatureThatIsThereTwiceIsOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	v := w.verifier(t, w.requires(t, keyless(t, devIssuer, devSubject)))
	app := w.registry.PushImage("twice", sigstoretest.Image{Content: "app"})
	signature := w.sign(w.dev(), app.Ref.Digest, evidence.Bundle)
	w.registry.Attach(app.Ref, sigstoretest.Referrers, signature)
	w.registry.Attach(app.Ref, sigstoretest.FallbackTag, signature)
	p := running(app)
	r, err := v.Container(t.Context(), p, &p.Containers[0])
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Verdicts[0].Authorities[0].Signatures); n != 1 {
		t.Errorf("%d signatures", n)
	}
}

// ADVERSARIAL.md 16: more signatures than are looked at are a bound that was hit, not
// "unavailable"; and a good one within the bound still counts.
func TestEndlessSignatures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	v := verifier(t, w.requires(t, keyless(t, devIssuer, devSubject)), w.asks(t, registry.Limits{MaxSignatures: 4, MaxReferrers: 4}, w.registry), verify.RecordStatuses{})
	mallory := sigstoretest.NewKey(sigstoretest.ECDSAP256)
	for _, format := range formats {
		app := w.registry.PushImage("endless/"+strings.ReplaceAll(string(format), " ", "-"), sigstoretest.Image{Content: "app"})
		for range 6 {
			w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(mallory, app.Ref.Digest, format))
		}
		wantRefusal(t, v, running(app), verify.Limit, `image policy "p" does not hold`)
	}
	app := w.registry.PushImage("endless/good", sigstoretest.Image{Content: "app"})
	for i := range 6 {
		by := mallory
		if i == 2 {
			by = w.dev()
		}
		w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(by, app.Ref.Digest, evidence.SimpleSigning))
	}
	wantSelectors(t, v, running(app), devSelectors(t, v, app)...)
}

// ADVERSARIAL.md 22: the tag means a signed image by now, and what runs is another.
func TestATagThatWasMovedSinceProvesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	v := w.verifier(t, w.requires(t, keyless(t, devIssuer, devSubject)))
	evil := w.registry.PushImage("moved", sigstoretest.Image{Content: "evil"})
	good := w.registry.PushImage("moved", sigstoretest.Image{Content: "good", Tag: "1"})
	w.registry.Attach(good.Ref, sigstoretest.Usual, w.sign(w.dev(), good.Ref.Digest, evidence.SimpleSigning))
	wantRefusal(t, v, running(evil), verify.NotVerified, `image policy "p" does not hold`)
	wantSelectors(t, v, running(good), devSelectors(t, v, good)...)
}

// ADVERSARIAL.md 30 and 43: a signer's name with a line break or worse is in no
// selector, costs no other signature anything, and does not come into a log as it is.
func TestASignersNameThatDoesNotPrint(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	anybody := authority(t)(sigstore.NewKeyless(sigstore.KeylessConfig{AnyIdentity: true}))
	v := w.verifier(t, w.requires(t, anybody))
	names := []string{"a\nimage-policy:other@example.org", "a\x1b[31m@example.org", "a\xff\xfe@example.org", "a\u202e@example.org", "a" + strings.Repeat("b", 3<<10) + "@example.org"}
	app := w.registry.PushImage("names", sigstoretest.Image{Content: "app"})
	for i, name := range names {
		mallory := w.Keyless(sigstoretest.Identity{Issuer: devIssuer, Subject: sigstoretest.Email(name)})
		artefact := w.sign(mallory, app.Ref.Digest, evidence.SimpleSigning)
		w.registry.Attach(app.Ref, sigstoretest.Usual, artefact)
		alone := w.registry.PushImage("names/"+string(rune('a'+i)), sigstoretest.Image{Content: "alone"})
		w.registry.Attach(alone.Ref, sigstoretest.Usual, w.sign(mallory, alone.Ref.Digest, evidence.SimpleSigning))
		p := running(alone)
		_, err := v.Container(t.Context(), p, &p.Containers[0])
		if err == nil {
			t.Errorf("%q counts", name)
			continue
		}
		if text := err.Error(); strings.ContainsAny(text, "\n\x1b\u202e") || !strings.Contains(text, `image policy "p" does not hold`) {
			t.Errorf("%q: the error is %q", name, text)
		}
	}
	w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(w.dev(), app.Ref.Digest, evidence.SimpleSigning))
	wantSelectors(t, v, running(app), devSelectors(t, v, app)...)
}

// ADVERSARIAL.md 32: every spelling of an image on the skip list is that image, and
// no name that a pod's author chose is.
func TestTheSkipListKnowsEverySpellingAndNoAuthorsName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	skipped, err := image.ParseID("docker.io/library/nginx@sha256:" + hexA)
	if err != nil {
		t.Fatal(err)
	}
	cfg := verify.Config{Budget: time.Second, Block: &verify.Block{
		Judge: verify.Judge{Authority: keyless(t, devIssuer, devSubject), Root: fixed{w.root}}, Skipped: map[image.ID]bool{skipped: true},
	}}
	v := w.verifier(t, cfg)
	for imageID, want := range map[string]bool{
		"docker.io/library/nginx@sha256:" + hexA:                  true,
		"nginx@sha256:" + hexA:                                    true,
		"index.docker.io/library/nginx@sha256:" + hexA:            true,
		"Docker.IO:443/nginx@sha256:" + hexA:                      true,
		"docker-pullable://nginx@sha256:" + hexA:                  true,
		"docker.io/library/nginx:1@sha256:" + hexA:                true,
		"docker.io/library/nginx@sha256:" + hexB:                  false,
		"evil.example/library/nginx@sha256:" + hexA:               false,
		"sha256:" + hexA:                                          false,
		"docker.io/library/nginx:latest":                          false,
		"docker.io/library/nginx@sha256:" + strings.ToUpper(hexA): false,
		"evil.example/x@docker.io/library/nginx@sha256:" + hexA:   false,
	} {
		p := web(imageID)
		p.Containers[0].SpecImage = "docker.io/library/nginx@sha256:" + hexA
		got, err := selectors(t, v, p)
		if (err == nil) != want || len(got) != 0 {
			t.Errorf("%s: %q, %v", imageID, got, err)
		}
	}
	if n := len(w.registry.Requests()); n != 0 {
		t.Errorf("the registry was asked %d times", n)
	}
	cfg.Block.Older = true
	p := web("nginx@sha256:" + hexA)
	wantSelectors(t, w.verifier(t, cfg), p, "sigstore-validation:passed")
}

// ADVERSARIAL.md 36: another pod's author pushed the same content to a repository of
// his, and the runtime calls the victim's image by that name.
func TestAnAliasOfTheSameContent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	theirs := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
	good := w.registry.PushImage("good/app", sigstoretest.Image{Content: "app", Tag: "1"})
	alias := theirs.PushImage("aaa/alias", sigstoretest.Image{Content: "app", Tag: "1", Annotations: map[string]string{"a": "b"}})
	victim := running(good)
	victim.Containers[0].ImageID = alias.Ref.String()

	t.Run("the good signature in the spec's repository counts", func(t *testing.T) {
		w.registry.Attach(good.Ref, sigstoretest.Usual, w.sign(w.dev(), good.Ref.Digest, evidence.SimpleSigning))
		both := w.asks(t, registry.Limits{}, w.registry, theirs)
		v := verifier(t, w.requires(t, keyless(t, devIssuer, devSubject)), both, verify.RecordStatuses{})
		wantSelectors(t, v, victim, devSelectors(t, v, good)...)
	})
	t.Run("with the runtime's word no stranger's registry is asked", func(t *testing.T) {
		theirs.Forget()
		both := w.asks(t, registry.Limits{}, w.registry, theirs)
		v := verifier(t, w.requires(t, keyless(t, devIssuer, devSubject)), both, saying{verify.Runs{
			Source: verify.FromCRI, SpecImage: victim.Containers[0].SpecImage, ImageID: alias.Ref.String(), Config: good.Config, ComparesLayers: true,
		}})
		wantSelectors(t, v, victim, devSelectors(t, v, good)...)
		if n := len(theirs.Requests()); n != 0 {
			t.Errorf("the stranger's registry was asked %d times", n)
		}
	})
	t.Run("evidence that was planted there counts for its content alone", func(t *testing.T) {
		evil := theirs.PushImage("aaa/evil", sigstoretest.Image{Content: "evil"})
		theirs.Attach(evil.Ref, sigstoretest.Usual, w.sign(w.dev(), good.Ref.Digest, evidence.SimpleSigning))
		p := running(good)
		p.Containers[0].ImageID = evil.Ref.String()
		both := w.asks(t, registry.Limits{}, w.registry, theirs)
		v := verifier(t, w.requires(t, keyless(t, devIssuer, devSubject)), both, verify.RecordStatuses{})
		wantRefusal(t, v, p, verify.NotVerified, `image policy "p" does not hold`)
	})
}

// saying is a source that says one thing.
type saying struct{ runs verify.Runs }

func (s saying) Runs(context.Context, *pod.Pod, *pod.Container) (verify.Runs, error) {
	return s.runs, nil
}

// ADVERSARIAL.md 39: what one signature says and what another one says do not make
// one signer.
func TestTwoSignaturesDoNotMakeOneSigner(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	anybody := authority(t)(sigstore.NewKeyless(sigstore.KeylessConfig{AnyIdentity: true}))
	cfg := verify.Config{Budget: 20 * time.Second, Platform: image.NodePlatform(), Block: &verify.Block{Judge: verify.Judge{Authority: anybody, Root: fixed{w.root}}}}
	app := w.registry.PushImage("two", sigstoretest.Image{Content: "app"})
	for _, id := range []sigstoretest.Identity{
		{Issuer: "https://good.example", Subject: sigstoretest.Email("nobody@example.org")},
		{Issuer: "https://evil.example", Subject: sigstoretest.Email(devSubject)},
	} {
		w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(w.Keyless(id), app.Ref.Digest, evidence.SimpleSigning))
	}
	got, err := selectors(t, w.verifier(t, cfg), running(app))
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]bool{}
	for _, s := range got {
		has[s] = true
	}
	if !has["image-signature-identity:https://good.example#nobody@example.org"] || !has["image-signature-identity:https://evil.example#"+devSubject] ||
		has["image-signature-identity:https://good.example#"+devSubject] {
		t.Errorf("got %q", got)
	}
}

// ADVERSARIAL.md 40: a private CA can write Fulcio's extension numbers too.
func TestAPrivateCertificateMakesNoClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	pki := sigstoretest.NewCA(sigstoretest.CAOptions{Name: "pki"})
	insider := pki.Signer(sigstoretest.GitHub("org/app", "release.yml", "refs/tags/v1"))
	app := w.registry.PushImage("claims", sigstoretest.Image{Content: "app"})
	w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(insider, app.Ref.Digest, evidence.SimpleSigning))
	v := w.verifier(t, w.requires(t, authority(t)(sigstore.NewPKI(sigstore.PKIConfig{PEM: pki.ChainPEM(), AnyIdentity: true}))))
	got, err := selectors(t, v, running(app))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range got {
		if strings.HasPrefix(s, "image-signer-claim:") {
			t.Errorf("a claim: %s", s)
		}
	}
	wantRefusal(t, w.verifier(t, w.requires(t, keyless(t, sigstoretest.GitHubIssuer, "https://github.com/org/app/.github/workflows/release.yml@refs/tags/v1"))),
		running(app), verify.NotVerified, "certificate not trusted")
}

// A registry that is away, slow, or not to be asked makes no policy hold, and the
// error says which it was.
func TestWhatCantBeToldFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	app := w.registry.PushImage("away", sigstoretest.Image{Content: "app"})
	w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(w.dev(), app.Ref.Digest, evidence.SimpleSigning))
	cfg := w.requires(t, keyless(t, devIssuer, devSubject))
	t.Run("an error of its own", func(t *testing.T) {
		w.registry.Break(sigstoretest.On{Path: ".sig"}, func(rw http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
			rw.WriteHeader(http.StatusInternalServerError)
		})
		defer w.registry.Mend()
		wantRefusal(t, w.verifier(t, cfg), running(app), verify.Unavailable, "500")
	})
	t.Run("no answer within the budget", func(t *testing.T) {
		w.registry.Break(sigstoretest.On{Path: "/manifests/"}, w.registry.Delay(time.Minute))
		defer w.registry.Mend()
		short := cfg
		short.Budget = 50 * time.Millisecond
		wantRefusal(t, w.verifier(t, short), running(app), verify.Limit, "limits.image_budget")
	})
	t.Run("a registry without a block", func(t *testing.T) {
		other := sigstoretest.NewRegistry(t, sigstoretest.RegistryOptions{})
		stranger := other.PushImage("x/y", sigstoretest.Image{Content: "app"})
		wantRefusal(t, w.verifier(t, cfg), running(stranger), verify.NotVerified, "not configured")
	})
	t.Run("the caller leaves", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p := running(app)
		if _, err := w.verifier(t, cfg).Container(ctx, p, &p.Containers[0]); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// One authority is enough, whichever it is.
func TestOneOfTheAuthoritiesIsEnough(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	key := sigstoretest.NewKey(sigstoretest.Ed25519)
	byKey := authority(t)(sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{key.PublicPEM()}}))
	app := w.registry.PushImage("one-of", sigstoretest.Image{Content: "app", Tag: "1"})
	cfg := w.requires(t, keyless(t, devIssuer, devSubject), byKey)
	wantRefusal(t, w.verifier(t, cfg), running(app), verify.NotVerified, "there is no signature at "+app.Ref.String())
	w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(key, app.Ref.Digest, evidence.Bundle))
	wantSelectors(t, w.verifier(t, cfg), running(app), "image-policy:p", "image-signer:p/b", "image-signer-key:p/b:sha256:"+fingerprint(t, key))
}

// Static authorities need no evidence, and so no registry.
func TestStaticAuthoritiesAskNobody(t *testing.T) {
	t.Parallel()
	for static, want := range map[policy.Static]bool{policy.Allow: true, policy.Deny: false} {
		cfg := verify.Config{Budget: time.Second, Policies: set(t, &policy.Policy{Name: "p", Mode: policy.Fail, Authorities: []policy.Authority{{Name: "a", Static: static}}})}
		v := verifier(t, cfg, nil, verify.RecordStatuses{})
		if want {
			wantSelectors(t, v, web(idA), "image-policy:p")
		} else {
			wantRefusal(t, v, web(idA), verify.NotVerified, `authority "a": static = "deny"`)
		}
	}
}
