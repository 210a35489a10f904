package podsapi

import (
	"time"

	"github.com/podseal/podseal/pkg/pod"
)

// maxTold is the longest description in an event that is read for the roster. Who
// waits for a later event waits until it is read, and must not do so for one pod of
// megabytes; of which no container is verified before it calls.
const maxTold = 256 << 10

// tell is for an event that was marked: what it says of the pod is good enough for
// the roster.
func (c *Client) tell(t eventType, b []byte) {
	if c.roster == nil {
		return
	}
	// A pod that its reader can't bear must not end the watch of all.
	c.guarded(func() { c.tellEvent(t, b) })
}

func (c *Client) tellEvent(t eventType, b []byte) {
	now := time.Now()
	switch p := c.told(t, b); {
	case p.UID == "":
	case t == eventDeleted:
		c.roster.Remove(p.UID, now)
	case t == eventAdded:
		c.roster.Add(p, now)
	case t == eventModified:
		c.roster.Change(p, now)
	}
}

// told is the pod of an event, with its UID alone where there is no more, or no more
// is read.
func (c *Client) told(t eventType, b []byte) *pod.Pod {
	if t == eventDeleted || len(b) > maxTold {
		return &pod.Pod{UID: findUID(b)}
	}
	r := newRecord(b, fingerprint{})
	if r.fault != nil {
		return &pod.Pod{UID: r.uid}
	}
	return r.pod
}

// tellAnswer is for the answer about one pod. That there is none is for the watch to
// say.
func (c *Client) tellAnswer(uid string, r *record, taken time.Time) {
	switch {
	case r == nil:
	case r.fault != nil:
		c.roster.Add(&pod.Pod{UID: uid}, taken)
	default:
		c.roster.Add(r.pod, taken)
	}
}
