package attest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/attest"
	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/container/containertest"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/selector"
)

var (
	idA = strings.Repeat("a", 64)
	idB = strings.Repeat("b", 64)
	idC = strings.Repeat("c", 64)
)

const (
	interval = 500 * time.Millisecond
	caller   = 42
)

// source is a pod source that gives one prepared answer each interval, the last
// one for ever.
type source struct {
	answers []func(*pod.Builder) error
	asked   []time.Time
	hangs   bool
}

func (s *source) Next(ctx context.Context, _ string, newerThan time.Time) (*pod.Index, error) {
	if s.hangs {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if n := len(s.asked); n > 0 {
		select {
		case <-time.After(time.Until(s.asked[n-1].Add(interval))):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	answer := s.answers[min(len(s.asked), len(s.answers)-1)]
	s.asked = append(s.asked, time.Now())
	b := pod.NewBuilder(time.Now(), 0)
	err := answer(b)
	return b.Index(), err
}

func pods(pods ...*pod.Pod) func(*pod.Builder) error {
	return func(b *pod.Builder) error {
		for _, p := range pods {
			b.Add(p)
		}
		return nil
	}
}

func fails(err error) func(*pod.Builder) error { return func(*pod.Builder) error { return err } }

func fault(uid string) func(*pod.Builder) error {
	return func(b *pod.Builder) error { b.Fault(uid, errors.New("bad bytes")); return nil }
}

type finalError struct{ error }

func (finalError) Final() bool     { return true }
func (e finalError) Unwrap() error { return e.error }

// app is pod "u" with a container; with changes it.
func app(with ...func(*pod.Pod)) *pod.Pod {
	p := &pod.Pod{UID: "u", Namespace: "ns", Name: "app", ServiceAccount: "sa",
		Containers: []pod.Container{{Name: "c", Type: pod.Regular, HasStatus: true, ID: idA, Image: "i"}}}
	for _, f := range with {
		f(p)
	}
	return p
}

func container0(change func(*pod.Container)) func(*pod.Pod) {
	return func(p *pod.Pod) { change(&p.Containers[0]) }
}

func attestor(t *testing.T, cgroup string, s attest.Pods) (*attest.Attestor, *containertest.Proc) {
	proc := containertest.NewProc(t)
	proc.Start(caller, cgroup)
	return &attest.Attestor{Locator: proc.Locator(), Admission: new(container.Admission), Pods: s, MaxPollAttempts: 4, PollRetryInterval: 500 * time.Millisecond, Timeout: 10 * time.Second}, proc
}

func TestAttest(t *testing.T) {
	t.Parallel()
	inPod := "/kubepods/podu/" + idA
	broken := errors.New("kubelet is down")
	waiting := app(container0(func(c *pod.Container) { c.ID = "" }))
	debug := app(func(p *pod.Pod) {
		p.Containers = append(p.Containers, pod.Container{Name: "debug", Type: pod.Ephemeral, HasStatus: true, ID: idB})
	})
	pendingDebug := app(func(p *pod.Pod) {
		p.Containers = append(p.Containers, pod.Container{Name: "debug", Type: pod.Ephemeral})
	})
	withContainer := func(p *pod.Pod, i int) []string { return selector.Container(p, &p.Containers[i]) }

	for _, test := range []struct {
		name    string
		cgroup  string
		answers []func(*pod.Builder) error
		set     func(*attest.Attestor)
		want    []string
		err     error  // by errors.Is
		text    string // a part of the error's text
		step    attest.Step
		asked   int
	}{
		{name: "a container of a pod", cgroup: inPod, answers: []func(*pod.Builder) error{pods(app())}, want: withContainer(app(), 0), step: attest.StepSelectors, asked: 1},
		{name: "in no pod", cgroup: "/system.slice/sshd.service", step: attest.StepContainer},
		{name: "not published yet", cgroup: inPod, answers: []func(*pod.Builder) error{pods(), pods(waiting), pods(app())}, want: withContainer(app(), 0), step: attest.StepSelectors, asked: 3},
		{name: "never published", cgroup: inPod, answers: []func(*pod.Builder) error{pods(waiting)}, err: attest.ErrNotSeen, text: `no selectors found after max poll attempts: pod "ns/app" is listed but not its container ` + idA, step: attest.StepPod, asked: 4},
		{name: "pod never listed", cgroup: inPod, answers: []func(*pod.Builder) error{pods()}, err: attest.ErrNotSeen, text: `pod UID "u" is not listed`, step: attest.StepPod, asked: 4},
		{name: "another pod has the container's ID", cgroup: inPod, answers: []func(*pod.Builder) error{pods(app(func(p *pod.Pod) { p.UID = "evil" }))}, err: attest.ErrNotSeen, step: attest.StepPod, asked: 4},
		{name: "the source fails and recovers", cgroup: inPod, answers: []func(*pod.Builder) error{fails(broken), pods(app())}, want: withContainer(app(), 0), step: attest.StepSelectors, asked: 2},
		{name: "the source fails to the end", cgroup: inPod, answers: []func(*pod.Builder) error{pods(), fails(broken)}, err: broken, step: attest.StepPod, asked: 4},
		{name: "the source fails for good", cgroup: inPod, answers: []func(*pod.Builder) error{fails(finalError{broken})}, err: broken, step: attest.StepPod, asked: 1},
		{name: "its pod can't be decoded", cgroup: inPod, answers: []func(*pod.Builder) error{fault("u")}, err: pod.ErrUndecodable, step: attest.StepPod, asked: 1},
		{name: "another pod can't be decoded", cgroup: inPod, answers: []func(*pod.Builder) error{func(b *pod.Builder) error { b.Add(app()); return fault("v")(b) }}, want: withContainer(app(), 0), step: attest.StepSelectors, asked: 1},
		{name: "some pod can't be decoded at all", cgroup: inPod, answers: []func(*pod.Builder) error{fault("")}, err: pod.ErrUndecodable, step: attest.StepPod, asked: 4},
		{name: "the run before", cgroup: inPod, answers: []func(*pod.Builder) error{pods(app(container0(func(c *pod.Container) { c.ID, c.LastID = idB, idA })))}, err: attest.ErrEnded, text: "was started again", step: attest.StepPod, asked: 1},
		{name: "a run that ended", cgroup: inPod, answers: []func(*pod.Builder) error{pods(app(container0(func(c *pod.Container) { c.Terminated = true })))}, err: attest.ErrEnded, step: attest.StepPod, asked: 1},
		{name: "a run that ended, and waits to be started again", cgroup: inPod, answers: []func(*pod.Builder) error{pods(app(container0(func(c *pod.Container) { c.LastID = idA })))}, err: attest.ErrEnded, step: attest.StepPod, asked: 1},
		{name: "a pod that ended", cgroup: inPod, answers: []func(*pod.Builder) error{pods(app(func(p *pod.Pod) { p.Terminal = true; p.Containers[0].ID = idC }))}, err: attest.ErrEnded, text: "has succeeded or failed", step: attest.StepPod, asked: 1},
		{name: "an ephemeral container", cgroup: "/kubepods/podu/" + idB, answers: []func(*pod.Builder) error{pods(debug)}, err: attest.ErrEphemeral, text: "ephemeral_containers = true", step: attest.StepPod, asked: 1},
		{name: "an ephemeral container, allowed", cgroup: "/kubepods/podu/" + idB, answers: []func(*pod.Builder) error{pods(debug)}, set: func(a *attest.Attestor) { a.Ephemeral = true }, want: withContainer(debug, 1), step: attest.StepSelectors, asked: 1},

		{name: "without container selectors", cgroup: inPod, answers: []func(*pod.Builder) error{pods(app())}, set: withoutContainer, want: selector.Pod(app()), step: attest.StepSelectors, asked: 1},
		{name: "without container selectors, not published yet", cgroup: inPod, answers: []func(*pod.Builder) error{pods(waiting)}, set: withoutContainer, want: selector.Pod(waiting), step: attest.StepSelectors, asked: 1},
		{name: "without container selectors, an ephemeral container", cgroup: "/kubepods/podu/" + idB, answers: []func(*pod.Builder) error{pods(debug)}, set: withoutContainer, err: attest.ErrEphemeral, step: attest.StepPod, asked: 1},
		{name: "without container selectors, perhaps an ephemeral container", cgroup: "/kubepods/podu/" + idB, answers: []func(*pod.Builder) error{pods(pendingDebug)}, set: withoutContainer, err: attest.ErrNotSeen, step: attest.StepPod, asked: 4},

		{name: "the agent's own pod, unnamed", cgroup: "/../" + idA, answers: []func(*pod.Builder) error{pods(&pod.Pod{UID: "x"}, app())}, want: withContainer(app(), 0), step: attest.StepSelectors, asked: 1},
		{name: "two pods with the container", cgroup: "/../" + idA, answers: []func(*pod.Builder) error{pods(app(), app(func(p *pod.Pod) { p.UID = "v" }))}, err: attest.ErrTwoPods, text: "two pods found with same container Id", step: attest.StepPod, asked: 1},
		{name: "an unnamed pod is never listed", cgroup: "/../" + idA, answers: []func(*pod.Builder) error{pods()}, err: attest.ErrNotSeen, text: "is in no listed pod", step: attest.StepPod, asked: 4},
		{name: "an unnamed pod can't be decoded", cgroup: "/../" + idA, answers: []func(*pod.Builder) error{fault("u")}, err: pod.ErrUndecodable, step: attest.StepPod, asked: 4},

		{name: "a helper of the runtime", cgroup: "/kubepods/podu/crio-conmon-" + idA, err: container.ErrNoContainer, step: attest.StepContainer},
		{name: "a cgroup file that makes no sense", cgroup: "/kubepods//x", err: container.ErrMalformed, step: attest.StepContainer},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &source{answers: test.answers}
				a, _ := attestor(t, test.cgroup, s)
				if test.set != nil {
					test.set(a)
				}
				r, err := a.Attest(t.Context(), caller)
				if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
					t.Fatalf("error = %v, want %v", err, test.err)
				}
				if err != nil && !strings.Contains(err.Error(), test.text) {
					t.Errorf("error = %q, want %q in it", err, test.text)
				}
				if diff := cmp.Diff(test.want, r.Selectors); diff != "" {
					t.Errorf("selectors (-want +got):\n%s", diff)
				}
				if r.Step != test.step || len(s.asked) != test.asked {
					t.Errorf("ended at step %s after %d questions, want %s after %d", r.Step, len(s.asked), test.step, test.asked)
				}
			})
		})
	}
}

