// Package cri asks this node's container runtime about a container that the kernel
// named: which pod it is of, and the digest of the configuration of the image that
// it was made from. It asks on the runtime's socket, through three calls of the
// container runtime interface that change nothing: ContainerStatus,
// PodSandboxStatus and ImageStatus.
//
// # What the runtimes say, and what is believed
//
// A container is made from an image, and an image's identity is the digest of its
// configuration. What both runtimes report in the first place are names:
//
//	               containerd                        CRI-O
//	image.image    the first of the image's tags     the name that it was made with
//	image_ref      the first of its names by digest, the name by digest that it was made with,
//	               its ID where it has none          or its ID (1.28 to 1.30, and after restarts)
//	image_id       its ID, since 2026 (seen: 2.4.2)  its ID, since 1.30
//	Image.id       "sha256:<configuration>"          "<configuration>"
//
// An image's names are those of everything with the same configuration that was ever
// pulled to the node, sorted, so another pod's author can put a name of his in the
// first place, and a tag can move to another image while the container runs. So the
// image is asked for by image_id where there is one, and otherwise by image_ref:
// that is either the ID itself, or a name that ends in a digest. containerd lists
// such a name only for an image that it leads to, and it can lead to no other,
// because a digest never moves. What the name says beside that, whose repository it
// is, is not looked at here. No tag is ever asked for.
//
// That Image.id is a configuration's digest is the runtime's word, and not true of
// all images: CRI-O gives those that it pulled in parts (zstd:chunked) an ID of
// another kind, as Docker Engine may. Nobody has to know, because the digest never
// proves anything by itself. It is what the configuration that a fetched manifest
// names must be equal to: an ID of another kind is equal to none, and to make one
// equal to a signed image's configuration is to break SHA-256.
//
// Which pod the container is of is said by its labels and by its sandbox's
// metadata, both of which the kubelet wrote and no pod's author can. They must agree
// with each other and with the pod that the kernel named.
package cri

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/guard"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/unixpeer"
)

// Config says where the runtime is. Two equal values (==) make clients that behave
// the same.
type Config struct {
	// Socket is the path of the runtime's socket. A runtime that restarts makes it
	// anew, so it is the directory that must be mounted into a container.
	Socket string
	// PeerUID is the user that must listen on the socket: root, but in tests.
	PeerUID uint32
}

// The bounds.
const (
	// callTimeout bounds each call, and the making of a connection.
	callTimeout = 5 * time.Second
	// maxMessage is the longest answer that is taken, and maxCalls how many
	// containers are asked about at a time: a pod's author can make an answer as
	// long as that, with an environment of a megabyte.
	maxMessage, maxCalls = 8 << 20, 8
	// Facts are remembered for so long, of so many containers, unless they take
	// more memory than that. See Client.known.
	memory, maxKnown, maxFacts = time.Minute, 1024, 4 << 10
)

// Container is what the runtime says of one container. It is shared: nobody may
// change it.
type Container struct {
	ID string
	// PodUID, Namespace and PodName are the pod's, Name is the container's.
	PodUID, Namespace, PodName, Name string
	// Running is whether it runs, or is paused. A container's process can be there
	// a moment before.
	Running bool
	// ImageName is a name of the image that the runtime chose, or the kubelet did.
	// It means nothing, but for people.
	ImageName string
	// ImageID is what the kubelet would report as the container's imageID: a name
	// too, or the image's ID where the runtime gives no name.
	ImageID string
	// ConfigDigest is the digest of the configuration of the image that the
	// container was made from. It is never zero.
	ConfigDigest image.Digest
	// ComparesLayers is whether the runtime is one of those that compare each layer
	// with the configuration when they unpack it: containerd, and Docker. They give
	// IDs of images an algorithm; CRI-O, which has not always done so, does not.
	ComparesLayers bool
	// RepoDigests are all names by digest that the node has for that image, sorted.
	// Each was pulled to this node for some pod, perhaps another author's. There are
	// none when the image was removed.
	RepoDigests []string
}

// Client asks one runtime. It is safe for concurrent use.
type Client struct {
	cfg  Config
	link *link
	// slots bounds the containers that are asked about at a time.
	slots chan struct{}

	// mu guards the fields below, for assignments and decisions, never across a
	// wait.
	mu sync.Mutex
	// flights are the questions that are on their way, by container ID.
	flights map[string]*flight
	// known is what was answered lately. A container's pod and image never change,
	// and its ID, which is a random number, is never used again: what was true is
	// true as long as the container runs, which the caller knows from the kernel,
	// since he asks about a process in it. It is not kept for longer than a minute
	// only because of the names in it, of which there may be more by then.
	known map[string]fact
	// closed is whether no connection is to be kept.
	closed bool
}

