package verify

import "github.com/go-json-experiment/json"

// MaxKept bounds the reasons of a failure, in bytes.
const MaxKept = maxKept

// ParseRecord reads a record and writes it again.
func ParseRecord(body []byte) ([]byte, error) {
	r, err := parseRecord(body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(r, json.Deterministic(true))
}

// Kept is how many bytes are kept of what is said of a container.
func Kept(r Runs) int {
	q := questionOf(r)
	return len(q.spec) + len(q.id) + len(q.pulled)
}
