package examples

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// registrationEntries has the fields of what `spire-server entry create -data`
// reads that the examples use. The server passes over a field that it does not
// know, so that a typing error would make an entry that claims less.
type registrationEntries struct {
	Entries []struct {
		ParentID  string                         `json:"parent_id"`
		SPIFFEID  string                         `json:"spiffe_id"`
		Selectors []struct{ Type, Value string } `json:"selectors"`
	} `json:"entries"`
}

const serverID = "spiffe://example.org/spire/server"

// entries returns the agents' own selectors, and those of each SPIFFE ID.
func entries(t *testing.T) (agents []string, workloads map[string][]string) {
	t.Helper()
	var all registrationEntries
	strict := json.NewDecoder(bytes.NewBufferString(read(t, dir, "entries.json")))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&all); err != nil {
		t.Fatal(err)
	}
	var agentsID string
	workloads = map[string][]string{}
	for _, e := range all.Entries {
		for _, id := range []string{e.ParentID, e.SPIFFEID} {
			if _, err := spiffeid.FromString(id); err != nil {
				t.Fatalf("%q: %v", id, err)
			}
		}
		var selectors []string
		for _, s := range e.Selectors {
			selectors = append(selectors, s.Type+":"+s.Value)
		}
		switch {
		case e.ParentID == serverID && agents == nil:
			agents, agentsID = selectors, e.SPIFFEID
		case e.ParentID != agentsID || workloads[e.SPIFFEID] != nil:
			t.Errorf("%s is below %s, or there twice", e.SPIFFEID, e.ParentID)
		default:
			workloads[e.SPIFFEID] = selectors
		}
	}
	return agents, workloads
}

func TestTheEntryOfTheAgentsIsForTheDaemonSet(t *testing.T) {
	t.Parallel()
	i := installed(t)
	agents, _ := entries(t)
	want := []string{
		"k8s_psat:cluster:example",
		"k8s_psat:agent_ns:" + i.daemonSet.Namespace,
		"k8s_psat:agent_sa:" + i.pod.ServiceAccountName,
	}
	if diff := cmp.Diff(want, agents); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if !strings.Contains(i.text, `cluster = "example"`) {
		t.Error("the agents say that they are of another cluster")
	}
}

// TestWhoGetsTheEntries asks podseal's own code which containers of the sample
// pods have all selectors of each entry.
func TestWhoGetsTheEntries(t *testing.T) {
	t.Parallel()
	_, workloads := entries(t)
	got := map[string][]string{}
	for id, selectors := range workloads {
		checkClaims(t, id, selectors)
		got[id] = whoHas(selectors)
	}
	want := map[string][]string{
		"spiffe://example.org/payments/reports": {"reports-0/reports", "reports-0/shell (ephemeral)"},
		"spiffe://example.org/payments/api":     {"api-0/api"},
		"spiffe://example.org/payments/migrate": {"api-0/migrate (init)"},
		"spiffe://example.org/payments/ledger":  {"ledger-0/ledger"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// checkClaims checks that selectors are ones that podseal gives, and that what a
// pod's author can't choose is among them.
func checkClaims(t *testing.T, id string, selectors []string) {
	t.Helper()
	for _, s := range selectors {
		if !slices.Contains(kinds(), kind(s)) {
			t.Errorf("%s: no process ever has %q", id, s)
		}
	}
	for _, k := range []string{"k8s:ns", "k8s:sa"} {
		if !slices.ContainsFunc(selectors, func(s string) bool { return kind(s) == k }) {
			t.Errorf("%s is for any %s", id, k)
		}
	}
}
