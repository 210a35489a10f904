package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/terminal"
)

// attestation is what `attest` finds.
type attestation struct {
	header
	PID     int32  `json:"pid"`
	Outcome string `json:"outcome"`
	// Why is a sentence on an outcome without selectors that is no failure.
	Why string `json:"why,omitempty"`
	// Pod and Container are empty where they are not known.
	Pod       *podName       `json:"pod,omitempty"`
	Container *containerName `json:"container,omitempty"`
	// Selectors have the type before them, "k8s:ns:web"; sorted.
	Selectors []string `json:"selectors"`
	Error     *failure `json:"error,omitempty"`
	// Explanation is there with --explain.
	Explanation *explanation `json:"explanation,omitempty"`
}

// Outcomes.
const (
	outcomeAttested  = "attested"
	outcomeNotInPod  = "not_in_a_pod"
	outcomeNoProcess = "no_such_process"
	outcomeFailed    = "failed"
)

type podName struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

type containerName struct {
	Name string `json:"name"`
	Type string `json:"type"`
	ID   string `json:"id"`
}

// explanation is how it came to that.
type explanation struct {
	// Configuration and Plugin are what was used; empty for defaults.
	Configuration string          `json:"configuration"`
	Plugin        string          `json:"plugin,omitempty"`
	Source        explainedSource `json:"pod_source"`
	Steps         []explainedStep `json:"steps"`
	Cgroups       []cgroupLine    `json:"cgroups"`
	Attempts      []podAttempt    `json:"attempts"`
	// Images is the container's image, where images are verified.
	Images []verifiedImage `json:"images,omitempty"`
	// Entry is a registration entry to suggest, NoEntry why there is none.
	Entry   *entry `json:"entry,omitempty"`
	NoEntry string `json:"no_entry,omitempty"`
}

// explainedSource is where pods were known from in the end.
type explainedSource struct {
	// Name is "kubelet" or "pods_api", Address its host and port or its socket.
	Name    config.PodSource `json:"name"`
	Address string           `json:"address"`
	// NotPodsAPI is why the Pods API was not used where it would be.
	NotPodsAPI string `json:"not_pods_api,omitempty"`
}

type explainedStep struct {
	Name  string  `json:"name"`
	Took  float64 `json:"took_seconds"`
	Found string  `json:"found"`
	// Ended is whether the attestation ended in this step, before the last one.
	Ended bool `json:"ended"`
	// Read are the files that were read.
	Read []string `json:"read,omitempty"`
}

type cgroupLine struct {
	Hierarchy   string `json:"hierarchy"`
	Path        string `json:"path"`
	AgentPath   string `json:"agent_path"`
	Meaning     string `json:"meaning"`
	Why         string `json:"why"`
	PodUID      string `json:"pod_uid,omitempty"`
	ContainerID string `json:"container_id,omitempty"`
}

// podAttempt is one look at the pods of the node.
type podAttempt struct {
	Took float64 `json:"took_seconds"`
	Pods int     `json:"pods"`
	// Age is how old the answer was.
	Age float64 `json:"age_seconds"`
	// Missing is why it did not do, empty for the one that did.
	Missing string `json:"missing,omitempty"`
}

// write writes the attestation: the selectors, a line for each, so that they can
// be piped on, and around them the explanation where there is one.
func (a *attestation) write(out *terminal.Output) error {
	w := &writer{out: out}
	if a.Explanation != nil {
		a.Explanation.write(w)
		if len(a.Selectors) > 0 {
			w.heading("Selectors")
		}
	}
	for _, s := range a.Selectors {
		w.line(s)
	}
	if a.Explanation != nil && a.Explanation.Entry != nil {
		a.Explanation.Entry.write(w)
	}
	if a.Explanation != nil && a.Explanation.NoEntry != "" {
		w.heading("Registration entry")
		w.sentence("", terminal.Plain, a.Explanation.NoEntry)
	}
	return w.err
}

func (e *explanation) write(w *writer) {
	where := "the defaults"
	if e.Configuration != "" {
		where = e.Configuration
	}
	if e.Plugin != "" {
		where += ", WorkloadAttestor " + strconv.Quote(e.Plugin)
	}
	w.sentence("configuration: ", terminal.Bold, where)
	w.sentence("pods are known from: ", terminal.Bold, e.Source.text())
	w.heading("Steps")
	var rows [][]terminal.Cell
	for _, s := range e.Steps {
		style := terminal.Good
		if s.Ended {
			style = terminal.Bad
		}
		found := s.Found
		if len(s.Read) > 0 {
			found += " (read " + strings.Join(s.Read, ", ") + ")"
		}
		rows = append(rows, []terminal.Cell{style.Text(s.Name), terminal.Text(duration(s.Took)), terminal.Text(found)})
	}
	w.table([]string{"step", "took", "what was found"}, rows)

	if len(e.Cgroups) > 0 {
		w.heading("The process's cgroups, as seen from the agent's")
		rows = nil
		for _, l := range e.Cgroups {
			rows = append(rows, []terminal.Cell{terminal.Text(l.Hierarchy), terminal.Text(l.Path), terminal.Text(l.AgentPath), terminal.Text(l.Why)})
		}
		w.table([]string{"hierarchy", "path", "the agent's", "it is"}, rows)
	}
	if len(e.Attempts) > 0 {
		w.heading(e.Source.looks())
		rows = nil
		for i, a := range e.Attempts {
			missing := terminal.Good.Text("the container is there")
			if a.Missing != "" {
				missing = terminal.Text(a.Missing)
			}
			rows = append(rows, []terminal.Cell{terminal.Text(strconv.Itoa(i + 1)), terminal.Text(duration(a.Took)), terminal.Text(strconv.Itoa(a.Pods)), missing})
		}
		w.table([]string{"look", "took", "pods", "result"}, rows)
	}
	for _, i := range e.Images {
		i.Selectors = nil // they are among all of them
		i.write(w)
	}
}

func (s explainedSource) text() string {
	kubelet := kubeletAt(s.Name, s.Address)
	switch {
	case s.Name == config.FromPodsAPI:
		return kubelet + ", its Pods API"
	case s.NotPodsAPI != "":
		return kubelet + ", because its Pods API does not answer: " + s.NotPodsAPI
	}
	return kubelet
}

// looks is what the attempts looked at: the Pods API is asked for one pod alone.
func (s explainedSource) looks() string {
	if s.Name == config.FromPodsAPI {
		return "Looks at the pod"
	}
	return "Looks at the pods of the node"
}

// duration is a time in seconds for people: three digits at most.
func duration(seconds float64) string {
	switch d := time.Duration(seconds * float64(time.Second)); {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours())/24)
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	default:
		return fmt.Sprintf("%d µs", d.Microseconds())
	}
}
