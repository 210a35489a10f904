package source_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/source"
)

// asked is a source that counts.
type asked struct {
	err           error
	calls, probes int
	hangs         bool
}

func (s *asked) Next(ctx context.Context, _ string, _ time.Time) (*pod.Index, error) {
	s.calls++
	if s.hangs {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if s.err != nil {
		return nil, s.err
	}
	return pod.NewBuilder(time.Now(), 0).Index(), nil
}

func (s *asked) Probe(context.Context) error {
	s.probes++
	time.Sleep(time.Second) // it takes its time, and nobody waits for it
	return s.err
}

type world struct {
	api, port *asked
	auto      *source.Auto
	log       *bytes.Buffer
}

func newWorld(api error) *world {
	w := &world{api: &asked{err: api}, port: &asked{}, log: new(bytes.Buffer)}
	w.auto = source.NewAuto(w.api, w.port, slog.New(slog.NewTextHandler(w.log, nil)))
	return w
}

// next asks, at once, and lets what goes on beside it come to its end.
func (w *world) next(t *testing.T) error {
	t.Helper()
	began := time.Now()
	_, err := w.auto.Next(t.Context(), "u", time.Time{})
	if took := time.Since(began); took != 0 {
		t.Errorf("it took %v", took)
	}
	time.Sleep(2 * time.Second)
	synctest.Wait()
	return err
}

func (w *world) want(t *testing.T, api, port, probes, lines int) {
	t.Helper()
	if w.api.calls != api || w.port.calls != port || w.api.probes != probes {
		t.Errorf("%d calls of the API, %d of the port, %d probes; want %d, %d, %d", w.api.calls, w.port.calls, w.api.probes, api, port, probes)
	}
	if got := strings.Count(w.log.String(), "\n"); got != lines {
		t.Errorf("%d lines in the log, want %d:\n%s", got, lines, w.log)
	}
}

func TestTheAPIIsUsedOnceItHasAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(nil)
		if using, why := w.auto.Using(); using || why != nil || w.api.probes > 0 {
			t.Errorf("before the first question: %v, %v, %d probes", using, why, w.api.probes)
		}
		for range 3 {
			if err := w.next(t); err != nil {
				t.Error(err)
			}
		}
		w.want(t, 2, 1, 1, 1)
		if using, why := w.auto.Using(); !using || why != nil {
			t.Errorf("then: %v, %v", using, why)
		}
	})
}

func TestWithoutAnAPIThePortIsUsedAndTheAPILookedAtNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(errors.New("no socket"))
		for range 10 { // 20 seconds
			if err := w.next(t); err != nil {
				t.Error(err)
			}
		}
		w.want(t, 0, 10, 4, 1)
		if using, why := w.auto.Using(); using || !errors.Is(why, w.api.err) {
			t.Errorf("%v, %v", using, why)
		}
		// Nobody asks, and nothing is looked at.
		time.Sleep(time.Hour)
		synctest.Wait()
		w.want(t, 0, 10, 4, 1)
	})
}

func TestAnAPIThatGoesAwayCostsNoCallerHisAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(nil)
		_ = w.next(t)
		w.api.err = errors.New("the kubelet restarts")
		for range 2 {
			if err := w.next(t); err != nil {
				t.Error(err)
			}
		}
		w.want(t, 1, 3, 1, 2)
		if !strings.Contains(w.log.String(), "the kubelet restarts") {
			t.Errorf("the log does not say why:\n%s", w.log)
		}
		// It comes back, and is used again.
		w.api.err = nil
		for range 4 {
			if err := w.next(t); err != nil {
				t.Error(err)
			}
		}
		if using, _ := w.auto.Using(); !using {
			t.Errorf("it is not used again:\n%s", w.log)
		}
		if got := strings.Count(w.log.String(), "from now on"); got != 2 {
			t.Errorf("%d lines about its use, want 2:\n%s", got, w.log)
		}
	})
}

func TestACallerWhoLeavesIsNoFailureOfTheAPI(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(nil)
		_ = w.next(t)
		w.api.hangs = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.auto.Next(ctx, "u", time.Time{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if using, _ := w.auto.Using(); !using {
			t.Error("it is not used any more")
		}
	})
}
