package printable_test

import (
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/printable"
)

func TestSpanIsForPeople(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 59*time.Second + 999*time.Millisecond: "59s", time.Minute: "1m", 59*time.Minute + 59*time.Second: "59m",
		3*time.Hour + 2*time.Minute: "3h02m", 47*time.Hour + 59*time.Minute: "47h59m", 48 * time.Hour: "2d", -47 * time.Minute: "47m",
		47*time.Minute + 12*time.Second: "47m", 12 * 24 * time.Hour: "12d", 9 * time.Second: "9s",
	} {
		if got := printable.Span(d); got != want {
			t.Errorf("Span(%v) = %q, want %q", d, got, want)
		}
	}
}
