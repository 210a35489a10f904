package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
)

// readBody reads a body of at most q.max bytes, or of exactly q.size. said is how
// long the header says that it is, which is only believed where it says too much.
func readBody(body *boundedReader, said int64, q question) ([]byte, error) {
	body.left = q.max
	known := q.size >= 0
	if known {
		body.left = min(q.size, q.max)
	}
	tooLong := fail(Limit, "it is longer than %d bytes", q.max)
	if known && q.size <= q.max {
		tooLong = fail(Malformed, "it is longer than the %d bytes that were announced", q.size)
	}
	if said > body.left {
		return nil, tooLong
	}
	var buffer bytes.Buffer
	if length := min(max(said, q.size), body.left); length >= 0 {
		if err := q.load.add(body.ctx, length); err != nil {
			return nil, err
		}
		// In one piece: what it would grow through is memory too.
		buffer.Grow(int(length) + bytes.MinRead)
	}
	_, err := buffer.ReadFrom(body)
	switch {
	case errors.Is(err, errTooLong):
		return nil, tooLong
	case err != nil:
		return nil, err
	case known && int64(buffer.Len()) != q.size:
		return nil, fail(Malformed, "it is %d bytes long and not %d as announced", buffer.Len(), q.size)
	}
	return buffer.Bytes(), nil
}

var errTooLong = errors.New("too long")

// boundedReader ends with errTooLong after so many bytes, and with the context's
// cause after its end: a body that always has another byte ready would otherwise
// never be asked to stop.
type boundedReader struct {
	ctx  context.Context // of the one request that the reader lives for
	r    io.Reader
	left int64
	load *load
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, ended(b.ctx)
	}
	// One byte beyond the bound tells an answer that is too long from one that is
	// just as long as it may be.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, errTooLong
	}
	if err := b.load.add(b.ctx, int64(n)); err != nil {
		return n, err
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = explain(b.ctx, err)
	} else if err != nil && b.ctx.Err() != nil {
		// A server that hears first that we have gone ends its answer as if that
		// were all.
		err = ended(b.ctx)
	}
	return n, err
}

// light is the length in bytes up to which answers are read at once. A longer one
// waits until no other of the same registry is being read and parsed: they are
// rare, and several together would be most of our memory.
const light = 256 << 10

// load is the part of one answer in that. A nil load has none.
type load struct {
	slot chan struct{}
	read int64
	held bool
}

// add waits, where it has to, before that much more is read or when it was.
func (l *load) add(ctx context.Context, n int64) error {
	if l == nil {
		return nil
	}
	if l.read += n; l.held || l.read <= light {
		return nil
	}
	select {
	case l.slot <- struct{}{}:
		l.held = true
		return nil
	case <-ctx.Done():
		return fail(Unavailable, "another long answer was being read: %w", context.Cause(ctx))
	}
}

func (l *load) done() {
	if l.held {
		<-l.slot
	}
}
