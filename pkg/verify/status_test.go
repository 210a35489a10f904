package verify_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/cri"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/verify"
)

// answers is a pod source that gives one answer after the other, half a second
// apart, and then none any more.
type answers []*pod.Index

func (a *answers) Next(ctx context.Context, _ string, newerThan time.Time) (*pod.Index, error) {
	for len(*a) > 0 {
		next := (*a)[0]
		*a = (*a)[1:]
		if wait := time.Until(next.Taken); wait > 0 {
			time.Sleep(wait)
		}
		if next.Taken.After(newerThan) {
			return next, nil
		}
	}
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// answered is an index of one pod.
func answered(taken, since time.Time, p *pod.Pod) *pod.Index {
	b := pod.NewBuilder(taken, 1)
	if p != nil {
		b.Add(p)
	}
	index := b.Index()
	index.Since = since
	return index
}

// web is a pod with one container whose status says that it runs the image.
func web(imageID string) *pod.Pod {
	return &pod.Pod{UID: "u", Namespace: "shop", Name: "web-0", ServiceAccount: "web", Containers: []pod.Container{{
		Name: "app", Type: pod.Regular, SpecImage: "registry.example.org/shop/web:1", HasStatus: true, ID: "c", Running: true,
		Image: "registry.example.org/shop/web:1", ImageID: imageID,
	}}}
}

const idA, idB = "registry.example.org/shop/web@sha256:" + hexA, "registry.example.org/shop/web@sha256:" + hexB

const (
	hexA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hexB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// ADVERSARIAL.md 37: until a kubelet that was just started has looked at a container
// it hands out the API server's copy of the status, which may be forged.
func TestJustAfterTheStartOfAKubeletTwoLooksMustAgree(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		since time.Duration // how long the kubelet is there at the first answer; less than zero: unknown
		said  []string      // what the answers say, half a second apart
		want  string
		after time.Duration
	}{
		{"a kubelet of long ago is believed at once", time.Hour, []string{idA, idB}, idA, 0},
		{"a new one when it says the same two seconds later", time.Second, []string{idA, idA, idA, idA, idA, idB}, idA, 2 * time.Second},
		{"one of unknown age too", -1, []string{idA, idA, idA, idA, idA, idB}, idA, 2 * time.Second},
		{"the forged status that is put right counts for nothing", time.Second, []string{idA, idA, idA, idB, idB, idB, idB, idB}, idB, 3500 * time.Millisecond},
		{"nor does one from before the pod was gone", time.Second, []string{idA, "", idA, idA, idA, idA, idA}, idA, 3 * time.Second},
		{"it has become old enough meanwhile", 29 * time.Second, []string{idA, idB, idB, idB}, idB, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				since := began.Add(-test.since)
				if test.since < 0 {
					since = time.Time{}
				}
				var a answers
				for i, id := range test.said {
					var p *pod.Pod
					if id != "" {
						p = web(id)
					}
					a = append(a, answered(began.Add(time.Duration(i)*500*time.Millisecond), since, p))
				}
				found := web(idA)
				runs, err := verify.PodsAPIStatuses{Pods: &a}.Runs(t.Context(), found, &found.Containers[0])
				if err != nil || runs.ImageID != test.want || runs.Source != verify.FromPodsAPI {
					t.Errorf("it runs %+v, %v, want %s", runs, err, test.want)
				}
				if took := time.Since(began); took != test.after {
					t.Errorf("believed after %v, want %v", took, test.after)
				}
			})
		})
	}
}

