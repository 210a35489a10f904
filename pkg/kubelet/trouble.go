package kubelet

import (
	"log/slog"
	"time"
)

// troubleInterval is the time between two lines about a kubelet that does not
// answer as it should.
const troubleInterval = time.Minute

// trouble logs requests that failed. Callers get the error too, but only at the
// end of their wait, which by default is half a minute later. It belongs to the
// flight that passed the gate.
type trouble struct {
	log *slog.Logger
	// warned is when the last failure was logged, zero for never.
	warned time.Time
	// pending is whether that failure has not been followed by an answer yet.
	pending bool
}

// after takes note of a request's end.
func (t *trouble) after(err error) {
	switch {
	case err == nil && t.pending:
		t.pending = false
		t.log.Info("the kubelet answers again")
	case err != nil && (t.warned.IsZero() || time.Since(t.warned) >= troubleInterval):
		t.warned, t.pending = time.Now(), true
		t.log.Warn("the kubelet's pods can't be read", "error", err)
	}
}
