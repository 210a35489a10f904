package verify

import "github.com/go-json-experiment/json"

// ParseRecord reads a record and writes it again.
func ParseRecord(body []byte) ([]byte, error) {
	r, err := parseRecord(body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(r, json.Deterministic(true))
}
