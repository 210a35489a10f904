package pluginproc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/podseal/podseal/test/agentconf"
)

// Settings are the keys of a plugin_data and their values: strings, numbers and
// bools, lists of these, Settings for a block, []Settings for a list of blocks.
type Settings map[string]any

// With returns the settings with others added or in their places. A nil value
// takes the key away.
func (s Settings) With(others Settings) Settings {
	all := maps.Clone(s)
	for key, value := range others {
		if value == nil {
			delete(all, key)
		} else {
			all[key] = value
		}
	}
	return all
}

// HCL is the settings as an operator writes them.
func (s Settings) HCL() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(s)) {
		switch v := s[key].(type) {
		case Settings:
			fmt.Fprintf(&b, "%s {\n%s}\n", key, v.HCL())
		case []Settings:
			fmt.Fprintf(&b, "%s = [\n", key)
			for _, block := range v {
				fmt.Fprintf(&b, "{\n%s},\n", block.HCL())
			}
			b.WriteString("]\n")
		default:
			fmt.Fprintf(&b, "%s = %s\n", key, text(v))
		}
	}
	return b.String()
}

// JSON is the settings as the chart of SPIRE writes them.
func (s Settings) JSON() string { return text(s) }

func text(v any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // HCL has no \u003c
	if err := encoder.Encode(v); err != nil {
		panic(err) // not of the types above
	}
	return strings.TrimSpace(b.String())
}

// Spellings are the texts in which the settings reach a plugin: HCL from a
// plugin_data_file, and what SPIRE Agent prints of its own file, which is
// written in HCL or in JSON.
func (s Settings) Spellings(t testing.TB) map[string]string {
	t.Helper()
	return map[string]string{
		"HCL":                         s.HCL(),
		"HCL as the agent prints it":  AgentPrints(t, s.HCL()),
		"JSON as the agent prints it": agentPrints(t, agentconf.JSON(s.JSON())),
	}
}

// AgentPrints is what SPIRE Agent hands to the plugin whose plugin_data in an
// agent.conf is this HCL: it keeps the syntax tree and prints that.
func AgentPrints(t testing.TB, pluginData string) string {
	t.Helper()
	return agentPrints(t, agentconf.HCL(pluginData))
}

func agentPrints(t testing.TB, agentConf string) string {
	t.Helper()
	text, err := agentconf.PluginData(agentConf)
	if err != nil {
		t.Fatalf("the agent can't read this: %v\n%s", err, agentConf)
	}
	return text
}
