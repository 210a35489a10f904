package spirestack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Record is one line of the agent's log, the plugin's lines included.
type Record struct {
	Level   string
	Message string
	Fields  map[string]any // everything else, as JSON has it
	Line    string
}

// Text is the field as a string; empty when there is none.
func (r Record) Text(field string) string {
	value, ok := r.Fields[field]
	if !ok {
		return ""
	}
	if text, ok := value.(string); ok {
		return text
	}
	return fmt.Sprint(value)
}

// Records is the agent's log so far.
func (a *Agent) Records() ([]Record, error) {
	log, err := a.process.Log()
	if err != nil {
		return nil, err
	}
	return ReadLog(log), nil
}

// ReadLog reads an agent's log, wherever it was kept. A line that is no JSON
// object (a panic's, say) is a Record with nothing but a Line; one that is still
// being written is left out.
func ReadLog(log []byte) []Record {
	var records []Record
	for line := range bytes.Lines(log) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		r := Record{Line: string(bytes.TrimSpace(line))}
		if err := json.Unmarshal(line, &r.Fields); err == nil {
			r.Level, r.Message = r.Text("level"), r.Text("msg")
		}
		records = append(records, r)
	}
	return records
}

// Await returns the first record at or after index from that match accepts,
// waiting for it until ctx is done or the agent has ended.
func (a *Agent) Await(ctx context.Context, from int, match func(Record) bool) (Record, error) {
	var found Record
	err := a.process.Until(ctx, func(context.Context) error {
		records, err := a.Records()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(records[min(from, len(records)):], match)
		if i < 0 {
			return errors.New("no such line in the log yet")
		}
		found = records[from+i]
		return nil
	})
	return found, err
}

// Attested is what the agent's attestors said of a process: one list of
// "type:value" for each time that it was attested, in that order. The agent lists
// all of its attestors' selectors, podseal's among them.
func (a *Agent) Attested(pid int) ([][]string, error) {
	log, err := a.process.Log()
	if err != nil {
		return nil, err
	}
	return Attested(log, pid)
}

// Attested is Agent.Attested of a log, wherever it was kept.
func Attested(log []byte, pid int) ([][]string, error) {
	const attested = "PID attested to have selectors"
	var calls [][]string
	for line := range bytes.Lines(log) {
		if !bytes.Contains(line, []byte(attested)) || !bytes.HasSuffix(line, []byte("\n")) {
			continue // the log is long, and reading JSON is slow
		}
		var record struct {
			Message   string `json:"msg"`
			PID       int
			Selectors []struct{ Type, Value string }
		}
		if err := json.Unmarshal(line, &record); err != nil {
			return nil, fmt.Errorf("the agent's log: %w: %q", err, line)
		}
		if record.Message != attested || record.PID != pid {
			continue
		}
		selectors := []string{}
		for _, s := range record.Selectors {
			selectors = append(selectors, s.Type+":"+s.Value)
		}
		calls = append(calls, selectors)
	}
	return calls, nil
}
