package cri

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/podseal/podseal/pkg/unixpeer"
)

// Inspection is what there is to know about the socket and who answers on it, as far
// as one question got.
type Inspection struct {
	Socket string
	// Exists is whether there is anything at that path, Mode what.
	Exists bool
	Mode   fs.FileMode
	// Connected is whether the connection was made and Peer accepted.
	Connected bool
	Peer      unixpeer.Peer
	// Answered is whether a runtime answered, in the time Took.
	Answered bool
	Took     time.Duration
}

// nobody is the ID of no container: all have 64 hexadecimal digits.
const nobody = "podseal-doctor"

// Inspect makes a connection of its own, asks over it for a container that there
// can't be, and says what it met. The Inspection is there on errors too; these are
// those of Container.
func (c *Client) Inspect(ctx context.Context) (*Inspection, error) {
	i := &Inspection{Socket: c.cfg.Socket}
	if info, err := os.Stat(c.cfg.Socket); err == nil {
		i.Exists, i.Mode = true, info.Mode()
	}
	bounded, cancel := context.WithTimeoutCause(ctx, c.link.timeout, errTimeout)
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
	if _, _, err := s.containerStatus(nobody); err == nil {
		return contradicts("it describes a container that there can't be")
	} else if _, missed := errors.AsType[*missing](err); !missed {
		return err
	}
	i.Answered, i.Took = true, time.Since(began)
	return nil
}
