package verify_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/selector"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/verify"
)

// podSelectors verifies the whole pod.
func podSelectors(t testing.TB, v *verify.Verifier, p *pod.Pod) ([]string, error) {
	t.Helper()
	r, err := v.Pod(t.Context(), p)
	values, renderErr := selector.Images(r.Trust)
	if renderErr != nil {
		t.Fatal(renderErr)
	}
	if err != nil && len(values) > 0 {
		t.Errorf("selectors in spite of an error: %q", values)
	}
	return values, err
}

func TestAPolicyHoldsForAPodWhenItHoldsForEveryImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	signed := w.registry.PushImage("pod/signed", sigstoretest.Image{Content: "signed"})
	unsigned := w.registry.PushImage("pod/unsigned", sigstoretest.Image{Content: "unsigned"})
	w.registry.Attach(signed.Ref, sigstoretest.Usual, w.sign(w.dev(), signed.Ref.Digest, evidence.SimpleSigning))
	v := w.verifier(t, w.requires(t, keyless(t, devIssuer, devSubject)))

	p := running(signed, signed, signed)
	p.Containers[0].Type, p.Containers[0].Running, p.Containers[0].Terminated = pod.Init, false, true
	p.Containers[1].Type = pod.Sidecar
	got, err := podSelectors(t, v, p)
	if diff := cmp.Diff([]string{"pod-image-policy:p"}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for i, kind := range []pod.Type{pod.Init, pod.Sidecar, pod.Regular, pod.Ephemeral} {
		p := running(signed, unsigned)
		p.Containers[1].Type = kind
		got, err := podSelectors(t, v, p)
		e, ok := errors.AsType[*verify.Error](err)
		if !ok || e.Kind() != verify.NotVerified || len(e.Failures) != 1 || e.Failures[0].Container != "c1" {
			t.Errorf("%d: an unsigned %s container: %q, %v", i, kind, got, err)
		}
	}
}

// One image is verified once, however many containers run it.
func TestContainersOfOneImageAreVerifiedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	app := w.registry.PushImage("pod/app", sigstoretest.Image{Content: "app", Tag: "1"})
	w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(w.dev(), app.Ref.Digest, evidence.SimpleSigning))
	v := w.verifier(t, w.requires(t, keyless(t, devIssuer, devSubject)))
	if _, err := podSelectors(t, v, running(app)); err != nil {
		t.Fatal(err)
	}
	one := len(w.registry.Requests())
	w.registry.Forget()
	if _, err := podSelectors(t, v, running(app, app, app, app)); err != nil {
		t.Fatal(err)
	}
	if n := len(w.registry.Requests()); n > one {
		t.Errorf("%d requests for four containers, %d for one", n, one)
	}
}

// ADVERSARIAL.md 41 and 33: a decoy that never starts, and an image volume, make the
// verdict false at once, without any look-up.
func TestADecoyMakesTheVerdictFalseWithoutAnyLookUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	app := w.registry.PushImage("pod/app", sigstoretest.Image{Content: "app"})
	w.registry.Attach(app.Ref, sigstoretest.Usual, w.sign(w.dev(), app.Ref.Digest, evidence.SimpleSigning))
	v := w.verifier(t, w.requires(t, keyless(t, devIssuer, devSubject)))
	for name, change := range map[string]func(p *pod.Pod){
		"was not started": func(p *pod.Pod) {
			p.Containers[1] = pod.Container{Name: "decoy", Type: pod.Regular, SpecImage: app.Ref.String(), HasStatus: true, Image: app.Ref.String(), ImageID: app.Ref.String()}
		},
		`the sidecar container "decoy" was not started`: func(p *pod.Pod) {
			p.Containers[1] = pod.Container{Name: "decoy", Type: pod.Sidecar, SpecImage: app.Ref.String(), HasStatus: true, ID: "id1", Image: app.Ref.String()}
		},
		`"decoy" was not started`: func(p *pod.Pod) {
			p.Containers[1] = pod.Container{Name: "decoy", Type: pod.Ephemeral, SpecImage: app.Ref.String()}
		},
		"two statuses":     func(p *pod.Pod) { p.Containers[1].Name = p.Containers[0].Name },
		"the volume of":    func(p *pod.Pod) { p.ImageVolumes = []string{app.Ref.String()} },
		`the volume of ""`: func(p *pod.Pod) { p.ImageVolumes = []string{""} },
	} {
		p := running(app, app)
		change(p)
		got, err := podSelectors(t, v, p)
		e, ok := errors.AsType[*verify.Error](err)
		if !ok || e.Kind() != verify.NotVerified || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if n := len(w.registry.Requests()); n != 0 {
		t.Errorf("the registry was asked %d times", n)
	}
	if got, err := podSelectors(t, v, running(app, app)); err != nil {
		t.Errorf("without a decoy: %q, %v", got, err)
	}
}

