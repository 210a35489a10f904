package kubelet_test

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/kubelet"
)

// A client that nobody asks has no goroutine, so none that waits for a timer: a
// bubble does not end while there is one, closed or not.
func TestNothingIsScheduledWithoutACaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(after(time.Second))
		c, err := kubelet.NewWithTransport(plain(), kubelet.NewGate(), slog.New(slog.DiscardHandler), n)
		if err != nil {
			t.Fatal(err)
		}
		x := next(t, c, time.Time{})
		next(t, c, x.Taken)
		n.wantStarts(t, 0, time.Second)
	})
}
