package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/config"
)

// TestTheExamplesOfConf takes plugin_data out of each agent.conf as the agent does, from
// the file and from the same file in JSON.
func TestTheExamplesOfConf(t *testing.T) {
	t.Parallel()
	withNodeName := map[string]string{"MY_NODE_NAME": "node-1", "MY_POD_UID": "u-1"}
	withoutNodeName := map[string]string{"MY_POD_UID": "u-1"}
	wants := map[string]func(*parsed){
		"token.conf": func(c *parsed) { c.Kubelet.NodeName = "node-1" },
		"client-certificate.conf": func(c *parsed) {
			c.Kubelet.ServerName = "node-1.example.org"
			c.Kubelet.CAPath = "/etc/kubernetes/pki/kubelet-ca.crt"
			c.Kubelet.TokenPath = ""
			c.Kubelet.CertificatePath = "/etc/podseal/kubelet-client.crt"
			c.Kubelet.PrivateKeyPath = "/etc/podseal/kubelet-client.key"
		},
		"anonymous.conf": func(c *parsed) {
			c.Kubelet.NodeName = "node-1"
			c.Kubelet.Anonymous = true
			c.Kubelet.TokenPath = ""
			c.Warnings = []string{anonymousWarning}
		},
		"read-only-port.conf": func(c *parsed) {
			c.Kubelet = config.Kubelet{Port: 10255, ReloadInterval: time.Minute, Interval: 500 * time.Millisecond, TTL: 500 * time.Millisecond}
			c.Warnings = []string{readOnlyWarning}
		},
		"skip-verification.conf": func(c *parsed) {
			c.Kubelet.NodeName = "node-1"
			c.Kubelet.CAPath = ""
			c.Kubelet.SkipVerification = true
			c.Warnings = []string{skipWarning}
		},
		"pods-api.conf": func(c *parsed) {
			c.PodSource = config.FromPodsAPI
			c.Kubelet = config.Kubelet{}
		},
		"pinned-certificate.conf": func(c *parsed) {
			c.Kubelet.CAPath = "/hostCert/kubelet.crt"
		},
	}
	files, err := filepath.Glob("../../conf/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(wants) {
		t.Errorf("%d files in conf, want %d", len(files), len(wants))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{`plugin_cmd = "/opt/podseal/podseal"`, `plugin_checksum = "[0-9a-f]{64}"`} {
			if !regexp.MustCompile(line).Match(text) {
				t.Errorf("%s lacks %s", file, line)
			}
		}
		want := defaults()
		want.OwnPodUID = "u-1"
		env := withoutNodeName
		change, ok := wants[filepath.Base(file)]
		if !ok {
			t.Fatalf("%s is not expected", file)
		}
		change(&want)
		if want.Kubelet.NodeName != "" {
			env = withNodeName
		}
		for _, agentConf := range []string{string(text), toJSON(t, string(text))} {
			pluginData := agentPrints(t, agentConf)
			if diff := cmp.Diff(want, mustParse(t, pluginData, env), cmp.Comparer(sameID)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", file, diff)
			}
		}
	}
}