func withoutContainer(a *attest.Attestor) { a.WithoutContainer = true }

// An index from before the call may lack an ephemeral container that was added
// since: the pod's selectors alone are given only on newer word.
func TestAPodAloneIsNotAttestedOnOldNews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		waiting := app(container0(func(c *pod.Container) { c.ID = "" }))
		s := &source{answers: []func(*pod.Builder) error{pods(waiting)}}
		a, _ := attestor(t, "/kubepods/podu/"+idA, s)
		a.WithoutContainer = true
		old := &cached{source: s}
		old.index, _ = s.Next(t.Context(), "", time.Time{})
		a.Pods = old
		time.Sleep(time.Millisecond)
		r, err := a.Attest(t.Context(), caller)
		if err != nil || r.Pod == nil || len(s.asked) != 2 {
			t.Errorf("got %v, %v after %d questions, want the pod after 2", r.Pod, err, len(s.asked))
		}
	})
}

// cached is a source with an index that others asked for before.
type cached struct {
	*source
	index *pod.Index
}

func (c *cached) Next(ctx context.Context, uid string, newerThan time.Time) (*pod.Index, error) {
	if c.index.Taken.After(newerThan) {
		return c.index, nil
	}
	return c.source.Next(ctx, uid, newerThan)
}

// In a private namespace the agent's own pod has no name. Where it is known it
// is looked at first: another pod that reports the container, as who may write
// pods/status can make it, takes nothing away.
func TestTheAgentsOwnPodIsLookedAtFirst(t *testing.T) {
	t.Parallel()
	own, forged := app(), app(func(p *pod.Pod) { p.UID = "forged" })
	for _, test := range []struct {
		name   string
		listed []*pod.Pod
		want   *pod.Pod
	}{
		{"in both", []*pod.Pod{forged, own}, own},
		{"in another alone, where the kubelet makes no pod cgroups", []*pod.Pod{forged}, forged},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, proc := attestor(t, "/../crio-"+idA+".scope", &source{answers: []func(*pod.Builder) error{pods(test.listed...)}})
			a.Locator = proc.LocatorInPod("u")
			r, err := a.Attest(t.Context(), caller)
			if err != nil || r.Pod != test.want {
				t.Errorf("got %v, %v, want %v", r.Pod, err, test.want)
			}
		})
	}
}

