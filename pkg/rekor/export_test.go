package rekor

import (
	"crypto"
	"net/http"

	"github.com/podseal/podseal/pkg/evidence"
)

const (
	MaxAnswer  = maxAnswer
	MaxEntries = maxEntries
	Pause      = pause
	Timeout    = timeout
	Rate       = 10
	Burst      = 20
)

// Wanted are the entries that a log is asked for, as it would have them.
func Wanted(item evidence.Item, keys ...crypto.PublicKey) (bodies []string, err error) {
	all, err := wantedFor(item, keys)
	for _, w := range all {
		bodies = append(bodies, string(w.body))
	}
	return bodies, err
}

// Taken is the body of the entry that is taken out of an answer.
func Taken(answer []byte, item evidence.Item, keys ...crypto.PublicKey) ([]byte, error) {
	wanted, err := wantedFor(item, keys)
	if err != nil {
		return nil, err
	}
	entries, err := parseAnswer(answer)
	if err != nil {
		return nil, err
	}
	found, err := oldest(entries, wanted)
	if err != nil {
		return nil, err
	}
	return found.Body.([]byte), nil
}

// OwnTransport is what requests are sent with where nothing else is given.
func OwnTransport() *http.Transport { return newTransport() }
