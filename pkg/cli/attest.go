package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/podseal/podseal/pkg/attest"
	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/container"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/selector"
	"github.com/podseal/podseal/pkg/setup"
	"github.com/podseal/podseal/pkg/terminal"
	"github.com/podseal/podseal/pkg/verify"
)

func (c *command) attestCommand() *cobra.Command {
	var pid int
	var explain bool
	var entry entryOptions
	cmd := &cobra.Command{
		Use:   "attest --pid PID",
		Short: "Show the selectors of a process",
		Long: `attest does what the plugin does when the process calls the Workload API, and
shows the selectors that SPIRE would get, one to a line. Nothing for a process that
is in no pod.

With --explain it shows each step, what was read, how long it took and why it
ended, and the command that creates a registration entry which the process
matches. Only selectors that no pod's author can write into another pod are
suggested.`,
		Example: "  podseal attest --pid 4242\n  podseal attest --pid 4242 --explain --config /run/spire/config/agent.conf",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if pid < 1 || pid > math.MaxInt32 {
				return usagef("--pid: the ID of a process is needed, 1 to %d", math.MaxInt32)
			}
			return c.attest(cmd.Context(), int32(pid), explain, entry) // #nosec G115 -- checked
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&pid, "pid", 0, "ID of the process, as the agent sees it")
	flags.BoolVar(&explain, "explain", false, "show each step, and a registration entry that matches")
	flags.StringVar(&entry.parentID, "parent-id", "", "SPIFFE ID of the agent, for the registration entry")
	flags.StringVar(&entry.spiffeID, "spiffe-id", "", "SPIFFE ID to issue, for the registration entry (default: /ns/NAMESPACE/sa/SERVICEACCOUNT)")
	flags.StringVar(&entry.trustDomain, "trust-domain", "", "trust domain, for the registration entry (default: the agent's)")
	return cmd
}

func (c *command) attest(ctx context.Context, pid int32, explain bool, entry entryOptions) error {
	cfg, parts, done, err := c.parts(ctx, true)
	if err != nil {
		return err
	}
	defer done()
	if err := c.settle(ctx, parts); err != nil {
		return err
	}
	attestor := parts.Attestor
	attestor.Explain = explain
	source, _ := parts.Using()
	progress := terminal.StartProgress(c.Stderr, fmt.Sprintf("looking for process %d in the pods of %s", pid, cfg.kubelet(source)))
	attestor.Pods = &reported{pods: attestor.Pods, using: parts.Using, progress: progress, attempts: attestor.MaxPollAttempts}
	report, err := attestor.Attest(ctx, pid)
	progress.Stop()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if report.Images != nil {
		for _, f := range report.Images.Withheld {
			c.note("selectors of %s are missing (mode %s): %s", nameOf(f.Dialect, f.Policy), f.Mode, f)
		}
	}

	a := newAttestation(cfg.selectorType(), pid, report, err)
	if explain {
		if entry.trustDomain == "" {
			entry.trustDomain = cfg.block.TrustDomain.Text
		}
		a.Explanation = newExplanation(cfg, report)
		a.Explanation.addImages(cfg.selectorType(), report, err)
		a.Explanation.Source = newExplainedSource(cfg, parts)
		a.Explanation.suggest(cfg.selectorType(), report, entry)
	}
	if c.json() {
		err = writeJSON(c.Stdout.W, a)
	} else {
		err = a.write(c.Stdout)
	}
	if err != nil {
		return err
	}
	return c.conclude(a)
}

// conclude says beside the output what it means where that has no selectors.
func (c *command) conclude(a *attestation) error {
	switch a.Outcome {
	case outcomeAttested:
		return nil
	case outcomeNotInPod:
		say(c.Stderr, "no selectors: ", terminal.Warning, a.Why)
		if a.Error != nil {
			say(c.Stderr, "remedy: ", terminal.Bold, a.Error.Remedy)
			return errReported
		}
		return nil
	}
	fail(c.Stderr, a.Error)
	return errReported
}

