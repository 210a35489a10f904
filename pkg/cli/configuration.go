package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/podseal/podseal/pkg/config"
)

// maxConfig is how much of a configuration file is read, in bytes; pkg/config
// reads no more of a text either.
const maxConfig = 1 << 20

// agentConfigs are where agents look for their configuration: SPIRE's default,
// that of its image and chart, and that of its quickstart for Kubernetes.
var agentConfigs = []string{
	"conf/agent/agent.conf",
	"/opt/spire/conf/agent/agent.conf",
	"/run/spire/config/agent.conf",
}

// configFlags say which configuration a command uses.
type configFlags struct {
	path, plugin string
	expandEnv    bool
}

// configuration is what was found there.
type configuration struct {
	// path is the file, "" when there is none and the defaults are used.
	path string
	// dataPath is the file that the plugin's data is in: path, or what
	// plugin_data_file names.
	dataPath string
	block    *config.Block
	config   *config.Config // nil if there are problems
	// problems and warnings are in the order of the files.
	problems, warnings []finding
}

// selectorType is what the agent puts before a selector's value.
func (c *configuration) selectorType() string { return cmp.Or(c.block.Plugin, "k8s") }

// kubelet is how people would name the kubelet that is asked, with the source that
// is in use.
func (c *configuration) kubelet(source config.PodSource) string {
	return kubeletAt(source, c.address(source))
}

func kubeletAt(source config.PodSource, address string) string {
	if source == config.FromPodsAPI {
		address = strconv.Quote(address)
	}
	return "the kubelet at " + address
}

// address is the socket of the kubelet's Pods API, or host and port.
func (c *configuration) address(source config.PodSource) string {
	if source == config.FromPodsAPI {
		return c.config.PodsAPI.Socket
	}
	k := c.config.Kubelet
	host := "127.0.0.1"
	if k.Secure && k.NodeName != "" {
		host = k.NodeName
	}
	return net.JoinHostPort(host, strconv.Itoa(k.Port))
}

// check is an error for commands that need a configuration that holds.
func (c *configuration) check() error {
	if len(c.problems) == 0 {
		return nil
	}
	first := c.problems[0]
	if len(c.problems) == 1 {
		return fmt.Errorf("%s%s", first.place(), first.sentence())
	}
	return fmt.Errorf("%s%s, and %d more problems: podseal validate shows all", first.place(), first.sentence(), len(c.problems)-1)
}

// loadConfig reads the configuration at path, or the one that the flags name, or
// else the agent's where one is in its usual place. What is wrong with it is in
// the configuration; an error is for what can't be read at all.
func (c *command) loadConfig(path string) (*configuration, error) {
	path = cmp.Or(path, c.config.path, firstFile(agentConfigs))
	var text string
	if path == "" {
		c.note("no configuration in %s: the defaults are used; --config FILE names one", strings.Join(agentConfigs, ", "))
	} else {
		var err error
		if text, err = c.readConfig(path); err != nil {
			return nil, err
		}
	}
	options := config.FindOptions{Plugin: c.config.plugin}
	if c.config.expandEnv {
		options.ExpandEnv = c.Getenv
	}
	found := &configuration{path: path, dataPath: path}
	block, err := config.Find(text, options)
	if problem, ok := errors.AsType[config.Problem](err); ok {
		found.block = &config.Block{Plugin: c.config.plugin}
		found.problems = findings(path, config.Problems{problem})
		return found, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	found.block = block
	var data string
	if block.DataFile.Given() {
		found.dataPath = block.DataFile.Text
		if data, err = c.readConfig(found.dataPath); err != nil {
			found.problems = []finding{{File: path, Line: block.DataFile.Pos.Line, Column: block.DataFile.Pos.Column, Key: "plugin_data_file", Message: "plugin_data_file: " + err.Error()}}
			return found, nil
		}
	}
	result := block.Parse(data, c.Getenv)
	found.config = result.Config
	found.problems = findings(found.dataPath, result.Problems)
	found.warnings = append(findings(path, block.Warnings), findings(found.dataPath, result.Warnings)...)
	return found, nil
}

func findings(file string, problems config.Problems) []finding {
	all := []finding{}
	for _, p := range problems {
		all = append(all, finding{File: file, Line: p.Pos.Line, Column: p.Pos.Column, Key: p.Key, Message: p.Message, BuiltInIgnores: p.BuiltInIgnores})
	}
	return all
}

func firstFile(paths []string) string {
	for _, path := range paths {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path
		}
	}
	return ""
}

// readConfig reads a file, or standard input for "-", of at most maxConfig bytes.
func (c *command) readConfig(path string) (string, error) {
	r := c.Stdin
	if path != "-" {
		f, err := os.Open(path) // #nosec G304 -- the person who runs the command names it
		if err != nil {
			return "", err
		}
		defer f.Close()
		r = f
	}
	text, err := io.ReadAll(io.LimitReader(r, maxConfig+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", path, err)
	case len(text) > maxConfig:
		return "", fmt.Errorf("%s: it is larger than 1 MiB: is it a configuration?", path)
	}
	return string(text), nil
}
