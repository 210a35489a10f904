package sigstore

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	jsonv2 "github.com/go-json-experiment/json"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
)

// The annotations of the layers of cosign's own images. They are not signed, and
// whoever may push chooses them.
const (
	annotationSignature   = "dev.cosignproject.cosign/signature"
	annotationCertificate = "dev.sigstore.cosign/certificate"
	annotationChain       = "dev.sigstore.cosign/chain"
	annotationBundle      = "dev.sigstore.cosign/bundle"
	annotationTimestamp   = "dev.sigstore.cosign/rfc3161timestamp"
)

// readAnnotations adds what the annotations of a layer have for it. An empty one
// is none: cosign writes some of them so.
func (m *material) readAnnotations(annotations map[string]string) error {
	if m.envelope == nil {
		signature, err := base64.StdEncoding.DecodeString(annotations[annotationSignature])
		if err != nil {
			return malformed("the annotation "+annotationSignature, err)
		}
		m.signature = signature
	}
	if len(m.signature) == 0 {
		return refuse(ReasonMalformed, "there is no signature")
	}
	certificates, err := parsePEM(annotations[annotationCertificate], annotations[annotationChain])
	if err != nil {
		return malformed("the annotations "+annotationCertificate+" and .../chain", err)
	}
	if err := m.setCertificates(certificates); err != nil {
		return err
	}
	m.certified = m.leaf != nil
	if s := annotations[annotationTimestamp]; s != "" {
		stamp, err := parseTimestamp([]byte(s))
		if err != nil {
			return malformed("the annotation "+annotationTimestamp, err)
		}
		if len(stamp) > 0 {
			if err := m.setTimestamps(stamp); err != nil {
				return err
			}
		}
	}
	if s := annotations[annotationBundle]; s != "" {
		entry, err := parseRekorBundle([]byte(s))
		if err != nil {
			return malformed("the annotation "+annotationBundle, err)
		}
		return m.setEntries([]*protorekor.TransparencyLogEntry{entry})
	}
	return nil
}

// parsePEM reads the certificates of the two annotations: the signer's, and those
// between it and the root. The blocks are counted before anything is parsed: a
// chain of thousands of certificates is an old way to keep a verifier busy.
func parsePEM(certificate, chain string) ([][]byte, error) {
	const begin = "-----BEGIN"
	if len(certificate)+len(chain) > maxCertificates*maxCertificate*2 {
		return nil, fmt.Errorf("%w: longer than %d bytes", errLimit, maxCertificates*maxCertificate*2)
	}
	if n := bytes.Count([]byte(certificate), []byte(begin)) + bytes.Count([]byte(chain), []byte(begin)); n > maxCertificates {
		return nil, fmt.Errorf("%w: more than %d certificates", errLimit, maxCertificates)
	}
	first, err := pemBlocks(certificate)
	if err != nil {
		return nil, err
	}
	rest, err := pemBlocks(chain)
	if err != nil {
		return nil, err
	}
	switch {
	case len(first) > 1:
		return nil, errors.New("more than one certificate of the signer")
	case len(first) == 0 && len(rest) > 0:
		return nil, errors.New("a chain without the signer's certificate")
	}
	return append(first, rest...), nil
}

// maxCertificate bounds a certificate, in bytes of DER.
const maxCertificate = 32 << 10

func pemBlocks(text string) (found [][]byte, err error) {
	rest := bytes.TrimSpace([]byte(text))
	for len(rest) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("not PEM, or something beside it")
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a PEM block %.50q where a certificate must be", block.Type)
		}
		found = append(found, block.Bytes)
		rest = bytes.TrimSpace(rest)
	}
	return found, nil
}

// setCertificates parses the signer's certificate and those above it.
func (m *material) setCertificates(der [][]byte) error {
	if len(der) > maxCertificates {
		return refuse(ReasonLimit, "more than %d certificates", maxCertificates)
	}
	for i, raw := range der {
		if len(raw) > maxCertificate {
			return refuse(ReasonLimit, "a certificate is longer than %d bytes", maxCertificate)
		}
		c, err := x509.ParseCertificate(raw)
		if err != nil {
			return malformed(fmt.Sprintf("certificate %d", i+1), err)
		}
		if i == 0 {
			m.leaf = c
		} else {
			m.above = append(m.above, c)
		}
	}
	return nil
}

// parseRekorBundle reads cosign's annotation with the entry of a Rekor v1 log and
// the log's promise of it (the signed entry timestamp).
func parseRekorBundle(data []byte) (*protorekor.TransparencyLogEntry, error) {
	const most = maxBody * 2
	if len(data) > most {
		return nil, fmt.Errorf("%w: longer than %d bytes", errLimit, most)
	}
	var b struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           []byte `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"`
		}
	}
	if err := jsonv2.Unmarshal(data, &b, jsonv2.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	if len(b.SignedEntryTimestamp) == 0 || b.Payload.IntegratedTime <= 0 || b.Payload.LogIndex < 0 || len(b.Payload.LogID) != 64 {
		return nil, errors.New("a signed entry timestamp, a time, an index or a log's ID is missing")
	}
	log, err := hex.DecodeString(b.Payload.LogID)
	if err != nil {
		return nil, fmt.Errorf("logID: %w", err)
	}
	var body struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
	}
	if err := json.Unmarshal(b.Payload.Body, &body); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex:          b.Payload.LogIndex,
		LogId:             &protocommon.LogId{KeyId: log},
		KindVersion:       &protorekor.KindVersion{Kind: body.Kind, Version: body.APIVersion},
		IntegratedTime:    b.Payload.IntegratedTime,
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: b.SignedEntryTimestamp},
		CanonicalizedBody: b.Payload.Body,
	}, nil
}

// parseTimestamp reads cosign's annotation with an RFC 3161 timestamp.
func parseTimestamp(data []byte) ([]byte, error) {
	if len(data) > maxTimestamp*2 {
		return nil, fmt.Errorf("%w: longer than %d bytes", errLimit, maxTimestamp*2)
	}
	var t struct{ SignedRFC3161Timestamp []byte }
	if err := jsonv2.Unmarshal(data, &t, jsonv2.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	return t.SignedRFC3161Timestamp, nil
}
