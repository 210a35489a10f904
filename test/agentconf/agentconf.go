// Package agentconf writes agent configurations with podseal's block in them,
// and hands that block to the plugin as SPIRE Agent does.
package agentconf

import (
	"bytes"
	"errors"

	"github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/printer"
)

// HCL is an agent's configuration with that plugin_data, in HCL.
func HCL(pluginData string) string {
	return "plugins {\n  WorkloadAttestor \"k8s\" {\n    plugin_cmd = \"podseal\"\n    plugin_data {\n" + pluginData + "\n    }\n  }\n}\n"
}

// JSON is an agent's configuration with that plugin_data, a JSON object. Its
// plugins are in lists, as SPIRE's chart writes them.
func JSON(pluginData string) string {
	return `{"plugins": {"WorkloadAttestor": [{"k8s": {"plugin_cmd": "podseal", "plugin_data": ` + pluginData + `}}]}}`
}

// PluginData is the text that SPIRE Agent hands to the WorkloadAttestor k8s of a
// configuration: it decodes the file, keeps plugin_data as a syntax tree and
// prints that.
func PluginData(agentConf string) (string, error) {
	var file struct {
		Plugins ast.Node `hcl:"plugins"`
	}
	if err := hcl.Decode(&file, agentConf); err != nil {
		return "", err
	}
	var plugins []map[string]map[string]struct {
		PluginData ast.Node `hcl:"plugin_data"`
	}
	if err := hcl.DecodeObject(&plugins, file.Plugins); err != nil {
		return "", err
	}
	for _, types := range plugins {
		if k8s, ok := types["WorkloadAttestor"]["k8s"]; ok && k8s.PluginData != nil {
			var printed bytes.Buffer
			err := printer.DefaultConfig.Fprint(&printed, k8s.PluginData)
			return printed.String(), err
		}
	}
	return "", errors.New("it has no WorkloadAttestor k8s with plugin_data")
}
