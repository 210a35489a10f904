package attest_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/podseal/podseal/pkg/attest"
	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/pod"
)

// slow is a source that takes its time, and whose answers are of some age.
type slow struct {
	attest.Pods
	takes, age time.Duration
}

func (s slow) Next(ctx context.Context, uid string, newerThan time.Time) (*pod.Index, error) {
	time.Sleep(s.takes)
	index, err := s.Pods.Next(ctx, uid, newerThan)
	if err != nil {
		return nil, err
	}
	index.Taken = index.Taken.Add(-s.age)
	return index, nil
}

func TestStepsTakeTheirTime(t *testing.T) {
	t.Parallel()
	inPod := "/kubepods/podu/" + idA
	forged := "/user.slice/user@1000.service/kubepods/pod11111111-2222-3333-4444-555555555555/" + idA
	for _, test := range []struct {
		name   string
		pid    int32
		cgroup string
		answer []func(*pod.Builder) error
		want   []attest.StepReport
		empty  attest.Emptiness
		err    error
	}{
		{
			name: "attested at the third look", pid: caller, cgroup: inPod, answer: []func(*pod.Builder) error{pods(), fails(errors.New("down")), pods(app())},
			want: []attest.StepReport{{Step: attest.StepProcess}, {Step: attest.StepContainer}, {Step: attest.StepAdmission}, {Step: attest.StepPod, Took: 3*70*time.Millisecond + 2*(interval-70*time.Millisecond)}, {Step: attest.StepCheck}, {Step: attest.StepSelectors}},
		},
		{
			name: "refused", pid: caller, cgroup: inPod, answer: []func(*pod.Builder) error{pods(app(container0(func(c *pod.Container) { c.Terminated = true })))},
			want: []attest.StepReport{{Step: attest.StepProcess}, {Step: attest.StepContainer}, {Step: attest.StepAdmission}, {Step: attest.StepPod, Took: 70 * time.Millisecond, Ended: true}},
			err:  attest.ErrEnded,
		},
		{
			name: "a helper", pid: caller, cgroup: "/kubepods/podu/crio-conmon-" + idA,
			want: []attest.StepReport{{Step: attest.StepProcess}, {Step: attest.StepContainer, Ended: true}},
			err:  container.ErrNoContainer,
		},
		{
			name: "on the host", pid: caller, cgroup: "/system.slice/sshd.service",
			want:  []attest.StepReport{{Step: attest.StepProcess}, {Step: attest.StepContainer, Ended: true}},
			empty: attest.HostProcess,
		},
		{
			name: "the agent itself", pid: int32(os.Getpid()),
			want:  []attest.StepReport{{Step: attest.StepProcess}, {Step: attest.StepContainer, Ended: true}},
			empty: attest.OwnContainer,
		},
		{
			name: "in a forged place", pid: caller, cgroup: forged,
			want:  []attest.StepReport{{Step: attest.StepProcess}, {Step: attest.StepContainer, Ended: true}},
			empty: attest.IgnoredPaths,
		},
		{
			name: "no such process", pid: 4711,
			want:  []attest.StepReport{{Step: attest.StepProcess, Ended: true}},
			empty: attest.NoProcess,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a, _ := attestor(t, test.cgroup, &source{answers: test.answer})
				a.Pods = slow{Pods: a.Pods, takes: 70 * time.Millisecond}
				r, err := a.Attest(t.Context(), test.pid)
				if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
					t.Errorf("error = %v, want %v", err, test.err)
				}
				if diff := cmp.Diff(test.want, r.Steps); diff != "" {
					t.Errorf("steps (-want +got):\n%s", diff)
				}
				if r.Empty != test.empty || (r.Empty == attest.NotEmpty) != (r.Selectors != nil || err != nil) {
					t.Errorf("empty because %q, want %q", r.Empty, test.empty)
				}
				if r.Explanation != nil {
					t.Error("there is an explanation that nobody asked for")
				}
			})
		})
	}
}

