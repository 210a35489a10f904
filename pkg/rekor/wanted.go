package rekor

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/go-openapi/strfmt"
	"github.com/sigstore/rekor/pkg/generated/models"

	"github.com/podseal/podseal/pkg/evidence"
)

// The annotations of the layers of cosign's own images.
const (
	annotationSignature   = "dev.cosignproject.cosign/signature"
	annotationCertificate = "dev.sigstore.cosign/certificate"
)

// maxVerifiers is how many certificates and keys an entry may be sought with: each
// makes up to two entries, and a log takes up to ten hashes at once.
const maxVerifiers = 4

// wantedEntry is an entry that a log may have, if it has one of the item.
type wantedEntry struct {
	// body is the entry as the log hashes it, in the form of RFC 8785.
	body []byte
	// uuid is the log's name for it, whatever the tree: the hash of a leaf of a Merkle
	// tree (RFC 6962, section 2.1), in hexadecimal.
	uuid string
}

// wantedFor is what a log may have of an item that was signed with the item's
// certificate or one of the keys. Where the item was found says nothing: what its bytes
// are decides.
func wantedFor(item evidence.Item, keys []crypto.PublicKey) ([]wantedEntry, error) {
	if item.Format != evidence.SimpleSigning && item.Format != evidence.Envelope {
		return nil, fmt.Errorf("a %s has its log entries in it: a log is not asked", item.Format)
	}
	verifiers, err := verifiersOf(item.Annotations[annotationCertificate], keys)
	if err != nil {
		return nil, err
	}
	envelope, err := parseEnvelope(item.Content)
	if err != nil {
		return nil, err
	}
	var all []wantedEntry
	for _, verifier := range verifiers {
		var entries []models.ProposedEntry
		if envelope != nil {
			entries = envelope.entries(verifier)
		} else if entries, err = signatureEntries(item, verifier); err != nil {
			return nil, err
		}
		for _, e := range entries {
			w, err := want(e)
			if err != nil {
				return nil, err
			}
			all = append(all, w)
		}
	}
	return all, nil
}

// verifiersOf are certificate and keys in PEM, as Rekor writes them.
func verifiersOf(certificate string, keys []crypto.PublicKey) (verifiers [][]byte, err error) {
	add := func(kind string, der []byte) {
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if !slices.ContainsFunc(verifiers, func(v []byte) bool { return string(v) == string(text) }) {
			verifiers = append(verifiers, text)
		}
	}
	if certificate != "" {
		block, rest := pem.Decode([]byte(certificate))
		if block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
			return nil, fmt.Errorf("the annotation %s: not one certificate", annotationCertificate)
		}
		add(block.Type, block.Bytes)
	}
	for _, key := range keys {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return nil, fmt.Errorf("a key: %w", err)
		}
		add("PUBLIC KEY", der)
	}
	switch {
	case len(verifiers) == 0:
		return nil, errors.New("neither a certificate nor a key to ask the log with")
	case len(verifiers) > maxVerifiers:
		return nil, fmt.Errorf("more than %d certificates and keys to ask the log with", maxVerifiers)
	}
	return verifiers, nil
}

// envelope is what of a DSSE envelope is in a log.
type envelope struct {
	raw         []byte
	payloadType string
	payload     []byte
	signature   string // as it is written: in base64
	keyID       string
}

// parseEnvelope reads an envelope with one signature, the only ones that are judged;
// nil if it is none.
func parseEnvelope(content []byte) (*envelope, error) {
	var e struct {
		PayloadType *string `json:"payloadType"`
		Payload     string  `json:"payload"`
		Signatures  []struct {
			Sig   string `json:"sig"`
			KeyID string `json:"keyid"`
		} `json:"signatures"`
	}
	if err := jsonv2.Unmarshal(content, &e); err != nil {
		return nil, fmt.Errorf("the layer: %w", err)
	}
	if e.PayloadType == nil {
		return nil, nil
	}
	if len(e.Signatures) != 1 {
		return nil, errors.New("the envelope: not exactly one signature")
	}
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil {
		payload, err = base64.URLEncoding.DecodeString(e.Payload)
	}
	if err != nil {
		return nil, fmt.Errorf("the envelope's payload: %w", err)
	}
	return &envelope{content, *e.PayloadType, payload, e.Signatures[0].Sig, e.Signatures[0].KeyID}, nil
}

// entries are the forms in which a log may have an envelope: dsse, which cosign uses,
// and intoto. Of the latter there is an older version too, which is not judged.
func (e *envelope) entries(verifier []byte) []models.ProposedEntry {
	sha256Name, whole, payload := "sha256", sum(e.raw), sum(e.payload)
	return []models.ProposedEntry{
		&models.DSSE{APIVersion: new("0.0.1"), Spec: &models.DSSEV001Schema{
			EnvelopeHash: &models.DSSEV001SchemaEnvelopeHash{Algorithm: &sha256Name, Value: &whole},
			PayloadHash:  &models.DSSEV001SchemaPayloadHash{Algorithm: &sha256Name, Value: &payload},
			Signatures:   []*models.DSSEV001SchemaSignaturesItems0{{Signature: &e.signature, Verifier: new(strfmt.Base64(verifier))}},
		}},
		&models.Intoto{APIVersion: new("0.0.2"), Spec: &models.IntotoV002Schema{Content: &models.IntotoV002SchemaContent{
			Envelope: &models.IntotoV002SchemaContentEnvelope{
				PayloadType: &e.payloadType,
				Signatures: []*models.IntotoV002SchemaContentEnvelopeSignaturesItems0{{
					Keyid: e.keyID, PublicKey: new(strfmt.Base64(verifier)), Sig: new(strfmt.Base64(e.signature)),
				}},
			},
			Hash:        &models.IntotoV002SchemaContentHash{Algorithm: &sha256Name, Value: &whole},
			PayloadHash: &models.IntotoV002SchemaContentPayloadHash{Algorithm: &sha256Name, Value: &payload},
		}}},
	}
}

// signatureEntries is the form in which a log has a signature of a payload: cosign
// signs its SHA-256 with every kind of key.
func signatureEntries(item evidence.Item, verifier []byte) ([]models.ProposedEntry, error) {
	signature, err := base64.StdEncoding.DecodeString(item.Annotations[annotationSignature])
	if err != nil || len(signature) == 0 {
		return nil, fmt.Errorf("the annotation %s: no signature", annotationSignature)
	}
	return []models.ProposedEntry{
		&models.Hashedrekord{APIVersion: new("0.0.1"), Spec: &models.HashedrekordV001Schema{
			Data: &models.HashedrekordV001SchemaData{Hash: &models.HashedrekordV001SchemaDataHash{Algorithm: new("sha256"), Value: new(sum(item.Content))}},
			Signature: &models.HashedrekordV001SchemaSignature{
				Content: signature, PublicKey: &models.HashedrekordV001SchemaSignaturePublicKey{Content: verifier},
			},
		}},
	}, nil
}

// want is an entry in the bytes that the log has of it.
func want(e models.ProposedEntry) (wantedEntry, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return wantedEntry{}, fmt.Errorf("a log entry of it: %w", err)
	}
	body := jsontext.Value(text)
	if err := body.Canonicalize(); err != nil {
		return wantedEntry{}, fmt.Errorf("a log entry of it: %w", err)
	}
	return wantedEntry{body: body, uuid: sum(slices.Concat([]byte{0}, body))}, nil
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
