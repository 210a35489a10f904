package verify_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/registry"
	"github.com/podseal/podseal/pkg/sigstore"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/verify"
)

// manyNames is what the runtime says of an image that has many names.
func manyNames(p sigstoretest.Pushed, names ...image.Ref) saying {
	runs := verify.Runs{Source: verify.FromCRI, SpecImage: p.Ref.Repository.String() + ":1", ImageID: p.Ref.String(), Config: p.Config}
	for _, n := range names {
		runs.Pulled = append(runs.Pulled, n.String())
	}
	return saying{runs}
}

// flood puts so much evidence about each manifest between a registry and who asks.
type flood struct {
	each, size int

	mu          sync.Mutex
	now, atOnce int
}

func (f *flood) evidence(ref image.Ref, ask func() (*registry.Found, error)) (*registry.Found, error) {
	f.mu.Lock()
	f.now++
	f.atOnce = max(f.atOnce, f.now)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.now--
	}()
	found, err := ask()
	for i := range f.each {
		content := bytes.Repeat([]byte{' '}, f.size)
		copy(content, fmt.Sprint(ref, i))
		found.Items = append(found.Items, evidence.Item{Format: evidence.Bundle, At: ref, Source: "flood", Blob: image.Of(content), Content: content})
	}
	return found, err
}

// ADVERSARIAL.md rows 16 and 17: many manifests and indexes of the same content, each
// with as much evidence as one may have. What is short and good among it counts.
func TestEvidenceInManyPlaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	var names []image.Ref
	var last sigstoretest.Pushed
	for i := range 8 {
		last = w.registry.PushImage("many", sigstoretest.Image{Content: "app", Annotations: map[string]string{"n": fmt.Sprint(i)}})
		index := w.registry.PushIndex("many", sigstoretest.Index{Children: []sigstoretest.Child{{Pushed: last}}})
		names = append(names, index.Ref)
	}
	statuses := manyNames(last, names...)
	for size, each := range map[int]int{1 << 20: 3, 64 << 10: 48} {
		f := &flood{each: each, size: size}
		cfg := w.requires(t, keyless(t, devIssuer, devSubject))
		cfg.Explain = true
		v := w.through(t, cfg, statuses, f.evidence)
		wantRefusal(t, v, running(last), verify.Limit, "for one image")
		p := running(last)
		r, _ := v.Container(t.Context(), p, &p.Containers[0])
		kept := 0
		for _, a := range r.Images[0].Asked {
			kept += len(a.Items) * size
		}
		if n := len(r.Images[0].Asked); n < 16 || kept > 32<<20 || f.atOnce > 2 {
			t.Errorf("%d bytes are looked at of %d places, of which %d were asked at once", kept, n, f.atOnce)
		}
	}
	w.registry.Attach(last.Ref, sigstoretest.Usual, w.sign(w.dev(), last.Ref.Digest, evidence.SimpleSigning))
	v := w.through(t, w.requires(t, keyless(t, devIssuer, devSubject)), statuses, (&flood{each: 3, size: 1 << 20}).evidence)
	wantSelectors(t, v, running(last), devSelectors(t, v, last)...)
}

// ADVERSARIAL.md row 23, with signatures: what an index that is signed lists beside
// the good image, and what lists a good image without being signed.
func TestAnIndexIsNoBridgeToTheSignature(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	v := w.verifier(t, w.requires(t, keyless(t, devIssuer, devSubject)))
	elsewhere := image.Platform{OS: "linux", Architecture: "s390x"}
	child := func(p sigstoretest.Pushed, as image.Platform) sigstoretest.Child {
		return sigstoretest.Child{Pushed: p, Platform: as}
	}
	for name, c := range map[string]struct {
		as    image.Platform // what the index says that evil is for
		byTag bool           // whether the image ID is the index's digest, or evil's
	}{
		"two for this node":             {image.NodePlatform(), true},
		"one that says nothing":         {image.Platform{OS: "linux"}, true},
		"this one for another platform": {elsewhere, false},
	} {
		path := "index/" + strings.ReplaceAll(name, " ", "-")
		good := w.registry.PushImage(path, sigstoretest.Image{Content: "good"})
		evil := w.registry.PushImage(path, sigstoretest.Image{Content: "evil"})
		index := w.registry.PushIndex(path, sigstoretest.Index{Tag: "1", Children: []sigstoretest.Child{child(good, good.Platform), child(evil, c.as)}})
		w.registry.Attach(index.Ref, sigstoretest.Usual, w.sign(w.dev(), index.Ref.Digest, evidence.SimpleSigning))
		t.Run(name, func(t *testing.T) {
			p := running(evil)
			if c.byTag {
				p.Containers[0].ImageID = index.Ref.String()
			}
			wantRefusal(t, v, p, verify.NotVerified, `image policy "p" does not hold`)
		})
	}
	good := w.registry.PushImage("index/child", sigstoretest.Image{Content: "good"})
	evil := w.registry.PushImage("index/child", sigstoretest.Image{Content: "evil"})
	w.registry.Attach(good.Ref, sigstoretest.Usual, w.sign(w.dev(), good.Ref.Digest, evidence.SimpleSigning))
	index := w.registry.PushIndex("index/child", sigstoretest.Index{Tag: "1", Children: []sigstoretest.Child{child(evil, evil.Platform), child(good, elsewhere)}})
	w.registry.Attach(index.Ref, sigstoretest.Referrers, w.sign(w.dev(), good.Ref.Digest, evidence.Bundle))
	p := running(evil)
	p.Containers[0].ImageID = index.Ref.String()
	wantRefusal(t, v, p, verify.NotVerified, `image policy "p" does not hold`)
}