func newAttestation(selectorType string, pid int32, r *attest.Report, err error) *attestation {
	a := &attestation{header: kind("Attestation"), PID: pid, Outcome: outcomeAttested, Selectors: []string{}}
	for _, s := range r.Selectors {
		a.Selectors = append(a.Selectors, selectorType+":"+s)
	}
	if r.Pod != nil {
		a.Pod = &podName{r.Pod.Namespace, r.Pod.Name, r.Pod.UID}
	}
	if r.Container != nil {
		a.Container = &containerName{r.Container.Name, string(r.Container.Type), r.Container.ID}
	}
	switch {
	case err != nil:
		a.Outcome, a.Error = outcomeFailed, diagnose(err)
	case r.Empty == attest.NoProcess:
		a.Outcome = outcomeNoProcess
		a.Error = &failure{
			Cause:  fmt.Sprintf("there is no process %d here", pid),
			Remedy: "Give the process's ID as this machine's ps shows it, in the agent's PID namespace; podseal doctor tells whether the agent sees the node's processes (hostPID).",
		}
	case r.Empty == attest.IgnoredPaths:
		a.Outcome, a.Why = outcomeNotInPod, fmt.Sprintf("process %d is %s: %s", pid, r.Empty, r.Ignored[0])
		a.Error = &failure{Cause: a.Why, Remedy: "Find out who made that cgroup: any user may have made it to be taken for a pod, and then nothing is wrong here. Only if the kubelet of this node runs with --cgroup-root and the agent outside of it, set cgroup_root to the kubelet's."}
	case r.Empty != attest.NotEmpty:
		a.Outcome, a.Why = outcomeNotInPod, fmt.Sprintf("process %d is %s", pid, r.Empty)
	}
	return a
}

func newExplanation(cfg *configuration, r *attest.Report) *explanation {
	e := &explanation{Configuration: cfg.path, Plugin: cfg.block.Plugin, Steps: []explainedStep{}, Cgroups: []cgroupLine{}, Attempts: []podAttempt{}}
	for _, s := range r.Steps {
		step := explainedStep{Name: string(s.Step), Took: seconds(s.Took), Ended: s.Ended, Found: found(s.Step, r)}
		if facts := r.Explanation.Process; facts != nil && s.Step == attest.StepContainer {
			step.Read = facts.Files
		}
		e.Steps = append(e.Steps, step)
	}
	for _, l := range r.Explanation.Lines {
		e.Cgroups = append(e.Cgroups, cgroupLine{Hierarchy: l.HierarchyName(), Path: l.Path, AgentPath: l.AgentPath,
			Meaning: string(l.Meaning), Why: l.Why(), PodUID: l.PodUID, ContainerID: l.ContainerID})
	}
	for _, look := range r.Explanation.Attempts {
		attempt := podAttempt{Took: seconds(look.Took), Pods: look.Pods, Age: seconds(look.Age)}
		if look.Err != nil {
			attempt.Missing = diagnose(look.Err).Cause
		}
		e.Attempts = append(e.Attempts, attempt)
	}
	return e
}

// addImages adds what was found out about the container's image.
func (e *explanation) addImages(selectorType string, r *attest.Report, err error) {
	if r.Images == nil || r.Container == nil {
		return
	}
	refusal, _ := errors.AsType[*verify.Error](err)
	v := newVerifiedImage(r.Container, r.Images, refusal)
	if values, err := selector.Images(r.Images.Trust); err == nil {
		for _, value := range values {
			v.Selectors = append(v.Selectors, selectorType+":"+value)
		}
	}
	v.explain(r.Images)
	e.Images = append(e.Images, v)
}

func newExplainedSource(cfg *configuration, parts *setup.Parts) explainedSource {
	source, err := parts.Using()
	e := explainedSource{Name: source, Address: cfg.address(source)}
	if err != nil {
		e.NotPodsAPI = diagnose(err).Cause
	}
	return e
}

// found says what a step found, as far as it came.
func found(step attest.Step, r *attest.Report) string {
	passed := slices.ContainsFunc(r.Steps, func(s attest.StepReport) bool { return s.Step == step && !s.Ended })
	switch {
	case !passed && r.Empty != attest.NotEmpty:
		return "it ends here: " + string(r.Empty)
	case !passed:
		return "it ends here, see the error"
	}
	switch step {
	case attest.StepProcess:
		text := "it is there"
		if facts := r.Explanation.Process; facts != nil {
			text = fmt.Sprintf("state %s, started %s", facts.State, facts.Started.UTC().Format(time.RFC3339))
		}
		return text
	case attest.StepContainer:
		return location(r.Ref)
	case attest.StepAdmission:
		return "calls of this pod and in all are within their bounds"
	case attest.StepPod:
		return podAndContainer(r.Pod, r.Container)
	case attest.StepImages:
		return imagesFound(r)
	case attest.StepCheck:
		return "still the same process in the same cgroups"
	case attest.StepSelectors:
		return fmt.Sprintf("%d selectors", len(r.Selectors))
	}
	return ""
}

func location(ref container.Ref) string {
	if ref.PodUID() == "" {
		return "container " + ref.ContainerID() + ", whose pod the cgroup does not tell"
	}
	return "pod UID " + ref.PodUID() + ", container " + ref.ContainerID()
}

