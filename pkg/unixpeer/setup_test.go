package unixpeer_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/unixpeer"
	"github.com/podseal/podseal/pkg/unixpeer/unixpeertest"
)

func TestMain(m *testing.M) { unixpeertest.Main(m, nil) }

// eventually waits for something that other processes do.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to this: %s", what)
		}
	}
}

// own is the rule by which this user's processes are believed, none being in a pod.
func own() unixpeer.Rule {
	return unixpeer.Rule{UID: uint32(os.Getuid()), InPod: func(int32) (bool, error) { return false, nil }} // #nosec G115 -- a user
}

// check connects and checks.
func check(t *testing.T, r unixpeer.Rule, path string) (unixpeer.Peer, error) {
	t.Helper()
	c, err := unixpeer.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return r.Check(c)
}

// doubted checks that an error is of that doubt and about that process.
func doubted(t *testing.T, err error, want unixpeer.Doubt, pid int) {
	t.Helper()
	e, ok := errors.AsType[*unixpeer.Error](err)
	if !ok || e.Doubt != want || int(e.Peer.PID) != pid || e.Error() == "" {
		t.Errorf("error %v: %+v, want the doubt %v about the process %d", err, e, want, pid)
	}
}
