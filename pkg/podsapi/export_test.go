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
		c.link.dial, c.link.unchecked = dial, true
	}
	return c, err
}

// DecodePod gives tests the decoder alone.
func DecodePod(b []byte) (*pod.Pod, error) {
	r := newRecord(b, fingerprintOf(maphash.MakeSeed(), b))
	return r.pod, r.fault
}

// DecodeGet and DecodeEvent give tests the envelopes alone.
func DecodeGet(b []byte) (pod []byte, err error) {
	a := getAnswer{take: func(p []byte) { pod = p }}
	a.unmarshal(b)
	return pod, a.err
}

func DecodeEvent(b []byte) (t int32, pod []byte, err error) {
	e := event{take: func(et eventType, p []byte) { t, pod = int32(et), p }}
	e.unmarshal(b)
	return t, pod, e.err
}

// Event is what the watch does with an event.
func (c *Client) Event(b []byte) {
	e := event{take: func(t eventType, p []byte) { c.mark(t, findUID(p)); c.tell(t, p) }}
	e.unmarshal(b)
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
