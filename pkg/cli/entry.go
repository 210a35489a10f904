package cli

import (
	"fmt"
	"slices"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/printable"
	"github.com/podseal/podseal/pkg/selector"
	"github.com/podseal/podseal/pkg/terminal"
)

// entryOptions are what an entry has besides selectors. Empty ones are guessed,
// or left for the reader to fill in.
type entryOptions struct {
	trustDomain, parentID, spiffeID string
}

// entry is a registration entry that the pod's processes match.
type entry struct {
	ParentID  string   `json:"parent_id"`
	SPIFFEID  string   `json:"spiffe_id"`
	Selectors []string `json:"selectors"`
	// Command creates it, quoted for a POSIX shell.
	Command string `json:"command"`
	// Open are the parts of the command that the reader has to replace.
	Open []string `json:"open,omitempty"`
}

// newEntry returns the entry to suggest for a pod. Its selectors are only those
// that no pod's author could have written into another pod: the rest of what
// podseal says of a pod tells who claims to be what. An error says why there is
// nothing to suggest.
func newEntry(selectorType string, p *pod.Pod, o entryOptions) (*entry, error) {
	e := &entry{}
	for _, s := range selector.Suggested(p) {
		e.Selectors = append(e.Selectors, selectorType+":"+s)
	}
	if len(e.Selectors) == 0 {
		return nil, fmt.Errorf("no command is suggested for pod %q in namespace %q: it has no service account, and the namespace alone would match every pod in it", p.Name, p.Namespace)
	}
	domain, err := spiffeid.TrustDomainFromString(o.trustDomain)
	domainName := domain.Name()
	if err != nil {
		domainName = "<trust domain>"
		e.Open = append(e.Open, domainName)
	}
	e.ParentID, e.SPIFFEID = o.parentID, o.spiffeID
	if e.ParentID == "" {
		e.ParentID = "spiffe://" + domainName + "/<path of the agent ID>"
		e.Open = append(e.Open, "<path of the agent ID>")
	}
	if e.SPIFFEID == "" {
		// What SPIRE's controller manager makes of a pod unless it is told
		// otherwise.
		e.SPIFFEID = "spiffe://" + domainName + "/ns/" + p.Namespace + "/sa/" + p.ServiceAccount
	}

	words := []string{"spire-server", "entry", "create", "-parentID", e.ParentID, "-spiffeID", e.SPIFFEID}
	for _, s := range e.Selectors {
		words = append(words, "-selector", s)
	}
	if e.Command, err = printable.ShellCommand(words...); err != nil {
		return nil, fmt.Errorf("no command is suggested for pod %q in namespace %q: %w", p.Name, p.Namespace, err)
	}
	e.Open = slices.Compact(e.Open)
	return e, nil
}

// write writes the entry with what there is to know about it.
func (e *entry) write(w *writer) {
	w.heading("A registration entry that matches")
	w.line("  " + e.Command)
	w.sentence("", terminal.Plain, "It matches every pod of this namespace with this service account. Labels, names, images and owners are left out: whoever may create a pod can write them into another one (docs/selectors.md).")
	if len(e.Open) > 0 {
		w.sentence("", terminal.Plain, "Put in what is in angle brackets; --parent-id, --spiffe-id and --trust-domain do it here.")
	}
}