// fact is a remembered answer.
type fact struct {
	container *Container
	until     time.Time
}

// flight is one question to the runtime, which any number of callers wait for.
type flight struct {
	// waiters counts who waits. It is guarded by Client.mu.
	waiters   int
	done      chan struct{}
	container *Container
	err       error
}

// New returns a client that believes who inPod says runs in none. It connects to
// nothing. Its errors say which setting is impossible.
func New(cfg Config, inPod unixpeer.InPod) (*Client, error) {
	switch {
	case !filepath.IsAbs(cfg.Socket):
		return nil, errors.New("the socket's path must be absolute")
	case inPod == nil:
		return nil, errors.New("without a look at the pods' processes anybody could listen on the socket")
	}
	return &Client{
		cfg:     cfg,
		link:    newLink(cfg, inPod),
		slots:   make(chan struct{}, maxCalls),
		flights: make(map[string]*flight),
		known:   make(map[string]fact),
	}, nil
}

// Close keeps no connection from now on. Calls that still use the client get their
// answers. It may be called again.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.rest()
}

// rest gives the connection of a closed client up that nobody uses. Only with mu.
func (c *Client) rest() {
	if c.closed && len(c.flights) == 0 {
		c.link.close()
	}
}

// Container returns what the runtime says of the container with that ID, which the
// kernel says is in the pod with that UID. What keeps it from that is an *Error, or
// the context's cause; a runtime that says that the container is another pod's is
// one too.
func (c *Client) Container(ctx context.Context, podUID, id string) (*Container, error) {
	if podUID == "" || id == "" {
		return nil, errors.New("a container is asked about by its pod's UID and its own ID")
	}
	found, err := c.find(ctx, id)
	if err != nil {
		return nil, err
	}
	if found.PodUID != podUID {
		return nil, c.explain(&contradiction{fmt.Errorf("it says that the container %q is of the pod %q, and the kernel of %q", id, found.PodUID, podUID), ReasonOtherPod})
	}
	return found, nil
}

// find returns what is known of a container, or asks.
func (c *Client) find(ctx context.Context, id string) (*Container, error) {
	found, f := c.join(id)
	if found != nil {
		return found, nil
	}
	select {
	case <-f.done:
		return f.container, f.err
	case <-ctx.Done():
		c.leave(f)
		return nil, context.Cause(ctx)
	}
}

// leave is for who does not wait any more.
func (c *Client) leave(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.waiters--
}

// join returns what is known, or the flight that will tell.
func (c *Client) join(id string) (*Container, *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k, ok := c.known[id]; ok && time.Now().Before(k.until) {
		return k.container, nil
	}
	f, ok := c.flights[id]
	if !ok {
		f = &flight{done: make(chan struct{})}
		c.flights[id] = f
		go c.fly(id, f)
	}
	f.waiters++
	return nil, f
}

// fly is the goroutine of one flight. It ends by the bounds of its calls, whoever
// leaves meanwhile: what it learns is good for whoever asks next. Before the first
// call, when the runtime is slow and there are many, it ends with its last waiter.
func (c *Client) fly(id string, f *flight) {
	c.slots <- struct{}{}
	defer func() { <-c.slots }()
	if c.deserted(id, f) {
		return
	}
	f.err = guard.Do(func() (err error) {
		f.container, err = c.ask(id)
		return c.explain(err)
	})

	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, id)
	if f.err == nil {
		c.remember(f.container)
	} else {
		delete(c.known, id)
	}
	close(f.done)
	c.rest()
}

// deserted ends a flight that nobody waits for.
func (c *Client) deserted(id string, f *flight) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiters > 0 {
		return false
	}
	delete(c.flights, id)
	c.rest()
	return true
}

// remember keeps an answer that stays true. Only with mu.
func (c *Client) remember(found *Container) {
	if !found.Running || found.size() > maxFacts {
		return
	}
	now := time.Now()
	if len(c.known) >= maxKnown {
		for id, k := range c.known {
			if !now.Before(k.until) {
				delete(c.known, id)
			}
		}
	}
	if len(c.known) >= maxKnown {
		clear(c.known) // they are asked for again
	}
	c.known[found.ID] = fact{found, now.Add(memory)}
}

// size is about how much memory it takes, in bytes.
func (c *Container) size() int {
	const each = 16
	n := len(c.ID) + len(c.PodUID) + len(c.Namespace) + len(c.PodName) + len(c.Name) + len(c.ImageName) + len(c.ImageID)
	for _, name := range c.RepoDigests {
		n += each + len(name)
	}
	return n
}
