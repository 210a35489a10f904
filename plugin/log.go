package plugin

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
)

// maxLogValue bounds a string in a log line, in bytes: the agent mangles lines
// of more than 64 KiB.
const maxLogValue = 16 << 10

// hclogHandler hands what is logged inside to the logger that the agent gave us.
// Until it gave one nothing is logged.
type hclogHandler struct {
	logger *atomic.Pointer[hclog.Logger] // shared by all that are derived from one handler
	args   []any                         // what WithAttrs collected, as hclog's pairs
	prefix string                        // of keys, from WithGroup
}

func newHCLogHandler() *hclogHandler {
	return &hclogHandler{logger: new(atomic.Pointer[hclog.Logger])}
}

func (h *hclogHandler) set(log hclog.Logger) { h.logger.Store(&log) }

func hclogLevel(level slog.Level) hclog.Level {
	switch {
	case level < slog.LevelInfo:
		return hclog.Debug
	case level < slog.LevelWarn:
		return hclog.Info
	case level < slog.LevelError:
		return hclog.Warn
	}
	return hclog.Error
}

// Enabled implements slog.Handler.
func (h *hclogHandler) Enabled(_ context.Context, level slog.Level) bool {
	log := h.logger.Load()
	return log != nil && hclogLevel(level) >= (*log).GetLevel()
}

// Handle implements slog.Handler. The time is hclog's own.
func (h *hclogHandler) Handle(_ context.Context, r slog.Record) error {
	log := h.logger.Load()
	if log == nil {
		return nil
	}
	args := h.args[:len(h.args):len(h.args)]
	r.Attrs(func(a slog.Attr) bool {
		args = appendPair(args, h.prefix, a)
		return true
	})
	(*log).Log(hclogLevel(r.Level), clip(r.Message), args...)
	return nil
}

// WithAttrs implements slog.Handler.
func (h *hclogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.args = h.args[:len(h.args):len(h.args)]
	for _, a := range attrs {
		with.args = appendPair(with.args, h.prefix, a)
	}
	return &with
}

// WithGroup implements slog.Handler.
func (h *hclogHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.prefix += name + "."
	return &with
}

// appendPair appends an attribute as hclog's key and value, a group as one pair
// for each of its members.
func appendPair(args []any, prefix string, a slog.Attr) []any {
	v := a.Value.Resolve()
	switch {
	case a.Equal(slog.Attr{}):
		return args
	case v.Kind() == slog.KindGroup:
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range v.Group() {
			args = appendPair(args, prefix, member)
		}
		return args
	case v.Kind() == slog.KindString:
		return append(args, prefix+a.Key, clip(v.String()))
	}
	if err, ok := v.Any().(error); ok {
		return append(args, prefix+a.Key, clip(err.Error()))
	}
	return append(args, prefix+a.Key, v.Any())
}

func clip(s string) string {
	if len(s) <= maxLogValue {
		return s
	}
	return s[:maxLogValue] + "... (cut)"
}
