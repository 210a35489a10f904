package sigstore

import (
	"errors"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/image"
)

// found is an item, read and not believed yet. One of statement and payload says
// what was signed; both are read from exactly the bytes that material has for
// verification.
type found struct {
	material  material
	statement *statement
	payload   *simpleSigning
	// other says what was signed if it is neither.
	other string
}

// read reads an item as what its bytes are. Where it was found says nothing: an
// attestation may be in the place of signatures and the other way round.
func read(item evidence.Item) (*found, error) {
	if len(item.Content) > maxContent {
		return nil, refuse(ReasonLimit, "it is longer than %d bytes", maxContent)
	}
	switch item.Format {
	case evidence.Bundle:
		return readBundle(item.Content)
	case evidence.SimpleSigning, evidence.Envelope:
		return readLayer(item.Content, item.Annotations)
	}
	return nil, refuse(ReasonUnsupported, "a format %.100q is not known", item.Format)
}

// readLayer reads a layer of one of cosign's own images.
func readLayer(content []byte, annotations map[string]string) (*found, error) {
	if err := shape(content, maxBundleMembers); err != nil {
		return nil, malformed("the layer", err)
	}
	kind, err := members(content, "critical", "payloadType")
	if err != nil {
		return nil, malformed("the layer", err)
	}
	f := &found{material: material{layer: true}}
	switch {
	case len(kind) == 2:
		return nil, malformed("the layer", errors.New("both a simple signing payload and a DSSE envelope"))
	case kind["critical"] != nil:
		if f.payload, err = parseSimpleSigning(content); err != nil {
			return nil, malformed("the payload", err)
		}
		f.material.message = &message{artifact: artifact{bytes: content}}
	case kind["payloadType"] != nil:
		envelope, err := parseEnvelope(content)
		if err != nil {
			return nil, malformed("the envelope", err)
		}
		if err := f.readEnvelope(envelope); err != nil {
			return nil, err
		}
		// cosign has the authority stamp the whole envelope.
		f.material.stamped = content
	default:
		return nil, malformed("the layer", errNoPayload)
	}
	if err := f.material.readAnnotations(annotations); err != nil {
		return nil, err
	}
	return f, nil
}

// readEnvelope reads what was signed with an envelope.
func (f *found) readEnvelope(e *envelope) (err error) {
	f.material.envelope, f.material.signature = e, e.signature
	if e.payloadType != statementMediaType {
		return refuse(ReasonUnsupported, "what was signed is of type %.100q, not an in-toto statement", e.payloadType)
	}
	if f.statement, err = parseStatement(e.payload); err != nil {
		return malformed("the statement", err)
	}
	return nil
}

// signature returns the candidate that is signed, what the signer calls it and
// the annotations that were signed with it.
func (f *found) signature(candidates []image.Digest) (d image.Digest, name string, annotations map[string]string, err error) {
	switch {
	case f.payload != nil:
		d, err = f.payload.names(candidates)
		return d, f.payload.name, f.payload.annotations, err
	case f.statement != nil && f.statement.isSignature():
		d, annotations, err = f.statement.names(candidates)
		return d, "", annotations, err
	}
	return d, "", nil, refuse(ReasonKind, "%w: %s", ErrNotSignature, f.what())
}

// what says what the item is.
func (f *found) what() string {
	switch {
	case f.payload != nil:
		return "it is a signature"
	case f.statement != nil && f.statement.isSignature():
		return "it is cosign's statement of a signature"
	case f.statement != nil:
		return "it is an attestation of type " + f.statement.predicateType
	}
	return f.other
}