func TestAProcessThatMovesDuringItsAttestationGetsNothing(t *testing.T) {
	t.Parallel()
	s := &source{}
	a, proc := attestor(t, "/kubepods/podu/"+idA, s)
	s.answers = []func(*pod.Builder) error{func(b *pod.Builder) error {
		proc.Write(caller, "cgroup", "0::/kubepods/podv/"+idB+"\n")
		b.Add(app())
		return nil
	}}
	r, err := a.Attest(t.Context(), caller)
	if !errors.Is(err, container.ErrChanged) || r.Selectors != nil || r.Step != attest.StepCheck {
		t.Errorf("got %v, %v at step %s, want ErrChanged at the check", r.Selectors, err, r.Step)
	}
}

func TestAProcessThatDoesNotExistIsInNoPod(t *testing.T) {
	t.Parallel()
	a, _ := attestor(t, "/", &source{})
	r, err := a.Attest(t.Context(), 4711)
	if err != nil || r.Selectors != nil {
		t.Errorf("got %v, %v, want nothing", r.Selectors, err)
	}
	if _, err := a.Attest(t.Context(), 0); !errors.Is(err, container.ErrNotVisible) {
		t.Errorf("process 0: %v, want ErrNotVisible", err)
	}
}

func TestAForgedPlaceIsReported(t *testing.T) {
	t.Parallel()
	forged := "/user.slice/user@1000.service/kubepods/pod11111111-2222-3333-4444-555555555555/" + idA
	a, _ := attestor(t, forged, &source{})
	r, err := a.Attest(t.Context(), caller)
	if err != nil || r.Selectors != nil || len(r.Ignored) != 1 || r.Ignored[0] != forged {
		t.Errorf("got %v, %v, ignored %q", r.Selectors, err, r.Ignored)
	}
}

