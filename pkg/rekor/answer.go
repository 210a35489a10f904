package rekor

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/sigstore/rekor/pkg/generated/models"
)

// entryJSON is what is read of an entry. The rest is nobody's concern: the proof of
// inclusion, for which cosign's annotation has no place, and an attestation that the log
// has kept.
type entryJSON struct {
	Body           []byte `json:"body"`
	IntegratedTime int64  `json:"integratedTime"`
	LogID          string `json:"logID"`
	LogIndex       int64  `json:"logIndex"`
	Verification   struct {
		SignedEntryTimestamp []byte `json:"signedEntryTimestamp"`
	} `json:"verification"`
}

// parseAnswer reads a list of objects, each with one entry under its name. Names that
// are given twice are refused, and entries are counted before they are read.
func parseAnswer(data []byte) ([]models.LogEntry, error) {
	answer := []models.LogEntry{}
	d := jsontext.NewDecoder(bytes.NewReader(data))
	if err := expect(d, jsontext.KindBeginArray); err != nil {
		return nil, err
	}
	for d.PeekKind() != jsontext.KindEndArray {
		if len(answer) == maxEntries {
			return nil, fail(Limit, "it answered with more than %d entries", maxEntries)
		}
		e, err := parseEntry(d)
		if err != nil {
			return nil, err
		}
		answer = append(answer, e)
	}
	if err := expect(d, jsontext.KindEndArray); err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, malformed(errors.New("something behind the answer"))
	}
	return answer, nil
}

func parseEntry(d *jsontext.Decoder) (models.LogEntry, error) {
	if err := expect(d, jsontext.KindBeginObject); err != nil {
		return nil, err
	}
	var id string
	var e entryJSON
	if err := jsonv2.UnmarshalDecode(d, &id); err != nil {
		return nil, malformed(err)
	}
	if err := jsonv2.UnmarshalDecode(d, &e); err != nil {
		return nil, malformed(err)
	}
	if err := expect(d, jsontext.KindEndObject); err != nil {
		return nil, err
	}
	if err := e.check(); err != nil {
		return nil, malformed(err)
	}
	return models.LogEntry{id: {
		Body: e.Body, IntegratedTime: &e.IntegratedTime, LogID: &e.LogID, LogIndex: &e.LogIndex,
		Verification: &models.LogEntryAnonVerification{SignedEntryTimestamp: e.Verification.SignedEntryTimestamp},
	}}, nil
}

// check checks that there is all that cosign's annotation has.
func (e *entryJSON) check() error {
	id, err := hex.DecodeString(e.LogID)
	switch {
	case err != nil || len(id) != 32:
		return fmt.Errorf("the log's ID %q is none", clip(e.LogID))
	case e.IntegratedTime <= 0 || e.LogIndex < 0:
		return errors.New("an entry without a time or an index")
	case len(e.Verification.SignedEntryTimestamp) == 0:
		return errors.New("an entry without a signed entry timestamp: Rekor v2 has none, and is not asked")
	}
	return nil
}

func expect(d *jsontext.Decoder, want jsontext.Kind) error {
	t, err := d.ReadToken()
	if err != nil {
		return malformed(err)
	}
	if t.Kind() != want {
		return malformed(fmt.Errorf("expected %v and found %v", want, t.Kind()))
	}
	return nil
}

// malformed is for what parsers say. What is behind it is no longer told apart: the
// client library takes an end of file for an answer.
func malformed(err error) error {
	return fail(Malformed, "its answer is not a list of entries: %s", err.Error())
}
