package attest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/attest"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/selector"
	"github.com/podseal/podseal/pkg/verify"
)

// static is a verifier with one policy for the namespace, whose answer is always the
// same.
func static(t testing.TB, namespace string, answer policy.Static, statuses verify.Statuses) *verify.Verifier {
	t.Helper()
	match, err := policy.NewMatch([]string{namespace}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.NewSet(&policy.Policy{Name: "p", Match: match, Mode: policy.Fail, Authorities: []policy.Authority{{Name: "a", Static: answer}}})
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.New(verify.Config{
		Policies: set, Budget: time.Minute, MaxEntries: 1, Ages: verify.Ages{TTL: time.Hour, StaleTTL: time.Hour, NegativeTTL: time.Hour},
	}, nil, statuses, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAnImagePolicyDecidesBetweenThePodAndTheLastLookAtTheProcess(t *testing.T) {
	t.Parallel()
	record := verify.RecordStatuses{}
	for _, test := range []struct {
		name   string
		images *verify.Verifier
		set    func(*attest.Attestor)
		steps  string
		none   bool
	}{
		{"holds", static(t, "ns", policy.Allow, record), nil, "process container admission pod images check selectors", false},
		{"does not hold", static(t, "ns", policy.Deny, record), nil, "process container admission pod images", false},
		{"does not apply", static(t, "other", policy.Deny, record), nil, "process container admission pod images check selectors", true},
		{"is not configured", nil, nil, "process container admission pod check selectors", false},
		{"holds, without container selectors", static(t, "ns", policy.Allow, record), withoutContainer, "process container admission pod images check selectors", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, _ := attestor(t, "/kubepods/podu/"+idA, &source{answers: []func(*pod.Builder) error{pods(app())}})
			a.Images = test.images
			p := app()
			want := selector.Container(p, &p.Containers[0])
			if test.set != nil {
				test.set(a)
				want = selector.Pod(p)
			}
			if test.images != nil && !test.none {
				want = selector.With(want, []string{"image-policy:p"})
			}
			r, err := a.Attest(t.Context(), caller)
			var steps []string
			for _, s := range r.Steps {
				steps = append(steps, string(s.Step))
			}
			if got := strings.Join(steps, " "); got != test.steps {
				t.Errorf("steps %s, want %s", got, test.steps)
			}
			if test.name == "does not hold" {
				if e, ok := errors.AsType[*verify.Error](err); !ok || e.Kind() != verify.NotVerified || r.Selectors != nil || r.Images == nil || len(r.Images.Verdicts) != 1 {
					t.Errorf("got %q, %v, %+v", r.Selectors, err, r.Images)
				}
				return
			}
			if diff := cmp.Diff(want, r.Selectors); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if test.images != nil && r.Images.NoPolicy != test.none {
				t.Errorf("no policy applies: %t", r.Images.NoPolicy)
			}
		})
	}
}

// Without its container nobody knows which image the process runs: leaving out the
// container's selectors must be no way around a policy.
func TestWhereAPolicyMayApplyTheContainerMustBeKnown(t *testing.T) {
	t.Parallel()
	for namespace, concerned := range map[string]bool{"ns": true, "other": false} {
		synctest.Test(t, func(t *testing.T) {
			a, _ := attestor(t, "/kubepods/podu/"+idB, &source{answers: []func(*pod.Builder) error{pods(app())}})
			a.WithoutContainer, a.Images = true, static(t, namespace, policy.Allow, verify.RecordStatuses{})
			r, err := a.Attest(t.Context(), caller)
			switch {
			case concerned && (!errors.Is(err, attest.ErrNotSeen) || r.Selectors != nil):
				t.Errorf("a policy for the namespace: %q, %v", r.Selectors, err)
			case !concerned && (err != nil || len(r.Selectors) == 0):
				t.Errorf("a policy for another one: %q, %v", r.Selectors, err)
			}
		})
	}
}

// hanging says nothing until the end.
type hanging struct{}

func (hanging) Runs(ctx context.Context, _ *pod.Pod, _ *pod.Container) (verify.Runs, error) {
	<-ctx.Done()
	return verify.Runs{}, context.Cause(ctx)
}

// attest_timeout is for all of an attestation, what was spent on finding the pod
// included.
func TestTheTimeOfAnAttestationIncludesItsImage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, _ := attestor(t, "/kubepods/podu/"+idA, &source{answers: []func(*pod.Builder) error{pods(), pods(), pods(app())}})
		a.Images = static(t, "ns", policy.Allow, hanging{})
		began := time.Now()
		_, err := a.Attest(t.Context(), caller)
		if !errors.Is(err, attest.ErrNotSeen) || !strings.Contains(err.Error(), "attest_timeout") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != a.Timeout {
			t.Errorf("it took %v, want %v", took, a.Timeout)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Attest(ctx, caller); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the caller left") {
			t.Errorf("a caller that leaves: %v", err)
		}
	})
}

func TestAPodThatABrokerRefersToMustSatisfyThePolicy(t *testing.T) {
	t.Parallel()
	started := func(p *pod.Pod) { p.Containers[0].ImageID = "registry.example.org/app@sha256:" + idA }
	for _, test := range []struct {
		name   string
		pod    *pod.Pod
		answer policy.Static
		want   []string // beside those of the pod; nil where it is refused
	}{
		{"it does", app(started), policy.Allow, []string{"pod-image-policy:p"}},
		{"it does not", app(started), policy.Deny, nil},
		{"a container has not started", app(), policy.Allow, nil},
	} {
		a, _ := attestor(t, "/", &source{answers: []func(*pod.Builder) error{pods(test.pod)}})
		a.Images = static(t, "ns", test.answer, verify.RecordStatuses{})
		r, err := a.AttestPod(t.Context(), attest.PodRef{UID: "u"})
		if test.want == nil {
			if !isRefusal(err) || r.Selectors != nil || r.Step != attest.StepImages {
				t.Errorf("%s: %q, %v in step %s", test.name, r.Selectors, err, r.Step)
			}
			continue
		}
		if diff := cmp.Diff(selector.With(selector.Pod(test.pod), test.want), r.Selectors); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", test.name, err, diff)
		}
	}
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*verify.Error](err)
	return ok
}

// A list is of what is known without asking any registry.
func TestAListVerifiesNoImages(t *testing.T) {
	t.Parallel()
	a, _ := attestor(t, "/", &source{answers: []func(*pod.Builder) error{pods(app())}})
	a.Images = static(t, "ns", policy.Deny, verify.RecordStatuses{})
	l, err := a.List(t.Context(), time.Time{})
	if err != nil || len(l.Workloads) != 1 || l.Workloads[0].Err != nil || len(l.Workloads[0].Selectors) == 0 {
		t.Errorf("%+v, %v", l, err)
	}
}