func TestTheTimeOfAnAttestation(t *testing.T) {
	t.Parallel()
	broken := errors.New("kubelet is down")
	for _, test := range []struct {
		name   string
		source source
		want   error
	}{
		{"the source hangs", source{hangs: true}, attest.ErrNotSeen},
		{"the container does not appear", source{answers: []func(*pod.Builder) error{pods()}}, attest.ErrNotSeen},
		{"the source fails again and again", source{answers: []func(*pod.Builder) error{fails(broken)}}, broken},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a, _ := attestor(t, "/kubepods/podu/"+idA, &test.source)
				a.MaxPollAttempts = 1000
				began := time.Now()
				_, err := a.Attest(t.Context(), caller)
				if !errors.Is(err, test.want) || errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error = %v, want %v", err, test.want)
				}
				if took := time.Since(began); took != a.Timeout {
					t.Errorf("took %s, want %s", took, a.Timeout)
				}
			})
		})
	}
}

// chatty is a source that is told of a change of the pod every ten milliseconds,
// of which none is its container.
type chatty struct {
	uids map[string]bool
	news int
}

func (c *chatty) Next(_ context.Context, uid string, _ time.Time) (*pod.Index, error) {
	time.Sleep(10 * time.Millisecond)
	c.uids[uid] = true
	c.news++
	b := pod.NewBuilder(time.Now(), 1)
	b.Add(&pod.Pod{UID: uid})
	index := b.Index()
	index.Watched = true
	return index, nil
}

