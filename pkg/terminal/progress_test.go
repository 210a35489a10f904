package terminal_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/terminal"
)

// redraw is how often progress looks whether there is anything new. Nothing in these
// tests happens at the same time as that.
const redraw = 200 * time.Millisecond

// recorder keeps what was written and when.
type recorder struct {
	mu      sync.Mutex
	started time.Time
	written []string
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.written = append(r.written, fmt.Sprintf("%v %q", time.Since(r.started), p))
	return len(p), nil
}

// wants compares what was written since the last call.
func (r *recorder) wants(t *testing.T, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(want, r.written); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	r.written = nil
}

// watched is an output of so many columns, or a file for 0, with what it got.
func watched(width int) (*terminal.Output, *recorder) {
	r := &recorder{started: time.Now()}
	return &terminal.Output{W: r, Width: width, Rewrite: width > 0}, r
}

func TestNothingIsSaidInTheFirstSecond(t *testing.T) {
	t.Parallel()
	for _, width := range []int{0, 80} {
		synctest.Test(t, func(t *testing.T) {
			out, got := watched(width)
			p := terminal.StartProgress(out, "asking")
			p.Say("asking again")
			time.Sleep(999 * time.Millisecond)
			p.Stop()
			p.Stop()
			time.Sleep(time.Hour)
			got.wants(t)
		})
	}
}

func TestALineOnATerminalIsReplacedAndTakenAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out, got := watched(80)
		p := terminal.StartProgress(out, "asking the kubelet at 127.0.0.1:10250")
		time.Sleep(2500 * time.Millisecond)
		p.Say("waiting for\nthe container")
		time.Sleep(time.Second)
		p.Stop()
		got.wants(t,
			`1s "\rasking the kubelet at 127.0.0.1:10250 (1s)\x1b[K"`,
			`2s "\rasking the kubelet at 127.0.0.1:10250 (2s)\x1b[K"`,
			`2.6s "\rwaiting for\\nthe container (2s)\x1b[K"`,
			`3s "\rwaiting for\\nthe container (3s)\x1b[K"`,
			`3.5s "\r\x1b[K"`,
		)
		time.Sleep(time.Hour)
		got.wants(t)
	})
}

func TestTheLineFitsTheTerminal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out, got := watched(40)
		p := terminal.StartProgress(out, "asking the kubelet, 39 columns now")
		time.Sleep(1100 * time.Millisecond)
		p.Say("asking the kubelet, 40 columns now.")
		time.Sleep(200 * time.Millisecond)
		p.Say(strings.Repeat("京", 30))
		time.Sleep(200 * time.Millisecond)
		p.Stop()
		got.wants(t,
			`1s "\rasking the kubelet, 39 columns now (1s)\x1b[K"`,
			`1.2s "\rasking the kubelet, 40 columns ... (1s)\x1b[K"`,
			`1.4s "\r京京京京京京京京京京京京京京京... (1s)\x1b[K"`,
			`1.5s "\r\x1b[K"`,
		)
	})
}

func TestWithoutATerminalALineIsWrittenOnceAndWhenTheTextChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out, got := watched(0)
		p := terminal.StartProgress(out, "asking")
		time.Sleep(30*time.Second + redraw/2)
		got.wants(t, `1s "asking\n"`)
		p.Say("waiting")
		time.Sleep(time.Second)
		p.Say("waiting \x1b[2J")
		time.Sleep(5 * time.Second)
		p.Say("nearly done")
		time.Sleep(10 * time.Second)
		got.wants(t, `30.2s "waiting\n"`, `40.2s "nearly done\n"`)
		p.Say("done")
		p.Stop()
		got.wants(t)
	})
}

// A terminal that is said to be dumb can't replace a line.
func TestOnADumbTerminalLinesAreWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out, got := watched(80)
		out.Rewrite = false
		p := terminal.StartProgress(out, "asking")
		time.Sleep(5 * time.Second)
		p.Stop()
		got.wants(t, `1s "asking\n"`)
	})
}

func TestTheLineIsAwayWhileOtherThingsAreWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out, got := watched(80)
		p := terminal.StartProgress(out, "asking")
		print := func() error {
			_, err := fmt.Fprint(out.W, "ok\n")
			time.Sleep(2 * time.Second) // a slow terminal, which the line leaves alone
			return err
		}
		if err := p.Pause(print); err != nil {
			t.Error(err)
		}
		time.Sleep(100 * time.Millisecond)
		if err := p.Pause(print); err != nil {
			t.Error(err)
		}
		time.Sleep(50 * time.Millisecond)
		broken := errors.New("broken")
		if err := p.Pause(func() error { return broken }); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		p.Stop()
		if err := p.Pause(print); err != nil {
			t.Error(err)
		}
		got.wants(t,
			`0s "ok\n"`,
			`2s "\rasking (2s)\x1b[K"`,
			`2.1s "\r\x1b[K"`,
			`2.1s "ok\n"`,
			`4.1s "\rasking (4s)\x1b[K"`,
			`4.15s "\r\x1b[K"`,
			`4.15s "ok\n"`,
		)
	})
}

// Everything at once, for the race detector.
func TestProgressFromManyGoroutines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out, _ := watched(80)
		p := terminal.StartProgress(out, "asking")
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				for n := range 20 {
					time.Sleep(time.Duration(i+1) * 50 * time.Millisecond)
					p.Say(fmt.Sprintf("%d of %d", n, i))
					if n%5 == 0 {
						_ = p.Pause(func() error { _, err := fmt.Fprintln(out.W, n); return err })
					}
				}
				p.Stop()
			})
		}
		all.Wait()
	})
}

// The line is no reason for the command to end.
func TestAPanicWhileDrawingEndsTheLineAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := terminal.StartProgress(&terminal.Output{W: panicking{}}, "asking")
		time.Sleep(5 * time.Second)
		p.Say("still there")
		p.Stop()
	})
}

type panicking struct{}

func (panicking) Write([]byte) (int, error) { panic("no terminal") }
