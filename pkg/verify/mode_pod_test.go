package verify_test

import (
	"errors"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/selector"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
	"github.com/podseal/podseal/pkg/verify"
)

// For a broker, a policy that withholds takes its selector from the pod, whichever of
// its images it is that it does not hold for.
func TestWhatIsWithheldOfAPod(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	signed := w.registry.PushImage("pod/signed", sigstoretest.Image{Content: "signed"})
	unsigned := w.registry.PushImage("pod/unsigned", sigstoretest.Image{Content: "unsigned"})
	w.registry.Attach(signed.Ref, sigstoretest.Usual, w.sign(w.dev(), signed.Ref.Digest, evidence.SimpleSigning))
	v := w.verifier(t, w.fleet(t, allow(), nice(), tried()))
	r, err := v.Pod(t.Context(), running(signed, unsigned))
	got, _ := selector.Images(r.Trust)
	if diff := gocmp.Diff([]string{"pod-image-policy:allow"}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if diff := gocmp.Diff([]string{"nice withhold not verified", "tried audit not verified"}, names(r.Withheld)); diff != "" {
		t.Errorf("withheld (-want +got):\n%s", diff)
	}
	for _, f := range r.Withheld {
		if f.Container != "c1" || f.ImageID != unsigned.Ref.String() {
			t.Errorf("withheld for %q, %q", f.Container, f.ImageID)
		}
	}
	r, err = v.Pod(t.Context(), running(signed, signed))
	got, _ = selector.Images(r.Trust)
	if diff := gocmp.Diff([]string{"pod-image-policy:allow", "pod-image-policy:nice", "pod-image-policy:tried"}, got); err != nil || diff != "" || len(r.Withheld) > 0 {
		t.Errorf("%v, %d withheld (-want +got):\n%s", err, len(r.Withheld), diff)
	}
}

// Of a pod with an image that nobody knows yet no policy holds, and nothing is looked
// up; what follows is the policies' to say.
func TestAnIncompletePodInEveryMode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	app := w.registry.PushImage("app", sigstoretest.Image{Content: "app"})
	waiting := running(app, app)
	waiting.Containers[1].ID, waiting.Containers[1].ImageID = "", ""
	volume := running(app)
	volume.ImageVolumes = []string{app.Ref.String()}
	for name, p := range map[string]*pod.Pod{"not started": waiting, "an image volume": volume} {
		r, err := w.verifier(t, w.fleet(t, nice(), tried())).Pod(t.Context(), p)
		if got, _ := selector.Images(r.Trust); err != nil || len(got) > 0 || r.NoPolicy {
			t.Errorf("%s: %v, %q, no policy %t", name, err, got, r.NoPolicy)
		}
		want := []verify.Failure{
			{Kind: verify.NotVerified, Mode: policy.Withhold, Dialect: verify.DialectPolicy, Policy: "nice"},
			{Kind: verify.NotVerified, Mode: policy.Audit, Dialect: verify.DialectPolicy, Policy: "tried"},
		}
		if diff := gocmp.Diff(want, r.Withheld, cmpopts.IgnoreFields(verify.Failure{}, "Reasons")); diff != "" {
			t.Errorf("%s: withheld (-want +got):\n%s", name, diff)
		}
		// One that would hold for every image does not hold for one that nobody knows.
		r, err = w.verifier(t, w.fleet(t, allow(), nice(), patient())).Pod(t.Context(), p)
		e, ok := errors.AsType[*verify.Error](err)
		if !ok || !slices.Equal(names(e.Failures), []string{"allow fail not verified", "patient fail not verified"}) || !slices.Equal(names(r.Withheld), []string{"nice withhold not verified"}) {
			t.Errorf("%s: %v, withheld %q", name, err, names(r.Withheld))
		}
		cfg := w.block(keyless(t, devIssuer, devSubject), nil)
		if r, err := w.verifier(t, cfg).Pod(t.Context(), p); err == nil || len(r.Withheld) > 0 {
			t.Errorf("%s: the block: %v, withheld %q", name, err, names(r.Withheld))
		}
	}
	if n := len(w.registry.Requests()); n != 0 {
		t.Errorf("the registry was asked %d times", n)
	}
}

// A source of statuses that is away is no registry that is: on_unavailable is not meant,
// and every policy that may apply does not hold.
func TestAStatusSourceThatIsAwayInEveryMode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigstoretest.RegistryOptions{})
	app := w.registry.PushImage("app", sigstoretest.Image{Content: "app"})
	for kind, why := range map[verify.Kind]error{verify.Unavailable: errors.New("gone"), verify.NotVerified: verify.ErrContradiction} {
		everyMode(t, w.requires(t, keyless(t, devIssuer, devSubject)), running(app), kind, false, func(cfg verify.Config) *verify.Verifier {
			return verifier(t, cfg, w.client, verify.RuntimeStatuses{Runtime: failing{why}})
		})
	}
	v := verifier(t, w.fleet(t, allow(), nice()), w.client, verify.RuntimeStatuses{Runtime: failing{errors.New("gone")}})
	p := running(app)
	r, err := v.Container(t.Context(), p, &p.Containers[0])
	e, ok := errors.AsType[*verify.Error](err)
	if !ok || !slices.Equal(names(e.Failures), []string{"allow fail unavailable"}) || !slices.Equal(names(r.Withheld), []string{"nice withhold unavailable"}) {
		t.Errorf("%v, withheld %q", err, names(r.Withheld))
	}
}
