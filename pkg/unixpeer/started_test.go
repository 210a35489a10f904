package unixpeer_test

import (
	"os"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/unixpeer"
)

func TestWhenAPeerStarted(t *testing.T) {
	t.Parallel()
	own := unixpeer.Peer{PID: int32(os.Getpid())}.Started() // #nosec G115 -- an ID
	if age := time.Since(own); age < 0 || age > time.Hour {
		t.Errorf("this process is %v old", age)
	}
	for _, pid := range []int32{0, -1, 1<<31 - 1} {
		if at := (unixpeer.Peer{PID: pid}).Started(); !at.IsZero() {
			t.Errorf("process %d started at %v", pid, at)
		}
	}
}