// ADVERSARIAL.md 37: /pods shows what who may write pods/status wrote there. Where
// it names another container than the kubelet does, nothing is believed.
func TestSourcesThatContradictEachOtherAreNotBelieved(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(p *pod.Pod, c *pod.Container){
		"another container": func(_ *pod.Pod, c *pod.Container) { c.Name = "sidecar" },
		"another kind":      func(_ *pod.Pod, c *pod.Container) { c.Type = pod.Ephemeral },
		"another pod":       func(p *pod.Pod, _ *pod.Container) { p.Name = "other" },
		"another namespace": func(p *pod.Pod, _ *pod.Container) { p.Namespace = "kube-system" },
	} {
		p := web(idB)
		change(p, &p.Containers[0])
		found := web(idA)
		now := time.Now()
		_, err := verify.PodsAPIStatuses{Pods: &answers{answered(now, now.Add(-time.Hour), p)}}.Runs(t.Context(), found, &found.Containers[0])
		if !errors.Is(err, verify.ErrContradiction) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "another kind" {
			continue // a runtime does not know the kinds
		}
		runtime := runtime{&cri.Container{ID: "c", PodUID: "u", Namespace: p.Namespace, PodName: p.Name, Name: p.Containers[0].Name}}
		if _, err := (verify.RuntimeStatuses{Runtime: runtime}).Runs(t.Context(), found, &found.Containers[0]); !errors.Is(err, verify.ErrContradiction) {
			t.Errorf("%s to the runtime: %v", name, err)
		}
	}
}

// runtime knows one container.
type runtime struct{ container *cri.Container }

func (r runtime) Container(context.Context, string, string) (*cri.Container, error) {
	return r.container, nil
}

func TestWhatTheSourcesSay(t *testing.T) {
	t.Parallel()
	found := web(idA)
	c := &found.Containers[0]
	said := &cri.Container{ID: "c", PodUID: "u", Namespace: "shop", PodName: "web-0", Name: "app", ImageName: "x:1", ImageID: idB,
		ConfigDigest: image.Of([]byte("config")), RepoDigests: []string{idA, idB}}
	for source, statuses := range map[verify.Source]verify.Statuses{
		verify.FromKubelet: verify.RecordStatuses{},
		verify.FromCRI:     verify.RuntimeStatuses{Runtime: runtime{said}},
	} {
		got, err := statuses.Runs(t.Context(), found, c)
		want := verify.Runs{Source: source, SpecImage: c.SpecImage, Image: c.Image, ImageID: idA}
		if source == verify.FromCRI {
			want = verify.Runs{Source: source, SpecImage: c.SpecImage, Image: "x:1", ImageID: idB, Config: said.ConfigDigest, Pulled: said.RepoDigests}
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b image.Digest) bool { return a == b })); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", source, err, diff)
		}
	}
}

func TestASourceThatIsAwayIsAnErrorAndNotAnotherSource(t *testing.T) {
	t.Parallel()
	found := web(idA)
	gone := errors.New("gone")
	for name, statuses := range map[string]verify.Statuses{
		"Pods API": verify.PodsAPIStatuses{Pods: failing{gone}},
		"runtime":  verify.RuntimeStatuses{Runtime: failing{gone}},
	} {
		if runs, err := statuses.Runs(t.Context(), found, &found.Containers[0]); !errors.Is(err, gone) {
			t.Errorf("%s: %+v, %v", name, runs, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Next(context.Context, string, time.Time) (*pod.Index, error) { return nil, f.err }

func (f failing) Container(context.Context, string, string) (*cri.Container, error) {
	return nil, f.err
}

// Of other runtimes, and where nobody says which it is, only what the runtime names
// counts; see image.Reported.
func TestRuntimesThatAreKnownToCompareLayers(t *testing.T) {
	t.Parallel()
	for runtime, want := range map[string]bool{"containerd": true, "docker": true, "cri-o": false, "": false, "Containerd": false} {
		runs, err := verify.RecordStatuses{}.Runs(t.Context(), &pod.Pod{}, &pod.Container{ID: "c", Runtime: runtime})
		if err != nil || runs.ComparesLayers != want {
			t.Errorf("%q: %v, %v", runtime, runs.ComparesLayers, err)
		}
	}
}
