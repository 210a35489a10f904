// Package spirestack runs a real SPIRE server and real agents for the tests and
// the demo: on loopback, in a folder of their own, with podseal as the agent's
// external plugin or with the attestor that SPIRE has built in.
//
// What it starts it ends: by Stop, when the context is done, and, should this
// process be killed, by itself (package proc).
package spirestack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/podseal/podseal/test/realstack/proc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// readyLimit is how long a part may take to answer. Half a second is usual.
const readyLimit = time.Minute

// ServerConfig says how to run spire-server.
type ServerConfig struct {
	// Binary is spire-server's path.
	Binary string
	// Dir is an existing folder for the server's state, log and sockets. Sockets
	// limit its length to some 80 bytes. Default: a new one that Stop removes.
	Dir string
	// TrustDomain defaults to example.org.
	TrustDomain string
	// Port is where agents find it. Default: a free one.
	Port int
	// Cluster lets in agents that are pods, besides those with a join token.
	Cluster *Cluster
}

// Cluster is the Kubernetes cluster whose agents the server attests by their
// projected service account tokens (NodeAttestor "k8s_psat").
type Cluster struct {
	// Names are what the agents' configurations call it. To the server the agent of
	// a node is one, and the last to come, so agents that share a node need a name
	// each.
	Names []string
	// Kubeconfig is the server's way to review tokens.
	Kubeconfig string
	// Namespace and ServiceAccount are the agents'.
	Namespace, ServiceAccount string
}

// Server is a running spire-server.
type Server struct {
	config  ServerConfig
	process *proc.Process
	port    int
	ownDir  bool
}

// Entry is a registration entry for the workloads of the agents of one server.
type Entry struct {
	// Path is the SPIFFE ID's path, such as /pay/api.
	Path string
	// Selectors are all needed: "k8s:ns:pay".
	Selectors []string
}

// nodePath is the ID that every agent of a server has beside its own; entries
// hang on it, so that they apply to agents that start later, too.
const nodePath = "/podseal-node"

