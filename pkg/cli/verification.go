package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/policy"
	"github.com/podseal/podseal/pkg/terminal"
	"github.com/podseal/podseal/pkg/verify"
)

// verification is what `verify` finds.
type verification struct {
	header
	// Outcome is the worst of the images'.
	Outcome string          `json:"outcome"`
	Images  []verifiedImage `json:"images"`
}

// Outcomes of an image.
const (
	outcomeVerified    = "verified"
	outcomeNotVerified = "not_verified"
	outcomeUnknown     = "unknown"
	outcomeSkipped     = "skipped"
	outcomeNoPolicy    = "no_policy"
)

// worst first.
var outcomes = []string{outcomeNotVerified, outcomeUnknown, outcomeNoPolicy, outcomeSkipped, outcomeVerified}

func (v *verification) outcome() string {
	for _, o := range outcomes {
		for _, i := range v.Images {
			if i.Outcome == o {
				return o
			}
		}
	}
	return outcomeNoPolicy
}

// verifiedImage is the image of one container.
type verifiedImage struct {
	// Container is empty for an image that was named on the command line.
	Container string `json:"container,omitempty"`
	Image     string `json:"image"`
	ImageID   string `json:"image_id"`
	Outcome   string `json:"outcome"`
	// Policies are those that apply, the sigstore block's first.
	Policies []judgedPolicy `json:"policies"`
	// Selectors have the type before them; none where a policy that does not hold costs
	// all of them.
	Selectors []string `json:"selectors"`
	// Evidence is what the verdicts are by, nil where none was needed.
	Evidence *usedEvidence `json:"evidence,omitempty"`
	// TrustRoots are what signatures were judged by, in the order of their use.
	TrustRoots []usedRoot `json:"trust_roots,omitempty"`
	// Explanation is there with --explain.
	Explanation *imageExplanation `json:"explanation,omitempty"`
}

// judgedPolicy is what a policy says.
type judgedPolicy struct {
	// Name is "sigstore", "experimental.sigstore" or "image_policy NAME".
	Name string `json:"name"`
	// Result is "accepted", "refused", "unknown" or "skipped".
	Result string `json:"result"`
	// Reasons are why it does not hold.
	Reasons []string `json:"reasons,omitempty"`
	// Mode is "withhold" or "audit" for one that does not hold and does not cost all
	// selectors.
	Mode string `json:"mode,omitempty"`
	// Stale is of when the evidence is by which it holds, while a registry is away.
	Stale string `json:"stale,omitempty"`
}

func newVerifiedImage(c *pod.Container, r *verify.Result, refusal *verify.Error) verifiedImage {
	v := verifiedImage{Container: c.Name, Image: c.SpecImage, ImageID: c.ImageID, Policies: []judgedPolicy{}, Selectors: []string{}}
	accepted := false
	for _, verdict := range r.Verdicts {
		p := judgedPolicy{Name: nameOf(verdict.Dialect, verdict.Policy), Result: string(cmp.Or(verdict.Result, policy.Refused))}
		if verdict.Skipped {
			p.Result = outcomeSkipped
		}
		p.Stale = rfc3339(verdict.Stale)
		accepted = accepted || verdict.Result == policy.Accepted
		v.Policies = append(v.Policies, p)
	}
	v.used(r, time.Now())
	failures := slices.Clone(r.Withheld)
	if refusal != nil {
		failures = append(failures, refusal.Failures...)
	}
	switch {
	case len(failures) > 0:
		v.refused(&verify.Error{Failures: failures})
	case r.NoPolicy:
		v.Outcome = outcomeNoPolicy
	case accepted:
		v.Outcome = outcomeVerified
	default:
		v.Outcome = outcomeSkipped
	}
	if c.ImageID == "" && refusal != nil {
		v.notStarted()
	}
	return v
}

// notStarted says of a container in a file what the plugin says of none: there it is a
// refusal, here the answer may be another once a tag has become an image.
func (v *verifiedImage) notStarted() {
	v.Outcome = outcomeUnknown
	for i := range v.Policies {
		v.Policies[i].Result = string(policy.Unknown)
	}
}

// refused takes the reasons, also of policies that did not come to a verdict.
func (v *verifiedImage) refused(refusal *verify.Error) {
	v.Outcome = outcomeUnknown
	if refusal.Kind() == verify.NotVerified {
		v.Outcome = outcomeNotVerified
	}
	for _, f := range refusal.Failures {
		name := nameOf(f.Dialect, f.Policy)
		at := -1
		for i, p := range v.Policies {
			if p.Name == name {
				at = i
			}
		}
		if at < 0 {
			result := policy.Unknown
			if f.Kind == verify.NotVerified {
				result = policy.Refused
			}
			v.Policies = append(v.Policies, judgedPolicy{Name: name, Result: string(result)})
			at = len(v.Policies) - 1
		}
		if f.Mode == policy.Withhold || f.Mode == policy.Audit {
			v.Policies[at].Mode = string(f.Mode)
		}
		for _, reason := range f.Reasons {
			v.Policies[at].Reasons = append(v.Policies[at].Reasons, reason.Error())
		}
	}
}

func nameOf(d verify.Dialect, name string) string {
	if d == verify.DialectPolicy {
		return string(d) + " " + name
	}
	return string(d)
}

// write writes the verdicts and the selectors, and before them what was found.
func (v *verification) write(out *terminal.Output) error {
	w := &writer{out: out}
	for _, i := range v.Images {
		i.write(w)
	}
	return w.err
}

func (v *verifiedImage) write(w *writer) {
	title := v.ImageID
	if title == "" {
		title = v.Image
	}
	if v.Container != "" {
		title = "container " + v.Container + ": " + title
	}
	w.heading(title)
	if v.Explanation != nil {
		v.Explanation.write(w)
	}
	if len(v.Policies) > 0 {
		var rows [][]terminal.Cell
		for _, p := range v.Policies {
			rows = append(rows, []terminal.Cell{terminal.Text(p.Name), styleOf(p.Result).Text(p.Result), terminal.Text(p.why())})
		}
		w.table([]string{"policy", "result", "why"}, rows)
	}
	if v.Evidence != nil {
		w.sentence("evidence: ", terminal.Bold, v.Evidence.text())
	}
	for _, r := range v.TrustRoots {
		w.sentence("trust root: ", terminal.Bold, r.text())
	}
	w.sentence("", styleOf(v.Outcome), sentences[v.Outcome])
	for _, s := range v.Selectors {
		w.line(s)
	}
}

// why is why a policy does not hold, and what follows from that.
func (p judgedPolicy) why() string {
	why := strings.Join(p.Reasons, "; ")
	switch {
	case p.Mode != "":
		return fmt.Sprintf("(mode %s: only its own selectors are missing) %s", p.Mode, why)
	case p.Stale != "":
		return "by evidence of " + p.Stale + ", as the registry does not answer"
	}
	return why
}

var sentences = map[string]string{
	outcomeVerified:    "verified",
	outcomeNotVerified: "not verified",
	outcomeUnknown:     "it could not be told whether it is verified",
	outcomeSkipped:     "not looked at: it is on the list of images that are skipped",
	outcomeNoPolicy:    "no policy is about it, so nothing was looked at",
}

func styleOf(result string) terminal.Style {
	switch result {
	case outcomeVerified, string(policy.Accepted):
		return terminal.Good
	case outcomeNotVerified, string(policy.Refused):
		return terminal.Bad
	}
	return terminal.Warning
}