// Whoever may write a pod can change it as often as he likes: that must not use
// up the attempts of those who wait for its containers.
func TestChangesOfAPodAreNoAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &chatty{uids: map[string]bool{}}
		a, _ := attestor(t, "/kubepods/podu/"+idA, s)
		began := time.Now()
		_, err := a.Attest(t.Context(), caller)
		if !errors.Is(err, attest.ErrNotSeen) {
			t.Errorf("error = %v, want ErrNotSeen", err)
		}
		if took, want := time.Since(began), time.Duration(a.MaxPollAttempts-1)*interval; took < want || took > want+20*time.Millisecond {
			t.Errorf("it was given up after %v and %d changes, want after %v", took, s.news, want)
		}
		if len(s.uids) != 1 || !s.uids["u"] {
			t.Errorf("it was asked for the pods %v, want u alone", s.uids)
		}
	})
}

func TestACallerThatLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, _ := attestor(t, "/kubepods/podu/"+idA, &source{hangs: true})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := a.Attest(ctx, caller); !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v, want Canceled", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Attest(ctx, caller); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error = %v, want DeadlineExceeded", err)
		}
	})
}

func TestAGreedyPodIsRefusedAndItsNeighbourIsNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		neighbour := &pod.Pod{UID: "v", Containers: []pod.Container{{ID: idB}}}
		a, proc := attestor(t, "/kubepods/podu/"+idA, &source{answers: []func(*pod.Builder) error{pods(neighbour)}})
		proc.Start(caller+1, "/kubepods/podv/"+idB)
		a.Pods = lockedOut{a.Pods}
		results := make(chan error, 100)
		for range cap(results) {
			go func() {
				_, err := a.Attest(t.Context(), caller)
				results <- err
			}()
		}
		synctest.Wait() // the pod's 32 calls wait for the source
		if refused := len(results); refused != cap(results)-container.MaxCallsPerPod {
			t.Errorf("%d calls were refused at once, want %d", refused, cap(results)-container.MaxCallsPerPod)
		}
		a2 := *a
		a2.Pods = &source{answers: []func(*pod.Builder) error{pods(neighbour)}}
		if _, err := a2.Attest(t.Context(), caller+1); err != nil {
			t.Errorf("the neighbour: %v", err)
		}
		busy := 0
		for range cap(results) {
			if err := <-results; errors.Is(err, container.ErrTooManyCalls) {
				busy++
			}
		}
		if busy != cap(results)-container.MaxCallsPerPod {
			t.Errorf("%d calls were refused, want %d", busy, cap(results)-container.MaxCallsPerPod)
		}
	})
}

// A container that crashes while it waits is a failure in the log, which must say
// more than that the call was canceled.
func TestACallerThatLeavesIsToldOfWithWhatItWaitedFor(t *testing.T) {
	t.Parallel()
	waiting := app(container0(func(c *pod.Container) { c.ID = "" }))
	const gone = "the caller left before it was answered: context canceled"
	for name, test := range map[string]struct {
		source *source
		want   string
	}{
		"nothing is known yet":        {&source{hangs: true}, gone},
		"its container is not listed": {&source{answers: []func(*pod.Builder) error{pods(waiting)}}, gone + `; until then: pod "ns/app" is listed but not its container ` + idA},
		"the source fails":            {&source{answers: []func(*pod.Builder) error{fails(errors.New("kubelet is down"))}}, gone + "; until then: kubelet is down"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a, _ := attestor(t, "/kubepods/podu/"+idA, test.source)
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(interval+time.Millisecond, cancel)
				_, err := a.Attest(ctx, caller)
				if !errors.Is(err, context.Canceled) || err.Error() != test.want {
					t.Errorf("error = %v, want %s", err, test.want)
				}
				if _, ok := errors.AsType[*attest.SourceError](err); ok {
					t.Errorf("%v is an error of the source, which has another code", err)
				}
			})
		})
	}
}

