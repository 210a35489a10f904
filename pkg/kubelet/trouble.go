package kubelet

import (
	"log/slog"
	"time"

	"github.com/podseal/podseal/pkg/diagnosis"
)

// troubleInterval is the time between two lines about one kind of failure.
const troubleInterval = time.Minute

// trouble logs requests that failed. Callers get the error too, but only at the
// end of their wait, which by default is half a minute later. It belongs to the
// flight that passed the gate.
type trouble struct {
	log *slog.Logger
	// warned is when a failure of that kind was last logged.
	warned map[diagnosis.Reason]time.Time
	// pending is whether a failure that was logged has not been followed by an
	// answer yet.
	pending bool
}

// after takes note of a request's end.
func (t *trouble) after(err error) {
	if err == nil {
		if t.pending {
			t.pending = false
			t.log.Info("the kubelet answers again")
		}
		return
	}
	found, _ := diagnosis.Of(err)
	reason := found.Reason
	if last, ok := t.warned[reason]; ok && time.Since(last) < troubleInterval {
		return
	}
	if t.warned == nil {
		t.warned = make(map[diagnosis.Reason]time.Time)
	}
	t.warned[reason], t.pending = time.Now(), true
	t.log.Warn("the kubelet's pods can't be read", "error", err)
}
