package kubelet

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/podseal/podseal/pkg/pod"
)

// NewWithTransport is New with another network.
func NewWithTransport(cfg Config, gate *Gate, log *slog.Logger, t http.RoundTripper) (*Client, error) {
	return newClient(cfg, gate, log, t)
}

// Decoder gives tests the decoder alone.
type Decoder struct{ d *decoder }

func NewDecoder(log *slog.Logger) Decoder { return Decoder{newDecoder(log)} }

func (d Decoder) Decode(r io.Reader, taken time.Time) (*pod.Index, error) {
	return d.d.decode(r, taken)
}

// Spare is the size of the buffer that is kept between answers, Known the
// number of pods that are remembered.
func (d Decoder) Spare() int { return len(d.d.spare) }
func (d Decoder) Known() int { return len(d.d.known) }

const (
	MaxPod    = maxPod
	MaxMember = maxMember
	MaxDepth  = maxDepth
	MaxPods   = maxPods
	MaxKept   = maxKept
	MaxRecord = maxRecord
	MaxList   = maxList
)

var (
	FindUID    = findUID
	ReadClaims = readClaims
)

// NewBoundedReader is what bodies are read through.
func NewBoundedReader(ctx context.Context, r io.Reader, left int64) io.Reader {
	return &boundedReader{ctx, r, left}
}

// NewTrouble returns trouble's after.
func NewTrouble(log *slog.Logger) func(error) {
	t := &trouble{log: log}
	return t.after
}
