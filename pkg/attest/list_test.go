package attest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/attest"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/selector"
)

func TestAListHasEveryContainerWithItsSelectorsOrWhyNot(t *testing.T) {
	t.Parallel()
	web := app(func(p *pod.Pod) {
		p.Containers = []pod.Container{
			{Name: "web", Type: pod.Regular, HasStatus: true, ID: idA, Running: true, Image: "i"},
			{Name: "debug", Type: pod.Ephemeral, HasStatus: true, ID: idB, Running: true},
			{Name: "crashing", Type: pod.Regular, HasStatus: true, ID: idC, LastID: idC},
			{Name: "later", Type: pod.Regular},
			{Name: "setup", Type: pod.Init, HasStatus: true, ID: strings.Repeat("d", 64), Terminated: true},
			{Name: "proxy", Type: pod.Sidecar, HasStatus: true, ID: strings.Repeat("e", 64), Running: true},
			{Name: "debug2", Type: pod.Ephemeral},
			{Name: "stillborn", Type: pod.Regular, HasStatus: true, Terminated: true},
		}
	})
	done := &pod.Pod{UID: "z", Namespace: "a", Name: "done", Terminal: true, Containers: []pod.Container{{Name: "c", Type: pod.Regular, HasStatus: true}}}
	answer := func(b *pod.Builder) error {
		b.Fault("bad", errors.New("too long"))
		b.Fault("", errors.New("garbage"))
		return pods(web, done)(b)
	}
	type row struct {
		UID, Name string
		Selectors []string
		Err       string
	}
	of := func(i int) []string { return selector.Container(web, &web.Containers[i]) }
	ephemeral := `container "debug" of pod "ns/app": ` + attest.ErrEphemeral.Error()
	all := func(change ...func([]row)) []row {
		rows := []row{
			{"z", "c", nil, `pod "a/done" has succeeded or failed: the container has ended`},
			{"u", "setup", nil, `container "setup" of pod "ns/app": the container has ended`},
			{"u", "proxy", of(5), ""},
			{"u", "crashing", nil, `container "crashing" of pod "ns/app": the container has ended`},
			{"u", "later", nil, `container "later" of pod "ns/app": the container has not started yet`},
			{"u", "stillborn", nil, `container "stillborn" of pod "ns/app": the container has ended`},
			{"u", "web", of(0), ""},
			{"u", "debug", nil, ephemeral},
			{"u", "debug2", nil, strings.Replace(ephemeral, `"debug"`, `"debug2"`, 1)},
			{"", "", nil, "unable to decode pod info from kubelet response: a pod without a readable UID: garbage"},
			{"bad", "", nil, `unable to decode pod info from kubelet response: pod UID "bad": too long`},
		}
		for _, c := range change {
			c(rows)
		}
		return rows
	}
	for _, test := range []struct {
		name string
		set  func(*attest.Attestor)
		want []row
	}{
		{"by default", func(*attest.Attestor) {}, all()},
		{"ephemeral containers too", func(a *attest.Attestor) { a.Ephemeral = true }, all(func(rows []row) {
			rows[7] = row{"u", "debug", of(1), ""}
			rows[8].Err = `container "debug2" of pod "ns/app": the container has not started yet`
		})},
		{"without container selectors", withoutContainer, all(func(rows []row) {
			rows[2].Selectors, rows[6].Selectors = selector.Pod(web), selector.Pod(web)
		})},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, _ := attestor(t, "/", &source{answers: []func(*pod.Builder) error{answer}})
			test.set(a)
			list, err := a.List(t.Context(), time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			var got []row
			for _, w := range list.Workloads {
				r := row{UID: w.PodUID, Selectors: w.Selectors}
				if w.Container != nil {
					r.Name = w.Container.Name
				}
				if w.Err != nil {
					r.Err = w.Err.Error()
				}
				if (w.Pod == nil) != (w.Container == nil) || (w.Pod == nil) != errors.Is(w.Err, pod.ErrUndecodable) {
					t.Errorf("a pod without a container, or a fault with a pod: %+v", w)
				}
				got = append(got, r)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What a list shows of a container is what an attestation of a process in it
// answers, whatever the pods and the settings are.
func TestAListSaysWhatAnAttestationAnswers(t *testing.T) {
	t.Parallel()
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 0))
		node := randomPods(r)
		a, proc := attestor(t, "/", &source{answers: []func(*pod.Builder) error{pods(node...)}})
		a.MaxPollAttempts = 1
		a.WithoutContainer, a.Ephemeral = r.IntN(2) == 0, r.IntN(2) == 0
		list, err := a.List(t.Context(), time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		listed := 0
		for _, p := range node {
			listed += len(p.Containers)
		}
		if len(list.Workloads) != listed {
			t.Errorf("seed %d: %d containers are listed, want %d", seed, len(list.Workloads), listed)
		}
		for i, w := range list.Workloads {
			if (w.Err == nil) != (w.Selectors != nil) {
				t.Errorf("seed %d: %+v has neither selectors nor an error, or both", seed, w)
			}
			if w.Container.ID == "" {
				continue
			}
			// Each in a time of its own: the source waits between two answers.
			synctest.Test(t, func(t *testing.T) {
				a := *a
				a.Pods = &source{answers: []func(*pod.Builder) error{pods(node...)}}
				proc.Start(1000+i, "/kubepods/pod"+w.PodUID+"/"+w.Container.ID)
				got, err := a.Attest(t.Context(), int32(1000+i))
				if !slices.Equal(got.Selectors, w.Selectors) {
					t.Errorf("seed %d, container %+v:\nlisted   %q\nattested %q", seed, w.Container, w.Selectors, got.Selectors)
				}
				if fmt.Sprint(err) != fmt.Sprint(w.Err) {
					t.Errorf("seed %d, container %+v:\nlisted   %v\nattested %v", seed, w.Container, w.Err, err)
				}
			})
		}
	}
}

func randomPods(r *rand.Rand) []*pod.Pod {
	ids := []string{"", idA, idB, idC}
	var node []*pod.Pod
	for i := range 1 + r.IntN(3) {
		p := &pod.Pod{UID: fmt.Sprint("u", i), Namespace: "ns", Name: fmt.Sprint("p", i), Terminal: r.IntN(4) == 0}
		for j := range r.IntN(6) {
			p.Containers = append(p.Containers, pod.Container{
				Name: fmt.Sprint("c", j), Type: []pod.Type{pod.Regular, pod.Init, pod.Sidecar, pod.Ephemeral}[r.IntN(4)], Image: fmt.Sprint("i", j),
				HasStatus: true, ID: ids[r.IntN(4)], LastID: ids[r.IntN(4)], Running: r.IntN(2) == 0, Terminated: r.IntN(4) == 0,
			})
		}
		node = append(node, p)
	}
	return node
}

func TestAListThatIsNewerThanTheLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{answers: []func(*pod.Builder) error{pods(), pods(app())}}
		a, _ := attestor(t, "/", s)
		known, _ := s.Next(t.Context(), "", time.Time{})
		a.Pods = &cached{s, known} // which others asked for
		first, err := a.List(t.Context(), time.Time{})
		if err != nil || len(first.Workloads) != 0 || len(s.asked) != 1 {
			t.Fatalf("first = %+v, %v", first, err)
		}
		second, err := a.List(t.Context(), first.Taken)
		if err != nil || len(second.Workloads) != 1 || second.Taken.Sub(first.Taken) != interval {
			t.Errorf("second = %+v, %v, want one container, %s later", second, err, interval)
		}
	})
}

func TestAListThatCantBeHad(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	a, _ := attestor(t, "/", &source{answers: []func(*pod.Builder) error{fails(down)}})
	_, err := a.List(t.Context(), time.Time{})
	if _, ok := errors.AsType[*attest.SourceError](err); !ok || !errors.Is(err, down) {
		t.Errorf("error = %v, want a SourceError", err)
	}
	synctest.Test(t, func(t *testing.T) {
		a, _ := attestor(t, "/", &source{hangs: true})
		began := time.Now()
		if _, err := a.List(t.Context(), time.Time{}); err == nil || time.Since(began) != a.Timeout {
			t.Errorf("a source that hangs: %v after %s, want an error after %s", err, time.Since(began), a.Timeout)
		}
	})
}
