package podsapi_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podseal/podseal/pkg/podsapi"
)

func TestTroubleIsLoggedOnceEachWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		calls, watch := podsapi.NewTrouble(slog.New(slog.NewTextHandler(&out, nil)))
		lines := func() int { return strings.Count(out.String(), "\n") }
		calls(nil)
		watch(nil)
		if lines() != 0 {
			t.Errorf("good answers are logged:\n%s", out.String())
		}
		for range 1000 {
			watch(fs.ErrNotExist)
			calls(fs.ErrNotExist)
			time.Sleep(time.Second)
		}
		if lines() != 1 {
			t.Errorf("a quarter of an hour of trouble is %d lines:\n%s", lines(), out.String())
		}
		calls(nil)
		watch(nil)
		watch(nil)
		if lines() != 2 || !strings.Contains(out.String(), "answers again") {
			t.Errorf("its end is not logged once:\n%s", out.String())
		}
		for range 5 {
			watch(errors.New("flapping"))
			watch(nil)
		}
		time.Sleep(2 * time.Minute)
		watch(errors.New("flapping"))
		if lines() > 5 {
			t.Errorf("flapping:\n%s", out.String())
		}
	})
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	good := podsapi.Config{Socket: "/x", TTL: 1, Interval: 1}
	for name, change := range map[string]func(*podsapi.Config){
		"no socket":         func(c *podsapi.Config) { c.Socket = "" },
		"a relative socket": func(c *podsapi.Config) { c.Socket = "x" },
		"no time to live":   func(c *podsapi.Config) { c.TTL = 0 },
		"no interval":       func(c *podsapi.Config) { c.Interval = -1 },
	} {
		bad := good
		change(&bad)
		if _, err := podsapi.New(bad, podsapi.NewLimiter(), notInPod, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := podsapi.New(good, podsapi.NewLimiter(), nil, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("without a look at the peer: no error")
	}
}