func podAndContainer(p *pod.Pod, c *pod.Container) string {
	text := fmt.Sprintf("pod %s/%s", p.Namespace, p.Name)
	if c != nil {
		text += fmt.Sprintf(", %s container %s", c.Type, c.Name)
	}
	return text
}

// imagesFound says what came of the container's image, and who said what it is.
func imagesFound(r *attest.Report) string {
	if r.Images == nil || r.Images.NoPolicy {
		return "no image policy applies"
	}
	text := ""
	for _, i := range r.Images.Images {
		text = fmt.Sprintf("%s runs %s, as %s says; ", i.Container, i.Runs.ImageID, saidBy[i.Runs.Source])
	}
	withheld := map[string]policy.Mode{}
	for _, f := range r.Images.Withheld {
		withheld[nameOf(f.Dialect, f.Policy)] = f.Mode
	}
	var names, against []string
	for _, v := range r.Images.Verdicts {
		name := nameOf(v.Dialect, v.Policy)
		switch mode, is := withheld[name]; {
		case is:
			against = append(against, fmt.Sprintf("%s (mode %s)", name, mode))
			continue
		case v.Skipped:
			name += " (which skips the image)"
		case !v.Stale.IsZero():
			name += " (by evidence of " + rfc3339(v.Stale) + ")"
		}
		names = append(names, name)
	}
	var parts []string
	if len(names) > 0 {
		parts = append(parts, "nothing is against it of "+strings.Join(names, ", "))
	}
	if len(against) > 0 {
		parts = append(parts, "selectors are missing of "+strings.Join(against, ", "))
	}
	return text + strings.Join(parts, "; ")
}

var saidBy = map[verify.Source]string{
	verify.FromKubelet: "the pod's record",
	verify.FromPodsAPI: "the kubelet's Pods API",
	verify.FromCRI:     "the container runtime",
}

// suggest puts in the registration entry, where there is a pod.
func (e *explanation) suggest(selectorType string, r *attest.Report, o entryOptions) {
	if r.Pod == nil || len(r.Selectors) == 0 {
		return
	}
	var err error
	if e.Entry, err = newEntry(selectorType, r.Pod, o); err != nil {
		e.NoEntry = err.Error()
	}
}

// parts makes the parts that the plugin would make of the configuration, those that
// verify images only where that is wanted. done closes them.
func (c *command) parts(ctx context.Context, images bool) (_ *configuration, _ *setup.Parts, done func(), err error) {
	cfg, err := c.loadConfig("")
	if err != nil {
		return nil, nil, nil, err
	}
	if err := cfg.check(); err != nil {
		return nil, nil, nil, err
	}
	if !images {
		cfg.config.Images = config.Images{}
	}
	process := setup.NewProcess(slog.New(slog.DiscardHandler)) // what is logged is in the errors
	process.Proc, process.Beside = c.Proc, true
	parts, err := process.Build(cfg.config, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	progress := terminal.StartProgress(c.Stderr, "looking whether "+cfg.kubelet(config.FromPodsAPI)+" answers")
	defer progress.Stop()
	parts.Settle(ctx)
	return cfg, parts, func() { parts.CloseUnlessIn(nil) }, nil
}

// reported is a pod source that says how far the looks at it have come.
type reported struct {
	pods     attest.Pods
	using    func() (config.PodSource, error)
	progress *terminal.Progress
	// attempts is how many looks there are at most; the Pods API, which is told of
	// changes, has as many as it likes.
	attempts int

	looks int
}

// Next implements attest.Pods.
func (r *reported) Next(ctx context.Context, uid string, newerThan time.Time) (*pod.Index, error) {
	r.looks++
	index, err := r.pods.Next(ctx, uid, newerThan)
	source, _ := r.using()
	r.progress.Say(r.look(source) + ": " + seen(source, uid, index, err))
	return index, err
}

func (r *reported) look(source config.PodSource) string {
	if source == config.FromPodsAPI {
		return fmt.Sprintf("look %d", r.looks)
	}
	return fmt.Sprintf("look %d of %d", r.looks, r.attempts)
}

// seen says why another look may be needed.
func seen(source config.PodSource, uid string, index *pod.Index, err error) string {
	switch {
	case err != nil:
		return diagnose(err).Cause
	case source != config.FromPodsAPI || uid == "":
		return fmt.Sprintf("the kubelet lists %d pods, the container is not among them yet", index.Len())
	case index.Len() == 0:
		return "the kubelet does not know the pod yet"
	}
	return "the kubelet knows the pod, but not the container yet"
}