// StartServer starts a server and returns when it answers.
func StartServer(ctx context.Context, c ServerConfig) (_ *Server, err error) {
	s := &Server{config: c}
	if s.config.TrustDomain == "" {
		s.config.TrustDomain = "example.org"
	}
	s.config.Dir, s.ownDir, err = folder(c.Dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()
	if s.port = c.Port; s.port == 0 {
		if s.port, err = freePort(ctx); err != nil {
			return nil, err
		}
	}
	config := filepath.Join(s.config.Dir, "server.conf")
	if err := os.WriteFile(config, []byte(s.hcl()), 0o600); err != nil {
		return nil, err
	}
	s.process, err = proc.Start(ctx, proc.Command{
		Name: "spire-server",
		Argv: []string{c.Binary, "run", "-config", config},
		Log:  filepath.Join(s.config.Dir, "server.log"),
	})
	if err != nil {
		return nil, err
	}
	ready, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	if err := s.process.Until(ready, healthy(s.Socket())); err != nil {
		return nil, err
	}
	if c.Cluster == nil {
		return s, nil
	}
	// All agents of the cluster are one node to the entries.
	_, err = s.command(ctx, "entry", "create", "-node", "-spiffeID", s.ParentID(), "-selector", "k8s_psat:agent_ns:"+c.Cluster.Namespace)
	return s, err
}

func (s *Server) hcl() string {
	psat := ""
	if c := s.config.Cluster; c != nil {
		clusters := ""
		for _, name := range c.Names {
			clusters += fmt.Sprintf(`        %q = {
          service_account_allow_list = [%q]
          kube_config_file           = %q
        }
`, name, c.Namespace+":"+c.ServiceAccount, c.Kubeconfig)
		}
		psat = fmt.Sprintf(`  NodeAttestor "k8s_psat" {
    plugin_data {
      clusters = {
%s      }
    }
  }
`, clusters)
	}
	return fmt.Sprintf(`server {
  bind_address = "127.0.0.1"
  bind_port    = %d
  socket_path  = %q
  trust_domain = %q
  data_dir     = %q
  log_level    = "DEBUG"
  log_format   = "json"
  experimental {
    cache_reload_interval = "1s" # a new entry is to arrive soon
  }
}
plugins {
  DataStore "sql" {
    plugin_data {
      database_type     = "sqlite3"
      connection_string = %q
    }
  }
  NodeAttestor "join_token" {
    plugin_data {}
  }
%s  KeyManager "memory" {
    plugin_data {}
  }
}
`, s.port, s.Socket(), s.config.TrustDomain, s.config.Dir, filepath.Join(s.config.Dir, "server.sqlite3"), psat)
}

// Socket is the path of the server's admin API.
func (s *Server) Socket() string { return filepath.Join(s.config.Dir, "server.sock") }

// TrustDomain is the name of the trust domain, without scheme.
func (s *Server) TrustDomain() string { return s.config.TrustDomain }

// ID is the SPIFFE ID with that path.
func (s *Server) ID(path string) string { return "spiffe://" + s.config.TrustDomain + path }

// ParentID is the parent of this server's workloads' entries: every agent has it.
func (s *Server) ParentID() string { return s.ID(nodePath) }

// CreateEntry registers a workload of this server's agents. It reaches them
// within about two seconds.
func (s *Server) CreateEntry(ctx context.Context, e Entry) error {
	args := []string{"entry", "create", "-parentID", s.ParentID(), "-spiffeID", s.ID(e.Path)}
	for _, selector := range e.Selectors {
		args = append(args, "-selector", selector)
	}
	_, err := s.command(ctx, args...)
	return err
}

// joinToken is what one new agent shows to be let in.
func (s *Server) joinToken(ctx context.Context) (string, error) {
	out, err := s.command(ctx, "token", "generate", "-output", "json", "-spiffeID", s.ID(nodePath))
	if err != nil {
		return "", err
	}
	var token struct{ Value string }
	if err := json.Unmarshal(out, &token); err != nil {
		return "", fmt.Errorf("spire-server token generate: %w", err)
	}
	return token.Value, nil
}

// CreateEntries registers what a file says, as `spire-server entry create -data`
// reads it.
func (s *Server) CreateEntries(ctx context.Context, path string) error {
	_, err := s.command(ctx, "entry", "create", "-data", path)
	return err
}

// Bundle is the trust bundle, as PEM.
func (s *Server) Bundle(ctx context.Context) ([]byte, error) {
	return s.command(ctx, "bundle", "show", "-format", "pem")
}

// command runs one of the server's administration commands.
func (s *Server) command(ctx context.Context, args ...string) ([]byte, error) {
	// The socket's flag comes after the two words of the command and before the rest.
	argv := append([]string{s.config.Binary, args[0], args[1], "-socketPath", s.Socket()}, args[2:]...)
	out, err := proc.Run(ctx, argv...)
	if err != nil {
		return nil, s.process.Explain(err)
	}
	return out, nil
}

// Stop ends the server and removes the folder if it is the server's own.
func (s *Server) Stop() error {
	return stop(s.process, s.ownDir, s.config.Dir)
}

func stop(p *proc.Process, ownDir bool, dir string) (err error) {
	if p != nil {
		err = p.Stop()
	}
	if ownDir {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// folder returns dir, or a new one with a path short enough for sockets.
func folder(dir string) (_ string, own bool, err error) {
	if dir != "" {
		return dir, false, nil
	}
	dir, err = os.MkdirTemp("", "podseal-")
	return dir, true, err
}

// freePort finds a port that nobody listens on. Somebody may take it before the
// server does, which then says so and ends.
func freePort(ctx context.Context) (int, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}

// healthy asks the health service that SPIRE has on its sockets. On an agent's it
// answers only when the Workload API does, plugins included.
func healthy(socket string) func(context.Context) error {
	return func(ctx context.Context) error {
		if _, err := os.Stat(socket); err != nil {
			return err
		}
		conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		defer conn.Close()
		answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, new(grpc_health_v1.HealthCheckRequest))
		if err != nil {
			return err
		}
		if answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			return fmt.Errorf("health: %s", answer.GetStatus())
		}
		return nil
	}
}
