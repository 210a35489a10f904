package kubelet_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/kubelet"
)

// An operator must not have to wait for a caller's half minute to learn that the
// kubelet can't be reached, nor be told of it twice a second.
func TestEachKindOfTroubleIsLoggedAtOnceAndThenOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		after := kubelet.NewTrouble(slog.New(slog.NewTextHandler(&out, nil)))
		lines := func() int { return strings.Count(out.String(), "\n") }

		after(nil)
		if lines() != 0 {
			t.Errorf("a good answer is logged:\n%s", out.String())
		}
		for range 100 {
			after(errors.New("connection refused"))
			time.Sleep(500 * time.Millisecond)
		}
		if lines() != 1 || !strings.Contains(out.String(), "connection refused") {
			t.Errorf("50 s of trouble are %d lines, want 1:\n%s", lines(), out.String())
		}
		after(nil)
		after(nil)
		if lines() != 2 || !strings.Contains(out.String(), "answers again") {
			t.Errorf("its end is not logged once:\n%s", out.String())
		}
		after(errors.New("flapping"))
		after(nil)
		if lines() != 2 {
			t.Errorf("within the minute there is more:\n%s", out.String())
		}
		// A kubelet that is down after a token was refused is news.
		for range 2 {
			after(&kubelet.FileError{Path: "/token", Key: "token_path", Err: errors.New("not there")})
		}
		if lines() != 3 || !strings.Contains(out.String(), "token_path") {
			t.Errorf("trouble of another kind is not logged once:\n%s", out.String())
		}
		time.Sleep(time.Minute)
		after(errors.New("again"))
		if lines() != 4 {
			t.Errorf("trouble after a minute is not logged:\n%s", out.String())
		}
	})
}
