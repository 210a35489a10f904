package config

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

const (
	brokerPath  = "experimental.broker"
	brokersPath = brokerPath + ".brokers"

	// What the built-in attestor has too and notYet refuses, so that no Config has it.
	enforced AccessPolicy = "enforced"
	cluster  Scope        = "cluster"
)

// broker reads the block of the Broker API. Without it there are no brokers.
func (b *builder) broker(s *section) {
	if s == nil {
		return
	}
	b.config.Broker = &Broker{AccessPolicy: Permissive}
	b.accessPolicy(s)
	entries := s.all("brokers")
	if len(entries) == 0 {
		b.problems.add(brokersPath, s.pos, "%s: at least one broker is required", brokersPath)
	}
	seen := map[string]bool{}
	for i, entry := range entries {
		b.brokerID(i, entry, seen)
	}
	slices.SortFunc(b.config.Broker.IDs, func(x, y BrokerID) int { return cmp.Compare(x.ID.String(), y.ID.String()) })
}

func (b *builder) accessPolicy(s *section) {
	const key = brokerPath + ".access_policy"
	switch policy := AccessPolicy(s.text("access_policy")); policy {
	case Permissive, enforced:
	case "":
		b.problems.add(key, s.pos, "%s: must be specified as one of [permissive, enforced]", key)
	default:
		b.problems.add(key, s.at("access_policy"), "%s: unsupported value %q; must be one of [permissive, enforced]", key, policy)
	}
}

func (b *builder) brokerID(i int, s *section, seen map[string]bool) {
	text := s.text("id")
	if text == "" {
		key := fmt.Sprintf("%s[%d].id", brokersPath, i)
		b.problems.add(key, s.pos, "%s: must be specified", key)
		return
	}
	key := fmt.Sprintf("%s[%s].id", brokersPath, text)
	if seen[text] {
		b.problems.add(key, s.at("id"), "%s: duplicate broker id", key)
		return
	}
	seen[text] = true
	id, err := spiffeid.FromString(text)
	if err != nil {
		b.problems.add(key, s.at("id"), "%s: %v", key, err)
		return
	}
	scopeKey := fmt.Sprintf("%s[%s].pod_reference_scope", brokersPath, text)
	scope := cmp.Or(Scope(s.text("pod_reference_scope")), AgentNode)
	if scope != AgentNode && scope != cluster {
		b.problems.add(scopeKey, s.at("pod_reference_scope"), "%s: unsupported value %q; must be one of [agent_node, cluster]", scopeKey, scope)
		return
	}
	b.config.Broker.IDs = append(b.config.Broker.IDs, BrokerID{ID: id, Scope: scope})
}
