package spirestack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/podseal/podseal/test/realstack/proc"
)

// AgentConfig says how to run spire-agent.
type AgentConfig struct {
	// Binary is spire-agent's path.
	Binary string
	// Plugin is the WorkloadAttestor "k8s".
	Plugin Plugin
	// Wrap is put before the agent's command line: to run it in another cgroup or
	// namespace. What it names must end by executing its arguments in its own place
	// (as `unshare --cgroup` does), so that the agent has the PID that was started.
	Wrap []string
	// Env is added to the environment of the agent, and so of the plugin.
	Env []string
	// Dir is an existing folder for the agent's state and log. Default: a new one
	// that Stop removes.
	Dir string
	// SocketDir is an existing folder for the Workload API's socket, agent.sock,
	// such as one that is mounted into pods. Default: Dir.
	SocketDir string
}

// Plugin is the agent's attestor for Kubernetes.
type Plugin struct {
	// Command is podseal's path. Empty: the attestor that SPIRE has built in.
	Command string
	Args    []string
	// Data is the body of plugin_data, in HCL.
	Data string
	// Live keeps Data in a file, so that Reconfigure can replace it.
	Live bool
}

// Agent is a running spire-agent.
type Agent struct {
	config  AgentConfig
	process *proc.Process
	ownDir  bool
}

// StartAgent starts an agent of this server, which attests by a token made for
// it, and returns when the Workload API answers.
func (s *Server) StartAgent(ctx context.Context, c AgentConfig) (_ *Agent, err error) {
	a := &Agent{config: c}
	a.config.Dir, a.ownDir, err = folder(c.Dir)
	if err != nil {
		return nil, err
	}
	if a.config.SocketDir == "" {
		a.config.SocketDir = a.config.Dir
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Stop())
		}
	}()
	token, err := s.joinToken(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.writeFiles(ctx, s, token); err != nil {
		return nil, err
	}
	a.process, err = proc.Start(ctx, proc.Command{
		Name: "spire-agent",
		Argv: slices.Concat(c.Wrap, []string{c.Binary, "run", "-config", a.file("agent.conf")}),
		Env:  append([]string{"TMPDIR=" + a.file("tmp")}, c.Env...), // where go-plugin puts its sockets
		Log:  a.file("agent.log"),
	})
	if err != nil {
		return nil, err
	}
	ready, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	return a, a.process.Until(ready, healthy(a.Socket()))
}

func (a *Agent) writeFiles(ctx context.Context, s *Server, token string) error {
	if err := os.MkdirAll(a.file("tmp"), 0o700); err != nil {
		return err
	}
	bundle, err := s.Bundle(ctx)
	if err != nil {
		return err
	}
	plugin, err := a.pluginHCL()
	if err != nil {
		return err
	}
	config := fmt.Sprintf(`agent {
  server_address    = "127.0.0.1"
  server_port       = %d
  socket_path       = %q
  trust_domain      = %q
  trust_bundle_path = %q
  data_dir          = %q
  join_token        = %q
  log_level         = "DEBUG"
  log_format        = "json"
  experimental {
    sync_interval = "1s" # a new entry is to arrive soon
  }
}
plugins {
  NodeAttestor "join_token" {
    plugin_data {}
  }
  KeyManager "disk" {
    plugin_data {
      directory = %q
    }
  }
  WorkloadAttestor "k8s" {
%s
  }
}
`, s.port, a.Socket(), s.TrustDomain(), a.file("bundle.pem"), a.config.Dir, token, a.config.Dir, plugin)

	return errors.Join(
		os.WriteFile(a.file("bundle.pem"), bundle, 0o600),
		os.WriteFile(a.file("plugin_data.hcl"), []byte(a.config.Plugin.Data), 0o600),
		os.WriteFile(a.file("agent.conf"), []byte(config), 0o600),
	)
}

func (a *Agent) pluginHCL() (string, error) {
	var lines []string
	p := a.config.Plugin
	if p.Command != "" {
		program, err := os.ReadFile(p.Command)
		if err != nil {
			return "", err
		}
		sum := sha256.Sum256(program)
		lines = append(lines,
			fmt.Sprintf("    plugin_cmd      = %q", p.Command),
			fmt.Sprintf("    plugin_checksum = %q", hex.EncodeToString(sum[:])))
	}
	if len(p.Args) > 0 {
		args := make([]string, len(p.Args))
		for i, arg := range p.Args {
			args[i] = fmt.Sprintf("%q", arg)
		}
		lines = append(lines, "    plugin_args = ["+strings.Join(args, ", ")+"]")
	}
	if p.Live {
		lines = append(lines, fmt.Sprintf("    plugin_data_file = %q", a.file("plugin_data.hcl")))
	} else {
		lines = append(lines, "    plugin_data {", p.Data, "    }")
	}
	return strings.Join(lines, "\n"), nil
}

func (a *Agent) file(name string) string { return filepath.Join(a.config.Dir, name) }

// Socket is the path of the Workload API.
func (a *Agent) Socket() string { return filepath.Join(a.config.SocketDir, "agent.sock") }

// PID is the agent's process ID.
func (a *Agent) PID() int { return a.process.PID() }

// Exited is closed when the agent has ended.
func (a *Agent) Exited() <-chan struct{} { return a.process.Exited() }

// Explain adds the end of the agent's log to an error.
func (a *Agent) Explain(err error) error { return a.process.Explain(err) }

// ErrReconfigure is the plugin's refusal of a new configuration.
var ErrReconfigure = errors.New("the agent could not reconfigure the plugin")

// Reconfigure replaces the plugin's configuration (Plugin.Live) and has the agent
// read it. It returns when the plugin has answered: nil, or an ErrReconfigure with
// the plugin's reason. Data that is the same as before is not sent to the plugin.
func (a *Agent) Reconfigure(ctx context.Context, data string) error {
	if !a.config.Plugin.Live {
		return errors.New("the agent was not started with Plugin.Live")
	}
	// The agent must never read half a file.
	if err := os.WriteFile(a.file("plugin_data.new"), []byte(data), 0o600); err != nil {
		return err
	}
	if err := os.Rename(a.file("plugin_data.new"), a.file("plugin_data.hcl")); err != nil {
		return err
	}
	before, err := a.Records()
	if err != nil {
		return err
	}
	if err := a.process.Signal(syscall.SIGUSR1); err != nil {
		return err
	}
	record, err := a.Await(ctx, len(before), func(r Record) bool {
		switch r.Message {
		case "Plugin reconfigured", "Plugin not reconfigured since the config is unchanged", "Failed to reconfigure plugin":
			return r.Text("plugin_name") == "k8s"
		}
		return false
	})
	if err != nil {
		return err
	}
	if reason := record.Text("error"); reason != "" {
		return fmt.Errorf("%w: %s", ErrReconfigure, reason)
	}
	return nil
}

// Stop ends the agent with its plugin and removes the folder if it is the agent's own.
func (a *Agent) Stop() error {
	return stop(a.process, a.ownDir, a.config.Dir)
}
