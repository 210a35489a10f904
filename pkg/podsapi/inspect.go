package podsapi

import (
	"context"
	"io/fs"
	"os"
	"time"
)

// Inspection is what there is to know about the socket and who answers on it, as
// far as one question got.
type Inspection struct {
	Socket string
	// Exists is whether there is anything at that path, Mode what.
	Exists bool
	Mode   fs.FileMode
	// Connected is whether the connection was made and Peer accepted.
	Connected bool
	Peer      Peer
	// Answered is whether a list of all pods came, in the time Took; Pods of
	// them can be read and Faults not.
	Answered     bool
	Took         time.Duration
	Pods, Faults int
	// Watching is whether this client, which answers others, has its watch.
	Watching bool
}

// Inspect makes a connection of its own, lists all pods over it and says what it
// met. The Inspection is there on errors too; these are those of Next.
func (c *Client) Inspect(ctx context.Context) (*Inspection, error) {
	i := &Inspection{Socket: c.cfg.Socket, Watching: c.Watching()}
	if info, err := os.Stat(c.cfg.Socket); err == nil {
		i.Exists, i.Mode = true, info.Mode()
	}
	bounded, cancel := context.WithTimeoutCause(ctx, requestTimeout, errTimeout)
	defer cancel()
	err := c.inspect(bounded, i)
	if ctx.Err() != nil {
		return i, context.Cause(ctx)
	}
	return i, c.explain(err)
}

func (c *Client) inspect(ctx context.Context, i *Inspection) error {
	s, err := c.link.connect(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	i.Connected, i.Peer = true, s.peer

	began := time.Now()
	l := newListing(began, 0, 0)
	if err := c.fetch(ctx, s, l); err != nil {
		return err
	}
	i.Answered, i.Took = true, time.Since(began)
	index := l.builder.Index()
	i.Pods = index.Len()
	for range index.Faults() {
		i.Faults++
	}
	return nil
}
