package examples

import (
	"slices"
	"strings"

	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/selector"
)

const (
	appLabel = "app.kubernetes.io/name"
	digest   = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
)

// pods are what the examples claim something about, and what they must not mean:
// the same names in another namespace, under another account, of another type.
func pods() []*pod.Pod {
	return []*pod.Pod{
		sample("payments", "api-0", "api", c("api", pod.Regular), c("migrate", pod.Init), c("proxy", pod.Sidecar), c("debugger", pod.Ephemeral)),
		sample("payments", "api-1", "reports-of-others", c("api", pod.Regular), c("migrate", pod.Init), c("proxy", pod.Sidecar)),
		sample("payments", "api-2", "api", c("migrate", pod.Regular), c("proxy", pod.Regular), c("api", pod.Ephemeral)),
		sample("payments", "reports-0", "reports", c("reports", pod.Regular), c("shell", pod.Ephemeral)),
		sample("payments", "ledger-0", "ledger", built(c("ledger", pod.Regular)), c("shell", pod.Ephemeral)),
		sample("guests", "ledger-0", "ledger", built(c("ledger", pod.Regular))),
		sample("guests", "api-0", "api", c("api", pod.Regular), c("migrate", pod.Init), c("proxy", pod.Sidecar)),
		sample("spire", "spire-agent-x", "spire-agent", c("spire-agent", pod.Regular)),
	}
}

// sample is a pod on node-1, with its account's name as its label.
func sample(namespace, name, account string, containers ...pod.Container) *pod.Pod {
	return &pod.Pod{
		UID: "uid-of-" + namespace + "-" + name, Namespace: namespace, Name: name, NodeName: "node-1", ServiceAccount: account,
		Labels:     []pod.Label{{Key: appLabel, Value: strings.SplitN(name, "-", 2)[0]}},
		Owners:     []pod.Owner{{Kind: "ReplicaSet", Name: name, UID: "1"}},
		Containers: containers,
	}
}

func c(name string, of pod.Type) pod.Container {
	image := "registry.example.org/" + name
	return pod.Container{
		Name: name, Type: of, SpecImage: image + ":1", HasStatus: true, Running: true, ID: strings.Repeat("c", 64),
		Image: image + ":1", ImageID: image + "@sha256:" + strings.Repeat("1", 64),
	}
}

// built has the image that the entry for the ledger names.
func built(c pod.Container) pod.Container {
	c.ImageID = "registry.example.org/" + c.Name + "@" + digest
	return c
}

// whoHas names the containers of the samples that have all selectors, as
// namespace/... where that is not payments.
func whoHas(selectors []string) []string {
	var who []string
	for _, p := range pods() {
		for i := range p.Containers {
			c := &p.Containers[i]
			has := prefixed(selector.Container(p, c))
			if !slices.ContainsFunc(selectors, func(s string) bool { return !slices.Contains(has, s) }) {
				who = append(who, name(p, c))
			}
		}
	}
	return who
}

func name(p *pod.Pod, c *pod.Container) string {
	name := p.Name + "/" + c.Name
	if p.Namespace != "payments" {
		name = p.Namespace + "/" + name
	}
	if c.Type != pod.Regular {
		name += " (" + string(c.Type) + ")"
	}
	return name
}

// kinds are all kinds of selectors that podseal gives.
func kinds() []string {
	var all []string
	for _, p := range pods() {
		for i := range p.Containers {
			for _, s := range prefixed(selector.Container(p, &p.Containers[i])) {
				all = append(all, kind(s))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// prefixed are selectors with the type that the configuration names.
func prefixed(values []string) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = "k8s:" + v
	}
	return all
}

// kind is a selector without its value.
func kind(s string) string {
	parts := strings.SplitN(s, ":", 3)
	return strings.Join(parts[:min(len(parts), 2)], ":")
}