// ADVERSARIAL.md rows 5 and 27: a key, and a Sigstore, count for the policy that names
// them, and for no other one that applies to the same image.
func TestTheSignerOfAnotherPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	stranger := sigstoretest.New()
	mine, theirs := sigstoretest.NewKey(sigstoretest.ECDSAP256), sigstoretest.NewKey(sigstoretest.ECDSAP256)
	byKey := func(s *sigstoretest.Signer) verify.Judge {
		return verify.Judge{Authority: authority(t)(sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{s.PublicPEM()}}))}
	}
	byRoot := func(s *sigstoretest.Sigstore) verify.Judge {
		return verify.Judge{Authority: keyless(t, devIssuer, devSubject), Root: fixed{root(t, s.TrustedRoot())}}
	}
	one := func(name string) *policy.Policy {
		return &policy.Policy{Name: name, Mode: policy.Fail, Authorities: []policy.Authority{{Name: "a"}}}
	}
	for name, c := range map[string]struct {
		release, team verify.Judge
		sign          sigstoretest.Signature
	}{
		"key":      {byKey(mine), byKey(theirs), sigstoretest.Signature{Signer: theirs}},
		"sigstore": {byRoot(w.Sigstore), byRoot(stranger), sigstoretest.Signature{Signer: stranger.Keyless(sigstoretest.Identity{Issuer: devIssuer, Subject: sigstoretest.Email(devSubject)}), Witnesses: []sigstoretest.Witness{stranger.Rekor1}}},
	} {
		app := w.registry.PushImage("other/"+name, sigstoretest.Image{Content: name})
		c.sign.Digest = app.Ref.Digest
		w.registry.Attach(app.Ref, sigstoretest.Usual, sigstoretest.Sign(c.sign))
		cfg := verify.Config{Budget: 20 * time.Second, Platform: image.NodePlatform(), Policies: set(t, one("release"), one("team")), Judges: map[verify.AuthorityName]verify.Judge{
			{Policy: "release", Authority: "a"}: c.release, {Policy: "team", Authority: "a"}: c.team,
		}}
		v := w.verifier(t, cfg)
		wantRefusal(t, v, running(app), verify.NotVerified, `image policy "release" does not hold`)
		p := running(app)
		r, _ := v.Container(t.Context(), p, &p.Containers[0])
		if r.Verdicts[0].Result == policy.Accepted || r.Verdicts[1].Result != policy.Accepted {
			t.Errorf("%s: release %q, team %q", name, r.Verdicts[0].Result, r.Verdicts[1].Result)
		}
	}
}

// ADVERSARIAL.md row 31: a panic over one place is no success.
func TestAPanicWhileAPlaceIsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	app := w.registry.PushImage("panic", sigstoretest.Image{Content: "app"})
	w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(w.dev(), app.Ref.Digest, evidence.SimpleSigning))
	v := w.through(t, w.requires(t, keyless(t, devIssuer, devSubject)), verify.RecordStatuses{},
		func(image.Ref, func() (*registry.Found, error)) (*registry.Found, error) { panic("evidence") })
	wantRefusal(t, v, running(app), verify.Unavailable, `image policy "p" does not hold`)
}
