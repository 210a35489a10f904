package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/token"

	"github.com/podseal/podseal/test/agentconf"
)

// spellings are the forms in which one plugin_data, given in HCL, reaches a plugin.
func spellings(t *testing.T, text string) map[string]string {
	t.Helper()
	asJSON := toJSON(t, text)
	return map[string]string{
		"HCL":                          text,
		"HCL as the agent prints it":   agentPrints(t, agentconf.HCL(text)),
		"JSON as the agent prints it":  agentPrints(t, agentconf.JSON(asJSON)),
		"JSON from a plugin_data_file": asJSON,
	}
}

// agentPrints is what SPIRE Agent hands to the plugin k8s of an agent.conf.
func agentPrints(t *testing.T, agentConf string) string {
	t.Helper()
	text, err := agentconf.PluginData(agentConf)
	if err != nil {
		t.Fatalf("the agent can't read:\n%s\n%v", agentConf, err)
	}
	return text
}

// toJSON writes HCL as JSON, value by value: repeated keys stay repeated.
func toJSON(t *testing.T, text string) string {
	t.Helper()
	file, err := parser.ParseDontErrorOnDuplicateKeys([]byte(text))
	if err != nil {
		t.Fatalf("the test's HCL:\n%s\n%v", text, err)
	}
	return jsonOf(file.Node)
}

func jsonOf(n ast.Node) string {
	switch n := n.(type) {
	case *ast.ObjectType:
		return jsonOf(n.List)
	case *ast.ObjectList:
		items := make([]string, len(n.Items))
		for i, item := range n.Items {
			val := jsonOf(item.Val)
			for k := len(item.Keys) - 1; k > 0; k-- {
				val = fmt.Sprintf("{%s: %s}", quoted(item.Keys[k].Token.Value()), val)
			}
			items[i] = quoted(item.Keys[0].Token.Value()) + ": " + val
		}
		return "{" + strings.Join(items, ",\n") + "}"
	case *ast.ListType:
		elements := make([]string, len(n.List))
		for i, element := range n.List {
			elements[i] = jsonOf(element)
		}
		return "[" + strings.Join(elements, ", ") + "]"
	case *ast.LiteralType:
		if n.Token.Type == token.STRING || n.Token.Type == token.HEREDOC {
			return quoted(n.Token.Value())
		}
		return n.Token.Text
	}
	panic(fmt.Sprintf("unexpected %T", n))
}

func quoted(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}
