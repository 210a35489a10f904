package attest

import (
	"time"

	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/verify"
)

// Report is an attestation as far as it got.
type Report struct {
	// Step is the last step that was begun.
	Step Step
	// Steps are the steps that were begun, in their order, and how long each
	// took.
	Steps []StepReport
	// Empty is why there are no selectors where that is no error.
	Empty Emptiness
	// Ref is where the process is; zero before StepAdmission and for a process
	// in no pod.
	Ref container.Ref
	// Ignored are cgroup paths that look like a pod's but prove nothing; see
	// container.Process.Ignored.
	Ignored []string
	// Pod is the pod, nil before it is found. Container is nil where it is not
	// known.
	Pod       *pod.Pod
	Container *pod.Container
	// Images is what was found out about images; nil before StepImages and where no
	// images are verified.
	Images *verify.Result
	// Selectors are the selector values, sorted; none without a pod. The slice
	// is shared and must not be changed.
	Selectors []string
	// Explanation is there when the Attestor's Explain is set.
	Explanation *Explanation

	begun time.Time // when Step was begun
	steps [7]StepReport
}

// Step is a step of an attestation.
type Step string

// The steps, in their order.
const (
	StepProcess   Step = "process"   // hold the process
	StepContainer Step = "container" // read its cgroups
	StepAdmission Step = "admission" // count the call
	StepPod       Step = "pod"       // find the pod and the container's status
	StepImages    Step = "images"    // verify the image; only where that is configured
	StepCheck     Step = "check"     // the process is still the same
	StepSelectors Step = "selectors" // render
)

// StepReport is one step as it went.
type StepReport struct {
	Step Step
	Took time.Duration
	// Ended is whether the attestation ended in this step before all was done:
	// with an error, or with an empty answer.
	Ended bool
}

// Emptiness is why an attestation without an error has no selectors.
type Emptiness string

// The reasons.
const (
	NotEmpty Emptiness = ""
	// NoProcess: there is no such process, any more.
	NoProcess Emptiness = "no such process"
	// OwnContainer: the process is in the agent's own container, or on the host
	// in its cgroup.
	OwnContainer Emptiness = "in the agent's own container"
	// IgnoredPaths: its cgroups look like a pod's but prove nothing; see
	// Report.Ignored.
	IgnoredPaths Emptiness = "in a cgroup that is named like a pod's but is not where this node's kubelet makes them"
	// HostProcess: nothing in its cgroups is a pod's.
	HostProcess Emptiness = "a process of the host, in no pod"
)

// Explanation is what an attestation read, for people. It is there on errors too,
// as far as the attestation got.
type Explanation struct {
	// Process is nil where the process could not be held.
	Process *ProcessFacts
	// Lines are those of its cgroup file.
	Lines []container.Line
	// Attempts are the looks at the node's pods, in their order.
	Attempts []Attempt
}

// ProcessFacts are what is known of a process beside its container.
type ProcessFacts struct {
	PID int32
	// State is the letter of proc_pid_stat(5).
	State string
	// Started is when it started, to 10 ms; zero where that is not known.
	Started time.Time
	// Files are the files that were read.
	Files []string
}

// Attempt is one look at the node's pods.
type Attempt struct {
	// Took is how long it took to get the answer, with the wait for its turn.
	Took time.Duration
	// Answered is whether there was an answer; Pods is how many pods it had,
	// those that can't be read left out, and Age how long ago it was asked for.
	Answered bool
	Pods     int
	Age      time.Duration
	// Err is why it did not do: what was missing in the answer, why there was
	// none, or why the container is refused. It is nil for the one that did.
	Err error
}

func (a *Attestor) newReport() *Report {
	r := &Report{}
	r.Steps = r.steps[:0]
	if a.Explain {
		r.Explanation = &Explanation{}
	}
	return r
}

// begin ends the step before, if any, and begins the next.
func (r *Report) begin(s Step) {
	r.end(false)
	r.Step, r.begun = s, time.Now()
	r.Steps = append(r.Steps, StepReport{Step: s})
}

// end ends the last step. early is whether the attestation ends with it although
// not all is done.
func (r *Report) end(early bool) {
	if n := len(r.Steps); n > 0 {
		r.Steps[n-1].Took, r.Steps[n-1].Ended = time.Since(r.begun), early
	}
}

func (e *Explanation) process(p *container.Process) {
	if e == nil {
		return
	}
	started, _ := p.Started()
	e.Process = &ProcessFacts{PID: p.PID(), State: p.State(), Started: started, Files: p.Files()}
	e.Lines = p.Lines()
}

// attempt records a look that began then. index is nil when there was no answer.
func (e *Explanation) attempt(took time.Duration, index *pod.Index, err error) {
	if e == nil {
		return
	}
	a := Attempt{Took: took, Err: err}
	if index != nil {
		a.Answered, a.Pods, a.Age = true, index.Len(), time.Since(index.Taken)
	}
	e.Attempts = append(e.Attempts, a)
}

// emptiness is why a process that is in no pod is in none.
func emptiness(p *container.Process, ignored []string) Emptiness {
	switch {
	case len(ignored) > 0:
		return IgnoredPaths
	case p.Own():
		return OwnContainer
	}
	return HostProcess
}
