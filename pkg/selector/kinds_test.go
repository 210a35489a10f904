package selector_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/selector"
)

// everything is a pod with selectors of every kind.
func everything() *pod.Pod {
	return &pod.Pod{
		UID: "u", Name: "blog-0", Namespace: "default", NodeName: "node1", ServiceAccount: "blog",
		Labels: []pod.Label{{Key: "app", Value: "blog"}},
		Owners: []pod.Owner{{Kind: "Job", Name: "blog", UID: "o"}},
		Containers: []pod.Container{
			{Name: "app", Type: pod.Regular, SpecImage: "blog:1", HasStatus: true, ID: "1", Image: "blog:1", ImageID: "blog@" + digestA},
			{Name: "setup", Type: pod.Init, SpecImage: "init:1", HasStatus: true, ID: "2", Image: "init:1", ImageID: "init@" + digestB},
		},
	}
}

// A kind that is not in this list is never suggested: whoever adds one here says
// that no author of a pod can bring its values about.
func TestNothingThatAPodsAuthorCanWriteIsSuggested(t *testing.T) {
	t.Parallel()
	var granted []string
	for _, k := range selector.Kinds() {
		if k.Granted {
			granted = append(granted, k.Name)
		}
	}
	if diff := cmp.Diff([]string{"ns", "sa"}, granted); diff != "" {
		t.Errorf("kinds that are granted (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ns:default", "sa:blog"}, selector.Suggested(everything())); diff != "" {
		t.Errorf("suggested (-want +got):\n%s", diff)
	}
}

// A label or a name with a line break or another selector in it stays what it is.
func TestWhatAnAuthorWritesDoesNotBecomeASuggestion(t *testing.T) {
	t.Parallel()
	evil := "x\nns:kube-system"
	p := &pod.Pod{Namespace: "n", ServiceAccount: "s", Name: evil, UID: evil, NodeName: evil,
		Labels: []pod.Label{{Key: "ns", Value: "kube-system"}, {Key: "\nns", Value: "kube-system"}}, Owners: []pod.Owner{{Kind: "ns", Name: "kube-system", UID: evil}},
		Containers: []pod.Container{{Name: "ns:kube-system", Type: pod.Regular, SpecImage: evil, HasStatus: true, ID: "1", Image: evil, ImageID: "ns:kube-system"}}}
	if diff := cmp.Diff([]string{"ns:n", "sa:s"}, selector.Suggested(p)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// "ns" alone is everybody who may create pods there; "sa" alone is an account of
// that name in every namespace.
func TestHalfAnIdentityIsNotSuggested(t *testing.T) {
	t.Parallel()
	for _, p := range []*pod.Pod{{}, {Namespace: "kube-system"}, {ServiceAccount: "default"}} {
		if got := selector.Suggested(p); got != nil {
			t.Errorf("suggested for namespace %q, account %q: %q, want nothing", p.Namespace, p.ServiceAccount, got)
		}
	}
}

func TestEverySelectorIsOfAKindAndEveryKindHasOne(t *testing.T) {
	t.Parallel()
	p := everything()
	rendered := map[string]bool{}
	for i := range p.Containers {
		for _, s := range selector.Container(p, &p.Containers[i]) {
			name, _, ok := strings.Cut(s, ":")
			if !ok {
				t.Errorf("selector %q has no colon", s)
			}
			rendered[name] = true
		}
	}
	signature := by("a", github(t))
	images, err := selector.Images(selector.Trust{Accepted: []selector.Accepted{
		{Policy: "p", Signers: signature}, {Dialect: selector.Sigstore, Signers: signature, Attested: true}, {Dialect: selector.OlderSigstore, ContainerID: "c", Signers: signature},
	}, Pod: []string{"p"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range images {
		name, _, _ := strings.Cut(strings.TrimPrefix(s, "c:"), ":")
		rendered[name] = true
	}
	for _, k := range selector.Kinds() {
		if !rendered[k.Name] {
			t.Errorf("no selector is of kind %s", k.Name)
		}
		delete(rendered, k.Name)
	}
	for name := range rendered {
		t.Errorf("selectors of kind %s are rendered, but it is not among the kinds", name)
	}
}

func TestTheManualSaysTheSameOfEveryKind(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../../docs/selectors.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented, have []string
	for l := range strings.Lines(string(manual)) {
		cells := strings.Split(l, "|")
		if len(cells) != 5 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		name, _, _ := strings.Cut(strings.Trim(cells[1], " `"), ":")
		documented = append(documented, name+": "+strings.TrimSpace(cells[3]))
	}
	for _, k := range selector.Kinds() {
		have = append(have, k.Name+": "+k.SetBy)
	}
	slices.Sort(documented)
	slices.Sort(have)
	if diff := cmp.Diff(documented, have); diff != "" {
		t.Errorf("(-manual +kinds):\n%s", diff)
	}
}
