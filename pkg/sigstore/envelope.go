package sigstore

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/cosign/v2/pkg/types"
)

// statementMediaType is the type of what is signed by all envelopes here.
const statementMediaType = types.IntotoPayloadType

// envelope is a DSSE envelope with its one signature.
type envelope struct {
	payloadType string
	payload     []byte
	signature   []byte
}

// errSignatures is DSSE's freedom that Sigstore does not have: of several
// signatures only one could be in the log, have the timestamp, and so count.
var errSignatures = errors.New("not exactly one signature")

// parseEnvelope reads the JSON form of the layers of cosign's .att images.
func parseEnvelope(data []byte) (*envelope, error) {
	found, err := members(data, "payloadType", "payload", "signatures")
	if err != nil {
		return nil, err
	}
	e := &envelope{}
	if e.payloadType, err = text(found, "payloadType"); err != nil {
		return nil, err
	}
	if e.payload, err = base64Text(found, "payload"); err != nil {
		return nil, err
	}
	n := 0
	err = array(found["signatures"], maxEntries, func(value jsontext.Value) error {
		n++
		one, err := members(value, "sig")
		if err == nil {
			e.signature, err = base64Text(one, "sig")
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("signatures: %w", err)
	}
	if n != 1 {
		return nil, errSignatures
	}
	return e, nil
}

// base64Text reads what is in base64, in either alphabet as DSSE allows.
func base64Text(found map[string]jsontext.Value, name string) ([]byte, error) {
	s, err := text(found, name)
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		b, err = base64.URLEncoding.DecodeString(s)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// signed are the bytes that the signature is over: DSSE's pre-authentication
// encoding, which has the type in it.
func (e *envelope) signed() []byte { return dsse.PAE(e.payloadType, e.payload) }

// raw is the form that sigstore-go reads.
func (e *envelope) raw() *dsse.Envelope {
	return &dsse.Envelope{
		PayloadType: e.payloadType,
		Payload:     base64.StdEncoding.EncodeToString(e.payload),
		Signatures:  []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(e.signature)}},
	}
}