// A policy that matches one image of the pod must hold for the others too, and one
// that matches none is not asked about.
func TestWhichPoliciesAreAboutAPod(t *testing.T) {
	t.Parallel()
	named := func(name string, static policy.Static, namespaces, images []string) *policy.Policy {
		m, err := policy.NewMatch(namespaces, nil, images)
		if err != nil {
			t.Fatal(err)
		}
		return &policy.Policy{Name: name, Match: m, Mode: policy.Fail, Authorities: []policy.Authority{{Name: "a", Static: static}}}
	}
	p := web(idA)
	p.Containers = append(p.Containers, pod.Container{Name: "side", Type: pod.Sidecar, SpecImage: "docker.io/library/envoy:1", HasStatus: true, ID: "d", ImageID: "docker.io/library/envoy@sha256:" + hexB})
	volumes := web(idA)
	volumes.ImageVolumes = []string{"registry.example.org/models/big:1"}
	for _, test := range []struct {
		name     string
		pod      *pod.Pod
		policies []*policy.Policy
		none     bool
		want     []string
		refused  string
	}{
		{"none in the namespace", p, []*policy.Policy{named("x", policy.Deny, []string{"other"}, nil)}, true, nil, ""},
		{"none for the images", p, []*policy.Policy{named("x", policy.Deny, nil, []string{"registry.example.org/pay/**"})}, true, nil, ""},
		{"all hold, sorted", p, []*policy.Policy{named("z", policy.Allow, nil, nil), named("a", policy.Allow, nil, []string{"docker.io/**"})}, false, []string{"pod-image-policy:a", "pod-image-policy:z"}, ""},
		{"one image's does not", p, []*policy.Policy{named("z", policy.Allow, nil, nil), named("a", policy.Deny, nil, []string{"docker.io/**"})}, false, nil, `image policy "a"`},
		{"a volume's", volumes, []*policy.Policy{named("a", policy.Allow, nil, []string{"registry.example.org/models/*"})}, false, nil, `image policy "a"`},
		{"not the volume's", volumes, []*policy.Policy{named("a", policy.Deny, nil, []string{"registry.example.org/other/*"})}, true, nil, ""},
	} {
		v := verifier(t, verify.Config{Budget: time.Second, Policies: set(t, test.policies...)}, nil, verify.RecordStatuses{})
		r, err := v.Pod(t.Context(), test.pod)
		got, _ := selector.Images(r.Trust)
		if r.NoPolicy != test.none || !slices.Equal(got, test.want) || (err != nil) != (test.refused != "") || err != nil && !strings.Contains(err.Error(), test.refused) {
			t.Errorf("%s: no policy %t, %q, %v", test.name, r.NoPolicy, got, err)
		}
	}
}

// SPIRE's block is one policy for every image: a broker gets no pod past it.
func TestTheBlockMustHoldForThePodThatABrokerRefersTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	signed := w.registry.PushImage("pod/signed", sigstoretest.Image{Content: "signed"})
	unsigned := w.registry.PushImage("pod/unsigned", sigstoretest.Image{Content: "unsigned"})
	w.registry.Attach(signed.Ref, sigstoretest.Usual, w.sign(w.dev(), signed.Ref.Digest, evidence.SimpleSigning))
	cfg := verify.Config{Budget: 20 * time.Second, Platform: image.NodePlatform(), Block: &verify.Block{Judge: verify.Judge{Authority: keyless(t, devIssuer, devSubject), Root: fixed{w.root}}}}
	v := w.verifier(t, cfg)
	if got, err := podSelectors(t, v, running(signed)); err != nil || len(got) != 0 {
		t.Errorf("signed: %q, %v", got, err)
	}
	if got, err := podSelectors(t, v, running(signed, unsigned)); err == nil {
		t.Errorf("with an unsigned one: %q", got)
	}
	id, err := image.ParseID(unsigned.Ref.String())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Block.Skipped = map[image.ID]bool{id: true}
	if got, err := podSelectors(t, w.verifier(t, cfg), running(signed, unsigned)); err != nil || len(got) != 0 {
		t.Errorf("with a skipped one: %q, %v", got, err)
	}
}

// What a source says of one container is said of the pod as a whole.
func TestAPodOfWhichASourceSaysNothing(t *testing.T) {
	t.Parallel()
	cfg := verify.Config{Budget: time.Second, Policies: set(t, &policy.Policy{Name: "p", Mode: policy.Fail, Authorities: []policy.Authority{{Name: "a", Static: policy.Allow}}})}
	for name, test := range map[string]struct {
		err  error
		kind verify.Kind
	}{
		"away":            {errors.New("gone"), verify.Unavailable},
		"a contradiction": {verify.ErrContradiction, verify.NotVerified},
	} {
		v := verifier(t, cfg, nil, verify.RuntimeStatuses{Runtime: failing{test.err}})
		p := web(idA)
		_, err := podSelectors(t, v, p)
		e, ok := errors.AsType[*verify.Error](err)
		if !ok || e.Kind() != test.kind || !errors.Is(err, test.err) {
			t.Errorf("%s: the pod: %v", name, err)
		}
		if _, err := selectors(t, v, p); !errors.Is(err, test.err) {
			t.Errorf("%s: the container: %v", name, err)
		}
	}
}
