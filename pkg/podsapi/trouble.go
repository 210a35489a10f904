package podsapi

import (
	"log/slog"
	"sync"
	"time"

	"github.com/podseal/podseal/pkg/diagnosis"
)

// troubleInterval is the least time between two lines about one kind of failure.
const troubleInterval = time.Minute

// source is what met a failure.
type source int

const (
	calls source = iota
	stream
)

// trouble logs failures, each kind of them once until the kubelet answers again,
// and that it does. Callers get the error too, but only at the end of their wait.
type trouble struct {
	log *slog.Logger

	mu sync.Mutex
	// warned is when a failure of that kind was last logged, current which kinds
	// were since the last answer, pending whose failures are not over.
	warned  map[diagnosis.Reason]time.Time
	current map[diagnosis.Reason]bool
	pending map[source]bool
}

// after takes note of the end of a call or a watch, or of a watch's beginning.
func (t *trouble) after(s source, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		if t.pending[s] {
			delete(t.pending, s)
			if len(t.pending) == 0 {
				clear(t.current)
				t.log.Info("the kubelet's Pods API answers again")
			}
		}
		return
	}
	found, _ := diagnosis.Of(err)
	reason := found.Reason
	if last, ok := t.warned[reason]; t.current[reason] || (ok && time.Since(last) < troubleInterval) {
		return
	}
	if t.warned == nil {
		t.warned, t.current, t.pending = make(map[diagnosis.Reason]time.Time), make(map[diagnosis.Reason]bool), make(map[source]bool)
	}
	t.warned[reason], t.current[reason], t.pending[s] = time.Now(), true, true
	t.log.Warn("the kubelet's Pods API can't be used", "error", err)
}
