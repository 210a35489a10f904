package examples

import (
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/podseal/podseal/pkg/pod"
)

// clusterSPIFFEID has the fields of the SPIRE controller manager's resource that
// the examples may use.
type clusterSPIFFEID struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		SPIFFEIDTemplate          string                `json:"spiffeIDTemplate"`
		WorkloadSelectorTemplates []string              `json:"workloadSelectorTemplates"`
		NamespaceSelector         *metav1.LabelSelector `json:"namespaceSelector"`
		PodSelector               *metav1.LabelSelector `json:"podSelector"`
		ClassName                 string                `json:"className"`
		Fallback                  bool                  `json:"fallback"`
	} `json:"spec"`
}

// DeepCopyObject makes it a runtime.Object. Nobody copies one here.
func (c *clusterSPIFFEID) DeepCopyObject() runtime.Object { panic("not copied") }

// matches is whether the resource is for a pod, by the labels that the pod and
// its namespace have.
func (c *clusterSPIFFEID) matches(t *testing.T, p *pod.Pod) bool {
	t.Helper()
	matches := func(selector *metav1.LabelSelector, set labels.Set) bool {
		if selector == nil {
			return true
		}
		s, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		return s.Matches(set)
	}
	return matches(c.Spec.NamespaceSelector, labels.Set{"kubernetes.io/metadata.name": p.Namespace}) &&
		matches(c.Spec.PodSelector, labels.Set{appLabel: p.Labels[0].Value})
}

// entry is what the controller manager makes of the resource for a pod.
func (c *clusterSPIFFEID) entry(t *testing.T, p *pod.Pod) (id string, selectors []string) {
	t.Helper()
	data := map[string]any{
		"TrustDomain":   "example.org",
		"ClusterName":   "example",
		"ClusterDomain": "cluster.local",
		"PodMeta":       &metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, UID: types.UID(p.UID)},
		"PodSpec":       &corev1.PodSpec{ServiceAccountName: p.ServiceAccount, NodeName: p.NodeName},
	}
	render := func(text string) string {
		parsed, err := template.New(c.Name).Option("missingkey=error").Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := parsed.Execute(&b, data); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	id = render(c.Spec.SPIFFEIDTemplate)
	if _, err := spiffeid.FromString(id); err != nil {
		t.Fatalf("%s: %q: %v", c.Name, id, err)
	}
	selectors = []string{"k8s:pod-uid:" + p.UID}
	for _, text := range c.Spec.WorkloadSelectorTemplates {
		selectors = append(selectors, render(text))
	}
	return id, selectors
}

// TestWhoGetsTheClusterSPIFFEIDs makes the entries of all sample pods, and asks
// podseal's own code which containers have all selectors of each.
func TestWhoGetsTheClusterSPIFFEIDs(t *testing.T) {
	t.Parallel()
	all := load(t, "clusterspiffeid.yaml").clusterSPIFFEIDs
	got := map[string][]string{}
	for _, p := range pods() {
		matching := slices.DeleteFunc(slices.Clone(all), func(c *clusterSPIFFEID) bool { return !c.matches(t, p) })
		if slices.ContainsFunc(matching, func(c *clusterSPIFFEID) bool { return !c.Spec.Fallback }) {
			matching = slices.DeleteFunc(matching, func(c *clusterSPIFFEID) bool { return c.Spec.Fallback })
		}
		for _, c := range matching {
			id, selectors := c.entry(t, p)
			checkClaims(t, c.Name, selectors)
			if who := whoHas(selectors); len(who) > 0 {
				got[id] = append(got[id], who...)
			}
		}
	}
	want := map[string][]string{
		"spiffe://example.org/ns/payments/sa/api/api":   {"api-0/api"},
		"spiffe://example.org/ns/payments/sa/api/proxy": {"api-0/proxy (sidecar)"},
		"spiffe://example.org/ns/payments/sa/reports":   {"reports-0/reports", "reports-0/shell (ephemeral)"},
		"spiffe://example.org/ns/payments/sa/ledger":    {"ledger-0/ledger", "ledger-0/shell (ephemeral)"},
		"spiffe://example.org/ns/guests/sa/ledger":      {"guests/ledger-0/ledger"},
		"spiffe://example.org/ns/guests/sa/api":         {"guests/api-0/api", "guests/api-0/migrate (init)", "guests/api-0/proxy (sidecar)"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestEveryClusterSPIFFEIDIsOfOneClass(t *testing.T) {
	t.Parallel()
	for _, c := range load(t, "clusterspiffeid.yaml").clusterSPIFFEIDs {
		if c.Spec.ClassName != "spire" || c.Spec.NamespaceSelector == nil {
			t.Errorf("%s is for the class %q, or for every namespace", c.Name, c.Spec.ClassName)
		}
	}
}
