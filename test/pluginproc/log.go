package pluginproc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// Line is a line of the log as the agent gets it from go-plugin.
type Line struct {
	Level, Message string
	// Fields are the other keys and values, as JSON has them.
	Fields map[string]any
}

// Text is a field as a string, empty when there is none.
func (l Line) Text(field string) string {
	v, ok := l.Fields[field]
	if !ok {
		return ""
	}
	return fmt.Sprint(v)
}

// Log returns the lines so far.
func (p *Process) Log() []Line {
	p.t.Helper()
	var lines []Line
	for text := range bytes.Lines(p.log.lines.bytes()) {
		l := Line{}
		if err := json.Unmarshal(text, &l.Fields); err != nil {
			p.t.Fatalf("a line of the log is no JSON: %q: %v", text, err)
		}
		l.Level, l.Message = l.Text("@level"), l.Text("@message")
		lines = append(lines, l)
	}
	return lines
}

// RawLog is what the plugin has written to its standard error.
func (p *Process) RawLog() []byte { return p.log.raw() }

// WaitFor returns the first line that match accepts. It fails the test when
// there is none for long: a line arrives a moment after the answer.
func (p *Process) WaitFor(t testing.TB, match func(Line) bool) Line {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if lines := p.Log(); slices.ContainsFunc(lines, match) {
			return lines[slices.IndexFunc(lines, match)]
		}
	}
	t.Fatalf("no such line in the log:\n%s", p.log.raw())
	return Line{}
}

// collector keeps what a plugin logs.
type collector struct {
	lines  buffer // as go-plugin understood it
	stderr buffer // as it was written
}

func (c *collector) raw() []byte { return c.stderr.bytes() }

// buffer is a bytes.Buffer for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.b.Bytes())
}