// lockedOut is a source that never answers.
type lockedOut struct{ attest.Pods }

func (lockedOut) Next(ctx context.Context, _ string, _ time.Time) (*pod.Index, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func TestAttestPod(t *testing.T) {
	t.Parallel()
	p := app()
	old := app(func(p *pod.Pod) { p.UID, p.Terminal = "z", true })
	completed := (&pod.Pod{UID: "done", Namespace: "jobs", Name: "backup", Terminal: true}).Kept()
	list := func(b *pod.Builder) error { b.Fault("bad", errors.New("bytes")); return pods(p, old, completed)(b) }
	for _, test := range []struct {
		ref  attest.PodRef
		want *pod.Pod
		text string
	}{
		{ref: attest.PodRef{UID: "u"}, want: p},
		{ref: attest.PodRef{Namespace: "ns", Name: "app"}, want: p},
		{ref: attest.PodRef{Namespace: "ns", Name: "app", UID: "u"}, want: p},
		{ref: attest.PodRef{Namespace: "ns", Name: "app", UID: "z"}, want: old},
		{ref: attest.PodRef{UID: "done"}, text: `pod "jobs/backup" has succeeded or failed: the container has ended`},
		{ref: attest.PodRef{Namespace: "jobs", Name: "backup"}, text: `pod "jobs/backup" has succeeded or failed`},
		{ref: attest.PodRef{UID: "w"}, text: `pod with UID "w" not found on agent node`},
		{ref: attest.PodRef{UID: "bad"}, text: "unable to decode pod info"},
		{ref: attest.PodRef{Namespace: "ns", Name: "app", UID: "bad"}, text: "unable to decode pod info"},
		{ref: attest.PodRef{Namespace: "ns", Name: "app", UID: "w"}, text: `pod "ns/app" has UID "u", expected "w"`},
		{ref: attest.PodRef{Namespace: "other", Name: "app"}, text: "unable to decode pod info"}, // it may be that one
	} {
		t.Run(fmt.Sprint(test.ref), func(t *testing.T) {
			t.Parallel()
			a, _ := attestor(t, "/", &source{answers: []func(*pod.Builder) error{list}})
			r, err := a.AttestPod(t.Context(), test.ref)
			if r.Pod != test.want {
				t.Errorf("pod = %v, want %v", r.Pod, test.want)
			}
			if test.want != nil {
				if diff := cmp.Diff(selector.Pod(test.want), r.Selectors); diff != "" || err != nil {
					t.Errorf("error %v, selectors (-want +got):\n%s", err, diff)
				}
			} else if err == nil || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error = %v, want %q", err, test.text)
			}
		})
	}
	a, _ := attestor(t, "/", &source{answers: []func(*pod.Builder) error{pods(p)}})
	_, err := a.AttestPod(t.Context(), attest.PodRef{Namespace: "other", Name: "app"})
	if _, ok := errors.AsType[*attest.PodNotFoundError](err); !ok || !strings.Contains(err.Error(), `pod "other/app" not found on agent node`) {
		t.Errorf("error = %v, want PodNotFoundError", err)
	}
	a, _ = attestor(t, "/", &source{answers: []func(*pod.Builder) error{fails(errors.New("down"))}})
	if _, err := a.AttestPod(t.Context(), attest.PodRef{UID: "u"}); err == nil {
		t.Error("no error while the source is down")
	}
}
