package podsapi

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net"

	"github.com/podseal/podseal/pkg/pod"
)

// NewWithDial is New with another way to the kubelet.
func NewWithDial(cfg Config, limiter *Limiter, inPod InPod, log *slog.Logger, dial func(context.Context) (net.Conn, error)) (*Client, error) {
	c, err := New(cfg, limiter, inPod, log)
	if err == nil {
		c.link.dial = dial
	}
	return c, err
}

// DecodePod gives tests the decoder alone.
func DecodePod(b []byte) (*pod.Pod, error) {
	r := newRecord(b, fingerprintOf(maphash.MakeSeed(), b))
	return r.pod, r.fault
}

// FindUID is for pods that can't be decoded.
var FindUID = findUID

// Known is how many pods are remembered.
func (c *Client) Known() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}

// NewTrouble returns trouble's after, for calls and for the watch.
func NewTrouble(log *slog.Logger) (ofCalls, ofWatch func(error)) {
	t := &trouble{log: log}
	return func(err error) { t.after(calls, err) }, func(err error) { t.after(stream, err) }
}

// Wait is what requests wait for.
func (l *Limiter) Wait(ctx context.Context) error { return l.wait(ctx) }

const (
	MaxPod  = maxPod
	MaxList = maxList
	MaxPods = maxPods
)

// Sequence counts the events.
func (c *Client) Sequence() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sequence
}