func TestTheExplanationOfAnAttestation(t *testing.T) {
	t.Parallel()
	inPod := "/kubepods/podu/" + idA
	down := errors.New("down")
	line := container.Line{Path: inPod, AgentPath: "/system.slice/spire-agent.service", Meaning: container.MeansContainer, PodUID: "u", ContainerID: idA, KubeletRoot: "/kubepods"}
	conmon := "/kubepods/podu/crio-conmon-" + idA
	for _, test := range []struct {
		name     string
		cgroup   string
		answers  []func(*pod.Builder) error
		hangs    bool
		lines    []container.Line
		attempts []attest.Attempt
		missing  []string // texts of the attempts' errors
	}{
		{
			name: "attested", cgroup: inPod, answers: []func(*pod.Builder) error{pods(), fails(down), pods(app(), &pod.Pod{UID: "v"})},
			lines: []container.Line{line},
			attempts: []attest.Attempt{
				{Took: 20 * time.Millisecond, Answered: true, Age: time.Second, Err: cmpopts.AnyError},
				{Took: interval, Err: cmpopts.AnyError},
				{Took: interval, Answered: true, Pods: 2, Age: time.Second},
			},
			missing: []string{`pod UID "u" is not listed`, "down", ""},
		},
		{
			name: "refused", cgroup: inPod, answers: []func(*pod.Builder) error{pods(app(container0(func(c *pod.Container) { c.Terminated = true })))},
			lines:    []container.Line{line},
			attempts: []attest.Attempt{{Took: 20 * time.Millisecond, Answered: true, Pods: 1, Age: time.Second, Err: attest.ErrEnded}},
			missing:  []string{`container "c" of pod "ns/app": the container has ended`},
		},
		{
			name: "the source hangs", cgroup: inPod, hangs: true,
			lines:    []container.Line{line},
			attempts: []attest.Attempt{{Took: 10 * time.Second, Err: cmpopts.AnyError}},
			missing:  []string{"the time of this attestation is over"},
		},
		{
			name: "a helper", cgroup: conmon,
			lines: []container.Line{{Path: conmon, AgentPath: "/system.slice/spire-agent.service", Meaning: container.MeansNothing, PodUID: "u", KubeletRoot: "/kubepods", Err: container.ErrNoContainer}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a, proc := attestor(t, test.cgroup, &source{answers: test.answers, hangs: test.hangs})
				a.Explain = true
				if !test.hangs {
					a.Pods = slow{a.Pods, 20 * time.Millisecond, time.Second}
				}
				r, _ := a.Attest(t.Context(), caller)
				e := r.Explanation
				if e == nil || e.Process == nil {
					t.Fatalf("explanation = %+v", e)
				}
				want := &attest.ProcessFacts{PID: caller, State: "S", Files: []string{proc.Dir + "/42/stat", proc.Dir + "/42/cgroup", proc.Dir + "/self/cgroup"}}
				if diff := cmp.Diff(want, e.Process, cmpopts.IgnoreFields(attest.ProcessFacts{}, "Started")); diff != "" || e.Process.Started.IsZero() {
					t.Errorf("process, started %s (-want +got):\n%s", e.Process.Started, diff)
				}
				if diff := cmp.Diff(test.lines, e.Lines, cmpopts.IgnoreUnexported(container.Line{}), cmpopts.EquateErrors()); diff != "" {
					t.Errorf("lines (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(test.attempts, e.Attempts, cmpopts.EquateErrors()); diff != "" {
					t.Errorf("attempts (-want +got):\n%s", diff)
				}
				var missing []string
				for _, attempt := range e.Attempts {
					text := ""
					if attempt.Err != nil {
						text = attempt.Err.Error()
					}
					missing = append(missing, text)
				}
				if diff := cmp.Diff(test.missing, missing); diff != "" {
					t.Errorf("what was missing (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestAnExplanationWithoutAProcess(t *testing.T) {
	t.Parallel()
	a, _ := attestor(t, "/", &source{})
	a.Explain = true
	r, err := a.Attest(t.Context(), 4711)
	if err != nil || r.Explanation == nil || r.Explanation.Process != nil || r.Explanation.Lines != nil || r.Explanation.Attempts != nil {
		t.Errorf("explanation = %+v, %v, want an empty one", r.Explanation, err)
	}
}
