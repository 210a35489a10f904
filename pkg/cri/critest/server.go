// Package critest is a stand-in for a container runtime: the real gRPC services of
// the container runtime interface, of the real generated code, on a Unix socket. It
// reports containers and images as containerd and CRI-O do, aliases included, and
// fails as they fail. It is for tests and measurements, so it needs no testing.T.
package critest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Runtime is the kind of runtime that a Server is.
type Runtime int

// The kinds of runtimes, by how they name a container's image.
const (
	// Containerd says image_ref, the first of the image's digested names, alone. It
	// is containerd until early in 2026.
	Containerd Runtime = iota
	// ContainerdWithID says image_id too.
	ContainerdWithID
	// CRIO says both, and IDs without "sha256:".
	CRIO
	// CRIOWithoutNames says image_ref alone, and that is the ID: CRI-O 1.28 and 1.29.
	CRIOWithoutNames
)

// Options say what kind of runtime it is.
type Options struct {
	// Socket is the path to listen on.
	Socket  string
	Runtime Runtime
}

// Container is a container of some pod.
type Container struct {
	ID, Name                   string
	PodUID, Namespace, PodName string
	// Image is the configuration digest of its image, with "sha256:"; Spec is the
	// name that the kubelet created it with.
	Image, Spec string
	State       runtimev1.ContainerState
	// Environment is what its specification says, which runtimes show to who asks
	// for everything.
	Environment []string
}

// Image is an image of the node's store.
type Image struct {
	// Config is the digest of its configuration, with "sha256:".
	Config string
	// Tags and Digests are its names, "repository:tag" and "repository@sha256:...".
	Tags, Digests []string
}

// Faults are the ways in which runtimes fail, and in which what is no runtime
// answers. They hold until they are replaced.
type Faults struct {
	// Delay is how much later each answer comes.
	Delay time.Duration
	// Err answers every question.
	Err error
	// HangUp closes the connection instead of so many answers.
	HangUp int
	// Container, Sandbox and Image change answers before they are sent.
	Container func(*runtimev1.ContainerStatusResponse)
	Sandbox   func(*runtimev1.PodSandboxStatusResponse)
	Image     func(*runtimev1.ImageStatusResponse)
}

// Stats is how many questions of each kind came.
type Stats struct {
	Containers, Sandboxes, Images int
	// Asked are the images that were asked for, in order.
	Asked []string
	// Connections is how many connections were made.
	Connections int
}

// Server is a running stand-in. All methods are safe for concurrent use.
type Server struct {
	runtimev1.UnimplementedRuntimeServiceServer
	runtimev1.UnimplementedImageServiceServer
	options Options

	mu sync.Mutex
	// All below is guarded by mu.
	grpc       *grpc.Server // nil while stopped
	served     chan struct{}
	conns      map[net.Conn]struct{}
	containers map[string]Container
	images     map[string]Image
	faults     Faults
	stats      Stats
}

// Start starts a runtime without containers.
func Start(o Options) (*Server, error) {
	s := &Server{options: o, conns: map[net.Conn]struct{}{}, containers: map[string]Container{}, images: map[string]Image{}}
	return s, s.Resume()
}

// Resume starts the server again after Stop, with all that it had, on a new socket.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grpc != nil {
		return errors.New("the server is running")
	}
	if err := os.Remove(s.options.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", s.options.Socket)
	if err != nil {
		return err
	}
	// A runtime that is killed leaves its socket behind.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	server := grpc.NewServer()
	runtimev1.RegisterRuntimeServiceServer(server, s)
	runtimev1.RegisterImageServiceServer(server, s)
	s.grpc, s.served = server, make(chan struct{})
	served := s.served
	go func() {
		defer close(served)
		_ = server.Serve(&listener{l, s}) // until Stop
	}()
	return nil
}

// listener knows the connections, so that they can be cut.
type listener struct {
	net.Listener
	s *Server
}

// Accept notes a connection.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.s.mu.Lock()
		defer l.s.mu.Unlock()
		l.s.conns[c] = struct{}{}
		l.s.stats.Connections++
	}
	return c, err
}

// Stop cuts all connections, as when the runtime is killed.
func (s *Server) Stop() {
	s.mu.Lock()
	server, served := s.grpc, s.served
	s.grpc = nil
	s.mu.Unlock()
	if server != nil {
		server.Stop()
		<-served
	}
}

// Close ends the server. It may be called again.
func (s *Server) Close() { s.Stop() }

// SetFaults replaces the faults.
func (s *Server) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Stats returns what the server has seen.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Asked = slices.Clone(stats.Asked)
	return stats
}

// Run adds or replaces a container, whose image must be there.
func (s *Server) Run(c Container) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.images[c.Image]; !ok {
		panic(fmt.Sprintf("no image %q", c.Image)) // a mistake of the test
	}
	s.containers[c.ID] = c
}

// Remove removes a container.
func (s *Server) Remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.containers, id)
}

// Pull makes names of an image known, in addition to those that it has. A name that
// another image has is taken from that, as when a tag has moved.
func (s *Server) Pull(i Image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for config, other := range s.images {
		if config != i.Config {
			taken := func(name string) bool { return slices.Contains(i.Tags, name) }
			other.Tags = slices.DeleteFunc(slices.Clone(other.Tags), taken)
			s.images[config] = other
		}
	}
	known := s.images[i.Config]
	merge := func(a, b []string) []string {
		all := append(slices.Clone(a), b...)
		slices.Sort(all)
		return slices.Compact(all)
	}
	s.images[i.Config] = Image{i.Config, merge(known.Tags, i.Tags), merge(known.Digests, i.Digests)}
}

// DeleteImage deletes an image, whether a container runs it or not.
func (s *Server) DeleteImage(config string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.images, config)
}

// id is an image's ID as the runtime writes it.
func (s *Server) id(config string) string {
	if s.options.Runtime >= CRIO {
		return strings.TrimPrefix(config, "sha256:")
	}
	return config
}
